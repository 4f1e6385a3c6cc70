//! Networks that run inside the command: what `dev` and `demo` share.

use clap::Args;
use uplink::{Access, Config};
use uplink_testnet::{NetworkError, Options, Scheme};

use crate::failure::{Exit, Failure, Outcome};

/// The size of a network.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// Number of storage nodes; as many as the scheme has pieces if not given
    #[arg(long, value_name = "COUNT")]
    pub(crate) nodes: Option<usize>,
    /// Redundancy scheme: pieces needed / repaired below / stored / begun - bytes of a share
    /// [default: 4/6/8/10-256]
    #[arg(long, value_name = "SCHEME", value_parser = scheme)]
    pub(crate) scheme: Option<Scheme>,
}

impl NetworkArgs {
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new();
        if let Some(nodes) = self.nodes {
            options = options.nodes(nodes);
        }
        if let Some(scheme) = self.scheme {
            options = options.scheme(scheme);
        }
        options
    }
}

fn scheme(text: &str) -> Result<Scheme, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// Makes an access grant for all of a project.
pub(crate) async fn access(satellite: &str, api_key: &str, passphrase: &str) -> Outcome<Access> {
    let config = Config::new().user_agent(concat!("uplink-cli/", env!("CARGO_PKG_VERSION")));
    Ok(Access::request_with_passphrase(satellite, api_key, passphrase, &config).await?)
}

impl From<NetworkError> for Failure {
    fn from(error: NetworkError) -> Self {
        let exit = match &error {
            NetworkError::InUse { .. }
            | NetworkError::Port { .. }
            | NetworkError::Running(_)
            | NetworkError::Stopped(_) => Exit::Conflict,
            NetworkError::NoSuchNode { .. } | NetworkError::NoSuchNodeId(_) => Exit::NotFound,
            NetworkError::NodeCount(_)
            | NetworkError::NodesLost { .. }
            | NetworkError::NotLoopback(_)
            | NetworkError::TooFewNodes { .. } => Exit::Usage,
            NetworkError::NotOnline { .. } => Exit::Network,
            _ => Exit::Other,
        };
        Self::new(exit, error.to_string())
    }
}
