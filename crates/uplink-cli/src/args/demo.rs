//! Arguments of `uplink demo`.

use std::path::PathBuf;

use clap::Args;

use super::network::NetworkArgs;

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// File to upload; 16 MiB of generated data if omitted
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// Number of holders to stop before the download; the number that can be lost if omitted
    #[arg(long, value_name = "COUNT")]
    pub(crate) stop: Option<usize>,
}
