//! The command line as it is typed. What is meant by it (places, ranges, times) is worked out by the
//! submodules, before a command begins.

pub(crate) mod expiry;
pub(crate) mod location;
pub(crate) mod range;

use clap::{Args, Parser, Subcommand};

use crate::failure::EXIT_CODES;
use crate::{access, bucket, cat, cp, demo, dev, ls, rm, stat};

/// Decentralized, end-to-end encrypted object storage
///
/// Buckets and objects are named like sj://bucket/key. Bytes and names are encrypted on this
/// computer before they leave it; the keys are in the access grant.
#[derive(Debug, Parser)]
#[command(name = "uplink", version, after_long_help = EXIT_CODES)]
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
    /// Make a bucket
    Mb(bucket::Make),
    /// Remove a bucket
    Rb(bucket::Remove),
    /// List buckets, or the objects of a bucket
    Ls(ls::List),
    /// Copy objects and files, up, down or across
    Cp(cp::Copy),
    /// Write an object to standard output
    Cat(cat::Cat),
    /// Remove objects
    Rm(rm::Remove),
    /// Show what is known of a bucket or an object
    Stat(stat::Stat),
    /// Send a file through a network of its own, stop storage nodes, and fetch it back
    Demo(demo::Demo),
    /// Run a network on this computer, or ask something of the one that runs
    Dev(dev::Dev),
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
