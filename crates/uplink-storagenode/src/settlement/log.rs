//! The file format: consecutive records, of which only the last may be torn.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use uplink_rpc::r#gen::orders::SettlementRequest;

/// Appends encoded records to a log and syncs it. A missing log is created.
///
/// A torn record at the end is truncated first, unless the log is known to be `intact`.
pub(super) fn append(path: &Path, records: &[u8], intact: bool) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|_| !intact) {
        fs::create_dir_all(directory)?;
    }
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    if intact {
        file.seek(io::SeekFrom::End(0))?;
    } else {
        let mut records = Records::new(&file);
        while records.next()?.is_some() {}
        let end = records.end;
        file.set_len(end)?;
        file.seek(io::SeekFrom::Start(end))?;
    }
    file.write_all(records)?;
    file.sync_all()
}

/// Appends one encoded record to `log`.
pub(super) fn push(log: &mut Vec<u8>, body: &[u8]) {
    let Ok(length) = u32::try_from(body.len()) else { return };
    log.extend_from_slice(&length.to_be_bytes());
    log.extend_from_slice(body);
    log.extend_from_slice(&checksum(body));
}

/// Reads the valid records of a log one at a time.
pub(super) struct Records<R> {
    reader: BufReader<R>,
    /// End offset of the last record returned.
    end: u64,
}

impl Records<File> {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(File::open(path)?))
    }
}

impl<R: Read> Records<R> {
    fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), end: 0 }
    }

    /// Returns the next record, or `None` at the end and at an invalid record.
    pub(super) fn next(&mut self) -> io::Result<Option<SettlementRequest>> {
        let mut length = [0; 4];
        let Some(()) = self.fill(&mut length)? else { return Ok(None) };
        let length = u32::from_be_bytes(length);
        if length > MAX_BODY {
            return Ok(None);
        }
        let mut body = vec![0; length as usize];
        let mut sum = [0; 4];
        let (Some(()), Some(())) = (self.fill(&mut body)?, self.fill(&mut sum)?) else {
            return Ok(None);
        };
        if sum != checksum(&body) {
            return Ok(None);
        }
        let Ok(record) = SettlementRequest::decode(Bytes::from(body)) else { return Ok(None) };
        self.end = self.end.saturating_add(4 + u64::from(length) + 4);
        Ok(Some(record))
    }

    /// Fills `bytes`, or returns `None` if the file is shorter.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<Option<()>> {
        match self.reader.read_exact(bytes) {
            Ok(()) => Ok(Some(())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn checksum(body: &[u8]) -> [u8; 4] {
    let mut sum = [0; 4];
    sum.copy_from_slice(blake3::hash(body).as_bytes().split_at(4).0);
    sum
}

/// Maximum length of a body, far above an order limit and order of any satellite and client.
const MAX_BODY: u32 = 1 << 20;
