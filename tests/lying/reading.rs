//! Reads an object of which a story is told, in every way that a client can.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio::time::timeout;
use uplink::{DownloadOptions, Error, ErrorKind, Project};

use super::material::{Material, Shape};
use super::operations::{
    Judged, Transport2, check_bytes, check_object, uplink_error, wrong_unless,
};
use super::story::{Choose, Story, Teller};
use super::world::{BUCKET, World};

/// Stories, and what must become of them.
#[derive(Clone)]
pub(crate) struct Attack {
    name: String,
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

/// One way to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Read {
    Whole,
    /// Some bytes within a segment.
    Segment(u64),
    Suffix,
    Seek,
    Stat,
}

/// Attacks that succeeded: the attack and the shape of its object, what came of it, and how.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    reads: usize,
    /// Longest time that a read of the present object takes when nothing lies.
    honest: Duration,
    projects: HashMap<Transport2, Project>,
    succeeded: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

/// Time in which a read ends, beside that of honest reads.
const TIME: Duration = Duration::from_secs(2);
/// The attack that is none.
pub(crate) const TRUTH: &str = "the truth";
/// Ways to read that are told of each finding.
const SHOWN: usize = 4;

impl Attack {
    pub(crate) fn new(name: impl Into<String>, stories: Vec<Story>) -> Self {
        Self { name: name.into(), stories, choose: |_, _| 0, refused: Refused::Nothing }
    }

