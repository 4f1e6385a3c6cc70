//! Used serial numbers of order limits, so that no limit is used twice.
//!
//! ```text
//! DATA/serials/state                   whether the last shutdown was clean, see [`state`]
//! DATA/serials/<satellite>/<n>.log     used serial numbers, append-only, see [`log`]
//! ```
//!
//! A serial number is written before its request is served, so that a killed process loses none.
//! Files are synced every [`SYNC_INTERVAL`]; a power loss loses at most the records since then.
//! Each sync writes a watermark [`LEAD_SECONDS`] after the newest limit seen. The first limit
//! created after the watermark waits for another sync. So after an unclean shutdown the last
//! watermark tells which limits may have been used and lost, by the satellite's clock. These limits
//! are rejected.
//!
//! The start time of the process is never used. A serial number is retained for [`RETENTION`] of
//! running time after its use, and until its limit is older than that by the node's clock. So a
//! step of either clock by an hour does not allow a limit to be used twice.

mod log;
mod state;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::{Log, Record, TimeRange};
use tokio::time::Instant;
use uplink_core::id::{NodeId, SerialNumber};
use uplink_server::Clock;
use uplink_server::workers::{Schedule, Work};

/// Used serial numbers of all satellites. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Serials(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    clock: Clock,
    /// Lock order: a satellite's log first, then this.
    satellites: Mutex<HashMap<NodeId, SatelliteSerials>>,
    logs: Mutex<HashMap<NodeId, Arc<Mutex<Log>>>>,
}

/// Used serial numbers of one satellite.
#[derive(Debug, Default)]
struct SatelliteSerials {
    /// Oldest first. New serial numbers are added to the last one.
    generations: Vec<Generation>,
    /// Records not written to a file yet.
    pending: Vec<Record>,
    /// The last durable watermark.
    watermark: Option<i64>,
    /// Creation time of the last used limit.
    latest: i64,
}

/// Serial numbers that are evicted together.
#[derive(Debug)]
struct Generation {
    used: HashSet<SerialNumber>,
    /// Limits created in these ranges are rejected: they may have been used before a power loss.
    lost: Vec<TimeRange>,
    files: Vec<PathBuf>,
    /// Creation time of the newest limit.
    newest: i64,
    started: Instant,
    last_use: Instant,
}

/// Why a serial number cannot be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SerialError {
    /// It may have been used shortly before a power loss.
    Lost,
    /// The number of serial numbers in memory is at its limit.
    TooMany,
    /// It was used before.
    Used,
}

impl Serials {
    /// Loads the serial numbers that earlier processes wrote below `data`.
    pub(crate) fn open(data: &Path, clock: Clock) -> io::Result<Self> {
        Self::open_on(data, clock, state::boot_id().as_deref())
    }

    /// Like [`open`](Self::open), with the boot id `boot`.
    fn open_on(data: &Path, clock: Clock, boot: Option<&str>) -> io::Result<Self> {
        let directory = data.join("serials");
        log::create_directory(&directory)?;
        let complete = state::is_complete(&directory, boot)?;
        let oldest = clock.unix_seconds().saturating_sub(RETENTION_ON_DISK_SECONDS);

        let mut satellites = HashMap::new();
        let mut logs = HashMap::new();
        for (satellite, path) in log::satellites(&directory)? {
            let contents = log::read(&path, oldest)?;
            let mut log = Log::new(path, contents.next_number);
            let mut generation = Generation::new(Instant::now());
            generation.newest = contents.newest;
            generation.used = contents.used;
            generation.lost = contents.lost;
            generation.files = contents.files;
            if let Some(watermark) = contents.watermark.filter(|_| !complete) {
                let lost =
                    TimeRange { from: watermark.saturating_sub(LOST_SECONDS), to: watermark };
                tracing::warn!(
                    %satellite,
                    "unclean shutdown: rejecting order limits created in the {LOST_SECONDS} s before"
                );
                log.append(&[Record::Lost(lost)])?;
                log.sync()?;
                generation.lost.push(lost);
                generation.newest = generation.newest.max(lost.to);
                generation.files.extend(log.path());
            }
            satellites.insert(satellite, SatelliteSerials::new(generation));
            logs.insert(satellite, Arc::new(Mutex::new(log)));
        }
        state::begin(&directory, boot)?;
        Ok(Self(Arc::new(Inner {
            directory,
            clock,
            satellites: Mutex::new(satellites),
            logs: Mutex::new(logs),
        })))
    }

