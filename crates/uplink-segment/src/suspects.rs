//! Storage nodes that returned corrupt shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use uplink_core::id::NodeId;
use uplink_core::policy::suspicion::UNRELIABLE;

/// Storage nodes that returned corrupt shares. They are read from after others, and as a last resort if
/// many of their shares were corrupt. Clones share the same state.
#[derive(Clone, Debug, Default)]
pub struct SuspectNodes(Arc<Mutex<HashMap<NodeId, u32>>>);

/// Maximum nodes remembered: more than networks have.
const MAX: usize = 100_000;

impl SuspectNodes {
    /// Counts corrupt shares of a node.
    pub(crate) fn add(&self, node: NodeId, shares: u32) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.len() < MAX || nodes.contains_key(&node) {
            let corrupt = nodes.entry(node).or_default();
            *corrupt = corrupt.saturating_add(shares);
        }
    }

    /// Returns the corrupt shares of a node so far.
    pub(crate) fn corrupt_shares(&self, node: NodeId) -> u32 {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(&node).copied().unwrap_or_default()
    }

    /// Returns whether a node is read from only if all others are not enough.
    pub(crate) fn is_unreliable(&self, node: NodeId) -> bool {
        self.corrupt_shares(node) >= UNRELIABLE
    }
}
