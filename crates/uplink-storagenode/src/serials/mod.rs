//! Serial numbers of order limits that were used, so that none is used twice.
//!
//! ```text
//! DATA/serials/state                   whether the last process stopped in order, see [`state`]
//! DATA/serials/<satellite>/<n>.log     used serial numbers, append-only, see [`log`]
//! ```
//!
//! A serial number is written before its request is served, so that a killed process forgets none.
//! Files are synced every [`SYNC_EVERY`]; a loss of power loses at most what was used since. Each
//! sync leaves a mark: limits made up to [`LEAD`] after the newest one seen are covered by it, and
//! the first limit beyond waits for another sync. So after an unclean stop the last mark tells
//! which limits may have been used and forgotten, by the satellite's clock, and they are refused.
//!
//! Nothing is compared with the time at which the process started. A serial number is kept for
//! [`KEEP`] of running time after its use, and until its limit is older than that by the node's
//! clock: a step of either clock by an hour opens no window.

mod log;
mod state;

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use uplink_core::id::{NodeId, SerialNumber};

use crate::clock::Clock;
use log::{Log, Record, Window};

/// Used serial numbers of all satellites. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Serials(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    clock: Clock,
    /// Taken after a satellite's log, never before it.
    memory: Mutex<HashMap<NodeId, Memory>>,
    logs: Mutex<HashMap<NodeId, Arc<Mutex<Log>>>>,
}

/// What is known of one satellite's limits.
#[derive(Debug, Default)]
struct Memory {
    /// Oldest first; the last one grows.
    generations: Vec<Generation>,
    /// Records that are in no file yet.
    pending: Vec<Record>,
    /// Second of the newest limit that the last durable mark covers.
    covered: Option<i64>,
    /// Second in which the limit used last was made.
    latest: i64,
}

/// Serial numbers that are forgotten together.
#[derive(Debug)]
struct Generation {
    used: HashSet<SerialNumber>,
    /// Limits of these times are refused: they may have been used before a loss of power.
    lost: Vec<Window>,
    files: Vec<PathBuf>,
    /// Second in which the newest of the limits was made.
    newest: i64,
    began: Instant,
    last_use: Instant,
}

/// Why a serial number cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SerialRefusal {
    /// It may have been taken shortly before a loss of power.
    Lost,
    /// More are remembered than memory allows.
    TooMany,
    /// It was taken before.
    Used,
}

impl Serials {
    /// Reads what earlier processes remembered below `data`.
    pub(crate) fn open(data: &Path, clock: Clock) -> io::Result<Self> {
        Self::open_on(data, clock, state::boot_id().as_deref())
    }

    /// As [`open`](Self::open), on the system start that `boot` names.
    fn open_on(data: &Path, clock: Clock, boot: Option<&str>) -> io::Result<Self> {
        let directory = data.join("serials");
        log::create_directory(&directory)?;
        let whole = state::is_whole(&directory, boot)?;
        let oldest = clock.unix_seconds().saturating_sub(KEEP_ON_DISK_SECONDS);
        let (mut memory, mut logs) = (HashMap::new(), HashMap::new());
        for (satellite, path) in log::satellites(&directory)? {
            let contents = log::read(&path, oldest)?;
            let mut log = Log::new(path, contents.next_number);
            let mut generation = Generation::new(Instant::now());
            generation.newest = contents.newest;
            generation.used = contents.used;
            generation.lost = contents.lost;
            generation.files = contents.files;
            if let Some(covered) = contents.covered.filter(|_| !whole) {
                let window = Window { from: covered.saturating_sub(LOST_SECONDS), to: covered };
                tracing::warn!(
                    %satellite,
                    "the machine stopped without warning: order limits made in the {LOST_SECONDS} s \
                     before are refused"
                );
                log.append(&[Record::Lost(window)])?;
                log.sync()?;
                generation.lost.push(window);
                generation.newest = generation.newest.max(window.to);
                generation.files.extend(log.path());
            }
            memory.insert(satellite, Memory::of(generation));
            logs.insert(satellite, Arc::new(Mutex::new(log)));
        }
        state::begin(&directory, boot)?;
        let (memory, logs) = (Mutex::new(memory), Mutex::new(logs));
        Ok(Self(Arc::new(Inner { directory, clock, memory, logs })))
    }

