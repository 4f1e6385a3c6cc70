//! Keys: derivation from passphrases and other keys, and key wrapping.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroizing;

use super::aead::Aead;
use super::{CipherSuite, EncryptionError, Nonce, TAG_SIZE};
use crate::mac::{hmac_sha256, hmac_sha512};
use crate::secret::{Secret, burn_deep_stack};

/// A 32-byte encryption key: wiped on drop, redacted in `Debug`, compared in constant time.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Secret<[u8; Self::SIZE]>);

impl Key {
    /// Bytes of a key.
    pub const SIZE: usize = 32;
    /// Bytes of a key wrapped by [`wrap_key`].
    pub const WRAPPED_SIZE: usize = Self::SIZE + TAG_SIZE;

    /// Wraps the bytes of a key. An array leaves a copy on the stack, which the caller must wipe.
    #[must_use]
    pub fn new(bytes: impl Into<Secret<[u8; Self::SIZE]>>) -> Self {
        Self(bytes.into())
    }

    /// Creates a key from a slice; `None` unless it has 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Secret::copy_of(bytes).map(Self)
    }

    /// Creates a key from bytes of any length, as the public libraries do: truncated to 32 bytes or
    /// padded with zeros.
    #[must_use]
    pub fn from_raw(bytes: &[u8]) -> Self {
        let mut key = Self(Secret::zeros());
        for (to, from) in key.0.expose_mut().iter_mut().zip(bytes) {
            *to = *from;
        }
        key
    }

    /// Returns the plain bytes.
    #[must_use]
    pub const fn expose(&self) -> &[u8; Self::SIZE] {
        self.0.expose()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(redacted)")
    }
}

/// Number of lanes for access grants from a passphrase. It affects the result.
pub const ACCESS_LANES: u32 = 8;
/// Number of lanes of [`derive_encryption_key`].
const DERIVE_LANES: u32 = 1;
/// Argon2 needs 8 blocks of memory for each lane.
const MAX_LANES: u32 = MEMORY_KIB / 8;
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 1;

/// Checks a number of lanes.
///
/// # Errors
/// [`KeyError::Lanes`].
pub const fn check_lanes(lanes: u32) -> Result<(), KeyError> {
    if lanes == 0 || lanes > MAX_LANES { Err(KeyError::Lanes(lanes)) } else { Ok(()) }
}

/// Derives a root key from a passphrase, a salt of any length and a path with Argon2id (1 pass,
/// 64 MiB). The path is empty in all known uses.
///
/// Blocks for about a tenth of a second and uses 64 MiB, which are wiped afterwards. The passphrase
/// is used unchanged: no trimming, no Unicode normalisation.
pub fn root_key(passphrase: &[u8], salt: &[u8], path: &[u8], lanes: u32) -> Result<Key, KeyError> {
    check_lanes(lanes)?;
    let mixed = hmac_sha256(passphrase, &[salt]);
    let path_salt = hmac_sha256(mixed.expose(), &[path]);
    let params = Params::new(MEMORY_KIB, PASSES, lanes, Some(Key::SIZE))
        .map_err(|_| KeyError::Lanes(lanes))?;
    let mut key = Key(Secret::zeros());
    let hashed = argon2id(params, passphrase, path_salt.expose(), key.0.expose_mut());
    burn_deep_stack();
    hashed.map_err(|_| KeyError::Passphrase)?;
    Ok(key)
}

/// Not inlined, so that its locals are on the stack that is burnt.
#[inline(never)]
fn argon2id(
    params: Params,
    passphrase: &[u8],
    salt: &[u8],
    output: &mut [u8],
) -> Result<(), argon2::Error> {
    let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into_with_memory(passphrase, salt, output, memory.as_mut_slice())
}

/// Derives a key for one user of an application from a passphrase, with one lane, like
/// `derive_encryption_key` of the public libraries.
pub fn derive_encryption_key(passphrase: &[u8], salt: &[u8]) -> Result<Key, KeyError> {
    root_key(passphrase, salt, b"", DERIVE_LANES)
}

/// Why a key could not be derived from a passphrase.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The number of lanes is 0 or too large for the memory size.
    #[error("invalid number of key derivation lanes {0}: must be 1 to {MAX_LANES}")]
    Lanes(u32),
    /// The passphrase is longer than the algorithm allows (4 GiB).
    #[error("passphrase is too long")]
    Passphrase,
}

/// Derives a key from a key: the first 32 bytes of HMAC-SHA512(key, message).
#[must_use]
pub fn derive_key(key: &Key, message: &[u8]) -> Key {
    derive_from_parts(key, &[message])
}

/// Derives the key below `key` for one component of a path, or for a bucket below the root key.
#[must_use]
pub fn component_key(key: &Key, component: &[u8]) -> Key {
    derive_from_parts(key, &[b"path:", component])
}

/// Derives the key that wraps an object's segment keys and metadata key, from the object's path key.
#[must_use]
pub fn content_key_of(path_key: &Key) -> Key {
    derive_key(path_key, b"content")
}

/// Derives the key that seals the ETag of a part from the key of the part's last segment.
#[must_use]
pub fn part_etag_key(segment_key: &Key) -> Key {
    derive_key(segment_key, b"storj-etag-v1")
}

/// Derives the nonce of a path component from the key derived for that component.
#[must_use]
pub fn path_nonce(component_key: &Key) -> Nonce {
    Nonce::new(*hmac_sha512(component_key.expose(), &[b"nonce"]).expose())
}

/// Wraps a key with another key, with the suite of its object. A nonce must not be used twice with
/// one wrapping key: generate it randomly.
pub fn wrap_key(
    suite: CipherSuite,
    wrapping_key: &Key,
    nonce: &Nonce,
    key: &Key,
) -> Result<[u8; Key::WRAPPED_SIZE], EncryptionError> {
    let mut wrapped = [0; Key::WRAPPED_SIZE];
    wrapping(suite, wrapping_key)?.seal_into(nonce, 0, key.expose(), &mut wrapped)?;
    Ok(wrapped)
}

/// Unwraps a key wrapped by [`wrap_key`]. Rejects any length other than 48 bytes, so that an empty
/// field in a peer's response never becomes a key.
pub fn unwrap_key(
    suite: CipherSuite,
    wrapping_key: &Key,
    nonce: &Nonce,
    wrapped: &[u8],
) -> Result<Key, EncryptionError> {
    if wrapped.len() != Key::WRAPPED_SIZE {
        return Err(EncryptionError::WrappedKey(wrapped.len()));
    }
    let mut key = Key(Secret::zeros());
    wrapping(suite, wrapping_key)?.open_into(nonce, 0, wrapped, key.0.expose_mut())?;
    Ok(key)
}

fn wrapping(suite: CipherSuite, key: &Key) -> Result<Aead, EncryptionError> {
    match suite {
        CipherSuite::Null => Err(EncryptionError::Unencrypted),
        suite => Aead::new(suite, key),
    }
}

fn derive_from_parts(key: &Key, parts: &[&[u8]]) -> Key {
    Key(hmac_sha512(key.expose(), parts))
}
