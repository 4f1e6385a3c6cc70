//! Runs one operation under one or more mutations and checks it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;
use uplink::{ErrorKind, Project};
use uplink_rpc::status::{Code, Failure};
use uplink_testnet::Call;
use uplink_testnet::wire::{self, Field};

use super::checks::TransportKind;
use super::fields::paths_in;
use super::messages::{BATCH, rewrite};
use super::multiparts;
use super::mutation::{Answers, Donors, FULL, Mutation};
use super::operations::{
    EXECUTED, LISTED_KEYS, Operation, Setting, Verdict, perform, prepare, target, verify,
};
use super::report::Outcome;
use super::world::{BUCKET, Kind, Known, LISTED, World, content, known};
use crate::HEAP;

/// Time limit of every operation.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// Factor on the time of the same operation without a mutation, added to the limit.
const LOAD_FACTOR: u32 = 4;
/// Time limit of an operation without a mutation, on a busy machine too.
const HANG_TIMEOUT: Duration = Duration::from_secs(60);
/// Memory that a mutation may cost.
const MAX_MEMORY: usize = 64 << 20;
/// Classes of findings that depend on the load of the machine.
const SLOW: &str = "slow";
const MEMORY: &str = "memory";
/// Recorded responses that are kept per type.
const MAX_RECORDED: usize = 8;
/// Operations on one project before its connections are reopened.
const MAX_REUSES: usize = 30;

/// The test network, the recorded responses and the costs of unmodified runs.
pub(crate) struct Runner {
    pub(crate) world: World,
    donors: HashMap<Kind, Arc<Donors>>,
    clean: HashMap<Setting, Clean>,
    projects: HashMap<TransportKind, (Project, usize)>,
    /// Memory that a response of maximum size takes in this process, mostly in proxy and transport.
    full: usize,
}

/// The costs of an operation without mutations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clean {
    /// Types of the responses that it receives.
    pub(crate) answers: BTreeSet<String>,
    memory: usize,
}

/// A measured run of an operation.
struct Run {
    verdict: Verdict,
    time: Duration,
    memory: usize,
    panics: usize,
}

/// A status returned in place of a response.
#[derive(Clone, Debug)]
pub(crate) struct InjectedStatus {
    pub(crate) code: u64,
    pub(crate) text: String,
}

/// What the proxy injects.
#[derive(Clone, Debug)]
pub(crate) enum Injection {
    Mutations(Vec<Mutation>),
    Status(InjectedStatus),
}

impl Injection {
    fn fills_response(&self) -> bool {
        match self {
            Self::Mutations(mutations) => {
                mutations.iter().any(|mutation| mutation.kind.fills_response())
            }
            Self::Status(_) => false,
        }
    }

    /// Returns whether the satellite reports a refusal, which no query can prove or disprove: it would
    /// lie again. `Code::INTERNAL` and `Code::OUT_OF_RANGE` leave the outcome open.
    fn is_refusal(&self) -> bool {
        let open = [Code::INTERNAL, Code::OUT_OF_RANGE];
        matches!(self, Self::Status(status) if !open.contains(&Code(status.code)))
    }
}

impl Runner {
    /// Creates the objects and records responses about objects other than the ones that are read.
    pub(crate) async fn start() -> Self {
        count_panics();
        let world = World::start().await;
        let mut older = HashMap::new();
        let mut other = Answers::new();
        for key in LISTED_KEYS {
            world.put(LISTED, key, 1, &content(key, 1, 100)).await;
        }
        multiparts::begin_pending(&world.honest).await;
        for kind in Kind::ALL {
            let target = target(kind);
            let donor = known(&format!("donor-{kind:?}"), kind.size());
            let write = async |object: &Known, version| {
                kind.making().write(&world, &world.honest, object, &object.key, version).await;
            };
            write(&target, 1).await;
            older.insert(kind, responses_about(&world, &target.key).await);
            write(&target, 0).await;
            write(&donor, 0).await;
            for (name, answers) in responses_about(&world, &donor.key).await {
                other.entry(name).or_default().extend(answers);
            }
        }
        let clean = HashMap::new();
        let projects = HashMap::new();
        let mut runner = Self { world, donors: HashMap::new(), clean, projects, full: 0 };
        for setting in Setting::all() {
            let clean = runner.clean_run(setting, &mut other).await;
            runner.clean.insert(setting, clean);
        }
        let donors = |(kind, older_version)| {
            (kind, Arc::new(Donors { other_object: other.clone(), older_version }))
        };
        runner.full = runner.full_answer().await;
        runner.donors = older.into_iter().map(donors).collect();
        runner
    }

