//! Size of a network that runs inside the command.

use clap::Args;
use uplink_testnet::{Options, Scheme};

/// The number of storage nodes and the redundancy scheme.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// Number of storage nodes; the number of pieces of the scheme if omitted
    #[arg(long, value_name = "COUNT")]
    nodes: Option<usize>,
    /// Redundancy scheme: required/repair/optimal/total pieces - bytes per share
    /// [default: 4/6/8/10-256]
    #[arg(long, value_name = "SCHEME", value_parser = parse_scheme)]
    scheme: Option<Scheme>,
}

impl NetworkArgs {
    /// Returns the options of a network of this size.
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

fn parse_scheme(text: &str) -> Result<Scheme, String> {
    text.parse().map_err(|error| format!("{error}"))
}
