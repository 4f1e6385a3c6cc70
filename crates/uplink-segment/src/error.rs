//! Why a segment could not be moved.

use std::fmt;

use uplink_core::encryption::EncryptionError;
use uplink_core::erasure::{CorrectError, DecodeError, EncodeError};
use uplink_core::layout::LayoutError;
use uplink_rpc::piece::PieceError;
use uplink_rpc::runtime::RuntimeError;

/// Why a segment could not be uploaded or downloaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The reader of a download is gone.
    #[error("the download was dropped")]
    Cancelled,
    /// More pieces are corrupt than can be corrected, and no others exist.
    #[error("the pieces of a segment are corrupt beyond repair: {0}")]
    Corrupt(CorruptPieces),
    /// Shares could not be coded or decoded.
    #[error("erasure coding failed")]
    Erasure(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The cipher rejects its input, for another reason than a block that does not authenticate.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// All pieces read agree on bytes that do not authenticate.
    #[error("the {pieces} pieces read agree on bytes that are not authentic")]
    Forged {
        /// Pieces read.
        pieces: usize,
    },
    /// A mistake of this crate.
    #[error("{0}")]
    Internal(&'static str),
    /// The range or size of a segment makes no sense.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Too few storage nodes took or gave their pieces.
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
    /// The satellite's order limits cannot be used.
    #[error("order limits: {0}")]
    OrderLimits(&'static str),
}

/// What is missing when there are too few storage nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shortage {
    /// Too few nodes give their pieces.
    Download {
        /// Pieces that can be read.
        found: u16,
        /// Pieces required.
        needed: u16,
        /// Pieces with corrupt shares among those read.
        corrupt: usize,
    },
    /// Too few of the pieces that nodes give are correct, and others cannot be reached.
    Correct(CorruptPieces),
    /// Too few nodes take their pieces.
    Upload {
        /// Pieces stored, or still on their way.
        have: usize,
        /// Pieces required.
        needed: u16,
    },
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Correct(counts) => {
                write!(f, "too few storage nodes give correct pieces: {counts}")
            }
            Self::Download { found, needed, corrupt } => {
                let text = "too few storage nodes give their pieces";
                write!(f, "{text}: found {found}, need {needed}")?;
                match corrupt {
                    0 => Ok(()),
                    corrupt => write!(f, "; {corrupt} gave corrupt shares"),
                }
            }
            Self::Upload { have, needed } => {
                write!(f, "too few storage nodes take their pieces: have {have}, need {needed}")
            }
        }
    }
}

/// Counts of a segment that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorruptPieces {
    /// Pieces read.
    pub read: usize,
    /// How many of them are corrupt at least.
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
            "at least {corrupt} of {read} pieces read are corrupt, {unreachable} are unreachable, \
             {required} correct ones are required"
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
