//! The files of one satellite: records of [`RECORD`] bytes, each valid by itself.
//!
//! ```text
//! kind (1 byte) | 3 zero bytes | number (8 bytes) | serial number or zeros (16 bytes) | checksum (4 bytes)
//! ```
//!
//! A process writes to files of its own, so that a record which a crash tore off stays last.
//! Records whose checksum differs are passed over.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufReader, Read},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use uplink_core::id::{NodeId, SerialNumber};

/// One entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Limits of these times may have been used and forgotten.
    Lost(Window),
    /// Everything before is durable, and so is this: no limit made later was used yet.
    Mark(i64),
    /// The serial number of a limit made in this second was used.
    Used(SerialNumber, i64),
}

/// Seconds in which limits were made, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub from: i64,
    pub to: i64,
}

/// What the files of a satellite hold.
#[derive(Debug)]
pub(super) struct Contents {
    pub used: HashSet<SerialNumber>,
    pub lost: Vec<Window>,
    /// Second of the newest limit.
    pub newest: i64,
    /// The last mark.
    pub covered: Option<i64>,
    /// Files with something in them that matters.
    pub files: Vec<PathBuf>,
    pub next_number: u64,
}

/// Appends to the newest file of a satellite.
#[derive(Debug)]
pub(super) struct Log {
    directory: PathBuf,
    next_number: u64,
    file: Option<(PathBuf, Arc<File>)>,
    /// Where the next record goes: a write that failed half-way is overwritten.
    end: u64,
    dirty: bool,
}

impl Log {
    /// A log whose first record makes the file of this number.
    pub(super) fn new(directory: PathBuf, next_number: u64) -> Self {
        Self { directory, next_number, file: None, end: 0, dirty: false }
    }

    /// The file that was written last.
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

    /// Whether something was written since the last sync.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        let synced = self.begin_sync().map_or(Ok(()), |file| file.sync_data());
        self.dirty |= synced.is_err();
        synced
    }

    /// The file to sync while others write; [`sync_failed`](Self::sync_failed) when that fails.
    pub(super) fn begin_sync(&mut self) -> Option<Arc<File>> {
        self.dirty = false;
        self.file.as_ref().map(|(_, file)| Arc::clone(file))
    }

    /// Notes that the file is still to be synced.
    pub(super) fn sync_failed(&mut self) {
        self.dirty = true;
    }

    /// The next record makes another file.
    pub(super) fn rotate(&mut self) {
        self.file = None;
    }

    fn create(&mut self) -> io::Result<(PathBuf, Arc<File>)> {
        // Not those above: the disk may have been unmounted.
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = self.directory.join(format!("{}.{EXTENSION}", self.next_number));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        self.next_number = self.next_number.saturating_add(1);
        File::open(&self.directory)?.sync_all()?;
        if let Some(above) = self.directory.parent() {
            File::open(above)?.sync_all()?;
        }
        Ok((path, Arc::new(file)))
    }
}

impl Record {
    fn encode(&self) -> [u8; RECORD] {
        let (kind, number, serial) = match self {
            Self::Lost(window) => {
                let mut from = [0; 16];
                from[..8].copy_from_slice(&window.from.to_be_bytes());
                (LOST, window.to, from)
            }
            Self::Mark(covered) => (MARK, *covered, [0; 16]),
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
        let number = |at: usize| bytes[at..at + 8].try_into().ok().map(i64::from_be_bytes);
        match bytes[0] {
            LOST => Some(Self::Lost(Window { from: number(12)?, to: number(4)? })),
            MARK => Some(Self::Mark(number(4)?)),
            USED => Some(Self::Used(SerialNumber::from_slice(&bytes[12..28]).ok()?, number(4)?)),
            _ => None,
        }
    }
}

/// The satellites that have a directory, in no order.
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

/// Reads all files of a satellite, and removes those that hold only limits made before `oldest`.
pub(super) fn read(directory: &Path, oldest: i64) -> io::Result<Contents> {
    let mut contents = Contents {
        used: HashSet::new(),
        lost: Vec::new(),
        newest: i64::MIN,
        covered: None,
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
    /// Adds the records of a file; tells whether any of them matters.
    fn add(&mut self, path: &Path, oldest: i64) -> io::Result<bool> {
        let (mut file, mut bytes) = (BufReader::new(File::open(path)?), [0; RECORD]);
        let mut matters = false;
        loop {
            match file.read_exact(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(matters),
                outcome => outcome?,
            }
            let newest = match Record::decode(&bytes) {
                Some(Record::Used(_, created)) if created < oldest => continue,
                Some(Record::Lost(window)) if window.to < oldest => continue,
                Some(Record::Used(serial, created)) => {
                    self.used.insert(serial);
                    created
                }
                Some(Record::Lost(window)) => {
                    self.lost.push(window);
                    window.to
                }
                Some(Record::Mark(covered)) => {
                    self.covered = Some(covered);
                    matters |= covered >= oldest;
                    continue;
                }
                None => continue,
            };
            self.newest = self.newest.max(newest);
            matters = true;
        }
    }
}

/// Removes files; those that are gone are fine.
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

/// The files of a directory by number, in ascending order.
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
const MARK: u8 = 2;
const LOST: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_a_round_trip_and_no_change() {
        let serial = SerialNumber::new([7; 16]);
        for record in [
            Record::Used(serial, -3),
            Record::Mark(i64::MAX),
            Record::Lost(Window { from: i64::MIN, to: 5 }),
        ] {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Some(record));
            for place in 0..RECORD {
                let mut changed = bytes;
                changed[place] ^= 1;
                assert_eq!(Record::decode(&changed), None, "byte {place}");
            }
        }
    }
}