    /// Tells the story that `choose` names for each call.
    pub(crate) fn choosing(self, choose: Choose) -> Self {
        Self { choose, ..self }
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

impl Findings {
    fn add(&mut self, attack: &Attack, shape: Shape, read: String, wrong: String) {
        let attack = format!("{} ({} segments, last {})", attack.name, shape.count, shape.last);
        self.succeeded.entry(attack).or_default().entry(wrong).or_default().push(read);
    }

    /// Prints what was found, and fails if that is something.
    pub(crate) fn finish(self) {
        println!("{} reads under attack", self.reads);
        for (attack, outcomes) in &self.succeeded {
            for (wrong, reads) in outcomes {
                let shown = reads[..reads.len().min(SHOWN)].join(", ");
                println!("  {attack}: {wrong}: {} reads, such as {shown}", reads.len());
            }
        }
        let succeeded = self.succeeded.len();
        let first = self.succeeded.iter().next();
        assert!(succeeded == 0, "{succeeded} attacks succeeded, such as {first:?}");
    }
}

/// Reads in every way over both transports, and notes what must not be.
pub(crate) async fn check(
    world: &World,
    material: &Material,
    attack: &Attack,
    findings: &mut Findings,
) {
    let count = material.shape.count;
    let honest = attack.name == TRUTH;
    if honest {
        findings.honest = Duration::ZERO;
    }
    let mut reads = vec![Read::Whole, Read::Suffix, Read::Seek, Read::Stat];
    reads.extend((0..count).filter(|n| [0, 1, count - 1].contains(n)).map(Read::Segment));
    for transport in [Transport2::Grpc, Transport2::Drpc] {
        for &read in &reads {
            findings.reads += 1;
            let project = findings.projects.entry(transport);
            let project = project.or_insert_with(|| world.project(transport.get())).clone();
            let (begun, limit) = (Instant::now(), TIME + 2 * findings.honest);
            let found = check_read(world, &project, material, attack, read, limit).await;
            if honest {
                findings.honest = findings.honest.max(begun.elapsed());
            }
            if found.is_none() {
                continue;
            }
            // Again over new connections, so that a finding can be seen alone.
            let project = world.project(transport.get());
            let found = check_read(world, &project, material, attack, read, limit).await;
            if let Some(wrong) = found {
                let read = format!("{read:?} over {transport:?}");
                findings.add(attack, material.shape, read, wrong);
            }
        }
    }
    world.satellite.tell_truth();
}

async fn check_read(
    world: &World,
    project: &Project,
    material: &Material,
    attack: &Attack,
    read: Read,
    limit: Duration,
) -> Option<String> {
    let (raw, key) = (material.raw.clone(), material.encrypted_key.clone());
    let teller = Teller::new(raw, key, attack.stories.clone(), attack.choose);
    world.satellite.lie(move |call, upstream| Arc::clone(&teller).answer(call, upstream));
    let begun = Instant::now();
    let reading = timeout(3 * limit, perform(project, material, read));
    let Ok(judged) = reading.await else { return Some(format!("no end within {:?}", 3 * limit)) };
    let time = begun.elapsed();
    match judged {
        Ok(None) if attack.refuses(read, length(material, read)) => Some("accepted".to_owned()),
        Ok(wrong) => wrong,
        Err(error) if error.kind() == ErrorKind::Internal => Some(format!("internal: {error}")),
        Err(error) if attack.name == TRUTH => Some(format!("refused: {error}")),
        Err(_) if time > limit => Some(format!("refused after {time:?}")),
        Err(_) => None,
    }
}

/// Bytes that a read takes.
fn length(material: &Material, read: Read) -> u64 {
    let range = range(material, read);
    range.end - range.start
}

/// The part of the object that a read takes.
fn range(material: &Material, read: Read) -> Range<u64> {
    let (size, segment) = (material.shape.size(), material.shape.segment);
    match read {
        Read::Stat => 0..0,
        Read::Whole | Read::Seek => 0..size,
        Read::Suffix => size - size / 3..size,
        Read::Segment(index) => {
            let (start, end) = (index * segment, size.min((index + 1) * segment));
            let quarter = (end - start) / 4;
            start + quarter..end - quarter
        }
    }
}

async fn perform(project: &Project, material: &Material, read: Read) -> Judged {
    let known = &material.known;
    let range = range(material, read);
    let options = match read {
        Read::Stat => {
            return Ok(check_object(known, &project.stat_object(BUCKET, &known.key).await?));
        }
        Read::Seek => return seek(project, material).await,
        Read::Whole => DownloadOptions::new(),
        Read::Suffix => DownloadOptions::new().last(range.end - range.start),
        Read::Segment(_) => DownloadOptions::new().range(range.start, range.end - range.start),
    };
    let mut download = project.download_object(BUCKET, &known.key, options).await?;
    // Bytes first: they matter more than what is said of them.
    let wrong = check_bytes(&mut download, known, range.start as usize..range.end as usize).await?;
    Ok(wrong.or_else(|| check_object(known, download.object())))
}

/// Reads a little of the first segment, then of the last, then of the first again: an answer of one
/// version may not be followed by one of another.
async fn seek(project: &Project, material: &Material) -> Judged {
    let known = &material.known;
    let options = DownloadOptions::new();
    let mut download = project.download_object(BUCKET, &known.key, options).await?;
    let size = known.contents[0].len();
    let mut possible = known.contents.to_vec();
    for start in [0, size - size / 10, size / 3, 0] {
        let sought = download.seek(SeekFrom::Start(start as u64)).await.map_err(uplink_error)?;
        let length = (size - start).min(100);
        let mut read = Vec::new();
        let mut part = (&mut download).take(length as u64);
        while read_some(&mut part, &mut read).await? {
            let end = start + read.len();
            possible.retain(|content| content.get(start..end) == Some(&read[..]));
            if possible.is_empty() {
                return Ok(Some(format!("wrong bytes after a seek to {start}")));
            }
        }
        if sought != start as u64 || read.len() != length {
            let got = read.len();
            return Ok(wrong_unless(false, || format!("{got} of {length} bytes from {start}")));
        }
    }
    Ok(None)
}

async fn read_some<R: AsyncReadExt + Unpin>(
    from: &mut R,
    into: &mut Vec<u8>,
) -> Result<bool, Error> {
    Ok(from.read_buf(into).await.map_err(uplink_error)? > 0)
}
