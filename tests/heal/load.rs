//! Clients that read, write and delete continuously.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::sync::{RwLock, watch};
use tokio::task::JoinSet;
use uplink::{DownloadOptions, Error, ErrorKind, ListItem, ListOptions, Project, Transport};

use super::faults::Fault;
use super::model::Key;
use super::network::{BUCKET, FaultyNetwork};
use super::random::Random;

const WRITERS: usize = 2;
const READERS: usize = 2;
/// Inline, one segment with one and with many stripes, three segments.
const SIZES: [u64; 4] = [40, 3_000, 30_000, 300_000];
/// Bytes of a range.
const RANGE: usize = 5_000;
/// Pause of each client between operations, which limits the amount of garbage.
const PAUSE: Duration = Duration::from_millis(100);

/// The running clients.
pub(crate) struct Load {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

struct Shared {
    keys: Vec<Vec<Key>>,
    phase: Mutex<Phase>,
    tally: Mutex<Tally>,
    /// Held for reading by writers, for writing by [`Load::verify`].
    writers_paused: RwLock<()>,
}

/// The failures that clients may see at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Phase {
    /// Number of phase changes.
    number: u64,
    /// No operation may fail.
    calm: bool,
    /// No read may fail.
    reads_work: bool,
    /// Timed-out calls may writers_paused be executed later.
    late: bool,
}

/// Counts of operations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) done: u64,
    /// By operation and kind of failure.
    pub(crate) failed: BTreeMap<(&'static str, String), u64>,
}

/// The result of a client's operation.
type Outcome = Result<(), Error>;

impl Load {
    /// Starts the clients. They may fail until [`calm`](Self::calm) is called.
    pub(crate) async fn start(network: &FaultyNetwork, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            keys: (0..WRITERS).map(Key::of).collect(),
            phase: Mutex::new(Phase { number: 0, calm: false, reads_work: false, late: false }),
            tally: Mutex::default(),
            writers_paused: RwLock::default(),
        });
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for number in 0..WRITERS + READERS {
            let transport = if number % 2 == 0 { Transport::Negotiated } else { Transport::Drpc };
            let project = network.client(transport);
            let shared = Arc::clone(&shared);
            let random = Random(seed ^ (number as u64 + 1) << 40);
            let stopping = stopping.clone();
            tasks.spawn(async move {
                if number < WRITERS {
                    shared.write(number, &project, random, stopping).await;
                } else {
                    shared.read(&project, random, stopping).await;
                }
            });
        }
        Self { shared, stop, tasks }
    }

    /// From now on no operation may fail.
    pub(crate) fn calm(&self) {
        self.shared.change(true, true, false);
    }

    /// From now on a fault affects the clients.
    pub(crate) fn disturb(&self, fault: &Fault) {
        self.shared.change(false, fault.is_tolerated(), fault.delays_calls());
    }

    /// Returns the counts since the last call.
    pub(crate) fn take_tally(&self) -> Tally {
        std::mem::take(&mut self.shared.tally.lock().expect("no panic"))
    }

    /// Compares all objects with the model while no writer is active.
    pub(crate) async fn verify(&self, network: &FaultyNetwork) {
        let _paused = self.shared.writers_paused.write().await;
        let project = network.client(Transport::Negotiated);
        let mut there = BTreeSet::new();
        for key in self.shared.keys.iter().flatten() {
            let look = key.look();
            let found = match download(&project, &key.name, DownloadOptions::new()).await {
                Err(error) if error.kind() == ErrorKind::ObjectNotFound => None,
                found => Some(found.unwrap_or_else(|error| panic!("{}: {error:?}", key.name))),
            };
            look.check(found.as_deref());
            key.reduce_to(found.as_deref());
            there.extend(found.map(|_| key.name.clone()));
        }
        let options = ListOptions::new().recursive(true);
        let mut list = project.list_objects_with(BUCKET, &options).expect("a list");
        let mut listed = BTreeSet::new();
        while let Some(item) = list.try_next().await.expect("a page") {
            let ListItem::Object(object) = item else { panic!("a prefix in a recursive list") };
            listed.insert(object.key.to_text().into_owned());
        }
        listed.retain(|key| !key.starts_with("probe"));
        assert_eq!(listed, there, "the list and the objects differ");
    }

    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a client does not panic");
        }
    }
}

