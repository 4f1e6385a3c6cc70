//! Arguments of the commands on buckets and objects.

use std::ffi::OsString;

use clap::Args;

use super::filter::Patterns;
use super::grant::AccessArgs;
use super::location::Location;
use crate::failure::{Failure, Outcome};

#[derive(Debug, Args)]
pub(crate) struct MakeBucket {
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Bucket, like sj://bucket
    #[arg(value_name = "URL")]
    pub(crate) url: OsString,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveBucket {
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Bucket, like sj://bucket
    #[arg(value_name = "URL")]
    pub(crate) url: OsString,
    /// Also remove all objects in the bucket
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Bucket, prefix or object, like sj://bucket/prefix; all buckets if omitted
    #[arg(value_name = "URL")]
    pub(crate) url: Option<OsString>,
    /// List all objects below, instead of grouping keys at the next slash
    #[arg(long, short)]
    pub(crate) recursive: bool,
    /// List pending uploads, which are neither committed nor aborted, instead of objects
    #[arg(long)]
    pub(crate) pending: bool,
}

#[derive(Debug, Args)]
#[command(override_usage = "uplink cp [OPTIONS] <SRC>... <DST>")]
pub(crate) struct Copy {
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// File, object like sj://bucket/key, or - for standard input; can be repeated
    #[arg(value_name = "SRC")]
    pub(crate) source: OsString,
    /// File or directory, object or prefix like sj://bucket/prefix/, or - for standard output. For
    /// several sources an existing directory, a bucket, or a prefix that ends with a slash
    #[arg(value_name = "DST", required = true)]
    pub(crate) rest: Vec<OsString>,
    /// Copy everything below a directory or prefix
    #[arg(long, short)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) patterns: Patterns,
    /// Only show what would be copied; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Expiry of uploaded objects: 2030-01-31T12:00:00Z, or after 90s, 15m, 24h, 7d. If omitted,
    /// copies of objects keep their expiry; `never` removes it
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<String>,
    /// Custom metadata of uploaded objects, can be repeated. If omitted, copies of objects keep
    /// their metadata
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) metadata: Vec<String>,
    /// Skip symbolic links, pipes, sockets and devices below a source directory instead of counting
    /// them as failures
    #[arg(long, requires = "recursive")]
    pub(crate) skip_special: bool,
    /// Objects that are transferred at the same time, 1 to 8
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PARALLELISM)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=MAX_PARALLELISM))]
    pub(crate) parallelism: u8,
}

/// Each object transfers many pieces at the same time.
const DEFAULT_PARALLELISM: u8 = 4;

/// A download opens up to 37 pieces with the scheme of the public network, and all of them share the
/// client's 300 transfers: if those were all held by downloads that miss a piece, none could continue.
const MAX_PARALLELISM: i64 = 8;

#[derive(Debug, Args)]
#[command(override_usage = "uplink mv [OPTIONS] <SRC>... <DST>")]
pub(crate) struct Move {
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Object or prefix, like sj://bucket/key; can be repeated
    #[arg(value_name = "SRC")]
    pub(crate) source: OsString,
    /// Object or prefix, like sj://bucket/prefix/. For several sources a bucket, or a prefix that
    /// ends with a slash
    #[arg(value_name = "DST", required = true)]
    pub(crate) rest: Vec<OsString>,
    /// Move everything below a prefix
    #[arg(long, short)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) patterns: Patterns,
    /// Only show what would be moved; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl Copy {
    /// Returns the sources and the target.
    pub(crate) fn locations(&self) -> Outcome<(Vec<Location>, Location)> {
        locations(&self.source, &self.rest)
    }
}

impl Move {
    /// Returns the sources and the target.
    pub(crate) fn locations(&self) -> Outcome<(Vec<Location>, Location)> {
        locations(&self.source, &self.rest)
    }
}

/// Parses one or more sources and a target. Options may be between them, which the parser does not
/// permit before a last argument of its own.
fn locations(first: &OsString, rest: &[OsString]) -> Outcome<(Vec<Location>, Location)> {
    let (last, more) = rest.split_last().ok_or_else(|| Failure::usage("missing target <DST>"))?;
    let sources = std::iter::once(first).chain(more).map(|text| Location::parse(text));
    Ok((sources.collect::<Outcome<_>>()?, Location::parse(last)?))
}

#[derive(Debug, Args)]
pub(crate) struct Cat {
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Object, like sj://bucket/key
    #[arg(value_name = "URL")]
    pub(crate) url: OsString,
    /// Byte range, counted from 0: 0-99 with both ends, 100- to the end, -5 the last five
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    pub(crate) range: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Objects, like sj://bucket/key; with --recursive buckets or prefixes
    #[arg(value_name = "URL", required = true)]
    pub(crate) urls: Vec<OsString>,
    /// Remove all objects below
    #[arg(long, short)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) patterns: Patterns,
    /// Only show what would be removed; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Abort pending uploads, which are neither committed nor aborted, instead of removing objects
    #[arg(long)]
    pub(crate) pending: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Stat {
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Bucket or object, like sj://bucket/key
    #[arg(value_name = "URL")]
    pub(crate) url: OsString,
}
