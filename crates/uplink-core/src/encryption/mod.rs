//! End-to-end encryption of object keys, content and metadata, with keys derived from a passphrase.
//!
//! ```text
//! passphrase ─ key::root_key ─► root key ─► store::EncryptionStore (which key governs which prefix)
//!                                             │
//!                      ┌──────────────────────┼────────────────────────┐
//!                      ▼                      ▼                        ▼
//!              path: object keys     path::content_key ─ wraps ─► random key per segment
//!                                             │                        │
//!                                             ▼                        ▼
//!                                    metadata: envelope       content: blocks and nonces
//! ```

#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod content;
pub mod escape;
pub mod key;
pub mod mark;
pub mod metadata;
pub mod nonce;
pub mod path;
pub mod store;

mod aead;
mod limit;
mod secretbox;

use std::fmt;

pub use content::ContentCipher;
pub use key::Key;
pub use limit::PathScope;
pub use nonce::{Nonce, segment_start_nonce};
pub use store::EncryptionStore;

/// The algorithms for encrypting names, keys, content and metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CipherSuite {
    /// 0: not specified.
    Unspecified,
    /// 1: no encryption.
    Null,
    /// 2: AES-256-GCM with the first 12 bytes of a nonce.
    AesGcm,
    /// 3: XSalsa20-Poly1305 as in NaCl's secretbox.
    SecretBox,
    /// Presents encrypted names as URL-safe Base64. In memory only: it has no number in messages.
    NullBase64Url,
    /// 100: ChaCha20-Poly1305 (RFC 8439) with the first 12 bytes of a nonce. An extension of this
    /// project for content.
    ChaCha20Poly1305,
    /// An unknown number.
    Unknown(u8),
}

impl CipherSuite {
    /// Returns the suite of a number. Only the low 8 bits count, as everywhere in the network.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        match number as u8 {
            0 => Self::Unspecified,
            1 => Self::Null,
            2 => Self::AesGcm,
            3 => Self::SecretBox,
            100 => Self::ChaCha20Poly1305,
            unknown => Self::Unknown(unknown),
        }
    }

    /// Returns whether content, keys and metadata of this suite can be sealed and opened.
    #[must_use]
    pub const fn is_supported(self) -> bool {
        matches!(self, Self::AesGcm | Self::SecretBox | Self::ChaCha20Poly1305)
    }

    /// Returns the number of the suite in messages; 0 for [`NullBase64Url`](Self::NullBase64Url).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Unspecified | Self::NullBase64Url => 0,
            Self::Null => 1,
            Self::AesGcm => 2,
            Self::SecretBox => 3,
            Self::ChaCha20Poly1305 => 100,
            Self::Unknown(number) => number,
        }
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unspecified => f.write_str("unspecified"),
            Self::Null => f.write_str("null"),
            Self::AesGcm => f.write_str("AES-256-GCM"),
            Self::SecretBox => f.write_str("XSalsa20-Poly1305"),
            Self::NullBase64Url => f.write_str("null-base64url"),
            Self::ChaCha20Poly1305 => f.write_str("ChaCha20-Poly1305"),
            Self::Unknown(number) => write!(f, "unknown suite {number}"),
        }
    }
}

/// Suite and block size of an object's content, as stored with the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncryptionParameters {
    /// The suite of content, wrapped keys and metadata.
    pub suite: CipherSuite,
    /// Size of one encrypted block in bytes, including the tag.
    pub block_size: u32,
}

impl EncryptionParameters {
    /// The default for new objects: AES-256-GCM in blocks of 7,424 bytes, 29 shares of 256.
    pub const DEFAULT: Self = Self { suite: CipherSuite::AesGcm, block_size: 7424 };

    /// Creates parameters. The block size must be larger than the tag and at most 16 MiB.
    pub fn new(suite: CipherSuite, block_size: i64) -> Result<Self, EncryptionError> {
        match u32::try_from(block_size) {
            Ok(size) if size > TAG_SIZE as u32 && size <= MAX_BLOCK_SIZE => {
                Ok(Self { suite, block_size: size })
            }
            _ => Err(EncryptionError::BlockSize(block_size)),
        }
    }
}

/// Why something could not be encrypted or decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptionError {
    /// The suite is not implemented or not usable for this purpose.
    #[error("encryption with {0} is not supported")]
    Unsupported(CipherSuite),
    /// The null suite was used where unencrypted content is not allowed.
    #[error("unencrypted content is not allowed")]
    Unencrypted,
    /// Block numbers would exceed 64 bits.
    #[error("block number overflow: {count} blocks from number {first}")]
    BlockNumber {
        /// Number of the first block.
        first: u64,
        /// Number of blocks.
        count: usize,
    },
    /// The encrypted block size is not larger than the tag, or larger than 16 MiB.
    #[error("invalid encrypted block size {0}: out of range")]
    BlockSize(i64),
    /// A buffer has the wrong length.
    #[error("buffer has {actual} bytes, expected {expected}")]
    Length {
        /// Bytes needed.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
    /// Authentication failed: the key or nonce is wrong, or the data is corrupt.
    #[error("decryption failed: wrong encryption key or corrupt data")]
    Decryption,
    /// A wrapped key has the wrong length.
    #[error("invalid encrypted key: {0} bytes, expected 48")]
    WrappedKey(usize),
}

/// Size of the authentication tag in bytes, in all suites except the null suite.
pub const TAG_SIZE: usize = 16;
const MAX_BLOCK_SIZE: u32 = 16 << 20;

#[cfg(test)]
mod tests;
