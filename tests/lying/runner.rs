//! Runs one operation under one or more lies, and judges it.

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

use super::fields::places;
use super::judging::Transport2;
use super::messages::{BATCH, rewrite};
use super::mutation::{Answers, Donors, FULL, Lie};
use super::operations::{
    LISTED_KEYS, Operation, Setting, Verdict, perform, prepare, target, verify,
};
use super::report::Outcome;
use super::world::{BUCKET, Kind, LISTED, World, content, known};
use crate::HEAP;

/// Time in which every operation ends.
const TIME: Duration = Duration::from_secs(2);
/// How many times longer than the truth a lie may take beside that.
const LOAD: u32 = 4;
/// Time after which an operation without a lie counts as endless, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Memory that a lie may cost.
const MAX_MEMORY: usize = 64 << 20;
/// Classes of findings that depend on what else the machine does.
const SLOW: &str = "slow";
const MEMORY: &str = "memory";
/// Answers of one name that are kept from operations without a lie.
const KEPT: usize = 8;
/// Operations on one project before its connections are opened again.
const REUSES: usize = 30;

/// Everything that is needed to lie.
pub(crate) struct Runner {
    pub(crate) world: World,
    donors: HashMap<Kind, Arc<Donors>>,
    clean: HashMap<Setting, Clean>,
    projects: HashMap<Transport2, (Project, usize)>,
    /// Memory that the largest answer takes in this process, most of it in proxy and transport.
    full: usize,
}

/// What an operation does when nothing lies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clean {
    /// Names of the answers that it gets.
    pub(crate) answers: BTreeSet<String>,
    memory: usize,
}

/// A measured operation.
struct Run {
    verdict: Verdict,
    time: Duration,
    memory: usize,
    panics: usize,
}

/// A lie that is a failure instead of an answer.
#[derive(Clone, Debug)]
pub(crate) struct FailureLie {
    pub(crate) code: u64,
    pub(crate) text: String,
}

/// What is told instead of the truth.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Lies(Vec<Lie>),
    Failure(FailureLie),
}

impl Told {
    fn fills(&self) -> bool {
        match self {
            Self::Lies(lies) => lies.iter().any(|lie| lie.mutation.fills()),
            Self::Failure(_) => false,
        }
    }
}

impl Runner {
    /// Makes the objects, and records what is answered about others than those that will be read.
    pub(crate) async fn start() -> Self {
        count_panics();
        let world = World::start().await;
        let (mut older, mut other) = (HashMap::new(), Answers::new());
        for key in LISTED_KEYS {
            world.put(LISTED, key, 1, &content(key, 1, 100)).await;
        }
        for kind in Kind::ALL {
            let (target, donor) = (target(kind), known("donor", kind.size()));
            world.put(BUCKET, &target.key, 0, &target.contents[1]).await;
            older.insert(kind, answers_about(&world, &target.key).await);
            world.put(BUCKET, &target.key, 1, &target.contents[0]).await;
            let key = format!("donor-{kind:?}");
            world.put(BUCKET, &key, 1, &donor.contents[0]).await;
            for (name, answers) in answers_about(&world, &key).await {
                other.entry(name).or_default().extend(answers);
            }
        }
        let (clean, projects) = (HashMap::new(), HashMap::new());
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

    /// Measures an answer that is as large as it may be and holds nothing that a client would keep.
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
        let (operation, kind) = (Operation::Stat, Kind::Inline);
        let setting = Setting { operation, kind, transport: Transport2::Grpc };
        let run = self.run(setting, true, PATIENCE).await;
        assert_eq!(run.verdict, Verdict::Exact, "a large answer that is true");
        run.memory
    }

    /// Settings whose operation gets an answer of this name.
    pub(crate) fn settings_with(&self, answer: &str) -> Vec<Setting> {
        let all = Setting::all().into_iter();
        all.filter(|setting| self.clean[setting].answers.contains(answer)).collect()
    }

    /// Names of all answers that any operation gets.
    pub(crate) fn answers(&self) -> BTreeSet<String> {
        self.clean.values().flat_map(|clean| clean.answers.iter().cloned()).collect()
    }

    /// Runs an operation without a lie, and learns what it gets and needs.
    async fn clean_run(&mut self, setting: Setting, other: &mut Answers) -> Clean {
        let seen: Arc<Mutex<BTreeMap<String, Vec<Bytes>>>> = Arc::default();
        let recorder = Arc::clone(&seen);
        self.world.satellite.rewrite(move |call, answer| {
            let mut seen = recorder.lock().unwrap_or_else(PoisonError::into_inner);
            answer.map(|answer| {
                rewrite(call, spoil(setting.operation, call, answer), &mut |name, answer| {
                    seen.entry(name.to_owned()).or_default().push(answer.clone());
                    answer
                })
            })
        });
        let run = self.run(setting, true, PATIENCE).await;
        assert_eq!(run.verdict, Verdict::Exact, "{setting} without a lie");
        let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        let answers = seen.keys().cloned().collect();
        for (name, messages) in seen {
            // Of answers that are not about an object, those to other runs.
            let known = other.entry(name).or_default();
            if known.len() < KEPT {
                known.extend(messages);
            }
        }
        Clean { answers, memory: run.memory }
    }

