//! Marker file with the node's id that ties a data directory to its node.
//!
//! An unmounted disk leaves an empty directory at its mount point. A node that started there would
//! have none of its pieces and fill the wrong disk. The marker detects this at start and whenever
//! free space is reserved.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use uplink_core::id::NodeId;

use super::Files;

/// The marker of a node's data directory.
#[derive(Clone, Debug)]
pub(crate) struct Marker {
    data: PathBuf,
    node: NodeId,
}

/// Error of a data directory that does not belong to the node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MarkerError {
    /// The marker cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The marker.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// The marker is missing.
    #[error(
        "data directory {data:?} has no data of storage node {node}: file {MARKER:?} is missing; mount \
         the node's disk, or start once with --accept-empty-data if the node is new or its data is \
         lost"
    )]
    Missing {
        /// The data directory.
        data: PathBuf,
        /// The node.
        node: NodeId,
    },
    /// The marker belongs to another node.
    #[error(
        "data directory {data:?} belongs to storage node {found}, not to {node}: use the matching \
         directory or identity"
    )]
    Other {
        /// The data directory.
        data: PathBuf,
        /// The node.
        node: NodeId,
        /// Content of the marker, truncated.
        found: Owner,
    },
}

/// Content of a marker: a node id, or other text.
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

    /// Requires the marker, or writes it if the directory certainly belongs to the node: it has
    /// pieces, which an earlier version stored without a marker, or `is_new` is set.
    pub(crate) fn claim(&self, is_new: bool) -> Result<(), MarkerError> {
        match self.read() {
            Err(MarkerError::Missing { .. }) if is_new || self.has_pieces()? => self.write(),
            outcome => outcome,
        }
    }

    /// Requires the marker while the node is running.
    pub(crate) fn check(&self, files: &dyn Files) -> Result<(), MarkerError> {
        let mut text = [0; MAX_TEXT];
        let file = match files.open(&self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.missing()),
            file => file.map_err(self.io_error())?,
        };
        let size = usize::try_from(file.size().map_err(self.io_error())?).unwrap_or(MAX_TEXT);
        let text = &mut text[..size.min(MAX_TEXT)];
        file.read_at(0, text).map_err(self.io_error())?;
        self.compare(text)
    }

    fn read(&self) -> Result<(), MarkerError> {
        match fs::read(self.path()) {
            Ok(text) => self.compare(&text[..text.len().min(MAX_TEXT)]),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.missing()),
            Err(error) => Err(self.io_error()(error)),
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
            let temporary = self.data.join(TEMPORARY);
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&temporary)?;
            writeln!(file, "{}", self.node)?;
            file.sync_all()?;
            fs::rename(&temporary, self.path())?;
            File::open(&self.data)?.sync_all()
        };
        write().map_err(self.io_error())
    }

    /// Returns whether there is any piece in the store or the trash.
    fn has_pieces(&self) -> Result<bool, MarkerError> {
        for root in ["pieces", "trash"] {
            let mut directories = vec![(self.data.join(root), 0)];
            while let Some((directory, depth)) = directories.pop() {
                let entries = match fs::read_dir(&directory) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    entries => entries.map_err(self.io_error())?,
                };
                for entry in entries {
                    let entry = entry.map_err(self.io_error())?;
                    match entry.file_type().map_err(self.io_error())? {
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

    fn io_error(&self) -> impl Fn(io::Error) -> MarkerError {
        let path = self.path();
        move |source| MarkerError::Io { path: path.clone(), source }
    }
}

const MARKER: &str = "node-id";
const TEMPORARY: &str = "node-id.new";
/// Maximum bytes read from a marker, more than an id has.
const MAX_TEXT: usize = 100;
/// Directory levels between the root and a piece: satellite and prefix.
const DEPTH: usize = 2;
