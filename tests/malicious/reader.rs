//! Reads objects under attack and reports violations.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use uplink::{ErrorKind, Project};

use super::checks::TransportKind;
use super::fixture::Fixture;
use super::forgery::{Forger, Forgery, Selector};
use super::read_modes::{ReadMode, length, perform, read_modes};
use super::world::World;

/// Forged responses, and the reads that they must make fail.
#[derive(Clone)]
pub(crate) struct Attack {
    pub(crate) name: String,
    forgeries: Vec<Forgery>,
    selector: Selector,
    must_fail: MustFail,
}

/// The reads that must fail, even with the right bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MustFail {
    Nothing,
    /// Reads and stat.
    All,
    /// Reads of one byte or more.
    Reads,
    Seek,
    /// A read of the whole object, unless it is empty.
    Whole,
}

/// A violation by a read under attack.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) attack: String,
    /// The object's title.
    pub(crate) object: String,
    pub(crate) read: ReadMode,
    pub(crate) transport: TransportKind,
    pub(crate) wrong: Wrong,
}

/// How a read failed the check.
#[derive(Clone, Debug)]
pub(crate) enum Wrong {
    /// Returned the right bytes, although the attack must be refused.
    Accepted,
    /// Timed out, or returned an unexpected error.
    Failed(String),
    /// Returned wrong bytes or metadata.
    False(String),
}

/// Reads objects under attack.
pub(crate) struct Reader<'a> {
    world: &'a World,
    reads: usize,
    /// Longest time of a read of the current object without an attack.
    honest: Duration,
    projects: HashMap<TransportKind, Project>,
}

/// Time limit of a read, in addition to twice the time of an honest read.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// Name of the control case, which serves the true responses.
pub(crate) const TRUTH: &str = "the truth";

impl Attack {
    pub(crate) fn new(name: impl Into<String>, forgeries: Vec<Forgery>) -> Self {
        Self { name: name.into(), forgeries, selector: |_, _| 0, must_fail: MustFail::Nothing }
    }

    /// Serves the forgery that the selector returns for each call.
    pub(crate) fn with_selector(self, selector: Selector) -> Self {
        Self { selector, ..self }
    }

    /// Edits every forgery.
    #[allow(dead_code, reason = "not all tests that share this need it")]
    pub(crate) fn with_edit(mut self, edit: impl Fn(&mut Forgery)) -> Self {
        self.forgeries.iter_mut().for_each(edit);
        self
    }

    /// Requires all reads and stat to fail.
    pub(crate) fn refused(self) -> Self {
        Self { must_fail: MustFail::All, ..self }
    }

    /// Requires all reads to fail.
    pub(crate) fn refused_reads(self) -> Self {
        Self { must_fail: MustFail::Reads, ..self }
    }

    /// Requires a read of the whole object to fail.
    pub(crate) fn refused_whole(self) -> Self {
        Self { must_fail: MustFail::Whole, ..self }
    }

    /// Requires a seek to fail.
    pub(crate) fn refused_seek(self) -> Self {
        Self { must_fail: MustFail::Seek, ..self }
    }

    /// Returns whether reads of no bytes and stat must fail too.
    #[allow(dead_code, reason = "not all tests that share this need it")]
    pub(crate) fn is_refused(&self) -> bool {
        self.must_fail == MustFail::All
    }

    /// Returns what answers calls with the forgeries, with the call counts reset.
    pub(crate) fn forger(&self, fixture: &Fixture) -> Arc<Forger> {
        let raw = fixture.raw.clone();
        let key = fixture.encrypted_key.clone();
        Forger::new(raw, key, self.forgeries.clone(), self.selector)
    }

    /// Serves the forgeries from now on.
    pub(crate) fn install(&self, world: &World, fixture: &Fixture) {
        let forger = self.forger(fixture);
        world.satellite.intercept(move |call, upstream| Arc::clone(&forger).answer(call, upstream));
    }

    /// Returns whether a read of `length` bytes must fail.
    fn refuses(&self, read: ReadMode, length: u64) -> bool {
        match self.must_fail {
            MustFail::Nothing => false,
            MustFail::All => true,
            MustFail::Reads => length > 0,
            MustFail::Seek => read == ReadMode::Seek,
            MustFail::Whole => read == ReadMode::Whole && length > 0,
        }
    }
}

impl fmt::Debug for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attack").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::Failed(what) | Self::False(what) => f.write_str(what),
        }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        Self { world, reads: 0, honest: Duration::ZERO, projects: HashMap::new() }
    }

    /// Returns the number of reads so far.
    pub(crate) fn reads(&self) -> usize {
        self.reads
    }

    /// Reads in every mode over both transports, and returns the violations.
    pub(crate) async fn check(&mut self, fixture: &Fixture, attack: &Attack) -> Vec<Finding> {
        let honest = attack.name == TRUTH;
        if honest {
            self.honest = Duration::ZERO;
        }
        let mut findings = Vec::new();
        for transport in [TransportKind::Grpc, TransportKind::Drpc] {
            for read in read_modes(fixture) {
                self.reads += 1;
                let begun = Instant::now();
                let limit = TIME_LIMIT + 2 * self.honest;
                let world = self.world;
                let open = || world.project(transport.get());
                let project = self.projects.entry(transport).or_insert_with(open);
                let found = check_read(world, project, fixture, attack, read, limit).await;
                if honest {
                    self.honest = self.honest.max(begun.elapsed());
                }
                if found.is_none() {
                    continue;
                }
                // Repeats over new connections, so that a finding does not depend on earlier reads.
                let found = check_read(world, &open(), fixture, attack, read, limit).await;
                let attack = attack.name.clone();
                let object = fixture.title.clone();
                let finding = |wrong| Finding { attack, object, read, transport, wrong };
                findings.extend(found.map(finding));
            }
        }
        self.world.satellite.pass_through();
        findings
    }
}

async fn check_read(
    world: &World,
    project: &Project,
    fixture: &Fixture,
    attack: &Attack,
    read: ReadMode,
    limit: Duration,
) -> Option<Wrong> {
    attack.install(world, fixture);
    let begun = Instant::now();
    let reading = timeout(3 * limit, perform(project, fixture, read));
    let failed = |what: String| Some(Wrong::Failed(what));
    let Ok(checked) = reading.await else {
        return failed(format!("not finished within {:?}", 3 * limit));
    };
    let time = begun.elapsed();
    match checked {
        Ok(None) if attack.refuses(read, length(fixture, read)) => Some(Wrong::Accepted),
        Ok(wrong) => wrong.map(Wrong::False),
        Err(error) if error.kind() == ErrorKind::Internal => failed(format!("internal: {error}")),
        Err(error) if attack.name == TRUTH => failed(format!("refused: {error}")),
        Err(_) if time > limit => failed(format!("refused after {time:?}")),
        Err(_) => None,
    }
}