    /// Runs an operation while lies are told.
    pub(crate) async fn lie(
        &mut self,
        setting: Setting,
        told: &Told,
    ) -> (Outcome, Duration, usize) {
        let first = self.lie_once(setting, told, false, TIME).await;
        let Outcome::Broken { class, what } = &first.0 else { return first };
        // The machine may be busy with something else: then the truth takes long, too.
        self.world.satellite.rewrite(move |call, answer| {
            answer.map(|answer| spoil(setting.operation, call, answer))
        });
        let truth = self.run(setting, true, PATIENCE).await.time;
        // New connections and no memory of earlier lies: what remains is the lie's own doing.
        let again = self.lie_once(setting, told, true, TIME + LOAD * truth).await;
        let broken = matches!(again.0, Outcome::Broken { .. });
        if broken || *class == SLOW || *class == MEMORY {
            return again;
        }
        let what = format!("{what} (only after other lies)");
        (Outcome::Broken { class, what }, first.1, first.2)
    }

    async fn lie_once(
        &mut self,
        setting: Setting,
        told: &Told,
        fresh: bool,
        time: Duration,
    ) -> (Outcome, Duration, usize) {
        let changed = Arc::new(AtomicBool::new(false));
        self.arm(setting, told.clone(), Arc::clone(&changed));
        let run = self.run(setting, fresh, time * 2).await;
        let clean = self.clean[&setting].memory;
        let full = if told.fills() { self.full } else { 0 };
        let memory = run.memory.saturating_sub(clean + full);
        let broken = |class, what| Outcome::Broken { class, what };
        let outcome = match run.verdict {
            Verdict::Wrong(what) => broken("wrong", what),
            Verdict::Endless => broken(SLOW, format!("no end within {:?}", time * 2)),
            _ if run.panics > 0 => broken("panic", "a task panicked".to_owned()),
            Verdict::Refused(ErrorKind::Internal, text) => broken("internal", text),
            Verdict::Refused(_, text) if text.len() > 4096 => {
                broken("long text", format!("an error text of {} bytes", text.len()))
            }
            _ if run.time > time => broken(SLOW, format!("{:?}", run.time)),
            _ if memory > MAX_MEMORY => broken(MEMORY, format!("{} MiB", memory >> 20)),
            _ if !changed.load(Ordering::Relaxed) => Outcome::Untold,
            Verdict::Exact => Outcome::Exact,
            Verdict::Refused(kind, _) => Outcome::Refused(format!("{kind:?}")),
        };
        (outcome, run.time, memory)
    }

    /// Has the proxy tell lies from now on.
    fn arm(&self, setting: Setting, told: Told, changed: Arc<AtomicBool>) {
        let donors = Arc::clone(&self.donors[&setting.kind]);
        let key = self.world.satellite.identity().signing_key().clone();
        let answered = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
        self.world.satellite.rewrite(move |call, answer| {
            let answer = answer.map(|answer| spoil(setting.operation, call, answer));
            let lies = match &told {
                Told::Lies(lies) => lies,
                Told::Failure(failure) => {
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
                    for lie in lies.iter().filter(|lie| lie.place.root == name) {
                        if first || lie.always {
                            answer = lie.tell(answer, &donors, &key);
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

    /// Prepares, performs and verifies an operation, which is given up after `limit`.
    async fn run(&mut self, setting: Setting, fresh: bool, limit: Duration) -> Run {
        let prepared = prepare(&self.world, setting).await;
        let project = self.project(setting.transport, fresh);
        HEAP.reset_peak_usage();
        let (panics, heap, begun) = (panics(), HEAP.current_usage(), Instant::now());
        let performed = timeout(limit, perform(&self.world, &project, setting, &prepared)).await;
        let time = begun.elapsed();
        // What it has begun in the background, such as giving an upload up, is part of it.
        tokio::task::yield_now().await;
        self.world.satellite.idle().await;
        let memory = HEAP.peak_usage().saturating_sub(heap);
        self.world.satellite.tell_truth();
        let verdict = match performed {
            Ok(verdict) => verify(&self.world, setting, &prepared, verdict).await,
            Err(_) => Verdict::Endless,
        };
        Run { verdict, time, memory, panics: self::panics() - panics }
    }

    fn project(&mut self, transport: Transport2, fresh: bool) -> Project {
        let kept = self.projects.remove(&transport).filter(|(_, uses)| !fresh && *uses < REUSES);
        let (project, uses) = kept.unwrap_or_else(|| (self.world.project(transport.get()), 0));
        self.projects.insert(transport, (project.clone(), uses + 1));
        project
    }
}

/// All lies that can be told about an answer, by place and mutation.
pub(crate) fn lies_about(answer: &str, seed: u64) -> Vec<Lie> {
    let mut lies = Vec::new();
    for place in places(answer) {
        for mutation in super::mutation::mutations(&place) {
            for sign in [false, true] {
                if sign && !place.is_in_limit() {
                    continue;
                }
                let seed = seed.wrapping_add(lies.len() as u64);
                let always = !seed.is_multiple_of(3);
                lies.push(Lie { place: place.clone(), mutation, sign, always, seed });
            }
        }
    }
    lies
}

/// Makes the first storage node of each new segment unreachable where the operation wants that.
fn spoil(operation: Operation, call: &Call, answer: Bytes) -> Bytes {
    if operation != Operation::UploadAround {
        return answer;
    }
    rewrite(call, answer, &mut |name, answer| match name {
        "BeginSegmentResponse" => super::mutation::unreachable_first(answer),
        _ => answer,
    })
}

/// What the satellite answers to reads of an object, by the names of the answers.
async fn answers_about(world: &World, key: &str) -> Answers {
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
    let project = world.project(Transport2::Grpc.get());
    project.stat_object(BUCKET, key).await.expect("known");
    let options = uplink::DownloadOptions::new();
    let mut download = project.download_object(BUCKET, key, options).await.expect("opened");
    download.read_to_vec().await.expect("read");
    world.satellite.tell_truth();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *seen)
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

fn panics() -> usize {
    PANICS.load(Ordering::Relaxed)
}

/// Counts panics of all threads, those of background tasks too.
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
