//! One transfer of a `cp` command.

use std::fmt;
use std::path::PathBuf;

use crate::args::location::Url;
use crate::failure::{Failure, Outcome};

/// A transfer of one object.
#[derive(Debug)]
pub(super) enum Step {
    /// Copies an object to another key. Its size is known if it was listed.
    Copy { from: Url, to: Url, size: Option<u64> },
    /// Downloads an object to a file. Symbolic links are followed.
    Download { from: Url, to: PathBuf },
    /// Downloads an object to a file below a directory, without following links below it.
    /// Its size is known if it was listed.
    DownloadBelow { from: Url, root: PathBuf, relative: PathBuf, size: Option<u64> },
    /// Writes an object to standard output.
    DownloadToStdout { from: Url },
    /// Uploads a file.
    Upload { from: PathBuf, to: Url },
    /// Uploads standard input.
    UploadStdin { to: Url },
}

impl Step {
    /// Returns the source and the target as text.
    pub(super) fn names(&self) -> (String, String) {
        match self {
            Self::Copy { from, to, .. } => (from.to_string(), to.to_string()),
            Self::Download { from, to } => (from.to_string(), to.display().to_string()),
            Self::DownloadBelow { from, root, relative, .. } => {
                (from.to_string(), root.join(relative).display().to_string())
            }
            Self::DownloadToStdout { from } => (from.to_string(), "-".to_owned()),
            Self::Upload { from, to } => (from.display().to_string(), to.to_string()),
            Self::UploadStdin { to } => ("-".to_owned(), to.to_string()),
        }
    }

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

/// Writes source and target.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, target) = self.names();
        write!(f, "{source} to {target}")
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
