//! Networks that run inside the command: shared by `dev` and `demo`.

use uplink::{Access, AccessOptions, Config};
use uplink_testnet::NetworkError;

use crate::failure::{Exit, Failure, Outcome};

/// Requests an access grant for a whole project.
pub(crate) async fn request_access(
    satellite: &str,
    api_key: &str,
    passphrase: &str,
) -> Outcome<Access> {
    let config = Config::new().user_agent(concat!("uplink-cli/", env!("CARGO_PKG_VERSION")));
    let options = AccessOptions::new().config(config);
    Ok(Access::request_with(satellite, api_key, passphrase, &options).await?)
}

impl From<NetworkError> for Failure {
    fn from(error: NetworkError) -> Self {
        let exit = match &error {
            NetworkError::InUse { .. }
            | NetworkError::Port { .. }
            | NetworkError::AlreadyRunning(_)
            | NetworkError::NotRunning(_) => Exit::Conflict,
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