    /// Takes the serial number of a limit that a satellite made in second `created`. Never blocks;
    /// the request must not be served before [`remember`](Self::remember).
    pub(crate) fn take(
        &self,
        satellite: NodeId,
        serial: SerialNumber,
        created: i64,
    ) -> Result<(), SerialRefusal> {
        let mut memories = self.memory();
        let total: usize = memories.values().map(Memory::len).sum();
        let memory = memories.entry(satellite).or_default();
        if memory.lost(created) {
            return Err(SerialRefusal::Lost);
        }
        if memory.generations.iter().any(|generation| generation.used.contains(&serial)) {
            return Err(SerialRefusal::Used);
        }
        if total >= MAX_SERIALS {
            return Err(SerialRefusal::TooMany);
        }
        memory.insert(serial, created, Instant::now());
        Ok(())
    }

    /// Writes the serial numbers of a satellite that were taken so far; blocks. When the limit is
    /// made later than the last mark covers, the files are synced first.
    ///
    /// A full disk does not refuse requests: what cannot be written waits in memory.
    ///
    /// # Errors
    /// The file system fails otherwise.
    pub(crate) fn remember(&self, satellite: NodeId, created: i64) -> io::Result<()> {
        let log = self.log(satellite);
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.write(satellite, &mut log).and_then(|()| {
            let covered = self.memory().get(&satellite).and_then(|memory| memory.covered);
            if covered.is_none_or(|covered| created > covered) {
                let covered = created.saturating_add(LEAD_SECONDS);
                log.append(&[Record::Mark(covered)])?;
                log.sync()?;
                self.cover(satellite, covered, &log);
            }
            Ok(())
        });
        match outcome {
            Err(error) if is_full(&error) => {
                tracing::warn!(%satellite, "the disk is full: used serial numbers wait in memory");
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Syncs the files and forgets what is too old, for ever.
    pub(crate) async fn run(self) {
        loop {
            sleep(SYNC_EVERY).await;
            let serials = self.clone();
            let done = tokio::task::spawn_blocking(move || serials.tend(Instant::now()));
            if let Ok(Err(error)) = done.await {
                tracing::error!(%error, "used serial numbers cannot be written");
            }
        }
    }

    /// Syncs everything and notes that nothing is missing.
    pub(crate) fn close(&self) -> io::Result<()> {
        self.tend(Instant::now())?;
        state::end(&self.0.directory)
    }

    fn tend(&self, now: Instant) -> io::Result<()> {
        let satellites: Vec<NodeId> = self.memory().keys().copied().collect();
        for satellite in satellites {
            self.sync(satellite)?;
            let log = self.log(satellite);
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let wall = self.0.clock.unix_seconds();
            let mut memories = self.memory();
            let Some(memory) = memories.get_mut(&satellite) else { continue };
            if memory.rotate(now) {
                log.rotate();
            }
            let files = memory.forget(now, wall);
            drop(memories);
            log::remove(&files)?;
        }
        Ok(())
    }

    /// Writes and syncs what a satellite's limits left, with a mark that covers what comes next.
    /// Requests go on meanwhile.
    fn sync(&self, satellite: NodeId) -> io::Result<()> {
        let log = self.log(satellite);
        let mut locked = log.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(satellite, &mut locked)?;
        if !locked.is_dirty() {
            return Ok(());
        }
        let latest = self.memory().get(&satellite).map_or(0, |memory| memory.latest);
        let covered = latest.saturating_add(LEAD_SECONDS);
        locked.append(&[Record::Mark(covered)])?;
        let file = locked.begin_sync();
        drop(locked);
        let synced = file.map_or(Ok(()), |file| file.sync_data());
        let mut locked = log.lock().unwrap_or_else(PoisonError::into_inner);
        match &synced {
            Ok(()) => self.cover(satellite, covered, &locked),
            Err(_) => locked.sync_failed(),
        }
        synced
    }

    /// Moves pending records to the file. The log is locked, so that what another request took is
    /// written when this returns.
    fn write(&self, satellite: NodeId, log: &mut Log) -> io::Result<()> {
        let mut memories = self.memory();
        let Some(memory) = memories.get_mut(&satellite) else { return Ok(()) };
        let records = std::mem::take(&mut memory.pending);
        drop(memories);
        if records.is_empty() {
            return Ok(());
        }
        let outcome = log.append(&records);
        let mut memories = self.memory();
        let Some(memory) = memories.get_mut(&satellite) else { return outcome };
        match &outcome {
            Ok(()) => memory.is_in(log.path()),
            Err(_) => drop(memory.pending.splice(0..0, records)),
        }
        outcome
    }

    /// Notes that a mark is durable.
    fn cover(&self, satellite: NodeId, covered: i64, log: &Log) {
        if let Some(memory) = self.memory().get_mut(&satellite) {
            memory.is_in(log.path());
            memory.covered = Some(covered);
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

    fn memory(&self) -> MutexGuard<'_, HashMap<NodeId, Memory>> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn of(generation: Generation) -> Self {
        Self { generations: vec![generation], ..Self::default() }
    }

    fn len(&self) -> usize {
        self.generations.iter().map(|generation| generation.used.len()).sum()
    }

    fn lost(&self, created: i64) -> bool {
        let mut windows = self.generations.iter().flat_map(|generation| &generation.lost);
        windows.any(|window| (window.from..=window.to).contains(&created))
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

    /// Notes that the last generation has records in a file.
    fn is_in(&mut self, file: Option<PathBuf>) {
        let Some(generation) = self.generations.last_mut() else { return };
        if let Some(file) = file.filter(|file| !generation.files.contains(file)) {
            generation.files.push(file);
        }
    }

    /// Begins a generation when the last one is old enough and completely in its files.
    fn rotate(&mut self, now: Instant) -> bool {
        let due = self.generations.last().is_some_and(|generation| {
            !generation.files.is_empty()
                && now.saturating_duration_since(generation.began) >= ROTATE_AFTER
        });
        if due && self.pending.is_empty() {
            self.generations.push(Generation::new(now));
        }
        due && self.pending.is_empty()
    }

    /// Forgets what is too old, but for the last generation; returns the files it was in.
    fn forget(&mut self, now: Instant, wall: i64) -> Vec<PathBuf> {
        let last = self.generations.len().saturating_sub(1);
        let (mut files, mut index) = (Vec::new(), 0usize);
        self.generations.retain_mut(|generation| {
            let unused = now.saturating_duration_since(generation.last_use) >= KEEP;
            let old = generation.newest.saturating_add(KEEP_SECONDS) < wall;
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
            began: now,
            last_use: now,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Most that a loss of power loses.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// Seconds beyond the newest limit that a mark covers: long enough for the next regular sync to
/// end before a busy node needs its mark.
const LEAD_SECONDS: i64 = 15;
/// Limits made in these seconds up to the end of the last mark are refused after an unclean stop:
/// the lead, the time between two syncs, and a minute between the making of a limit and its use.
const LOST_SECONDS: i64 = LEAD_SECONDS + 5 + 60;
/// A limit can be used from an hour before to an hour after its making by this node's clock.
const KEEP: Duration = Duration::from_secs(2 * 3600);
const KEEP_SECONDS: i64 = 2 * 3600;
/// At a start, the node's clock alone decides what is too old: two hours after a step of a day.
const KEEP_ON_DISK_SECONDS: i64 = 26 * 3600;
const ROTATE_AFTER: Duration = Duration::from_secs(3600);
/// About 30 bytes each.
const MAX_SERIALS: usize = 1 << 23;

#[cfg(test)]
mod tests;
