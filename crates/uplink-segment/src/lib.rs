//! One segment: from plain bytes to pieces on storage nodes, and back.
//!
//! ```text
//!   upload    plain ─ Sealer: seal block by block ─► SealedSegment (encrypted, once)
//!                                                     │ window by window, all wanted pieces at once
//!                                                     ▼
//!                                            Ring (a few windows) ─► one transfer per piece
//!   download  one transfer per piece ─► shares by stripe ─► any k of them ─ decode ─ open ─► plain
//! ```
//!
//! This crate knows nothing of access grants, buckets, objects or metadata. Its caller provides the
//! order limits, and a [`BlockCipher`] that encrypts plain blocks and authenticates downloaded ones. All
//! transfers of one [`Transfers`] share its budgets of memory and of concurrent transfers.
//!
//! | module | contents |
//! |---|---|
//! | [`memory`] | the budget, buffer pools, slabs of huge pages |
//! | [`upload`] | sealing, encoding and sending of one segment |
//! | [`download`] | fetching, decoding and opening of one segment |
//! | [`suspects`] | storage nodes that returned corrupt shares |

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use uplink_core::encryption::EncryptionError;
use uplink_core::encryption::content::SegmentCipher;
use uplink_core::erasure::Scheme;
use uplink_core::id::NodeId;
use uplink_core::order::PiecePrivateKey;
use uplink_rpc::piece::{PieceError, Target};
use uplink_rpc::pool::Pool;
use uplink_rpc::raw;

pub mod download;
mod error;
pub mod memory;
pub mod suspects;
pub mod upload;
mod window;

#[cfg(test)]
mod tests;

pub use self::error::{CorruptPieces, SegmentError, Shortage};
use self::memory::Budget;
use self::suspects::SuspectNodes;

/// What all transfers of one caller share: connections, budgets and suspect storage nodes. Clones share
/// the same state.
#[derive(Clone, Debug)]
pub struct Transfers {
    pool: Pool,
    budget: Budget,
    suspects: SuspectNodes,
    progress_timeout: Duration,
}

impl Transfers {
    /// Transfers pieces over the connections of `pool`, within `budget`. `progress_timeout` is the
    /// timeout of every single wait for progress of a storage node.
    #[must_use]
    pub fn new(pool: Pool, budget: Budget, progress_timeout: Duration) -> Self {
        Self { pool, budget, suspects: SuspectNodes::default(), progress_timeout }
    }

    /// Returns the budget of memory and concurrent transfers.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    fn target(&self, limit: PieceLimit, key: PiecePrivateKey) -> Result<Target, PieceError> {
        let connection = self.pool.peer(limit.node, &limit.address);
        Target::new(connection, limit.limit, key, self.progress_timeout)
    }
}

/// A piece that may be transferred: its number, and the order limit and address of its storage node.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "its caller creates it from the satellite's reply")]
pub struct PieceLimit {
    /// Number of the piece within its segment.
    pub piece: u16,
    /// The node that the limit is for.
    pub node: NodeId,
    /// Its address, `host:port`.
    pub address: String,
    /// The satellite's order limit for it.
    pub limit: raw::OrderLimit,
}

/// A segment whose pieces are to be read from storage nodes.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "its caller creates it from the satellite's reply")]
pub struct RemoteSegment {
    /// How it is coded.
    pub scheme: Scheme,
    /// Signs the orders.
    pub piece_key: PiecePrivateKey,
    /// Limits of some or all of its holders.
    pub limits: Vec<PieceLimit>,
}

/// A segment whose pieces are to be stored.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "its caller creates it from the satellite's reply")]
pub struct SegmentUpload {
    /// The satellite's id of the segment.
    pub segment_id: Bytes,
    /// How it is coded.
    pub scheme: Scheme,
    /// Signs the orders.
    pub piece_key: PiecePrivateKey,
    /// One per piece number, in order.
    pub limits: Vec<PieceLimit>,
    /// Pieces that must be stored before the segment may be committed.
    pub target_pieces: u16,
}

/// A piece that a storage node has stored and signed for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlacedPiece {
    /// Its number within the segment.
    pub number: u16,
    /// The node that holds it.
    pub node: NodeId,
    /// The node's signed hash of it.
    pub hash: raw::PieceHash,
}

/// Encrypts the blocks of one segment, and decrypts those that authenticate.
pub trait BlockCipher: fmt::Debug + Send + Sync + 'static {
    /// Returns the bytes of a sealed block.
    fn block_size(&self) -> usize;

    /// Returns the plain bytes of a block.
    fn plain_block_size(&self) -> usize;

    /// Encrypts the block at an index into `sealed`.
    ///
    /// # Errors
    /// A buffer has the wrong size.
    fn seal_block(
        &self,
        index: u64,
        plain: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), EncryptionError>;

    /// Decrypts consecutive whole blocks, the first of which has the index `first`.
    ///
    /// # Errors
    /// [`EncryptionError::Decryption`]: a block does not authenticate. The contents of `plain`
    /// are unspecified then.
    fn open_blocks(
        &self,
        first: u64,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), EncryptionError>;
}

impl BlockCipher for SegmentCipher {
    fn block_size(&self) -> usize {
        self.block_size()
    }

    fn plain_block_size(&self) -> usize {
        self.plain_block_size()
    }

    fn seal_block(
        &self,
        index: u64,
        plain: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), EncryptionError> {
        self.seal_block(index, plain, sealed)
    }

    fn open_blocks(
        &self,
        first: u64,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), EncryptionError> {
        self.open_blocks(first, sealed, plain)
    }
}
