//! Ties a data directory to its node: a file that holds the node's id.
//!
//! A disk that is not mounted leaves an empty directory at its place. A node that began there anew
//! would hold none of its pieces and fill the wrong disk; the marker tells the two apart, at the
//! start and whenever free space is claimed.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use uplink_core::id::NodeId;

use super::Files;

/// The marker of a node's data directory.
#[derive(Clone, Debug)]
pub(crate) struct Marker {
    data: PathBuf,
    node: NodeId,
}

/// Why a data directory is not that of a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MarkerError {
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The marker.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// There is no marker.
    #[error(
        "data directory {data} holds nothing of storage node {node}: the file {MARKER} is missing. \
         Mount the disk with the node's data. If the data is lost for good, or there never was any, \
         start once with --accept-empty-data"
    )]
    Missing {
        /// The data directory.
        data: PathBuf,
        /// The node.
        node: NodeId,
    },
    /// The marker is another node's.
    #[error(
        "data directory {data} belongs to storage node {found}, not to {node}: name the directory \
         or the identity that belongs to the other"
    )]
    Other {
        /// The data directory.
        data: PathBuf,
        /// The node.
        node: NodeId,
        /// What the marker says, shortened.
        found: Owner,
    },
}

/// What a marker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner(String);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.parse::<NodeId>() {
            Ok(node) => node.fmt(f),
            Err(_) => write!(f, "{:?}", self.0),
        }
    }
}

impl Marker {
    pub(crate) fn new(data: &Path, node: NodeId) -> Self {
        Self { data: data.to_owned(), node }
    }

    /// Requires the marker, or makes it where the directory is the node's beyond doubt: an earlier
    /// version stored pieces there without a marker, or the caller knows that the node begins.
    pub(crate) fn claim(&self, begins: bool) -> Result<(), MarkerError> {
        match self.read() {
            Err(MarkerError::Missing { .. }) if begins || self.has_pieces()? => self.write(),
            outcome => outcome,
        }
    }

    /// Requires the marker while the node runs.
    pub(crate) fn check(&self, files: &dyn Files) -> Result<(), MarkerError> {
        let mut text = [0; MAX_TEXT];
        let file = match files.open(&self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.missing()),
            file => file.map_err(self.failed())?,
        };
        let size = usize::try_from(file.size().map_err(self.failed())?).unwrap_or(MAX_TEXT);
        let text = &mut text[..size.min(MAX_TEXT)];
        file.read_at(0, text).map_err(self.failed())?;
        self.compare(text)
    }

    fn read(&self) -> Result<(), MarkerError> {
        match fs::read(self.path()) {
            Ok(text) => self.compare(&text[..text.len().min(MAX_TEXT)]),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.missing()),
            Err(error) => Err(self.failed()(error)),
        }
    }

    fn compare(&self, text: &[u8]) -> Result<(), MarkerError> {
        let text = String::from_utf8_lossy(text);
        if text.trim().parse() == Ok(self.node) {
            return Ok(());
        }
        let found = Owner(text.trim().to_owned());
        Err(MarkerError::Other { data: self.data.clone(), node: self.node, found })
    }

    fn write(&self) -> Result<(), MarkerError> {
        let write = || {
            let fresh = self.data.join(FRESH);
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&fresh)?;
            writeln!(file, "{}", self.node)?;
            file.sync_all()?;
            fs::rename(&fresh, self.path())?;
            File::open(&self.data)?.sync_all()
        };
        write().map_err(self.failed())
    }

    /// Whether a piece lies where the store keeps them, in the trash or not.
    fn has_pieces(&self) -> Result<bool, MarkerError> {
        for kept in ["pieces", "trash"] {
            let mut directories = vec![(self.data.join(kept), 0)];
            while let Some((directory, depth)) = directories.pop() {
                let entries = match fs::read_dir(&directory) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    entries => entries.map_err(self.failed())?,
                };
                for entry in entries {
                    let entry = entry.map_err(self.failed())?;
                    match entry.file_type().map_err(self.failed())? {
                        kind if kind.is_file() => return Ok(true),
                        kind if kind.is_dir() && depth < DEPTH => {
                            directories.push((entry.path(), depth + 1));
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(false)
    }

    fn path(&self) -> PathBuf {
        self.data.join(MARKER)
    }

    fn missing(&self) -> MarkerError {
        MarkerError::Missing { data: self.data.clone(), node: self.node }
    }

    fn failed(&self) -> impl Fn(io::Error) -> MarkerError {
        let path = self.path();
        move |source| MarkerError::Io { path: path.clone(), source }
    }
}

const MARKER: &str = "node-id";
const FRESH: &str = "node-id.new";
/// More than an id has.
const MAX_TEXT: usize = 100;
/// Directories between the root of the pieces and a piece: satellite and prefix.
const DEPTH: usize = 2;
