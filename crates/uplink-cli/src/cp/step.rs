//! One transfer of a `cp` command.

use std::path::PathBuf;

use crate::args::location::Url;
use crate::failure::{Failure, Outcome};

/// A transfer of one object.
#[derive(Debug)]
pub(super) enum Step {
    /// Copies an object to another key.
    Copy { from: Url, to: Url },
    /// Downloads an object to a file. Symbolic links are followed.
    Download { from: Url, to: PathBuf },
    /// Downloads an object to a file below a directory, without following links below it.
    DownloadBelow { from: Url, root: PathBuf, relative: PathBuf },
    /// Writes an object to standard output.
    DownloadToStdout { from: Url },
    /// Uploads a file.
    Upload { from: PathBuf, to: Url },
    /// Uploads standard input.
    UploadStdin { to: Url },
}

impl Step {
    /// Returns the URL that a failure of the transfer is reported under.
    pub(super) fn url(&self) -> &Url {
        match self {
            Self::Copy { from, .. }
            | Self::Download { from, .. }
            | Self::DownloadBelow { from, .. }
            | Self::DownloadToStdout { from } => from,
            Self::Upload { to, .. } | Self::UploadStdin { to } => to,
        }
    }
}

/// Rejects a bucket or prefix where a single object is required.
pub(super) fn require_object(url: Url) -> Outcome<Url> {
    if url.is_prefix() {
        return Err(Failure::usage(format!("{url} is not a single object: use --recursive")));
    }
    Ok(url)
}

/// Rejects a bucket or prefix as the target of standard input, which has no name.
pub(super) fn require_key(url: Url) -> Outcome<Url> {
    if url.is_prefix() {
        return Err(Failure::usage(format!("{url} needs a key to upload standard input to")));
    }
    Ok(url)
}
