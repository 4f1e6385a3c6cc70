//! The log files of one satellite: records of [`RECORD`] bytes, each with its own checksum.
//!
//! ```text
//! kind (1 byte) | 3 zero bytes | number (8 bytes) | serial number or zeros (16 bytes) | checksum
//! (4 bytes)
//! ```
//!
//! Each process writes its own files, so that only the last record of a file can be torn.
//! Records with an invalid checksum are skipped.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uplink_core::id::{NodeId, SerialNumber};

/// One entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Serial numbers of limits created in this range may have been used and lost.
    Lost(TimeRange),
    /// All earlier records are durable, and no limit created after this second was used before.
    Watermark(i64),
    /// The serial number of a limit created in this second was used.
    Used(SerialNumber, i64),
}

/// Range of creation times of limits in seconds, inclusive at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeRange {
    pub from: i64,
    pub to: i64,
}

/// Contents of all files of a satellite.
#[derive(Debug)]
pub(super) struct Contents {
    pub used: HashSet<SerialNumber>,
    pub lost: Vec<TimeRange>,
    /// Creation time of the newest limit.
    pub newest: i64,
    /// The last watermark.
    pub watermark: Option<i64>,
    /// Files with at least one record that is still needed.
    pub files: Vec<PathBuf>,
    pub next_number: u64,
}

/// Appends to the newest file of a satellite.
#[derive(Debug)]
pub(super) struct Log {
    directory: PathBuf,
    next_number: u64,
    file: Option<(PathBuf, Arc<File>)>,
    /// Offset of the next record. A partially failed write is overwritten.
    end: u64,
    dirty: bool,
}

impl Log {
    /// Returns a log whose first record creates the file with this number.
    pub(super) fn new(directory: PathBuf, next_number: u64) -> Self {
        Self { directory, next_number, file: None, end: 0, dirty: false }
    }

    /// Returns the path of the current file.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.file.as_ref().map(|(path, _)| path.clone())
    }

    pub(super) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let bytes: Vec<u8> = records.iter().flat_map(|record| record.encode()).collect();
        if self.file.is_none() {
            self.file = Some(self.create()?);
            self.end = 0;
        }
        let Some((_, file)) = &self.file else { return Ok(()) };
        file.write_all_at(&bytes, self.end)?;
        self.end = self.end.saturating_add(bytes.len() as u64);
        self.dirty = true;
        Ok(())
    }

    /// Returns whether there are unsynced writes.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        let synced = self.begin_sync().map_or(Ok(()), |file| file.sync_data());
        self.dirty |= synced.is_err();
        synced
    }

    /// Returns the file to sync without the lock. Call [`sync_failed`](Self::sync_failed) on
    /// failure.
    pub(super) fn begin_sync(&mut self) -> Option<Arc<File>> {
        self.dirty = false;
        self.file.as_ref().map(|(_, file)| Arc::clone(file))
    }

    /// Marks the file as unsynced again.
    pub(super) fn sync_failed(&mut self) {
        self.dirty = true;
    }

    /// Makes the next record start a new file.
    pub(super) fn rotate(&mut self) {
        self.file = None;
    }

    fn create(&mut self) -> io::Result<(PathBuf, Arc<File>)> {
        // Not recursive: the disk may be unmounted.
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = self.directory.join(format!("{}.{EXTENSION}", self.next_number));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        self.next_number = self.next_number.saturating_add(1);
        File::open(&self.directory)?.sync_all()?;
        if let Some(parent) = self.directory.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok((path, Arc::new(file)))
    }
}

impl Record {
    fn encode(&self) -> [u8; RECORD] {
        let (kind, number, serial) = match self {
            Self::Lost(range) => {
                let mut from = [0; 16];
                from[..8].copy_from_slice(&range.from.to_be_bytes());
                (LOST, range.to, from)
            }
            Self::Watermark(second) => (WATERMARK, *second, [0; 16]),
            Self::Used(serial, created) => (USED, *created, *serial.as_bytes()),
        };
        let mut bytes = [0; RECORD];
        bytes[0] = kind;
        bytes[4..12].copy_from_slice(&number.to_be_bytes());
        bytes[12..28].copy_from_slice(&serial);
        let sum = checksum(&bytes[..28]);
        bytes[28..].copy_from_slice(&sum);
        bytes
    }

