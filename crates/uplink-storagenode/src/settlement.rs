//! The orders a node keeps: per satellite and hour one log, for settlement with the satellite.
//!
//! ```text
//! DATA/orders/<satellite>/<hours since 1970>.log
//! record: length of the body (4 bytes, most significant first) | body | 4 bytes of its BLAKE3 hash
//! ```
//!
//! The body is one settlement request of the network: field 1 the order limit, field 2 the largest
//! order, both as received. A file begins valid and may end in a torn record, which the next
//! writer cuts off. Orders of the last [`FLUSH_EVERY`] may be lost in a crash; pieces never depend
//! on them.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use tokio::{sync::Notify, time};
use uplink_core::id::NodeId;
use uplink_rpc::{r#gen::orders::SettlementRequest, raw};

/// Keeps orders in memory until the next flush.
#[derive(Debug)]
pub(crate) struct Settlement {
    directory: PathBuf,
    pending: Mutex<Vec<Pending>>,
    filling: Notify,
    /// Logs whose end this process knows to be whole; also serialises flushes.
    whole: Mutex<HashSet<PathBuf>>,
}

#[derive(Debug)]
struct Pending {
    satellite: NodeId,
    hour: i64,
    body: Vec<u8>,
}

impl Settlement {
    pub(crate) fn new(data: &Path) -> Self {
        Self {
            directory: data.join("orders"),
            pending: Mutex::default(),
            filling: Notify::new(),
            whole: Mutex::default(),
        }
    }

    /// Keeps the largest order of a limit that was made in second `created`. Never blocks.
    pub(crate) fn keep(&self, satellite: NodeId, created: i64, limit: Bytes, order: Bytes) {
        let request = SettlementRequest {
            limit: Some(raw::OrderLimit::from_wire(limit)),
            order: Some(raw::Order::from_wire(order)),
        };
        let hour = created.div_euclid(SECONDS_PER_HOUR);
        let record = Pending { satellite, hour, body: request.encode_to_vec() };
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() >= MAX_PENDING {
            tracing::warn!("orders arrive faster than they can be written; one is lost");
            return;
        }
        pending.push(record);
        if pending.len() >= MAX_PENDING / 2 {
            self.filling.notify_one();
        }
    }

    /// Flushes for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = time::sleep(FLUSH_EVERY) => {}
                () = self.filling.notified() => {}
            }
            Arc::clone(&self).flush().await;
        }
    }

    /// Writes what is pending and syncs it; a failure is logged and loses the orders.
    pub(crate) async fn flush(self: Arc<Self>) {
        let written = tokio::task::spawn_blocking(move || self.write()).await;
        if let Ok(Err(error)) = written {
            tracing::error!(%error, "orders could not be written");
        }
    }

    fn write(&self) -> io::Result<()> {
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *pending)
        };
        let mut logs: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        for Pending { satellite, hour, body } in pending {
            let path = self.directory.join(satellite.to_string()).join(format!("{hour}.log"));
            append_record(logs.entry(path).or_default(), &body);
        }
        for (path, records) in logs {
            let known = whole.contains(&path);
            append(&path, &records, known).inspect_err(|_| {
                whole.remove(&path);
            })?;
            whole.insert(path);
        }
        Ok(())
    }
}

fn append(path: &Path, records: &[u8], whole: bool) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|_| !whole) {
        fs::create_dir_all(directory)?;
    }
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    if whole {
        file.seek(io::SeekFrom::End(0))?;
    } else {
        let end = records_of(&mut file)?.1;
        file.set_len(end)?;
        file.seek(io::SeekFrom::Start(end))?;
    }
    file.write_all(records)?;
    file.sync_all()
}

/// The whole records at the beginning of a log, and where they end.
fn records_of(file: &mut File) -> io::Result<(Vec<SettlementRequest>, u64)> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let (mut rest, mut records) = (bytes.as_slice(), Vec::new());
    while let Some((record, after)) = split_record(rest) {
        records.push(record);
        rest = after;
    }
    Ok((records, bytes.len().saturating_sub(rest.len()) as u64))
}

fn append_record(log: &mut Vec<u8>, body: &[u8]) {
    let Ok(length) = u32::try_from(body.len()) else { return };
    log.extend_from_slice(&length.to_be_bytes());
    log.extend_from_slice(body);
    log.extend_from_slice(&checksum(body));
}

fn split_record(bytes: &[u8]) -> Option<(SettlementRequest, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    if *sum != checksum(body) {
        return None;
    }
    Some((SettlementRequest::decode(body).ok()?, rest))
}

fn checksum(body: &[u8]) -> [u8; 4] {
    let mut sum = [0; 4];
    sum.copy_from_slice(blake3::hash(body).as_bytes().split_at(4).0);
    sum
}

/// Reads a log: every whole record from its beginning.
#[cfg(test)]
pub(crate) fn read_log(path: &Path) -> io::Result<Vec<SettlementRequest>> {
    Ok(records_of(&mut File::open(path)?)?.0)
}

const SECONDS_PER_HOUR: i64 = 3600;
/// Time between two writes to disk.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// Orders waiting for a flush, about 1 KiB each.
const MAX_PENDING: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    const SATELLITE: NodeId = NodeId::new([5; 32]);

    fn kept(settlement: &Settlement, number: u8) {
        settlement.keep(SATELLITE, 7200, vec![8, number].into(), vec![16, number].into());
        settlement.write().unwrap();
    }

    fn log(directory: &Path) -> PathBuf {
        directory.join("orders").join(SATELLITE.to_string()).join("2.log")
    }

    #[test]
    fn orders_are_kept_in_the_log_of_their_hour() {
        let directory = tempfile::tempdir().unwrap();
        let settlement = Settlement::new(directory.path());
        kept(&settlement, 1);
        kept(&settlement, 2);
        let records = read_log(&log(directory.path())).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[1].order.as_ref().unwrap().wire().as_ref(), [16, 2]);
    }

    #[test]
    fn a_torn_record_is_cut_off_by_the_next_writer() {
        let directory = tempfile::tempdir().unwrap();
        kept(&Settlement::new(directory.path()), 1);
        let whole = fs::read(log(directory.path())).unwrap();
        for torn in 1..whole.len() {
            let mut bytes = whole.clone();
            bytes.extend_from_slice(&whole[..torn]);
            fs::write(log(directory.path()), &bytes).unwrap();
            kept(&Settlement::new(directory.path()), 3);
            let records = read_log(&log(directory.path())).unwrap();
            assert_eq!(records.len(), 2, "torn after {torn} bytes");
        }
    }
}
