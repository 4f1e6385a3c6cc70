//! Incremental hash of a piece.

use bytes::Bytes;
use sha2::Digest;
use uplink_core::order::PieceHashAlgorithm;

/// Hashes bytes as they arrive, with the algorithm that the uploader chose.
pub(crate) enum Hasher {
    Blake3(Box<blake3::Hasher>),
    Sha256(sha2::Sha256),
}

impl Hasher {
    pub(crate) fn new(algorithm: PieceHashAlgorithm) -> Self {
        match algorithm {
            PieceHashAlgorithm::Blake3 => Self::Blake3(Box::default()),
            PieceHashAlgorithm::Sha256 => Self::Sha256(sha2::Sha256::default()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the hash: 32 bytes with either algorithm.
    pub(crate) fn finish(self) -> Bytes {
        match self {
            Self::Blake3(hasher) => Bytes::copy_from_slice(hasher.finalize().as_bytes()),
            Self::Sha256(hasher) => Bytes::copy_from_slice(&hasher.finalize()),
        }
    }
}