    fn decode(bytes: &[u8; RECORD]) -> Option<Self> {
        if bytes[28..] != checksum(&bytes[..28]) {
            return None;
        }
        let number =
            |offset: usize| bytes[offset..offset + 8].try_into().ok().map(i64::from_be_bytes);
        match bytes[0] {
            LOST => Some(Self::Lost(TimeRange { from: number(12)?, to: number(4)? })),
            WATERMARK => Some(Self::Watermark(number(4)?)),
            USED => Some(Self::Used(SerialNumber::from_slice(&bytes[12..28]).ok()?, number(4)?)),
            _ => None,
        }
    }
}

/// Returns the satellites that have a directory, in arbitrary order.
pub(super) fn satellites(directory: &Path) -> io::Result<Vec<(NodeId, PathBuf)>> {
    let mut satellites = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str);
        if let Some(id) = name.and_then(|name| name.parse().ok()).filter(|_| path.is_dir()) {
            satellites.push((id, path));
        }
    }
    Ok(satellites)
}

/// Reads all files of a satellite. Files with only limits created before `oldest` are removed.
pub(super) fn read(directory: &Path, oldest: i64) -> io::Result<Contents> {
    let mut contents = Contents {
        used: HashSet::new(),
        lost: Vec::new(),
        newest: i64::MIN,
        watermark: None,
        files: Vec::new(),
        next_number: 0,
    };
    for (number, path) in numbered(directory)? {
        contents.next_number = number.saturating_add(1);
        if contents.add(&path, oldest)? {
            contents.files.push(path);
        } else {
            fs::remove_file(&path)?;
        }
    }
    Ok(contents)
}

impl Contents {
    /// Adds the records of a file, and returns whether any of them is still needed.
    fn add(&mut self, path: &Path, oldest: i64) -> io::Result<bool> {
        let mut file = BufReader::new(File::open(path)?);
        let mut bytes = [0; RECORD];
        let mut needed = false;
        loop {
            match file.read_exact(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(needed),
                outcome => outcome?,
            }
            let newest = match Record::decode(&bytes) {
                Some(Record::Used(_, created)) if created < oldest => continue,
                Some(Record::Lost(range)) if range.to < oldest => continue,
                Some(Record::Used(serial, created)) => {
                    self.used.insert(serial);
                    created
                }
                Some(Record::Lost(range)) => {
                    self.lost.push(range);
                    range.to
                }
                Some(Record::Watermark(second)) => {
                    self.watermark = Some(second);
                    needed |= second >= oldest;
                    continue;
                }
                None => continue,
            };
            self.newest = self.newest.max(newest);
            needed = true;
        }
    }
}

/// Removes files, ignoring missing ones.
pub(super) fn remove(files: &[PathBuf]) -> io::Result<()> {
    for file in files {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Returns the log files of a directory in ascending order of their numbers.
fn numbered(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.parse().ok());
        if let Some(number) = number.filter(|_| path.extension() == Some(OsStr::new(EXTENSION))) {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut sum = [0; 4];
    sum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..4]);
    sum
}

const EXTENSION: &str = "log";
const RECORD: usize = 32;
const USED: u8 = 1;
const WATERMARK: u8 = 2;
const LOST: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_round_trips_and_detects_corruption() {
        let serial = SerialNumber::new([7; 16]);
        for record in [
            Record::Used(serial, -3),
            Record::Watermark(i64::MAX),
            Record::Lost(TimeRange { from: i64::MIN, to: 5 }),
        ] {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Some(record));
            for index in 0..RECORD {
                let mut corrupt = bytes;
                corrupt[index] ^= 1;
                assert_eq!(Record::decode(&corrupt), None, "byte {index}");
            }
        }
    }
}
