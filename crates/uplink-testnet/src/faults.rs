//! Storage nodes that lie: only with the feature `faults`, which nothing that is shipped turns on.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{NetworkError, Result};
use crate::node::Node;

impl Node {
    /// Changes every byte of every piece that the node stores, from byte `from` of each piece on.
    ///
    /// The node may run, and notices nothing: it returns the changed bytes as it did the right
    /// ones before, so that it lies in good faith. Doing it again with the same `from` repairs the
    /// pieces. Returns how many pieces were changed.
    ///
    /// # Errors
    /// A file cannot be read or written; some pieces may have been changed then.
    pub fn damage_pieces(&self, from: u64) -> Result<usize> {
        let mut damaged = 0;
        for path in pieces(&self.directory().join("data/pieces"))? {
            let seed = self.index() as u64;
            damaged += usize::from(damage(&path, from, seed).map_err(at(&path))?);
        }
        Ok(damaged)
    }

    /// Flips one bit of every piece that the node stores, in byte `position` of each piece: bit rot.
    ///
    /// The node may run, and notices nothing. Doing it again repairs the pieces. Returns how many
    /// pieces reach so far and were changed.
    ///
    /// # Errors
    /// A file cannot be read or written; some pieces may have been changed then.
    pub fn flip_bit(&self, position: u64) -> Result<usize> {
        let mut flipped = 0;
        for path in pieces(&self.directory().join("data/pieces"))? {
            flipped += usize::from(flip(&path, position).map_err(at(&path))?);
        }
        Ok(flipped)
    }
}

/// Bytes before a piece's own in its file, unless its order limit is uncommonly long.
const HEADER_AREA: u64 = 512;

/// All piece files below a directory.
fn pieces(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let path = entry.map_err(at(directory))?.path();
        if path.is_dir() {
            found.extend(pieces(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "sj1") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Changes a piece in place, each byte in another way; returns whether it reaches so far.
fn damage(path: &Path, from: u64, seed: u64) -> io::Result<bool> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let (start, end) = (HEADER_AREA.saturating_add(from), file.metadata()?.len());
    if start >= end {
        return Ok(false);
    }
    let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, start)?;
    for (position, byte) in (start..).zip(&mut bytes) {
        let mixed = (position ^ seed << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
        // Never zero.
        *byte ^= mixed as u8 | 1;
    }
    file.write_all_at(&bytes, start)?;
    Ok(true)
}

/// Flips a bit of a piece in place; returns whether it reaches so far.
fn flip(path: &Path, position: u64) -> io::Result<bool> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let place = HEADER_AREA.saturating_add(position);
    if place >= file.metadata()?.len() {
        return Ok(false);
    }
    let mut byte = [0];
    file.read_exact_at(&mut byte, place)?;
    byte[0] ^= 1 << (position % 8);
    file.write_all_at(&byte, place)?;
    Ok(true)
}

fn at(path: &Path) -> impl Fn(io::Error) -> NetworkError {
    move |source| NetworkError::File { path: path.to_owned(), source }
}