    /// Claims the serial number of a limit that a satellite created in second `created`.
    ///
    /// Never blocks. The request must not be served before [`persist`](Self::persist).
    pub(crate) fn claim(
        &self,
        satellite: NodeId,
        serial: SerialNumber,
        created: i64,
    ) -> Result<(), SerialError> {
        let mut satellites = self.satellites();
        let total: usize = satellites.values().map(SatelliteSerials::len).sum();
        let serials = satellites.entry(satellite).or_default();
        if serials.is_lost(created) {
            return Err(SerialError::Lost);
        }
        if serials.generations.iter().any(|generation| generation.used.contains(&serial)) {
            return Err(SerialError::Used);
        }
        if total >= MAX_SERIALS {
            return Err(SerialError::TooMany);
        }
        serials.insert(serial, created, Instant::now());
        Ok(())
    }

    /// Writes all claimed serial numbers of a satellite, and syncs the file if the limit was
    /// created after the watermark. Blocks.
    ///
    /// A full disk does not reject requests: records that cannot be written stay in memory.
    ///
    /// # Errors
    /// Fails if the file system fails for another reason.
    pub(crate) fn persist(&self, satellite: NodeId, created: i64) -> io::Result<()> {
        let log = self.log(satellite);
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.write(satellite, &mut log).and_then(|()| {
            let watermark = self.satellites().get(&satellite).and_then(|serials| serials.watermark);
            if watermark.is_none_or(|watermark| created > watermark) {
                let watermark = created.saturating_add(LEAD_SECONDS);
                log.append(&[Record::Watermark(watermark)])?;
                log.sync()?;
                self.set_watermark(satellite, watermark, &log);
            }
            Ok(())
        });
        match outcome {
            Err(error) if is_full(&error) => {
                tracing::warn!(%satellite, "disk full: used serial numbers stay in memory");
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Syncs all files and marks them as complete.
    pub(crate) fn close(&self) -> io::Result<()> {
        self.maintain(Instant::now())?;
        state::end(&self.0.directory)
    }

    fn maintain(&self, now: Instant) -> io::Result<()> {
        let ids: Vec<NodeId> = self.satellites().keys().copied().collect();
        for satellite in ids {
            self.sync(satellite)?;
            let log = self.log(satellite);
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let wall = self.0.clock.unix_seconds();
            let mut satellites = self.satellites();
            let Some(serials) = satellites.get_mut(&satellite) else { continue };
            if serials.rotate(now) {
                log.rotate();
            }
            let files = serials.evict(now, wall);
            drop(satellites);
            log::remove(&files)?;
        }
        Ok(())
    }

    /// Writes and syncs a satellite's records with a watermark ahead of the latest limit. The lock
    /// is released during the sync, so that requests are not blocked.
    fn sync(&self, satellite: NodeId) -> io::Result<()> {
        let log = self.log(satellite);
        let mut locked = log.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(satellite, &mut locked)?;
        if !locked.is_dirty() {
            return Ok(());
        }
        let latest = self.satellites().get(&satellite).map_or(0, |serials| serials.latest);
        let watermark = latest.saturating_add(LEAD_SECONDS);
        locked.append(&[Record::Watermark(watermark)])?;
        let file = locked.begin_sync();
        drop(locked);

        let synced = file.map_or(Ok(()), |file| file.sync_data());
        let mut locked = log.lock().unwrap_or_else(PoisonError::into_inner);
        match &synced {
            Ok(()) => self.set_watermark(satellite, watermark, &locked),
            Err(_) => locked.sync_failed(),
        }
        synced
    }

    /// Writes pending records to the file. Because the log is locked, serial numbers that a
    /// concurrent request claimed are written when this returns.
    fn write(&self, satellite: NodeId, log: &mut Log) -> io::Result<()> {
        let mut satellites = self.satellites();
        let Some(serials) = satellites.get_mut(&satellite) else { return Ok(()) };
        let records = std::mem::take(&mut serials.pending);
        drop(satellites);
        if records.is_empty() {
            return Ok(());
        }

        let outcome = log.append(&records);
        let mut satellites = self.satellites();
        let Some(serials) = satellites.get_mut(&satellite) else { return outcome };
        match &outcome {
            Ok(()) => serials.add_file(log.path()),
            Err(_) => drop(serials.pending.splice(0..0, records)),
        }
        outcome
    }

    /// Records a durable watermark.
    fn set_watermark(&self, satellite: NodeId, watermark: i64, log: &Log) {
        if let Some(serials) = self.satellites().get_mut(&satellite) {
            serials.add_file(log.path());
            serials.watermark = Some(watermark);
        }
    }

    fn log(&self, satellite: NodeId) -> Arc<Mutex<Log>> {
        let mut logs = self.0.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let log = logs.entry(satellite).or_insert_with(|| {
            let path = self.0.directory.join(satellite.to_string());
            Arc::new(Mutex::new(Log::new(path, 0)))
        });
        Arc::clone(log)
    }

    fn satellites(&self) -> MutexGuard<'_, HashMap<NodeId, SatelliteSerials>> {
        self.0.satellites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Syncs the files and evicts old serial numbers.
#[derive(Debug)]
pub(crate) struct SyncWork(pub(crate) Serials);

impl SyncWork {
    pub(crate) const SCHEDULE: Schedule = Schedule::every(SYNC_INTERVAL).delayed();
}

impl Work for SyncWork {
    type Error = io::Error;

    async fn run(&mut self) -> io::Result<()> {
        let serials = self.0.clone();
        tokio::task::spawn_blocking(move || serials.maintain(Instant::now())).await?
    }

    fn failed(&self, error: &io::Error, _: Duration) {
        tracing::error!(%error, "cannot write used serial numbers");
    }
}

impl SatelliteSerials {
    fn new(generation: Generation) -> Self {
        Self { generations: vec![generation], ..Self::default() }
    }

    fn len(&self) -> usize {
        self.generations.iter().map(|generation| generation.used.len()).sum()
    }

    fn is_lost(&self, created: i64) -> bool {
        let mut ranges = self.generations.iter().flat_map(|generation| &generation.lost);
        ranges.any(|range| (range.from..=range.to).contains(&created))
    }

    fn insert(&mut self, serial: SerialNumber, created: i64, now: Instant) {
        if self.generations.is_empty() {
            self.generations.push(Generation::new(now));
        }
        if let Some(generation) = self.generations.last_mut() {
            generation.used.insert(serial);
            generation.newest = generation.newest.max(created);
            generation.last_use = now;
        }
        self.pending.push(Record::Used(serial, created));
        self.latest = created;
    }

    /// Adds a file that holds records of the last generation.
    fn add_file(&mut self, file: Option<PathBuf>) {
        let Some(generation) = self.generations.last_mut() else { return };
        if let Some(file) = file.filter(|file| !generation.files.contains(file)) {
            generation.files.push(file);
        }
    }

    /// Starts a new generation if the last one is old enough and completely written. Returns
    /// whether it did.
    fn rotate(&mut self, now: Instant) -> bool {
        let due = self.generations.last().is_some_and(|generation| {
            !generation.files.is_empty()
                && now.saturating_duration_since(generation.started) >= ROTATION_INTERVAL
        });
        if due && self.pending.is_empty() {
            self.generations.push(Generation::new(now));
        }
        due && self.pending.is_empty()
    }

    /// Evicts old generations, except the last one, and returns their files.
    fn evict(&mut self, now: Instant, wall: i64) -> Vec<PathBuf> {
        let last = self.generations.len().saturating_sub(1);
        let mut files = Vec::new();
        let mut index = 0usize;
        self.generations.retain_mut(|generation| {
            let unused = now.saturating_duration_since(generation.last_use) >= RETENTION;
            let old = generation.newest.saturating_add(RETENTION_SECONDS) < wall;
            let keep = index == last || !(unused && old);
            index = index.saturating_add(1);
            if !keep {
                files.append(&mut generation.files);
            }
            keep
        });
        files
    }
}

impl Generation {
    fn new(now: Instant) -> Self {
        Self {
            used: HashSet::new(),
            lost: Vec::new(),
            files: Vec::new(),
            newest: i64::MIN,
            started: now,
            last_use: now,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Interval between syncs: the maximum that a power loss loses.
const SYNC_INTERVAL: Duration = Duration::from_secs(5);
/// Distance of a watermark from the newest limit: long enough that the next regular sync finishes
/// before a busy node reaches it.
const LEAD_SECONDS: i64 = 15;
/// After an unclean shutdown, limits created in this time before the last watermark are rejected:
/// the lead, the sync interval, and a minute between the creation of a limit and its use.
const LOST_SECONDS: i64 = LEAD_SECONDS + 5 + 60;
/// A limit can be used from an hour before to an hour after its creation by this node's clock.
const RETENTION: Duration = Duration::from_secs(2 * 3600);
const RETENTION_SECONDS: i64 = 2 * 3600;
/// At start only the node's clock is available: the retention plus a clock step of one day.
const RETENTION_ON_DISK_SECONDS: i64 = 26 * 3600;
const ROTATION_INTERVAL: Duration = Duration::from_secs(3600);
/// Maximum serial numbers in memory, about 30 bytes each.
const MAX_SERIALS: usize = 1 << 23;

#[cfg(test)]
mod tests;
