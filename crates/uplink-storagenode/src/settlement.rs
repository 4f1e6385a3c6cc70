//! The orders a node keeps: per satellite and hour one log, for settlement with the satellite.
//!
//! ```text
//! DATA/orders/<satellite>/<hours since 1970>.log        orders are still added
//!                                          .closed      complete, to be handed in
//!                                          .rejected    handed in, and the satellite pays nothing
//! record: length of the body (4 bytes, most significant first) | body | 4 bytes of its BLAKE3 hash
//! ```
//!
//! The body is one settlement request of the network: field 1 the order limit, field 2 the largest
//! order, both as received. A limit serves one request, which keeps one record of it. A file begins
//! valid and may end in a torn record, which the next writer cuts off. Orders of the last
//! [`FLUSH_EVERY`] may be lost in a crash; pieces never depend on them.
//!
//! An hour is closed once it and the hour after it are over, for limits are accepted an hour after
//! they were made, and no request that began with a limit of it is under way.

mod log;

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use tokio::{
    sync::{Notify, mpsc},
    time,
};
use uplink_core::id::NodeId;
use uplink_rpc::{
    r#gen::orders::SettlementRequest,
    raw,
    time::{StepGuard, timestamp},
};

use crate::clock::Clock;

/// Keeps orders in memory until the next flush, and in files until they are settled.
#[derive(Debug)]
pub(crate) struct Settlement {
    directory: PathBuf,
    clock: Clock,
    /// No hour is closed because the clock stepped ahead.
    guard: StepGuard,
    pending: Mutex<Pending>,
    filling: Notify,
    /// Also serialises flushes.
    logs: Mutex<Logs>,
}

#[derive(Debug, Default)]
struct Pending {
    records: Vec<Record>,
    /// Requests under way, by the hour of their limits.
    open: BTreeMap<i64, usize>,
    /// Hours before this one are closed.
    closed: i64,
}

#[derive(Debug)]
struct Record {
    satellite: NodeId,
    hour: i64,
    body: Vec<u8>,
}

#[derive(Debug, Default)]
struct Logs {
    /// Logs whose end this process knows to be whole.
    whole: HashSet<PathBuf>,
    /// Hours before this one have no log any more.
    closed: i64,
}

impl Settlement {
    pub(crate) fn new(data: &Path, clock: Clock) -> Self {
        Self {
            directory: data.join("orders"),
            clock,
            guard: StepGuard::default(),
            pending: Mutex::default(),
            filling: Notify::new(),
            logs: Mutex::default(),
        }
    }

    /// Notes that a request with a limit made in second `created` has begun, which keeps its hour
    /// open until [`end`](Self::end).
    pub(crate) fn begin(&self, created: i64) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let open = pending.open.entry(hour_of(created)).or_default();
        *open = open.saturating_add(1);
    }

    /// Ends what [`begin`](Self::begin) began and keeps its limit and largest order, if there is
    /// one. Never blocks.
    pub(crate) fn end(&self, satellite: NodeId, created: i64, pair: Option<(Bytes, Bytes)>) {
        let hour = hour_of(created);
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = pending.open.get_mut(&hour) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                pending.open.remove(&hour);
            }
        }
        let Some((limit, order)) = pair else { return };
        if hour < pending.closed {
            tracing::warn!(%satellite, hour, "an order came after its hour was closed; it is lost");
        } else if pending.records.len() >= MAX_PENDING {
            tracing::warn!("orders arrive faster than they can be written; one is lost");
        } else {
            pending.records.push(Record::new(satellite, hour, limit, order));
            // Once, and not again for those that a full disk keeps here.
            if pending.records.len() == MAX_PENDING / 2 {
                self.filling.notify_one();
            }
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

    /// Writes what is pending, syncs it, and closes the hours that are over. A failure is logged;
    /// orders that could not be written are pending again, and their hours stay open.
    pub(crate) async fn flush(self: Arc<Self>) {
        let written = tokio::task::spawn_blocking(move || self.write()).await;
        if let Ok(Err(error)) = written {
            tracing::error!(%error, "orders could not be written");
        }
    }

    fn write(&self) -> io::Result<()> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let (records, closed) = self.take();
        let (unwritten, written) = logs.write(&self.directory, records);
        let closed = unwritten.iter().map(|record| record.hour).fold(closed, i64::min);
        self.put_back(unwritten);
        if logs.closed < closed {
            logs.close(&self.directory, closed)?;
            logs.closed = closed;
        }
        written
    }

    /// What is pending, and the hour before which nothing more will come.
    fn take(&self) -> (Vec<Record>, i64) {
        let now = self.guard.read(self.clock.now(), self.clock.steady());
        let over = hour_of(timestamp(now).seconds).saturating_sub(1);
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let open = pending.open.keys().next().copied().unwrap_or(i64::MAX);
        pending.closed = pending.closed.max(over.min(open));
        (std::mem::take(&mut pending.records), pending.closed)
    }

    /// Makes records pending again, as many as there is room for.
    fn put_back(&self, mut records: Vec<Record>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_PENDING.saturating_sub(pending.records.len());
        if let Some(lost) = records.len().checked_sub(room).filter(|lost| *lost > 0) {
            tracing::warn!(
                lost,
                "orders cannot be written and are too many to keep; some are lost"
            );
        }
        records.truncate(room);
        pending.records.append(&mut records);
    }

    /// The closed hours of a satellite, oldest first.
    pub(crate) fn closed(&self, satellite: NodeId) -> io::Result<Vec<PathBuf>> {
        let mut closed = hours(&self.directory.join(satellite.to_string()), CLOSED)?;
        closed.sort_unstable();
        Ok(closed.into_iter().map(|(_, path)| path).collect())
    }
}

