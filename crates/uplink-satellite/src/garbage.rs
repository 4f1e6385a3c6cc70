//! Garbage collection: every storage node is told which of its pieces are wanted.
//!
//! ```text
//!   segments ──► count of pieces per node ──► groups of nodes whose filters fit in memory
//!                                                │ for each group: note the time,
//!                                                ▼ walk over the segments as they are then
//!                                             filters ──► Retain, RetainBig ──► nodes
//! ```
//!
//! A node moves pieces to its trash that are not in the filter and whose order limits were made
//! longer than its creation margin before the time noted. No wanted piece can be among them:
//!
//! - A segment counts from its commit on, also in an object that is still being uploaded. All of a
//!   group's filters are made of one snapshot, taken after the time was noted, so that a copy and
//!   its source cannot both be missed, whatever happens meanwhile.
//! - A segment committed later than the snapshot is not in the filters. Its order limits are at most
//!   the segment lifetime older than its commit, and that is shorter than the margin: 48 of 72 hours,
//!   in development networks 9 of 10 minutes. How long the object stays pending does not matter.
//! - A commit is checked against the segment lifetime when it begins. For the time until others see
//!   it the time noted is put back by [`COMMIT_TIME`].
//! - The clock may step: a segment's life is counted in time that does not, and the time noted follows
//!   a step ahead only when the segments begun before it can be committed no more.
//!
//! A node that misses a filter gets the next one, which has another seed: what a filter keeps by
//! mistake is found by the ones after it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost_types::Timestamp;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use uplink_core::bloom_filter::{BloomFilter, MAX_FILTER_BYTES};
use uplink_core::id::NodeId;
use uplink_rpc::dial::Dialer;
use uplink_rpc::piece::retain::retain;
use uplink_rpc::pool::Pool;

use crate::endpoint::State;
use crate::metabase::{MetabaseError, NodeRow, SegmentPieces};
use crate::random;
use crate::time::Time;

/// What became of one collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GarbageReport {
    /// Storage nodes that took their filter.
    pub told: usize,
    /// Storage nodes that were not reached or refused it. They get the next one.
    pub failed: usize,
}