    /// Measures a response of maximum size that holds nothing that a client keeps.
    async fn full_answer(&mut self) -> usize {
        let unknown = wire::encode(&[Field::bytes(9999, vec![0; FULL])]);
        self.world.satellite.rewrite(move |call, answer| {
            answer.map(|answer| {
                rewrite(call, answer, &mut |name, answer| match name {
                    BATCH => [answer, unknown.clone()].concat().into(),
                    _ => answer,
                })
            })
        });
        let operation = Operation::Stat;
        let kind = Kind::Inline;
        let setting = Setting { operation, kind, transport: TransportKind::Grpc };
        let run = self.run(setting, true, HANG_TIMEOUT).await;
        assert_eq!(run.verdict, Verdict::Exact, "a large valid response");
        run.memory
    }

    /// Returns the settings whose operation receives a response of this type.
    pub(crate) fn settings_with(&self, answer: &str) -> Vec<Setting> {
        let all = Setting::all().into_iter();
        all.filter(|setting| self.clean[setting].answers.contains(answer)).collect()
    }

    /// Returns the types of all responses that any operation receives.
    pub(crate) fn answers(&self) -> BTreeSet<String> {
        self.clean.values().flat_map(|clean| clean.answers.iter().cloned()).collect()
    }

    /// Runs an operation without mutations and records its responses and memory.
    async fn clean_run(&mut self, setting: Setting, other: &mut Answers) -> Clean {
        let seen: Arc<Mutex<BTreeMap<String, Vec<Bytes>>>> = Arc::default();
        let recorder = Arc::clone(&seen);
        self.world.satellite.rewrite(move |call, answer| {
            let mut seen = recorder.lock().unwrap_or_else(PoisonError::into_inner);
            answer.map(|answer| {
                rewrite(
                    call,
                    break_first_node(setting.operation, call, answer),
                    &mut |name, answer| {
                        seen.entry(name.to_owned()).or_default().push(answer.clone());
                        answer
                    },
                )
            })
        });
        let run = self.run(setting, true, HANG_TIMEOUT).await;
        assert_eq!(run.verdict, Verdict::Exact, "{setting} without mutations");
        let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        let answers = seen.keys().cloned().collect();
        for (name, messages) in seen {
            // Of responses that are not about an object, keeps those of other runs.
            let known = other.entry(name).or_default();
            if known.len() < MAX_RECORDED {
                known.extend(messages);
            }
        }
        Clean { answers, memory: run.memory }
    }

    /// Runs an operation under mutations.
    pub(crate) async fn check(
        &mut self,
        setting: Setting,
        injection: &Injection,
    ) -> (Outcome, Duration, usize) {
        let first = self.attempt(setting, injection, false, TIME_LIMIT).await;
        let Outcome::Broken { class, what } = &first.0 else { return first };
        // The machine may be busy: then the operation is slow without mutations, too.
        self.world.satellite.rewrite(move |call, answer| {
            answer.map(|answer| break_first_node(setting.operation, call, answer))
        });
        let clean_time = self.run(setting, true, HANG_TIMEOUT).await.time;
        // New connections, no state from earlier mutations: what remains is this mutation's effect.
        let again =
            self.attempt(setting, injection, true, TIME_LIMIT + LOAD_FACTOR * clean_time).await;
        let broken = matches!(again.0, Outcome::Broken { .. });
        if broken || *class == SLOW || *class == MEMORY {
            return again;
        }
        let what = format!("{what} (only after other mutations)");
        (Outcome::Broken { class, what }, first.1, first.2)
    }

    async fn attempt(
        &mut self,
        setting: Setting,
        injection: &Injection,
        fresh: bool,
        time: Duration,
    ) -> (Outcome, Duration, usize) {
        let changed = Arc::new(AtomicBool::new(false));
        self.install(setting, injection.clone(), Arc::clone(&changed));
        let run = self.run(setting, fresh, time * 2).await;
        let clean = self.clean[&setting].memory;
        let full = if injection.fills_response() { self.full } else { 0 };
        let memory = run.memory.saturating_sub(clean + full);
        let broken = |class, what| Outcome::Broken { class, what };
        let outcome = match run.verdict {
            // The proxy let the satellite execute the change.
            Verdict::Wrong(what) if injection.is_refusal() && what.starts_with(EXECUTED) => {
                Outcome::Refused("a false refusal is believed".to_owned())
            }
            Verdict::Wrong(what) => broken("wrong", what),
            Verdict::TimedOut => broken(SLOW, format!("not finished within {:?}", time * 2)),
            _ if run.panics > 0 => broken("panic", "a task panicked".to_owned()),
            Verdict::Refused(ErrorKind::Internal, text) => broken("internal", text),
            Verdict::Refused(_, text) if text.len() > 4096 => {
                broken("long text", format!("an error text of {} bytes", text.len()))
            }
            _ if run.time > time => broken(SLOW, format!("{:?}", run.time)),
            _ if memory > MAX_MEMORY => broken(MEMORY, format!("{} MiB", memory >> 20)),
            _ if !changed.load(Ordering::Relaxed) => Outcome::NotApplied,
            Verdict::Exact => Outcome::Exact,
            Verdict::Refused(kind, _) => Outcome::Refused(format!("{kind:?}")),
        };
        (outcome, run.time, memory)
    }