impl Shared {
    fn change(&self, calm: bool, reads_work: bool, late: bool) {
        let mut phase = self.phase();
        // Late calls stay possible until everything was compared.
        phase.late = late || (phase.late && !calm);
        (phase.number, phase.calm, phase.reads_work) = (phase.number + 1, calm, reads_work);
        *self.phase.lock().expect("no panic") = phase;
    }

    fn phase(&self) -> Phase {
        *self.phase.lock().expect("no panic")
    }

    /// Records an operation that started in a phase, and panics if its failure was not allowed.
    fn record(&self, what: &'static str, key: &Key, begun: Phase, outcome: Outcome) {
        let mut tally = self.tally.lock().expect("no panic");
        let Err(error) = outcome else {
            tally.done += 1;
            return;
        };
        let undisturbed = begun.calm && self.phase() == begun;
        let reading = what == "read" && begun.reads_work && self.phase().reads_work;
        assert!(
            !undisturbed && !reading,
            "{what} {}, without a fault that explains it: {error:?}",
            key.name
        );
        assert!(
            matches!(
                error.kind(),
                ErrorKind::CommitUnknown
                    | ErrorKind::Network
                    | ErrorKind::NotEnoughNodes
                    | ErrorKind::OutcomeUnknown
                    | ErrorKind::SatelliteOutOfSpace
                    | ErrorKind::Stalled
            ),
            "{what} {}: {error:?}",
            key.name
        );
        if std::env::var_os("UPLINK_HEAL_VERBOSE").is_some() {
            println!("    {what} {}: {error}", key.name);
        }
        *tally.failed.entry((what, format!("{:?}", error.kind()))).or_default() += 1;
    }

    async fn write(
        &self,
        owner: usize,
        project: &Project,
        mut random: Random,
        stop: watch::Receiver<bool>,
    ) {
        while !*stop.borrow() {
            {
                let _active = self.writers_paused.read().await;
                let key = &self.keys[owner][random.index(self.keys[owner].len())];
                let size = (random.below(6) > 0).then(|| SIZES[random.index(SIZES.len())]);
                let begun = self.phase();
                let operation = key.begin(size);
                let outcome = match size {
                    Some(size) => {
                        let bytes = super::model::content(&key.name, operation.number, size);
                        upload(project, &key.name, &bytes).await
                    }
                    None => project.delete_object(BUCKET, &key.name).await.map(drop),
                };
                if outcome.is_ok() {
                    key.acknowledge(self.phase().late);
                }
                self.record(if size.is_some() { "write" } else { "delete" }, key, begun, outcome);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn read(&self, project: &Project, mut random: Random, stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let keys = &self.keys[random.index(self.keys.len())];
            let key = &keys[random.index(keys.len())];
            let begun = self.phase();
            let look = key.look();
            let start = random.below(3) * 20_000;
            let options = match start {
                0 => DownloadOptions::new(),
                _ => DownloadOptions::new().range(start..start + RANGE as u64),
            };
            let read = download(project, &key.name, options).await;
            let found = read.map(|found| match start {
                0 => look.check(Some(&found)),
                _ => look.check_range(start, RANGE, &found),
            });
            let outcome = found.or_else(|error| {
                match error.kind() {
                    ErrorKind::ObjectNotFound => look.check(None),
                    ErrorKind::RangeInvalid => look.check_short(start),
                    ErrorKind::ObjectChanged => look.check_changed(),
                    _ => return Err(error),
                }
                Ok(())
            });
            self.record("read", key, begun, outcome);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn upload(project: &Project, key: &str, bytes: &[u8]) -> Outcome {
    let mut upload = project.upload_object(BUCKET, key)?;
    upload.write(bytes).await?;
    upload.commit().await.map(drop)
}

async fn download(
    project: &Project,
    key: &str,
    options: DownloadOptions,
) -> Result<Vec<u8>, Error> {
    project
        .download_object_with(BUCKET, key, &options)
        .await?
        .read_to_end(u64::MAX)
        .await
        .map(Vec::from)
}
