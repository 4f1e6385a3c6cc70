//! Edits of bytes and texts.

use proptest::prelude::*;
use proptest::sample::Index;

/// One edit of a sequence of bytes.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    FlipBit(Index, u8),
    Truncate(Index),
    Substitute(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Duplicate(Index, usize),
    /// Exchanges two ranges of the same length.
    Swap(Index, Index, usize),
    /// Continues with another sequence.
    Splice(Index, Index),
}

pub(crate) fn any_edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), 0u8..8).prop_map(|(at, bit)| Edit::FlipBit(at, bit)),
        1 => at().prop_map(Edit::Truncate),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Substitute(at, byte)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        1 => (at(), 1usize..80).prop_map(|(at, length)| Edit::Remove(at, length)),
        1 => (at(), 1usize..80).prop_map(|(at, length)| Edit::Duplicate(at, length)),
        1 => (at(), at(), 1usize..60).prop_map(|(a, b, length)| Edit::Swap(a, b, length)),
        1 => (at(), at()).prop_map(|(at, from)| Edit::Splice(at, from)),
    ]
}

impl Edit {
    /// Returns `bytes` with this edit; `other` is what a splice continues with.
    pub(crate) fn apply(&self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut edited = bytes.to_vec();
        if bytes.is_empty() {
            return edited;
        }
        let range = |at: &Index, length: usize| {
            let start = at.index(bytes.len());
            start..bytes.len().min(start + length)
        };
        match self {
            Self::FlipBit(at, bit) => edited[at.index(bytes.len())] ^= 1 << bit,
            Self::Truncate(at) => edited.truncate(at.index(bytes.len())),
            Self::Substitute(at, byte) => edited[at.index(bytes.len())] = *byte,
            Self::Insert(at, inserted) => {
                let at = at.index(bytes.len());
                edited.splice(at..at, inserted.iter().copied());
            }
            Self::Remove(at, length) => drop(edited.drain(range(at, *length))),
            Self::Duplicate(at, length) => {
                let range = range(at, *length);
                let end = range.end;
                edited.splice(end..end, bytes[range].iter().copied());
            }
            Self::Swap(a, b, length) => {
                for (one, other) in range(a, *length).zip(range(b, *length)) {
                    edited.swap(one, other);
                }
            }
            Self::Splice(at, from) if !other.is_empty() => {
                edited.truncate(at.index(bytes.len()));
                edited.extend_from_slice(&other[from.index(other.len())..]);
            }
            Self::Splice(..) => {}
        }
        edited
    }
}
