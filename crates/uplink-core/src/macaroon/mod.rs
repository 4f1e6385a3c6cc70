//! API keys: macaroons that anyone can narrow and only their satellite can verify.
//!
//! An API key is a head that names a secret on the satellite, a list of caveats that each take
//! something away, and a tail: an HMAC-SHA256 chain over head and caveats that starts with the
//! secret. Adding a caveat needs the current tail alone; verifying needs the secret. The bytes are
//! a subset of libmacaroons' binary format v2, the text form is their Base58Check.

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

use subtle::ConstantTimeEq;

pub use caveat::{Caveat, Operation, OperationSet, Timestamp};
pub use check::{Action, AllowedBuckets, ApiKeyVersion, CheckError};
pub use codec::{MAX_CAVEATS, MAX_MACAROON_SIZE, Macaroon, MacaroonError};
pub use restrict::{Permission, PermissionError};

use crate::{
    base58::{self, Base58Error},
    encryption::PathScope,
    secret::Secret,
};

/// An API key. It is a secret: whoever has it may do what it allows.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Macaroon);

impl ApiKey {
    /// Makes an unrestricted key from the satellite's secret for it and the head that names it.
    /// Both are 32 random bytes in keys of this project; other lengths are accepted.
    #[must_use]
    pub fn new(secret: &[u8], head: Vec<u8>) -> Self {
        Self(Macaroon::new(secret, head))
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let (version, bytes) = base58::decode_check(text, MAX_API_KEY_CHARACTERS)?;
        let bytes = Secret::new(bytes);
        if version != VERSION {
            return Err(ApiKeyError::Version(version));
        }
        Self::from_bytes(bytes.expose()).map_err(Into::into)
    }

    /// Reads the binary form as all clients do: bytes after the signature are ignored.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MacaroonError> {
        Macaroon::decode(bytes).map(|(macaroon, _)| Self(macaroon))
    }

    /// Reads the binary form from a peer, where bytes after the signature are an error.
    pub fn from_exact_bytes(bytes: &[u8]) -> Result<Self, MacaroonError> {
        match Macaroon::decode(bytes)? {
            (macaroon, []) => Ok(Self(macaroon)),
            _ => Err(MacaroonError::TrailingBytes),
        }
    }

    /// Writes the binary form, as it travels in request headers and grants.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.encode()
    }

    /// Writes the text form. There is no `Display`, so that keys do not end up in messages.
    #[must_use]
    pub fn serialize(&self) -> String {
        base58::encode_check(VERSION, Secret::new(self.to_bytes()).expose())
    }

    /// Returns a key that allows what this one allows, less what the caveat takes away.
    pub fn restrict(&self, caveat: &Caveat) -> Result<Self, MacaroonError> {
        self.0.with_caveat(caveat.encode()).map(Self)
    }

    /// Lends the head, by which the satellite finds the secret.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.0.head()
    }

    /// Lends the tail. With it caveats can be added and taken off again: it is as secret as the key.
    #[must_use]
    pub const fn tail(&self) -> &[u8; 32] {
        self.0.tail()
    }

    /// Lends the serialized caveats in the order they were added.
    #[must_use]
    pub fn caveats(&self) -> &[Vec<u8>] {
        self.0.caveats()
    }

    /// Computes the tails of this key and of all keys it was narrowed from, the unrestricted one
    /// first. A satellite looks each of them up among the revoked ones. Whether the last equals
    /// [`tail`](Self::tail) is what [`is_authentic`](Self::is_authentic) tells.
    #[must_use]
    pub fn tails(&self, secret: &[u8]) -> Vec<[u8; 32]> {
        self.0.tails(secret)
    }

    /// Tells whether this key was narrowed from the one that `secret` belongs to. Takes the same
    /// time for every wrong tail.
    #[must_use]
    pub fn is_authentic(&self, secret: &[u8]) -> bool {
        let tails = self.tails(secret);
        tails.last().is_some_and(|tail| tail.ct_eq(self.tail()).into())
    }

    /// Decides whether the holder of this key may revoke another, and returns the tail by which the
    /// satellite remembers that: from then on every key that has it among its
    /// [`tails`](Self::tails) is refused.
    ///
    /// A key may revoke those that were narrowed from it, but not itself, its ancestors or their
    /// other descendants. `secret` is that of this key's head; that this key is authentic itself is
    /// for the caller to know.
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

    /// Lists the paths of each caveat that names paths, for limiting an encryption store.
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

/// Why a text is not an API key, or a key cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyError {
    /// The text is not Base58Check.
    #[error("invalid API key format: {0}")]
    Text(#[from] Base58Error),
    /// The text has another version than 0.
    #[error("invalid API key format: version {0} is not known")]
    Version(u8),
    /// The bytes are not a macaroon.
    #[error("API key format: {0}")]
    Macaroon(#[from] MacaroonError),
    /// A caveat is malformed.
    #[error("API key holds a malformed caveat: {0}")]
    Caveat(crate::WireError),
}

/// Why one API key may not revoke another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// The key to revoke was not narrowed from the same unrestricted key, or was tampered with.
    #[error("API key to revoke is invalid")]
    NotAuthentic,
    /// The key to revoke was not narrowed from the one that wants to revoke it.
    #[error("an API key can revoke only those that were narrowed from it")]
    NotAnAncestor,
}

/// Characters of an API key's text form; as many as for access grants, which contain the key.
pub const MAX_API_KEY_CHARACTERS: usize = 64 << 10;
const VERSION: u8 = 0;

#[cfg(test)]
mod tests;
