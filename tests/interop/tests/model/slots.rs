//! The multipart uploads that a client has begun.

use std::collections::BTreeSet;

use super::operation::{Operation, Place, Step};

/// Number of slots.
pub(crate) const SLOTS: usize = 3;
/// A slot whose upload id is malformed.
pub(crate) const MALFORMED: usize = SLOTS;

/// Upload ids of one client. They differ between clients, so that operations name slots.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: [Option<Slot>; SLOTS],
    /// All upload ids, in the order in which the uploads were begun.
    begun: Vec<String>,
    /// Ids of uploads that have parts.
    with_parts: BTreeSet<String>,
}

/// An upload that was begun.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) id: String,
    pub(crate) at: Place,
}

/// Where operations on uploads that were never begun go.
const NOWHERE: Place = Place { bucket: "alpha", key: "a/b" };

impl Slots {
    /// Returns the upload in a slot. Before the first one the id is empty.
    pub(crate) fn get(&self, slot: usize) -> Slot {
        let unknown = |id: &str| Slot { id: id.to_owned(), at: NOWHERE };
        match self.slots.get(slot) {
            Some(Some(begun)) => begun.clone(),
            Some(None) => unknown(""),
            None => unknown("nonsense"),
        }
    }

    /// Replaces the upload in a slot.
    pub(crate) fn begin(&mut self, slot: usize, id: &str, at: Place) {
        self.begun.push(id.to_owned());
        self.slots[slot] = Some(Slot { id: id.to_owned(), at });
    }

    /// Records that the upload in a slot has a part.
    pub(crate) fn add_part(&mut self, slot: usize) {
        self.with_parts.insert(self.get(slot).id);
    }

    /// Returns whether no client runs a step.
    ///
    /// Our client cannot seal an object without parts if the grant does not permit listing them, and does
    /// not read what is not sealed.
    pub(crate) fn skips(&self, step: &Step) -> bool {
        let Operation::CommitUpload { slot, .. } = step.operation else { return false };
        !step.grant.can_download() && !self.with_parts.contains(&self.get(slot).id)
    }

    /// Returns a number that is the same for all clients; `None` for an upload that was not begun here.
    pub(crate) fn number(&self, id: &str) -> Option<usize> {
        self.begun.iter().position(|begun| begun == id)
    }
}