/// Why garbage is not collected. No node was told anything that is not so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GarbageError {
    /// The store fails, or holds a segment that cannot be read.
    #[error(transparent)]
    Database(#[from] MetabaseError),
    /// A computation did not finish: the runtime is shutting down.
    #[error("a computation did not finish")]
    Interrupted(#[from] JoinError),
}

/// Probability with which a filter keeps a piece that is not wanted, as in the public network.
const RATE: f64 = 0.1;
/// Bytes of all filters that are held at once.
const FILTER_MEMORY: usize = MAX_FILTER_BYTES;
/// Pieces for which a filter has room beyond those counted, because uploads go on: one in this many.
const ROOM: u64 = 10;
/// Longest time between the check of a commit and the moment when others see it.
const COMMIT_TIME: Duration = Duration::from_secs(5 * 60);
/// Filters on their way at once.
const SENDS: usize = 8;
/// Time for one node to take its filter.
const SEND_DEADLINE: Duration = Duration::from_secs(10 * 60);
/// How often the time of the next collection is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);

type Filters = HashMap<NodeId, BloomFilter>;

/// Collects garbage for ever, in the interval that the configuration says, across restarts.
pub(crate) async fn run(state: Arc<State>) {
    let every = state.config.garbage_interval;
    if every.is_zero() {
        return;
    }
    loop {
        tokio::time::sleep(every.min(LOOK_EVERY)).await;
        match state.is_due(every).await {
            Ok(false) => {}
            Ok(true) => {
                if let Err(error) = collect(&state).await {
                    tracing::warn!(%error, "cannot collect garbage");
                }
            }
            Err(error) => tracing::warn!(%error, "cannot tell when garbage was collected"),
        }
    }
}

/// Tells every storage node that was ever reached which of its pieces are wanted.
pub(crate) async fn collect(state: &State) -> Result<GarbageReport, GarbageError> {
    let _turn = state.collecting.lock().await;
    let started = state.clock.now();
    let mut nodes = state.metabase.nodes().await?;
    // Others were never given a piece.
    nodes.retain(|node| node.last_contact.is_some());
    let counts = count(state).await?;
    let mut report = GarbageReport::default();
    for group in groups(nodes, &counts, FILTER_MEMORY) {
        let now = state.garbage_time.read(state.clock.now().to_system(), state.clock.steady());
        let noted = Time::from_system(now).minus(COMMIT_TIME);
        let filters = fill(state, empty_filters(&group, &counts)).await?;
        let sent = send(&state.dialer, &group, noted.to_wire(), filters).await;
        report.told = report.told.saturating_add(sent.told);
        report.failed = report.failed.saturating_add(sent.failed);
    }
    state.metabase.set_garbage_collected(started).await?;
    tracing::info!(told = report.told, failed = report.failed, "garbage was collected");
    Ok(report)
}

impl State {
    async fn is_due(&self, every: Duration) -> Result<bool, MetabaseError> {
        let last = self.metabase.garbage_collected().await?;
        let now = self.clock.now();
        // A time in the future is a clock's mistake.
        Ok(last.is_none_or(|last| last.plus(every) <= now || last > now))
    }
}

/// Pieces of each node.
async fn count(state: &State) -> Result<HashMap<NodeId, u64>, MetabaseError> {
    let mut counts = HashMap::new();
    let mut walk = state.metabase.walk().await?;
    loop {
        let page = walk.next().await?;
        if page.is_empty() {
            return Ok(counts);
        }
        for piece in page.iter().flat_map(|segment| &segment.pieces.0) {
            let count: &mut u64 = counts.entry(piece.node).or_default();
            *count = count.saturating_add(1);
        }
    }
}

/// Nodes in groups whose filters have no more than `memory` bytes, or of one node.
fn groups(nodes: Vec<NodeRow>, counts: &HashMap<NodeId, u64>, memory: usize) -> Vec<Vec<NodeRow>> {
    let (mut groups, mut bytes) = (Vec::<Vec<NodeRow>>::new(), 0usize);
    for node in nodes {
        let needed = BloomFilter::bytes_for_rate(room(counts, &node.id), RATE, MAX_FILTER_BYTES);
        bytes = bytes.saturating_add(needed);
        match groups.last_mut() {
            Some(group) if bytes <= memory => group.push(node),
            _ => {
                bytes = needed;
                groups.push(vec![node]);
            }
        }
    }
    groups
}

fn empty_filters(group: &[NodeRow], counts: &HashMap<NodeId, u64>) -> Filters {
    let [seed] = random::bytes();
    let filter = |node: &NodeRow| {
        BloomFilter::for_rate(seed, room(counts, &node.id), RATE, MAX_FILTER_BYTES)
    };
    group.iter().map(|node| (node.id, filter(node))).collect()
}

fn room(counts: &HashMap<NodeId, u64>, node: &NodeId) -> u64 {
    let count = counts.get(node).copied().unwrap_or(0);
    count.saturating_add(count / ROOM)
}

/// Adds the pieces of all segments to the filters of their nodes.
async fn fill(state: &State, mut filters: Filters) -> Result<Filters, GarbageError> {
    let mut walk = state.metabase.walk().await?;
    loop {
        let page = walk.next().await?;
        if page.is_empty() {
            return Ok(filters);
        }
        // Deriving the ids of a page takes a while.
        let added = tokio::task::spawn_blocking(move || {
            page.iter().for_each(|segment| add(&mut filters, segment));
            filters
        });
        filters = added.await?;
    }
}

fn add(filters: &mut Filters, segment: &SegmentPieces) {
    for piece in &segment.pieces.0 {
        if let Some(filter) = filters.get_mut(&piece.node) {
            filter.add(&segment.root_piece_id.derive(&piece.node, piece.number.into()));
        }
    }
}

/// Sends their filters to the nodes of a group, a few at a time.
async fn send(
    dialer: &Dialer,
    group: &[NodeRow],
    noted: Timestamp,
    mut filters: Filters,
) -> GarbageReport {
    let mut report = GarbageReport::default();
    let mut sends = JoinSet::new();
    for node in group {
        let Some(filter) = filters.remove(&node.id) else { continue };
        if sends.len() >= SENDS {
            report.note(sends.join_next().await);
        }
        let (dialer, node, address) = (dialer.clone(), node.id, node.address.clone());
        sends.spawn(async move {
            let told = tell(dialer, node, &address, noted, filter.into_bytes().into()).await;
            if let Err(reason) = &told {
                tracing::warn!(%node, address, reason, "a storage node did not take its filter");
            }
            told.is_ok()
        });
    }
    while !sends.is_empty() {
        report.note(sends.join_next().await);
    }
    report
}

impl GarbageReport {
    fn note(&mut self, sent: Option<Result<bool, JoinError>>) {
        match sent {
            Some(Ok(true)) => self.told = self.told.saturating_add(1),
            Some(_) => self.failed = self.failed.saturating_add(1),
            None => {}
        }
    }
}

async fn tell(
    dialer: Dialer,
    node: NodeId,
    address: &str,
    noted: Timestamp,
    filter: Bytes,
) -> Result<(), String> {
    let connection = Pool::new(dialer).peer(node, address);
    match timeout(SEND_DEADLINE, retain(&connection, noted, filter)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(connection
            .dial_error()
            .map_or_else(|| failure.to_string(), |error| error.to_string())),
        Err(_) => Err(format!("no answer within {SEND_DEADLINE:?}")),
    }
}

#[cfg(test)]
mod tests;
