//! Storage of orders until they are settled with the satellite: one log per satellite and hour.
//!
//! ```text
//! DATA/orders/<satellite>/<hours since 1970>.log        orders are still appended
//!                                          .closed      complete, ready for settlement
//!                                          .rejected    rejected by the satellite, kept as
//! evidence record: length of the body (4 bytes, big-endian) | body | first 4 bytes of its BLAKE3
//! hash
//! ```
//!
//! The body is a settlement request of the network: field 1 is the order limit, field 2 the largest
//! order, both as received. A limit is used by one request, which writes one record. The last
//! record of a file may be torn; the next writer truncates it. A crash may lose the orders of the
//! last [`FLUSH_INTERVAL`]. Pieces never depend on them.
//!
//! Limits are accepted for an hour after their creation. So an hour is closed once it and the next
//! hour are over, and no request with a limit of that hour is in flight.

mod log;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::{Notify, mpsc};
use uplink_core::id::NodeId;
use uplink_rpc::r#gen::orders::SettlementRequest;
use uplink_rpc::raw;
use uplink_rpc::time::{StepGuard, timestamp};
use uplink_server::Clock;
use uplink_server::workers::{Schedule, Work};

/// Buffers orders in memory until the next flush, and stores them in files until they are settled.
#[derive(Debug)]
pub(crate) struct Settlement {
    directory: PathBuf,
    clock: Clock,
    /// Prevents a clock step from closing an hour early.
    guard: StepGuard,
    pending: Mutex<Pending>,
    half_full: Notify,
    /// Also serializes flushes.
    logs: Mutex<Logs>,
}

#[derive(Debug, Default)]
struct Pending {
    records: Vec<Record>,
    /// Number of requests in flight, by the hour of their limits.
    in_flight: BTreeMap<i64, usize>,
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
    /// Logs known to have no torn record, because this process wrote them.
    intact: HashSet<PathBuf>,
    /// The logs of all hours before this one have been renamed.
    closed: i64,
}

impl Settlement {
    pub(crate) fn new(data: &Path, clock: Clock) -> Self {
        Self {
            directory: data.join("orders"),
            clock,
            guard: StepGuard::default(),
            pending: Mutex::default(),
            half_full: Notify::new(),
            logs: Mutex::default(),
        }
    }

    /// Registers a request with a limit created in second `created`. Its hour stays open until
    /// [`end`](Self::end).
    pub(crate) fn begin(&self, created: i64) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let count = pending.in_flight.entry(hour_of(created)).or_default();
        *count = count.saturating_add(1);
    }

    /// Ends a request registered by [`begin`](Self::begin) and buffers its order limit and largest
    /// order, if any. Never blocks.
    pub(crate) fn end(&self, satellite: NodeId, created: i64, pair: Option<(Bytes, Bytes)>) {
        let hour = hour_of(created);
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pending.in_flight.get_mut(&hour) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                pending.in_flight.remove(&hour);
            }
        }

        let Some((limit, order)) = pair else { return };
        if hour < pending.closed {
            tracing::warn!(%satellite, hour, "dropped an order: its hour is already closed");
        } else if pending.records.len() >= MAX_PENDING {
            tracing::warn!("dropped an order: orders arrive faster than they can be written");
        } else {
            pending.records.push(Record::new(satellite, hour, limit, order));
            // Equality, so that records retained by a full disk do not notify again.
            if pending.records.len() == MAX_PENDING / 2 {
                self.half_full.notify_one();
            }
        }
    }

    /// Writes and syncs pending orders, and closes the hours that are over.
    ///
    /// Failures are logged. Orders that cannot be written stay pending, and their hours stay open.
    pub(crate) async fn flush(self: Arc<Self>) {
        if let Err(error) = self.try_flush().await {
            log_failure(&error);
        }
    }

    async fn try_flush(self: Arc<Self>) -> io::Result<()> {
        tokio::task::spawn_blocking(move || self.write()).await?
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

    /// Takes the pending records, and returns the hour before which no more will arrive.
    fn take(&self) -> (Vec<Record>, i64) {
        let now = self.guard.read(self.clock.now(), self.clock.steady());
        let over = hour_of(timestamp(now).seconds).saturating_sub(1);
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let first_open = pending.in_flight.keys().next().copied().unwrap_or(i64::MAX);
        pending.closed = pending.closed.max(over.min(first_open));
        (std::mem::take(&mut pending.records), pending.closed)
    }

    /// Returns unwritten records to the buffer, up to its capacity.
    fn put_back(&self, mut records: Vec<Record>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let available = MAX_PENDING.saturating_sub(pending.records.len());
        if let Some(lost) = records.len().checked_sub(available).filter(|lost| *lost > 0) {
            tracing::warn!(lost, "dropped orders: they cannot be written and the buffer is full");
        }
        records.truncate(available);
        pending.records.append(&mut records);
    }

    /// Returns the files of the closed hours of a satellite, oldest first.
    pub(crate) fn closed(&self, satellite: NodeId) -> io::Result<Vec<PathBuf>> {
        let mut closed = hours(&self.directory.join(satellite.to_string()), CLOSED)?;
        closed.sort_unstable();
        Ok(closed.into_iter().map(|(_, path)| path).collect())
    }
}