impl Record {
    fn new(satellite: NodeId, hour: i64, limit: Bytes, order: Bytes) -> Self {
        let request = SettlementRequest {
            limit: Some(raw::OrderLimit::from_wire(limit)),
            order: Some(raw::Order::from_wire(order)),
        };
        Self { satellite, hour, body: request.encode_to_vec() }
    }
}

impl Logs {
    /// Writes to all logs that it can. Returns the records of those that it cannot, and the first
    /// error.
    fn write(&mut self, directory: &Path, records: Vec<Record>) -> (Vec<Record>, io::Result<()>) {
        let mut logs: BTreeMap<PathBuf, Vec<Record>> = BTreeMap::new();
        for record in records {
            let satellite = directory.join(record.satellite.to_string());
            logs.entry(satellite.join(format!("{}.{OPEN}", record.hour))).or_default().push(record);
        }
        let (mut unwritten, mut outcome) = (Vec::new(), Ok(()));
        for (path, records) in logs {
            let mut bytes = Vec::new();
            records.iter().for_each(|record| log::push(&mut bytes, &record.body));
            match log::append(&path, &bytes, self.whole.contains(&path)) {
                Ok(()) => {
                    self.whole.insert(path);
                }
                Err(error) => {
                    self.whole.remove(&path);
                    unwritten.extend(records);
                    outcome = outcome.and(Err(error));
                }
            }
        }
        (unwritten, outcome)
    }

    /// Renames the logs of all hours before `before`.
    fn close(&mut self, directory: &Path, before: i64) -> io::Result<()> {
        let satellites = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            satellites => satellites?,
        };
        for satellite in satellites {
            let satellite = satellite?.path();
            let logs = hours(&satellite, OPEN)?;
            for (_, path) in logs.into_iter().filter(|(hour, _)| *hour < before) {
                let closed = path.with_extension(CLOSED);
                // After a clock went back an hour may have been closed before: that goes first.
                if !closed.exists() {
                    fs::rename(&path, closed)?;
                    self.whole.remove(&path);
                }
            }
            File::open(&satellite)?.sync_all()?;
        }
        Ok(())
    }
}

/// Sends the records of a file until the last one or until nobody receives any more.
///
/// # Errors
///
/// When the file cannot be read to its end; the channel is then handed back, because closing it
/// would tell that all records were sent.
pub(crate) fn send_records(
    path: &Path,
    to: mpsc::Sender<SettlementRequest>,
) -> Result<(), (io::Error, mpsc::Sender<SettlementRequest>)> {
    let send = || -> io::Result<()> {
        let mut records = log::Records::open(path)?;
        while let Some(record) = records.next()? {
            if to.blocking_send(record).is_err() {
                break;
            }
        }
        Ok(())
    };
    send().map_err(|error| (error, to))
}

/// Removes a file that was accepted, or keeps one that was rejected under another name.
pub(crate) fn settled(path: &Path, accepted: bool) -> io::Result<()> {
    if accepted { fs::remove_file(path) } else { fs::rename(path, path.with_extension(REJECTED)) }
}

/// The hours for which a satellite's directory has a file with this extension.
fn hours(directory: &Path, extension: &str) -> io::Result<Vec<(i64, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut hours = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hour = path.file_stem().and_then(OsStr::to_str).and_then(|hour| hour.parse().ok());
        if let Some(hour) = hour.filter(|_| path.extension() == Some(OsStr::new(extension))) {
            hours.push((hour, path));
        }
    }
    Ok(hours)
}

fn hour_of(second: i64) -> i64 {
    second.div_euclid(SECONDS_PER_HOUR)
}

const OPEN: &str = "log";
const CLOSED: &str = "closed";
const REJECTED: &str = "rejected";
const SECONDS_PER_HOUR: i64 = 3600;
/// Time between two writes to disk.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// Orders waiting for a flush, about 1 KiB each.
const MAX_PENDING: usize = 1 << 16;

#[cfg(test)]
mod tests;
