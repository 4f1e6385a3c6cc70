//! Storage nodes that return corrupt pieces. Requires the feature `faults`, which is for tests
//! only.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{NetworkError, Result};
use crate::node::Node;

impl Node {
    /// Corrupts every byte of every stored piece from byte `from` on, and returns the number of
    /// corrupted pieces.
    ///
    /// The node may be running. It does not detect the corruption and serves the corrupt bytes. A
    /// second call with the same `from` repairs the pieces.
    ///
    /// # Errors
    /// Fails if a file cannot be read or written. Some pieces may already be corrupt then.
    pub fn damage_pieces(&self, from: u64) -> Result<usize> {
        let mut damaged = 0;
        for path in pieces(&self.directory().join("data/pieces"))? {
            let seed = self.index() as u64;
            damaged += usize::from(damage(&path, from, seed).map_err(file_error(&path))?);
        }
        Ok(damaged)
    }

    /// Flips one bit in byte `position` of every stored piece, like bit rot, and returns the number
    /// of changed pieces. Shorter pieces are not changed.
    ///
    /// The node may be running; it does not detect the corruption. A second call with the same
    /// `position` repairs the pieces.
    ///
    /// # Errors
    /// Fails if a file cannot be read or written. Some pieces may already be corrupt then.
    pub fn flip_bit(&self, position: u64) -> Result<usize> {
        let mut flipped = 0;
        for path in pieces(&self.directory().join("data/pieces"))? {
            flipped += usize::from(flip(&path, position).map_err(file_error(&path))?);
        }
        Ok(flipped)
    }
}

/// Size of the header area of a piece file, assuming an order limit of ordinary length.
const HEADER_AREA: u64 = 512;

/// Returns all piece files below a directory.
fn pieces(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(file_error(directory))? {
        let path = entry.map_err(file_error(directory))?.path();
        if path.is_dir() {
            found.extend(pieces(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "sj1") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Corrupts a piece in offset, each byte with a different mask. Returns whether it is long enough.
fn damage(path: &Path, from: u64, seed: u64) -> io::Result<bool> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let start = HEADER_AREA.saturating_add(from);
    let end = file.metadata()?.len();
    if start >= end {
        return Ok(false);
    }
    let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, start)?;
    for (position, byte) in (start..).zip(&mut bytes) {
        let mixed = (position ^ seed << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
        // The mask must not be zero.
        *byte ^= mixed as u8 | 1;
    }
    file.write_all_at(&bytes, start)?;
    Ok(true)
}

/// Flips a bit of a piece in offset. Returns whether it is long enough.
fn flip(path: &Path, position: u64) -> io::Result<bool> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let offset = HEADER_AREA.saturating_add(position);
    if offset >= file.metadata()?.len() {
        return Ok(false);
    }
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    byte[0] ^= 1 << (position % 8);
    file.write_all_at(&byte, offset)?;
    Ok(true)
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> NetworkError {
    move |source| NetworkError::File { path: path.to_owned(), source }
}
