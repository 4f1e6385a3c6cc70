//! Garbage collection: every storage node gets a Bloom filter of the pieces to keep.
//!
//! ```text
//!   segments ──► count of pieces per node ──► groups of nodes whose filters fit in memory
//!                                                │ for each group: record the creation time,
//!                                                ▼ scan a snapshot of the segments
//!                                             filters ──► Retain, RetainBig ──► nodes
//! ```
//!
//! A node moves a piece to its trash if the filter does not contain it and its order limit is older
//! than the creation time by more than the node's creation margin. No wanted piece qualifies:
//!
//! - A segment counts from its commit on, even if its object is still being uploaded. All filters of
//!   a group are made of one snapshot, taken after the creation time was recorded, so that a copy
//!   and its source are never both missed.
//! - A segment committed after the snapshot is not in the filters. Its order limits are at most the
//!   segment lifetime older than its commit, which is shorter than the margin: 48 of 72 hours, 9 of
//!   10 minutes in development networks. How long the object stays pending does not matter.
//! - The segment lifetime is checked when a commit begins. [`COMMIT_TIME`] covers the time until the
//!   commit is visible.
//! - The clock may step: the age of a segment is measured in steady time, and the creation time
//!   follows a step ahead only when segments begun before it can no longer be committed.
//!
//! A node that misses a filter gets the next one. Each collection has another seed, so a later filter
//! catches the false positives of this one.

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
use uplink_server::workers::{Schedule, Work};

use crate::config::Config;
use crate::endpoint::State;
use crate::metabase::{MetabaseError, NodeRow, SegmentPieces};
use crate::random;
use crate::time::Time;

/// Result of one collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GarbageReport {
    /// Storage nodes that accepted their filter.
    pub notified: usize,
    /// Storage nodes that were unreachable or rejected it. They get the next one.
    pub failed: usize,
}

