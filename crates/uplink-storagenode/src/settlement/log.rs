//! The file format: records one after the other, valid from the beginning to a torn one at most.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek, Write},
    path::Path,
};

use bytes::Bytes;
use prost::Message;
use uplink_rpc::r#gen::orders::SettlementRequest;

/// Adds encoded records to a log, which is made if it does not exist, and syncs it. Unless the log
/// is known to be `whole`, a torn record at its end is cut off first.
pub(super) fn append(path: &Path, records: &[u8], whole: bool) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|_| !whole) {
        fs::create_dir_all(directory)?;
    }
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    if whole {
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

/// Encodes one record at the end of `log`.
pub(super) fn push(log: &mut Vec<u8>, body: &[u8]) {
    let Ok(length) = u32::try_from(body.len()) else { return };
    log.extend_from_slice(&length.to_be_bytes());
    log.extend_from_slice(body);
    log.extend_from_slice(&checksum(body));
}

/// The whole records at the beginning of a log, read one at a time.
pub(super) struct Records<R> {
    from: BufReader<R>,
    /// Where the last record that was returned ends.
    end: u64,
}

impl Records<File> {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(File::open(path)?))
    }
}

impl<R: Read> Records<R> {
    fn new(from: R) -> Self {
        Self { from: BufReader::new(from), end: 0 }
    }

    /// The next record; `None` at the end and at whatever is no record.
    pub(super) fn next(&mut self) -> io::Result<Option<SettlementRequest>> {
        let mut length = [0; 4];
        let Some(()) = self.fill(&mut length)? else { return Ok(None) };
        let length = u32::from_be_bytes(length);
        if length > MAX_BODY {
            return Ok(None);
        }
        let (mut body, mut sum) = (vec![0; length as usize], [0; 4]);
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

    /// Reads exactly what fits; `None` when the file ends before.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<Option<()>> {
        match self.from.read_exact(bytes) {
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

/// Longest body: far above limit and order as any satellite and client make them.
const MAX_BODY: u32 = 1 << 20;
