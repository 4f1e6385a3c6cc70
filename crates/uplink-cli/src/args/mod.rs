//! The command line as typed. The commands resolve locations, ranges and times with the submodules
//! before they start.

pub(crate) mod access;
pub(crate) mod demo;
pub(crate) mod dev;
pub(crate) mod expiry;
pub(crate) mod filter;
pub(crate) mod grant;
pub(crate) mod location;
pub(crate) mod network;
pub(crate) mod objects;
pub(crate) mod range;
pub(crate) mod share;

use clap::{Parser, Subcommand};

use self::access::AccessCommand;
use self::demo::Demo;
use self::dev::Dev;
use self::objects::{Cat, Copy, List, MakeBucket, Move, Remove, RemoveBucket, Stat};
use self::share::Share;
use crate::failure::EXIT_CODES;

/// Decentralized, end-to-end encrypted object storage
///
/// Buckets and objects are named like sj://bucket/key. Contents and names are encrypted on this
/// computer before they are sent; the encryption keys are part of the access grant.
#[derive(Debug, Parser)]
#[command(name = "uplink", version, after_long_help = EXIT_CODES)]
pub(crate) struct CommandLine {
    /// Print one JSON object per line, and only failures on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Hide progress and notes
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Longest wait for a reply of the satellite, retries included: 90s, 15m
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s")]
    pub(crate) timeout: String,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create, store, select, inspect and revoke access grants
    #[command(subcommand)]
    Access(AccessCommand),
    /// Create a bucket
    Mb(MakeBucket),
    /// Remove a bucket
    Rb(RemoveBucket),
    /// List buckets, or the objects in a bucket
    Ls(List),
    /// Copy objects and files: upload, download, or copy between buckets
    Cp(Copy),
    /// Move or rename objects
    Mv(Move),
    /// Write an object to standard output
    Cat(Cat),
    /// Remove objects
    Rm(Remove),
    /// Show the properties of a bucket or an object
    Stat(Stat),
    /// Make a narrower access grant for buckets and prefixes
    ///
    /// Works offline. The grant contains the encryption keys of the prefixes and no others. Its text
    /// is a secret: it works for every holder until it ends or is revoked.
    Share(Share),
    /// Upload a file to a temporary network, stop storage nodes, and download it again
    Demo(Demo),
    /// Run a network on this computer, or control the running one
    Dev(Dev),
}
