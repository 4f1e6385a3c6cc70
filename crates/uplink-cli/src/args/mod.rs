//! The command line as it is typed. What is meant by it (places, ranges, times) is worked out by the
//! submodules, before a command begins.

use clap::{Args, Parser, Subcommand};

use crate::access;
use crate::failure::EXIT_CODES;

/// Decentralized, end-to-end encrypted object storage.
#[derive(Debug, Parser)]
#[command(name = "uplink", version, about, after_long_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct CommandLine {
    /// Print JSON, one object a line, and nothing else but failures
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show no progress and no notes
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make, store, choose and inspect access grants
    #[command(subcommand)]
    Access(access::Command),
}

/// Which access grant a command works with.
#[derive(Args)]
pub(crate) struct AccessArgs {
    /// Name of a stored access, or an access grant; the current stored access if not given
    #[arg(long, value_name = "NAME|GRANT", env = "UPLINK_ACCESS", hide_env_values = true)]
    pub(crate) access: Option<String>,
}

impl std::fmt::Debug for AccessArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessArgs").finish_non_exhaustive()
    }
}
