//! Which storage nodes have lied.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use uplink_core::id::NodeId;

/// Storage nodes that returned wrong shares, for as long as a project is open. They are read from
/// only when others are not enough. Clones share what is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Liars(Arc<Mutex<HashSet<NodeId>>>);

/// Nodes remembered, at most: more than networks have.
const MOST: usize = 100_000;

impl Liars {
    /// Remembers a node.
    pub(super) fn add(&self, node: NodeId) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.len() < MOST {
            nodes.insert(node);
        }
    }

    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&node)
    }
}