/// Why a collection fails. The filters already sent are correct.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GarbageError {
    /// The database fails or contains a malformed segment.
    #[error(transparent)]
    Database(#[from] MetabaseError),
    /// A computation did not finish: the runtime is shutting down.
    #[error("computation did not complete")]
    Interrupted(#[from] JoinError),
}

/// False positive rate of the filters, as in the public network.
const FALSE_POSITIVE_RATE: f64 = 0.1;
/// Maximum bytes of the filters in memory.
const FILTER_MEMORY: usize = MAX_FILTER_BYTES;
/// A filter has spare capacity for one in this many counted pieces, because uploads continue.
const SPARE_CAPACITY: u64 = 10;
/// Maximum time between the check of a commit and its visibility to other transactions.
const COMMIT_TIME: Duration = Duration::from_secs(5 * 60);
/// Maximum number of filters in flight.
const MAX_SENDS: usize = 8;
/// Time for one node to accept its filter.
const SEND_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Maximum time between two checks whether a collection is due.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(60);

type Filters = HashMap<NodeId, BloomFilter>;

/// Returns when to check whether a collection is due; `None` if collections are disabled.
pub(crate) fn schedule(config: &Config) -> Option<Schedule> {
    let interval = config.garbage_interval;
    let check = Schedule::every(interval.min(MAX_CHECK_INTERVAL)).delayed();
    (!interval.is_zero()).then_some(check)
}

/// Collects garbage when the interval of the configuration has passed, also across restarts.
#[derive(Debug)]
pub(crate) struct GarbageWork {
    pub(crate) state: Arc<State>,
}

impl Work for GarbageWork {
    type Error = GarbageError;

    async fn run(&mut self) -> Result<(), GarbageError> {
        if self.state.is_due(self.state.config.garbage_interval).await? {
            collect(&self.state).await?;
        }
        Ok(())
    }

    fn failed(&self, error: &GarbageError, _: Duration) {
        tracing::warn!(%error, "cannot collect garbage");
    }
}

/// Sends each storage node that was ever reached a filter of the pieces to keep.
pub(crate) async fn collect(state: &State) -> Result<GarbageReport, GarbageError> {
    let _collecting = state.collecting.lock().await;
    let started = state.clock.now();
    let mut nodes = state.metabase.nodes().await?;
    // Nodes that were never reached hold no pieces.
    nodes.retain(|node| node.last_contact.is_some());
    let counts = count(state).await?;

    let mut report = GarbageReport::default();
    for group in groups(nodes, &counts, FILTER_MEMORY) {
        let now = state.garbage_time.read(state.clock.now().to_system(), state.clock.steady());
        let created = Time::from_system(now).minus(COMMIT_TIME);
        let filters = fill(state, empty_filters(&group, &counts)).await?;
        let sent = send(&state.dialer, &group, created.to_wire(), filters).await;
        report.notified = report.notified.saturating_add(sent.notified);
        report.failed = report.failed.saturating_add(sent.failed);
    }

    state.metabase.set_garbage_collected(started).await?;
    tracing::info!(notified = report.notified, failed = report.failed, "garbage was collected");
    Ok(report)
}

impl State {
    async fn is_due(&self, interval: Duration) -> Result<bool, MetabaseError> {
        let last = self.metabase.garbage_collected().await?;
        let now = self.clock.now();
        // A time in the future was recorded before the clock was set back.
        Ok(last.is_none_or(|last| last.plus(interval) <= now || last > now))
    }
}

/// Counts the pieces of each node.
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

/// Splits nodes into groups whose filters have at most `memory` bytes, or of a single node.
fn groups(nodes: Vec<NodeRow>, counts: &HashMap<NodeId, u64>, memory: usize) -> Vec<Vec<NodeRow>> {
    let mut groups: Vec<Vec<NodeRow>> = Vec::new();
    let mut bytes = 0usize;
    for node in nodes {
        let needed = BloomFilter::bytes_for_rate(
            capacity(counts, &node.id),
            FALSE_POSITIVE_RATE,
            MAX_FILTER_BYTES,
        );
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
        BloomFilter::for_rate(
            seed,
            capacity(counts, &node.id),
            FALSE_POSITIVE_RATE,
            MAX_FILTER_BYTES,
        )
    };
    group.iter().map(|node| (node.id, filter(node))).collect()
}

fn capacity(counts: &HashMap<NodeId, u64>, node: &NodeId) -> u64 {
    let count = counts.get(node).copied().unwrap_or(0);
    count.saturating_add(count / SPARE_CAPACITY)
}

/// Adds the pieces of all segments to the filters of their nodes.
async fn fill(state: &State, mut filters: Filters) -> Result<Filters, GarbageError> {
    let mut walk = state.metabase.walk().await?;
    loop {
        let page = walk.next().await?;
        if page.is_empty() {
            return Ok(filters);
        }
        // Deriving the piece ids of a page would block the runtime.
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

/// Sends each node of a group its filter, at most [`MAX_SENDS`] concurrently.
async fn send(
    dialer: &Dialer,
    group: &[NodeRow],
    created: Timestamp,
    mut filters: Filters,
) -> GarbageReport {
    let mut report = GarbageReport::default();
    let mut sends = JoinSet::new();
    for node in group {
        let Some(filter) = filters.remove(&node.id) else { continue };
        if sends.len() >= MAX_SENDS {
            report.count(sends.join_next().await);
        }
        let dialer = dialer.clone();
        let node_id = node.id;
        let address = node.address.clone();
        sends.spawn(async move {
            let filter = filter.into_bytes().into();
            let sent = send_filter(dialer, node_id, &address, created, filter).await;
            if let Err(reason) = &sent {
                tracing::warn!(node = %node_id, address, reason, "cannot send filter to storage node");
            }
            sent.is_ok()
        });
    }
    while !sends.is_empty() {
        report.count(sends.join_next().await);
    }
    report
}

impl GarbageReport {
    fn count(&mut self, sent: Option<Result<bool, JoinError>>) {
        match sent {
            Some(Ok(true)) => self.notified = self.notified.saturating_add(1),
            Some(_) => self.failed = self.failed.saturating_add(1),
            None => {}
        }
    }
}

async fn send_filter(
    dialer: Dialer,
    node: NodeId,
    address: &str,
    created: Timestamp,
    filter: Bytes,
) -> Result<(), String> {
    let connection = Pool::new(dialer).peer(node, address);
    match timeout(SEND_TIMEOUT, retain(&connection, created, filter)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(connection
            .dial_error()
            .map_or_else(|| failure.to_string(), |error| error.to_string())),
        Err(_) => Err(format!("no reply within {SEND_TIMEOUT:?}")),
    }
}

#[cfg(test)]
mod tests;
