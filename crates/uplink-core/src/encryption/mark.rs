//! Marked content keys: a chain over the segments of a stream or a part, and seals over parts.
//!
//! ```text
//! T(0)   26 random bytes, fresh for every attempt
//! T(i+1) BLAKE3 derive_key("uplink segment chain v1", T(i) ‖ part u32 BE ‖ i+1 u32 BE)[..26]
//! key(i) T(i) ‖ mark        mark = BLAKE3 derive_key("uplink key mark v1", kind u8 ‖ T)[..6]
//! ```
//!
//! The satellite stores keys wrapped under the object's content key. It can therefore neither create
//! a marked key nor turn one into an unmarked key, and a key identifies its segment and attempt. The
//! mark does not depend on the position, so that relabelling a segment cannot remove it. A random key
//! appears marked with a probability of 2⁻⁴⁸ for each kind.

use std::fmt;

use zeroize::Zeroizing;

use super::Key;
use crate::secret::{Secret, burn_stack};

#[cfg(test)]
mod tests;

/// What a marked key encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum KeyKind {
    /// A segment of an object that was written as one stream.
    Stream = 1,
    /// A segment of a part of a multipart upload.
    Part = 2,
    /// The metadata of an object.
    Metadata = 3,
}

impl KeyKind {
    const ALL: [Self; 3] = [Self::Stream, Self::Part, Self::Metadata];

    /// Returns the kind that a key is marked as; `None` for an unmarked key.
    #[must_use]
    pub fn of(key: &Key) -> Option<Self> {
        let (value, mark) = key.expose().split_at(ChainValue::SIZE);
        Self::ALL.into_iter().find(|kind| kind.mark(value) == *mark)
    }

    fn mark(self, value: &[u8]) -> [u8; MARK_SIZE] {
        let mut mark = [0; MARK_SIZE];
        derive(MARK_CONTEXT, &[&[self as u8], value], &mut mark);
        mark
    }
}

/// The part of a marked key before its mark: one value of a chain.
///
/// The first value of a chain opens every segment of it. It must be random and fresh for every
/// attempt at writing a stream or a part, because the keys derived from it are used with fixed
/// nonces.
#[derive(Clone, PartialEq, Eq)]
pub struct ChainValue(Secret<[u8; Self::SIZE]>);

impl ChainValue {
    /// Size of a value in bytes.
    pub const SIZE: usize = Key::SIZE - MARK_SIZE;

    /// Wraps the bytes of a value. An array leaves a copy on the stack, which the caller must wipe.
    #[must_use]
    pub fn new(bytes: impl Into<Secret<[u8; Self::SIZE]>>) -> Self {
        Self(bytes.into())
    }

    /// Creates a value from a slice; `None` unless it has 26 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Secret::copy_of(bytes).map(Self)
    }

    /// Returns the chain value of a marked key.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        let mut value = Secret::zeros();
        value.expose_mut().copy_from_slice(key.expose().split_at(Self::SIZE).0);
        Self(value)
    }

    /// Returns the plain bytes.
    #[must_use]
    pub const fn expose(&self) -> &[u8; Self::SIZE] {
        self.0.expose()
    }

    /// Returns the key made of this value and the mark of a kind.
    #[must_use]
    pub fn key(&self, kind: KeyKind) -> Key {
        let mut bytes = Secret::<[u8; Key::SIZE]>::zeros();
        let (value, mark) = bytes.expose_mut().split_at_mut(Self::SIZE);
        value.copy_from_slice(self.expose());
        mark.copy_from_slice(&kind.mark(self.expose()));
        Key::new(bytes)
    }

    /// Returns the value of segment `index` of a part, the one after this value's segment.
    fn next(&self, part: u32, index: u32) -> Self {
        let mut value = Secret::zeros();
        let parts = [self.expose().as_slice(), &part.to_be_bytes(), &index.to_be_bytes()];
        derive(CHAIN_CONTEXT, &parts, value.expose_mut());
        Self(value)
    }
}

impl fmt::Debug for ChainValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainValue(redacted)")
    }
}

/// The keys of the segments of one stream or part, by index.
///
/// Caches every 256th computed value, so that seeking back costs at most 255 hashes and the cache for
/// a million segments takes less than 200 KiB.
#[derive(Clone, Debug)]
pub struct Chain {
    kind: KeyKind,
    part: u32,
    /// Cached values at the indexes 0, 256, 512, …
    milestones: Vec<ChainValue>,
    /// The last computed value and its index.
    last: (u32, ChainValue),
}

