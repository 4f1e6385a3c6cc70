//! Storage nodes in memory: the input of node selection, and identities that verify piece hashes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uplink_core::id::NodeId;
use uplink_core::identity::{PeerIdentity, split_chain, verify_chain};

use crate::metabase::{Metabase, NodeRow, Result};
use crate::time::Time;

/// A cache of the database's nodes.
#[derive(Debug)]
pub(crate) struct Registry {
    metabase: Metabase,
    view: Mutex<Option<View>>,
    identities: Mutex<HashMap<NodeId, Arc<PeerIdentity>>>,
    /// Copy-on-write, so that selection reads it without a lock.
    contacts: Mutex<Arc<HashMap<NodeId, Contact>>>,
}

/// Contact of this process with a node, in monotonic time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Contact {
    /// Time at which it was last reachable after a check-in.
    pub(crate) reached: Option<Duration>,
    /// Its clock at its last check-in.
    pub(crate) clock: Option<ClockReading>,
}

/// The clocks of a node and this satellite at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockReading {
    pub(crate) theirs: Time,
    pub(crate) ours: Time,
    /// The same time on the monotonic clock.
    pub(crate) steady: Duration,
}

#[derive(Clone, Debug)]
struct View {
    read_at: Time,
    nodes: Arc<Vec<NodeRow>>,
}

/// Maximum age of the view, so that check-ins with other processes become visible.
const MAX_AGE: Duration = Duration::from_secs(1);

impl Registry {
    pub(crate) fn new(metabase: Metabase) -> Self {
        Self {
            metabase,
            view: Mutex::default(),
            identities: Mutex::default(),
            contacts: Mutex::default(),
        }
    }

    /// Returns all nodes, at most [`MAX_AGE`] old.
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

    /// Invalidates the cached data of a node.
    pub(crate) fn invalidate(&self, node: &NodeId) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.identities.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }

    /// Loads the contacts of earlier processes of this satellite as contacts of this process, which
    /// makes them independent of later clock steps.
    pub(crate) async fn load_contacts(&self, now: Time, steady: Duration) -> Result<()> {
        let nodes = self.metabase.nodes().await?;
        let mut contacts = self.contacts.lock().unwrap_or_else(PoisonError::into_inner);
        let contacts = Arc::make_mut(&mut contacts);
        for node in nodes {
            let Some(contact) = node.last_contact.filter(|contact| *contact <= now) else {
                continue;
            };
            let age = now.to_system().duration_since(contact.to_system()).unwrap_or_default();
            contacts.entry(node.id).or_default().reached = steady.checked_sub(age);
        }
        Ok(())
    }

    /// Records a check-in at `steady`: whether the node was reachable, and its clock, if it sent that.
    pub(crate) fn record_contact(
        &self,
        node: NodeId,
        steady: Duration,
        reached: bool,
        clock: Option<ClockReading>,
    ) {
        let mut contacts = self.contacts.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Arc::make_mut(&mut contacts).entry(node).or_default();
        if reached {
            entry.reached = Some(steady);
        }
        entry.clock = clock;
    }

    /// Returns the contacts of this process with the nodes.
    pub(crate) fn contacts(&self) -> Arc<HashMap<NodeId, Contact>> {
        Arc::clone(&self.contacts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the identity with which a node last checked in.
    pub(crate) async fn identity(&self, node: &NodeId) -> Result<Option<Arc<PeerIdentity>>> {
        if let Some(identity) = self.cached_identity(node) {
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

    fn cached_identity(&self, node: &NodeId) -> Option<Arc<PeerIdentity>> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned()
    }
}