/// Writes orders regularly, and earlier when the buffer is half full.
#[derive(Debug)]
pub(crate) struct FlushWork(pub(crate) Arc<Settlement>);

impl FlushWork {
    pub(crate) const SCHEDULE: Schedule = Schedule::every(FLUSH_INTERVAL).delayed();
}

impl Work for FlushWork {
    type Error = io::Error;

    async fn run(&mut self) -> io::Result<()> {
        Arc::clone(&self.0).try_flush().await
    }

    async fn due(&mut self) {
        self.0.half_full.notified().await;
    }

    fn failed(&self, error: &io::Error, _: Duration) {
        log_failure(error);
    }
}

fn log_failure(error: &io::Error) {
    tracing::error!(%error, "cannot write orders");
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
    /// Writes records to their logs. Returns the records that cannot be written, and the first
    /// error.
    fn write(&mut self, directory: &Path, records: Vec<Record>) -> (Vec<Record>, io::Result<()>) {
        let mut logs: BTreeMap<PathBuf, Vec<Record>> = BTreeMap::new();
        for record in records {
            let satellite = directory.join(record.satellite.to_string());
            logs.entry(satellite.join(format!("{}.{OPEN}", record.hour))).or_default().push(record);
        }

        let mut unwritten = Vec::new();
        let mut outcome = Ok(());
        for (path, records) in logs {
            let mut bytes = Vec::new();
            records.iter().for_each(|record| log::push(&mut bytes, &record.body));
            match log::append(&path, &bytes, self.intact.contains(&path)) {
                Ok(()) => {
                    self.intact.insert(path);
                }
                Err(error) => {
                    self.intact.remove(&path);
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
                // After the clock stepped back, the hour may already be closed: settle that first.
                if !closed.exists() {
                    fs::rename(&path, closed)?;
                    self.intact.remove(&path);
                }
            }
            File::open(&satellite)?.sync_all()?;
        }
        Ok(())
    }
}

/// Sends the records of a file until the last one, or until the receiver is dropped.
///
/// # Errors
///
/// Fails if the file cannot be read to its end. The sender is then returned, because dropping it
/// would signal that all records were sent.
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

/// Removes an accepted file, or renames a rejected one.
pub(crate) fn settled(path: &Path, accepted: bool) -> io::Result<()> {
    if accepted { fs::remove_file(path) } else { fs::rename(path, path.with_extension(REJECTED)) }
}

/// Returns the hours for which a satellite's directory has a file with this extension.
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
/// Interval between flushes to disk.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum orders waiting for a flush, about 1 KiB each.
const MAX_PENDING: usize = 1 << 16;

#[cfg(test)]
mod tests;
