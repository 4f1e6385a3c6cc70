//! Reads objects of which stories are told, and finds what must not be.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use uplink::{ErrorKind, Project};

use super::judging::Transport2;
use super::material::Material;
use super::story::{Choose, Story, Teller};
use super::ways::{Read, length, perform, ways};
use super::world::World;

/// Stories, and what must become of them.
#[derive(Clone)]
pub(crate) struct Attack {
    pub(crate) name: String,
    stories: Vec<Story>,
    choose: Choose,
    refused: Refused,
}

/// What may not succeed, not even with the right bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Nothing,
    /// Reads and stat.
    All,
    /// Reads of one byte or more.
    Reads,
    Seek,
    /// A read of the whole object, if that has a byte.
    Whole,
}

/// A read under attack that did what it must not.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) attack: String,
    /// The object's title.
    pub(crate) object: String,
    pub(crate) read: Read,
    pub(crate) transport: Transport2,
    pub(crate) wrong: Wrong,
}

/// What a read did that it must not.
#[derive(Clone, Debug)]
pub(crate) enum Wrong {
    /// Succeeded with what is right, although the attack has to be refused.
    Accepted,
    /// Took too long, or ended in an error that it must not end in.
    Failed(String),
    /// Handed out what the object is not.
    False(String),
}

/// Reads objects under attack.
pub(crate) struct Reader<'a> {
    world: &'a World,
    reads: usize,
    /// Longest time that a read of the present object takes when nothing lies.
    honest: Duration,
    projects: HashMap<Transport2, Project>,
}

/// Time in which a read ends, beside that of honest reads.
const TIME: Duration = Duration::from_secs(2);
/// The attack that is none.
pub(crate) const TRUTH: &str = "the truth";

impl Attack {
    pub(crate) fn new(name: impl Into<String>, stories: Vec<Story>) -> Self {
        Self { name: name.into(), stories, choose: |_, _| 0, refused: Refused::Nothing }
    }

    /// Tells the story that `choose` names for each call.
    pub(crate) fn choosing(self, choose: Choose) -> Self {
        Self { choose, ..self }
    }

    /// Changes every story.
    #[allow(dead_code, reason = "not all tests that share this need it")]
    pub(crate) fn retold(mut self, edit: impl Fn(&mut Story)) -> Self {
        self.stories.iter_mut().for_each(edit);
        self
    }

    /// No read of it may succeed, nor stat.
    pub(crate) fn refused(self) -> Self {
        Self { refused: Refused::All, ..self }
    }

    /// No read of it may succeed.
    pub(crate) fn refused_reads(self) -> Self {
        Self { refused: Refused::Reads, ..self }
    }

    /// A read of the whole object may not succeed.
    pub(crate) fn refused_whole(self) -> Self {
        Self { refused: Refused::Whole, ..self }
    }

    /// A seek may not succeed.
    pub(crate) fn refused_seek(self) -> Self {
        Self { refused: Refused::Seek, ..self }
    }

    /// Tells the stories from now on, from their beginning.
    pub(crate) fn tell(&self, world: &World, material: &Material) {
        let (raw, key) = (material.raw.clone(), material.encrypted_key.clone());
        let teller = Teller::new(raw, key, self.stories.clone(), self.choose);
        world.satellite.lie(move |call, upstream| Arc::clone(&teller).answer(call, upstream));
    }

    /// Whether a read that takes `length` bytes may not succeed.
    fn refuses(&self, read: Read, length: u64) -> bool {
        match self.refused {
            Refused::Nothing => false,
            Refused::All => true,
            Refused::Reads => length > 0,
            Refused::Seek => read == Read::Seek,
            Refused::Whole => read == Read::Whole && length > 0,
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

    /// Reads made so far.
    pub(crate) fn reads(&self) -> usize {
        self.reads
    }

    /// Reads in every way over both transports, and returns what must not be.
    pub(crate) async fn check(&mut self, material: &Material, attack: &Attack) -> Vec<Finding> {
        let honest = attack.name == TRUTH;
        if honest {
            self.honest = Duration::ZERO;
        }
        let mut findings = Vec::new();
        for transport in [Transport2::Grpc, Transport2::Drpc] {
            for read in ways(material) {
                self.reads += 1;
                let (begun, limit) = (Instant::now(), TIME + 2 * self.honest);
                let world = self.world;
                let open = || world.project(transport.get());
                let project = self.projects.entry(transport).or_insert_with(open);
                let found = check_read(world, project, material, attack, read, limit).await;
                if honest {
                    self.honest = self.honest.max(begun.elapsed());
                }
                if found.is_none() {
                    continue;
                }
                // Again over new connections, so that a finding can be seen alone.
                let found = check_read(world, &open(), material, attack, read, limit).await;
                let (attack, object) = (attack.name.clone(), material.title.clone());
                let finding = |wrong| Finding { attack, object, read, transport, wrong };
                findings.extend(found.map(finding));
            }
        }
        self.world.satellite.tell_truth();
        findings
    }
}

async fn check_read(
    world: &World,
    project: &Project,
    material: &Material,
    attack: &Attack,
    read: Read,
    limit: Duration,
) -> Option<Wrong> {
    attack.tell(world, material);
    let begun = Instant::now();
    let reading = timeout(3 * limit, perform(project, material, read));
    let failed = |what: String| Some(Wrong::Failed(what));
    let Ok(judged) = reading.await else { return failed(format!("no end within {:?}", 3 * limit)) };
    let time = begun.elapsed();
    match judged {
        Ok(None) if attack.refuses(read, length(material, read)) => Some(Wrong::Accepted),
        Ok(wrong) => wrong.map(Wrong::False),
        Err(error) if error.kind() == ErrorKind::Internal => failed(format!("internal: {error}")),
        Err(error) if attack.name == TRUTH => failed(format!("refused: {error}")),
        Err(_) if time > limit => failed(format!("refused after {time:?}")),
        Err(_) => None,
    }
}