    /// Makes the proxy inject from now on.
    fn install(&self, setting: Setting, injection: Injection, changed: Arc<AtomicBool>) {
        let donors = Arc::clone(&self.donors[&setting.kind]);
        let key = self.world.satellite.identity().signing_key().clone();
        let answered = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
        self.world.satellite.rewrite(move |call, answer| {
            let answer = answer.map(|answer| break_first_node(setting.operation, call, answer));
            let mutations = match &injection {
                Injection::Mutations(mutations) => mutations,
                Injection::Status(failure) => {
                    changed.store(true, Ordering::Relaxed);
                    return Err(Failure::new(Code(failure.code), failure.text.clone()));
                }
            };
            let mut answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
            answer.map(|answer| {
                rewrite(call, answer, &mut |name, truth| {
                    let before = answered.entry(name.to_owned()).or_default();
                    let first = *before == 0;
                    *before += 1;
                    let mut answer = truth.clone();
                    for mutation in mutations.iter().filter(|mutation| mutation.path.root == name) {
                        if first || mutation.always {
                            answer = mutation.apply(answer, &donors, &key);
                        }
                    }
                    if answer != truth {
                        changed.store(true, Ordering::Relaxed);
                    }
                    answer
                })
            })
        });
    }

    /// Prepares, performs and verifies an operation, which is cancelled after `limit`.
    async fn run(&mut self, setting: Setting, fresh: bool, limit: Duration) -> Run {
        let prepared = prepare(&self.world, setting).await;
        let project = self.project(setting.transport, fresh);
        HEAP.reset_peak_usage();
        let panics = panics();
        let heap = HEAP.current_usage();
        let begun = Instant::now();
        let performed = timeout(limit, perform(&self.world, &project, setting, &prepared)).await;
        let time = begun.elapsed();
        // Background work that it started, such as aborting an upload, is part of it.
        tokio::task::yield_now().await;
        self.world.satellite.idle().await;
        let memory = HEAP.peak_usage().saturating_sub(heap);
        self.world.satellite.pass_through();
        let verdict = match performed {
            Ok(verdict) => verify(&self.world, setting, &prepared, verdict).await,
            Err(_) => Verdict::TimedOut,
        };
        Run { verdict, time, memory, panics: self::panics() - panics }
    }

    fn project(&mut self, transport: TransportKind, fresh: bool) -> Project {
        let kept =
            self.projects.remove(&transport).filter(|(_, uses)| !fresh && *uses < MAX_REUSES);
        let (project, uses) = kept.unwrap_or_else(|| (self.world.project(transport.get()), 0));
        self.projects.insert(transport, (project.clone(), uses + 1));
        project
    }
}

/// Returns all mutations of a response, by path and kind.
pub(crate) fn mutations_of(answer: &str, seed: u64) -> Vec<Mutation> {
    let mut mutations = Vec::new();
    for path in paths_in(answer) {
        for kind in super::mutation::kinds_for(&path) {
            for sign in [false, true] {
                if sign && !path.is_in_limit() {
                    continue;
                }
                let seed = seed.wrapping_add(mutations.len() as u64);
                let always = !seed.is_multiple_of(3);
                mutations.push(Mutation { path: path.clone(), kind, sign, always, seed });
            }
        }
    }
    mutations
}

/// Makes the first storage node of each new segment unreachable for [`Operation::UploadAround`].
fn break_first_node(operation: Operation, call: &Call, answer: Bytes) -> Bytes {
    if operation != Operation::UploadAround {
        return answer;
    }
    rewrite(call, answer, &mut |name, answer| match name {
        "BeginSegmentResponse" => super::mutation::unreachable_first(answer),
        _ => answer,
    })
}

/// Records the responses to reads of an object and to copies and moves of it, by type.
async fn responses_about(world: &World, key: &str) -> Answers {
    let seen: Arc<Mutex<Answers>> = Arc::default();
    let recorder = Arc::clone(&seen);
    world.satellite.rewrite(move |call, answer| {
        let mut seen = recorder.lock().unwrap_or_else(PoisonError::into_inner);
        answer.map(|answer| {
            rewrite(call, answer, &mut |name, answer| {
                seen.entry(name.to_owned()).or_default().push(answer.clone());
                answer
            })
        })
    });
    let project = world.project(TransportKind::Grpc.get());
    project.stat_object(BUCKET, key).await.expect("known");
    let mut download = project.download_object(BUCKET, key).await.expect("opened");
    download.read_to_end(u64::MAX).await.expect("read");
    project.copy_object(BUCKET, key, BUCKET, "donor-copy").await.expect("copied");
    project.move_object(BUCKET, key, BUCKET, key).await.expect("moved onto itself");
    world.satellite.pass_through();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *seen)
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

fn panics() -> usize {
    PANICS.load(Ordering::Relaxed)
}

/// Counts the panics of all threads, background tasks included.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            usual(info);
        }));
    });
}
