//! The storage nodes in memory: what selection works on, and the keys that verify piece hashes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uplink_core::id::NodeId;
use uplink_core::identity::{PeerIdentity, split_chain, verify_chain};

use crate::metabase::{Metabase, NodeRow, Result};
use crate::time::Time;

/// A cached view of the store's nodes.
#[derive(Debug)]
pub(crate) struct Registry {
    metabase: Metabase,
    view: Mutex<Option<View>>,
    identities: Mutex<HashMap<NodeId, Arc<PeerIdentity>>>,
    /// Replaced as a whole, so that selection reads it without a lock.
    heard: Mutex<Arc<HashMap<NodeId, Heard>>>,
}

/// What this process heard of a node, in time that never steps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// When it was last reached after a check-in.
    pub(crate) reached: Option<Duration>,
    /// What its clock showed at its last check-in.
    pub(crate) clock: Option<ClockReading>,
}

/// A node's clock and this satellite's at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockReading {
    pub(crate) theirs: Time,
    pub(crate) ours: Time,
    /// The moment, in time that never steps.
    pub(crate) steady: Duration,
}

#[derive(Clone, Debug)]
struct View {
    read_at: Time,
    nodes: Arc<Vec<NodeRow>>,
}

/// Age at which the view is read anew, so that check-ins with other processes are seen too.
const MAX_AGE: Duration = Duration::from_secs(1);

impl Registry {
    pub(crate) fn new(metabase: Metabase) -> Self {
        Self {
            metabase,
            view: Mutex::default(),
            identities: Mutex::default(),
            heard: Mutex::default(),
        }
    }

    /// All nodes, at most a moment old.
    pub(crate) async fn nodes(&self, now: Time) -> Result<Arc<Vec<NodeRow>>> {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fresh = |view: &View| view.read_at <= now && view.read_at > now.minus(MAX_AGE);
        if let Some(view) = view.filter(fresh) {
            return Ok(view.nodes);
        }
        let nodes = Arc::new(self.metabase.nodes().await?);
        let view = View { read_at: now, nodes: Arc::clone(&nodes) };
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
        Ok(nodes)
    }

    /// Makes the next questions about this node read the store.
    pub(crate) fn forget(&self, node: &NodeId) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.identities.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }

    /// Takes over what an earlier process of this satellite heard, as if this one had: from now on
    /// steps of the clock do not matter to it.
    pub(crate) async fn recall(&self, now: Time, steady: Duration) -> Result<()> {
        let nodes = self.metabase.nodes().await?;
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = Arc::make_mut(&mut heard);
        for node in nodes {
            let Some(contact) = node.last_contact.filter(|contact| *contact <= now) else {
                continue;
            };
            let age = now.to_system().duration_since(contact.to_system()).unwrap_or_default();
            heard.entry(node.id).or_default().reached = steady.checked_sub(age);
        }
        Ok(())
    }

    /// Notes a check-in at `steady`: whether the node was reached, and what its clock showed, if it
    /// said so.
    pub(crate) fn hear(
        &self,
        node: NodeId,
        steady: Duration,
        reached: bool,
        clock: Option<ClockReading>,
    ) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Arc::make_mut(&mut heard).entry(node).or_default();
        if reached {
            entry.reached = Some(steady);
        }
        entry.clock = clock;
    }

    /// What this process heard of the nodes.
    pub(crate) fn heard(&self) -> Arc<HashMap<NodeId, Heard>> {
        Arc::clone(&self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The identity with which a node last checked in.
    pub(crate) async fn identity(&self, node: &NodeId) -> Result<Option<Arc<PeerIdentity>>> {
        if let Some(identity) = self.known(node) {
            return Ok(Some(identity));
        }
        let Some(chain) = self.metabase.node_chain(node).await? else { return Ok(None) };
        let identity = split_chain(&chain).and_then(|chain| verify_chain(&chain));
        let Ok(identity) = identity else { return Ok(None) };
        let identity = Arc::new(identity);
        let mut known = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(*node, Arc::clone(&identity));
        Ok(Some(identity))
    }

    fn known(&self, node: &NodeId) -> Option<Arc<PeerIdentity>> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned()
    }
}