impl Chain {
    /// Creates the chain of a part from its first value; streams are part 0.
    #[must_use]
    pub fn new(kind: KeyKind, part: u32, first: ChainValue) -> Self {
        Self { kind, part, milestones: vec![first.clone()], last: (0, first) }
    }

    /// Returns the key of a segment. Costs one hash per step from the nearest cached value.
    #[must_use]
    pub fn key(&mut self, index: u32) -> Key {
        self.seek(index);
        self.last.1.key(self.kind)
    }

    fn seek(&mut self, index: u32) {
        let milestone = (index / MILESTONE).min(self.last_milestone());
        let at = milestone.saturating_mul(MILESTONE);
        let is_behind = index < self.last.0 || self.last.0 < at;
        if let Some(value) = self.milestones.get(milestone as usize).filter(|_| is_behind) {
            self.last = (at, value.clone());
        }
        while self.last.0 < index {
            let next = self.last.0.saturating_add(1);
            self.last = (next, self.last.1.next(self.part, next));
            if next.is_multiple_of(MILESTONE) && next / MILESTONE > self.last_milestone() {
                self.milestones.push(self.last.1.clone());
            }
        }
    }

    fn last_milestone(&self) -> u32 {
        u32::try_from(self.milestones.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

/// Incremental digest of one part: part, index, plain size and key of each segment in order.
#[derive(Debug)]
pub struct PartDigest {
    part: u32,
    /// Contains key bytes, of which a move would leave a copy on the stack.
    hasher: Box<Zeroizing<blake3::Hasher>>,
}

impl PartDigest {
    /// Starts the digest of a part.
    #[must_use]
    pub fn new(part: u32) -> Self {
        Self { part, hasher: Box::new(hasher(PART_CONTEXT)) }
    }

    /// Adds the next segment.
    pub fn add(&mut self, index: u32, plain_size: u64, key: &Key) {
        self.update(index, plain_size, key);
        burn_stack();
    }

    /// Not inlined, so that its locals are on the stack that is burnt.
    #[inline(never)]
    fn update(&mut self, index: u32, plain_size: u64, key: &Key) {
        self.hasher.update(&self.part.to_be_bytes());
        self.hasher.update(&index.to_be_bytes());
        self.hasher.update(&plain_size.to_be_bytes());
        self.hasher.update(key.expose());
    }

    /// Returns the digest.
    #[must_use]
    pub fn finish(&self) -> [u8; 32] {
        let digest = self.hash();
        burn_stack();
        digest
    }

    /// Not inlined, so that its locals are on the stack that is burnt.
    #[inline(never)]
    fn hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}

/// Computes the seal over the parts of an object from their numbers and digests in order.
///
/// Copy and move rewrap the keys, which keeps the seal valid.
#[must_use]
pub fn parts_seal(parts: impl IntoIterator<Item = (u32, [u8; 32])>) -> [u8; 32] {
    let mut hasher = hasher(SEAL_CONTEXT);
    for (part, digest) in parts {
        hasher.update(&part.to_be_bytes());
        hasher.update(&digest);
    }
    *hasher.finalize().as_bytes()
}

fn hasher(context: &str) -> Zeroizing<blake3::Hasher> {
    Zeroizing::new(blake3::Hasher::new_derive_key(context))
}

/// Derives bytes from the concatenation of `parts`, which may be secret.
fn derive(context: &str, parts: &[&[u8]], output: &mut [u8]) {
    derive_into(context, parts, output);
    burn_stack();
}

/// Not inlined, so that its locals are on the stack that is burnt.
#[inline(never)]
fn derive_into(context: &str, parts: &[&[u8]], output: &mut [u8]) {
    let mut hasher = hasher(context);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize_xof().fill(output);
}

/// Size of a mark in bytes.
const MARK_SIZE: usize = 6;
/// Distance between cached values of a chain.
const MILESTONE: u32 = 256;

const CHAIN_CONTEXT: &str = "uplink segment chain v1";
const MARK_CONTEXT: &str = "uplink key mark v1";
const PART_CONTEXT: &str = "uplink part digest v1";
const SEAL_CONTEXT: &str = "uplink parts seal v1";
