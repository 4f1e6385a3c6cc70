//! API keys: macaroons that any holder can restrict and only the issuing satellite can verify.
//!
//! An API key consists of a head that identifies a secret on the satellite, a list of caveats that
//! each restrict the key, and a tail: an HMAC-SHA256 chain over head and caveats, keyed with the
//! secret. Adding a caveat requires only the current tail; verification requires the secret. The
//! binary form is a subset of libmacaroons' format v2, the text form is its Base58Check.

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

mod caveat;
mod check;
mod codec;
mod restrict;

#[cfg(test)]
mod attenuation;
#[cfg(test)]
pub(crate) mod model;

use std::fmt;

pub use caveat::{Caveat, Operation, OperationSet, Timestamp};
pub use check::{Action, AllowedBuckets, ApiKeyVersion, CheckError, Denial};
pub use codec::{MAX_CAVEATS, MAX_MACAROON_SIZE, Macaroon, MacaroonError};
pub use restrict::{Permission, PermissionError};
use subtle::ConstantTimeEq;

use crate::base58::{self, Base58Error};
use crate::encryption::PathScope;
use crate::secret::Secret;

/// An API key. A bearer secret: possession grants its permissions.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Macaroon);

impl ApiKey {
    /// Creates an unrestricted key from its secret on the satellite and the head that identifies it.
    /// Both are 32 random bytes in this project; other lengths are accepted.
    #[must_use]
    pub fn new(secret: &[u8], head: Vec<u8>) -> Self {
        Self(Macaroon::new(secret, head))
    }

    /// Parses the text form.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let (version, bytes) = base58::decode_check(text, MAX_API_KEY_CHARACTERS)?;
        let bytes = Secret::new(bytes);
        if version != VERSION {
            return Err(ApiKeyError::Version(version));
        }
        Self::from_bytes(bytes.expose()).map_err(Into::into)
    }

    /// Decodes the binary form like all clients: bytes after the signature are ignored.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MacaroonError> {
        Macaroon::decode(bytes).map(|(macaroon, _)| Self(macaroon))
    }

    /// Decodes the binary form strictly: bytes after the signature are an error.
    pub fn from_exact_bytes(bytes: &[u8]) -> Result<Self, MacaroonError> {
        match Macaroon::decode(bytes)? {
            (macaroon, []) => Ok(Self(macaroon)),
            _ => Err(MacaroonError::TrailingBytes),
        }
    }

    /// Encodes the binary form used in request headers and grants.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.encode()
    }

    /// Returns the text form. There is no `Display`, so that keys are not logged by accident.
    #[must_use]
    pub fn serialize(&self) -> String {
        base58::encode_check(VERSION, Secret::new(self.to_bytes()).expose())
    }

    /// Returns this key further restricted by a caveat.
    pub fn restrict(&self, caveat: &Caveat) -> Result<Self, MacaroonError> {
        self.0.with_caveat(caveat.encode()).map(Self)
    }

    /// Returns the head, by which the satellite looks up the secret.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.0.head()
    }

    /// Returns the tail. It is as secret as the key: it allows adding caveats and removing those again.
    #[must_use]
    pub const fn tail(&self) -> &[u8; 32] {
        self.0.tail()
    }

    /// Returns the serialized caveats in the order in which they were added.
    #[must_use]
    pub fn caveats(&self) -> &[Vec<u8>] {
        self.0.caveats()
    }

    /// Computes the tails of this key and of all its ancestors, the unrestricted key first. The
    /// satellite checks each for revocation. [`is_authentic`](Self::is_authentic) compares the last
    /// one with [`tail`](Self::tail).
    #[must_use]
    pub fn tails(&self, secret: &[u8]) -> Vec<[u8; 32]> {
        self.0.tails(secret)
    }

    /// Returns whether this key descends from the one that `secret` belongs to. Compares in constant
    /// time.
    #[must_use]
    pub fn is_authentic(&self, secret: &[u8]) -> bool {
        let tails = self.tails(secret);
        tails.last().is_some_and(|tail| tail.ct_eq(self.tail()).into())
    }

    /// Checks whether the holder of this key may revoke `target`, and returns the tail to record: the
    /// satellite then rejects every key that has it among its [`tails`](Self::tails).
    ///
    /// A key may revoke its descendants, but not itself, its ancestors or their other descendants.
    /// `secret` belongs to this key's head. The caller must have verified this key.
    pub fn revoke(&self, secret: &[u8], target: &Self) -> Result<[u8; 32], RevocationError> {
        if !target.is_authentic(secret) {
            return Err(RevocationError::NotAuthentic);
        }
        let tails = target.tails(secret);
        let (last, ancestors) = tails.split_last().ok_or(RevocationError::NotAuthentic)?;
        if ancestors.iter().any(|tail| tail.ct_eq(self.tail()).into()) {
            Ok(*last)
        } else {
            Err(RevocationError::NotAnAncestor)
        }
    }

    /// Returns the paths of each caveat that restricts paths, for limiting an encryption store.
    pub fn path_groups(&self) -> Result<Vec<Vec<PathScope>>, ApiKeyError> {
        let mut groups = Vec::new();
        for bytes in self.caveats() {
            let caveat = Caveat::decode(bytes).map_err(ApiKeyError::Caveat)?;
            if !caveat.allowed_paths.is_empty() {
                groups.push(caveat.allowed_paths);
            }
        }
        Ok(groups)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("caveats", &self.caveats().len()).finish_non_exhaustive()
    }
}

/// Why an API key cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyError {
    /// The text is not Base58Check.
    #[error("invalid API key format: {0}")]
    Text(#[from] Base58Error),
    /// The version of the text is not 0.
    #[error("invalid API key format: unknown version {0}")]
    Version(u8),
    /// The bytes are not a macaroon.
    #[error("API key format: {0}")]
    Macaroon(#[from] MacaroonError),
    /// A caveat is malformed.
    #[error("malformed caveat in API key: {0}")]
    Caveat(crate::WireError),
}

/// Why one API key may not revoke another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// The key to revoke has a different secret or was tampered with.
    #[error("API key to revoke is invalid")]
    NotAuthentic,
    /// The key to revoke is not a descendant of the revoking key.
    #[error("an API key can only revoke its descendants")]
    NotAnAncestor,
}

/// Maximum length of an API key's text form; the same as for access grants, which contain the key.
pub const MAX_API_KEY_CHARACTERS: usize = 64 << 10;
const VERSION: u8 = 0;

#[cfg(test)]
mod tests;
