//! Errors of segment transfers.

use std::fmt;

use uplink_core::encryption::EncryptionError;
use uplink_core::erasure::{CorrectError, DecodeError, EncodeError};
use uplink_core::layout::LayoutError;
use uplink_rpc::piece::PieceError;
use uplink_rpc::runtime::RuntimeError;

/// An error of the upload or download of a segment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The reader of a download was dropped.
    #[error("download cancelled")]
    Cancelled,
    /// More pieces are corrupt than can be corrected, and no others exist.
    #[error("segment cannot be recovered: {0}")]
    Corrupt(CorruptPieces),
    /// Shares could not be coded or decoded.
    #[error("erasure coding failed")]
    Erasure(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The cipher rejected its input, for another reason than an authentication failure.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// All pieces read are consistent, and the bytes do not authenticate.
    #[error(
        "decryption failed: {pieces} consistent pieces decode to bytes that do not authenticate"
    )]
    Forged {
        /// Pieces read.
        pieces: usize,
    },
    /// A bug in this crate.
    #[error("{0}")]
    Internal(&'static str),
    /// The range or size of a segment is invalid.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The strict memory budget of so many bytes is held by uploads that are open and not being written.
    #[error("memory budget of {0} bytes exceeded: open uploads hold all of it")]
    MemoryBudgetExceeded(u64),
    /// Not enough storage nodes stored or returned pieces.
    #[error("{shortage}")]
    NotEnoughNodes {
        /// What is missing.
        shortage: Shortage,
        /// The last piece that failed.
        #[source]
        last: Option<PieceError>,
    },
    /// The runtime is shutting down, or a task panicked.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The satellite's order limits are unusable.
    #[error("invalid order limits: {0}")]
    OrderLimits(&'static str),
}

/// What is missing when there are not enough storage nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shortage {
    /// Not enough nodes return pieces.
    Download {
        /// Pieces that can be read.
        found: u16,
        /// Pieces required (k).
        required: u16,
        /// Pieces with corrupt shares among those read.
        corrupt: usize,
    },
    /// Not enough returned pieces are correct, and others are unreachable.
    Correct(CorruptPieces),
    /// Not enough nodes store pieces.
    Upload {
        /// Pieces of the segment.
        total: u16,
        /// Pieces that no node stores, after replacements.
        failed: usize,
        /// Pieces that must be stored before the segment may be committed.
        target_pieces: u16,
        /// Pieces stored so far. The others might have been, but would not have been enough.
        stored: usize,
    },
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Correct(counts) => {
                write!(f, "not enough correct pieces: {counts}")
            }
            Self::Download { found, required, corrupt } => {
                let text = "required pieces available";
                write!(f, "not enough storage nodes: {found} of {required} {text}")?;
                match corrupt {
                    0 => Ok(()),
                    corrupt => write!(f, "; {corrupt} returned corrupt shares"),
                }
            }
            Self::Upload { total, failed, target_pieces, stored } => write!(
                f,
                "not enough storage nodes: {failed} of {total} failed and {target_pieces} are required; \
                 {stored} pieces were stored"
            ),
        }
    }
}

/// Counts of pieces of a segment that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorruptPieces {
    /// Pieces read.
    pub read: usize,
    /// Minimum number of corrupt ones among them.
    pub corrupt: usize,
    /// Pieces that could not be read.
    pub unreachable: usize,
    /// Correct pieces required.
    pub required: usize,
}

impl fmt::Display for CorruptPieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, corrupt, unreachable, required } = self;
        write!(
            f,
            "at least {corrupt} of {read} pieces are corrupt, {unreachable} are unreachable, \
             {required} correct pieces are required"
        )
    }
}

impl From<EncodeError> for SegmentError {
    fn from(error: EncodeError) -> Self {
        Self::Erasure(Box::new(error))
    }
}

impl From<DecodeError> for SegmentError {
    fn from(error: DecodeError) -> Self {
        Self::Erasure(Box::new(error))
    }
}

impl From<CorrectError> for SegmentError {
    fn from(error: CorrectError) -> Self {
        Self::Erasure(Box::new(error))
    }
}
