//! A client under load, and a checker.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use uplink::{Access, Config, Error, ErrorKind, Project, Transport};

use super::journal::{Journal, Operation, Possible};
use crate::Random;

pub(crate) const BUCKET: &str = "crash";
/// Keys per writer: few, so that most writes overwrite.
const KEYS: u64 = 6;
/// Inline, one stripe, several blocks.
const SIZES: [u64; 4] = [40, 3_000, 20_000, 150_000];

/// Opens a project with a short timeout for dead peers.
pub(crate) fn open(access: &Access, transport: Transport) -> Project {
    let timeout = Duration::from_secs(5);
    let config = Config::new().call_timeout(timeout).progress_timeout(timeout).transport(transport);
    Project::open_with(access, &config).expect("a project")
}

/// Writes, overwrites and deletes until `stop`, every other writer over DRPC. Returns the number of
/// acknowledged operations.
pub(crate) async fn write(
    access: Access,
    mut journal: Journal,
    writer: usize,
    seed: u64,
    stop: watch::Receiver<bool>,
) -> u64 {
    let transport = if writer.is_multiple_of(2) { Transport::Negotiated } else { Transport::Drpc };
    let project = open(&access, transport);
    let mut random = Random(seed);
    let mut acknowledged = 0;
    while !*stop.borrow() {
        let key = format!("writer-{writer}/{}", random.below(KEYS));
        let size = match random.below(5) {
            0 => None,
            _ => Some(SIZES[random.below(SIZES.len() as u64) as usize]),
        };
        let operation = journal.attempt(&key, size);
        match perform(&project, &key, operation).await {
            Ok(()) => {
                journal.acknowledge(&key, operation);
                acknowledged += 1;
            }
            // A dead peer: the outcome is unknown. Any other error is a defect.
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    ErrorKind::CommitUnknown
                        | ErrorKind::Network
                        | ErrorKind::NotEnoughNodes
                        | ErrorKind::OutcomeUnknown
                        | ErrorKind::Stalled
                ),
                "{key}: {:?} {error}",
                error.kind()
            ),
        }
    }
    acknowledged
}

async fn perform(project: &Project, key: &str, operation: Operation) -> Result<(), Error> {
    let Some(size) = operation.size else {
        return project.delete_object(BUCKET, key).await.map(|_| ());
    };
    let mut upload = project.upload_object(BUCKET, key)?;
    upload.write(&content(key, operation.number, size)).await?;
    upload.commit().await.map(|_| ())
}

/// Compares the network's contents with a writer's journal.
pub(crate) async fn check(access: &Access, keys: &BTreeMap<String, Possible>) {
    let project = open(access, Transport::Negotiated);
    for (key, possible) in keys {
        let found = match project.download_object(BUCKET, key).await {
            Ok(mut download) => {
                Some(download.read_to_end(u64::MAX).await.unwrap_or_else(|error| {
                    panic!("{key} exists but cannot be read: {error}; {possible:?}")
                }))
            }
            Err(error) if error.kind() == ErrorKind::ObjectNotFound => None,
            Err(error) => panic!("{key}: {error}"),
        };
        let candidates = possible.acknowledged.iter().chain(&possible.attempted);
        let explained = candidates.into_iter().any(|operation| {
            operation.size.map(|size| content(key, operation.number, size).into()) == found
        });
        // A key without any acknowledged operation may also be absent.
        let absent = found.is_none() && possible.acknowledged.is_none();
        let size = found.as_ref().map(|found| found.len());
        assert!(
            explained || absent,
            "{key} holds {size:?} bytes, which no operation wrote: {possible:?}"
        );
    }
}

fn content(key: &str, number: u64, size: u64) -> Vec<u8> {
    let name = format!("{key} {number}");
    let mut bytes = vec![0; size as usize];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
