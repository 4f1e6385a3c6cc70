//! Arguments of `uplink share`.

use std::ffi::OsString;

use clap::Args;

use super::grant::AccessArgs;

#[derive(Debug, Args)]
pub(crate) struct Share {
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Buckets and prefixes to share, like sj://bucket or sj://bucket/prefix/
    #[arg(value_name = "URL", required = true)]
    pub(crate) urls: Vec<OsString>,
    #[command(flatten)]
    pub(crate) operations: Operations,
    /// First time at which the grant works: 2030-01-31T12:00:00Z, or in 90s, 15m, 24h, 7d
    #[arg(long, value_name = "TIME")]
    pub(crate) not_before: Option<String>,
    /// Last time at which the grant works, in the same forms
    #[arg(long, value_name = "TIME")]
    pub(crate) not_after: Option<String>,
    /// Maximum lifetime of objects that are uploaded with the grant: 90s, 15m, 24h, 7d
    #[arg(long, value_name = "DURATION")]
    pub(crate) max_object_ttl: Option<String>,
    /// Store the access grant under this name instead of printing it
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Replace a stored access of this name
    #[arg(long, requires = "name")]
    pub(crate) force: bool,
}

/// What the grant permits, at most what the shared one does.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Operations {
    /// Permit downloads and listings; the default
    #[arg(long)]
    pub(crate) readonly: bool,
    /// Permit uploads and deletions
    #[arg(long)]
    pub(crate) writeonly: bool,
    /// Permit listings
    #[arg(long)]
    pub(crate) list_only: bool,
    /// Permit uploads of new objects
    #[arg(long)]
    pub(crate) upload_only: bool,
    /// Permit all operations
    #[arg(long)]
    pub(crate) full: bool,
}
