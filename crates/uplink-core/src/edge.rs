//! Edge services: credentials of registered access grants, and links to shared objects.
//!
//! ```text
//! https://link.example/s/ACCESS-KEY-ID/bucket/key       a page about the object
//! https://link.example/raw/ACCESS-KEY-ID/bucket/key     its bytes
//! ```
//!
//! An access key id identifies a grant registered with an authentication service. It contains the key
//! that encrypts the grant at the service, which therefore cannot read the grant without the id. A
//! link may contain a whole grant instead of an id.

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

mod link;

#[cfg(test)]
mod tests;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use self::link::{JoinError, LinkError, SharedLink, access_key_of, join_share_url};
use crate::encryption::{Key, Nonce};
use crate::secret::Secret;

/// Identifies and decrypts a registered access grant. A secret.
///
/// 16 random bytes; the text form is Base32 in lower case of `4d` and these bytes, 28 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyId(Secret<[u8; 16]>);

impl AccessKeyId {
    /// The nonce with which the service seals the secret key under [`storage_key`](Self::storage_key)
    /// with AES-256-GCM.
    pub const SECRET_KEY_NONCE: Nonce = Nonce::ZERO;
    /// The nonce with which the service seals the grant under the same key.
    pub const GRANT_NONCE: Nonce = Nonce::ONE;

    /// Wraps 16 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Parses the text form.
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        credential(text, ACCESS_KEY_ID).map(Self)
    }

    /// Returns the text form. There is no `Display`, so that ids are not logged by accident.
    #[must_use]
    pub fn serialize(&self) -> String {
        credential_text(ACCESS_KEY_ID, self.0.expose())
    }

    /// Returns the key of the service's record, which does not reveal the id.
    #[must_use]
    pub fn record_key(&self) -> [u8; 32] {
        Sha256::digest(self.0.expose()).into()
    }

    /// Returns the key under which the service seals its record.
    #[must_use]
    pub fn storage_key(&self) -> Key {
        Key::from_raw(self.0.expose())
    }
}

/// The secret of an access key id, for signing requests as in S3.
///
/// 32 random bytes; the text form is Base32 in lower case of `4e` and these bytes, 53 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey(Secret<[u8; 32]>);

impl SecretKey {
    /// Wraps 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Parses the text form.
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        credential(text, SECRET_KEY).map(Self)
    }

    /// Returns the text form.
    #[must_use]
    pub fn serialize(&self) -> String {
        credential_text(SECRET_KEY, self.0.expose())
    }

    /// Returns the plain bytes.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// Why an edge service credential is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The text is not Base32 in lower case.
    #[error("invalid credential: not lower-case base32")]
    Base32,
    /// The text has the wrong length.
    #[error("invalid credential: wrong length of {0} characters")]
    Length(usize),
    /// The text is a different kind of credential.
    #[error("invalid credential: unexpected kind {0:#04x}")]
    Kind(u8),
}

const ACCESS_KEY_ID: u8 = 0x4d;
const SECRET_KEY: u8 = 0x4e;

fn credential<const N: usize>(text: &str, kind: u8) -> Result<Secret<[u8; N]>, CredentialError> {
    let length = CredentialError::Length(text.len());
    // Kind and bytes. Also limits the decoded size.
    if text.len() != BASE32_NOPAD.encode_len(N.saturating_add(1)) {
        return Err(length);
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(CredentialError::Base32);
    }
    let upper = Zeroizing::new(text.to_ascii_uppercase());
    let bytes = BASE32_NOPAD.decode(upper.as_bytes()).map_err(|_| CredentialError::Base32)?;
    match Zeroizing::new(bytes).split_first() {
        Some((found, bytes)) if *found == kind => Secret::copy_of(bytes).ok_or(length),
        Some((found, _)) => Err(CredentialError::Kind(*found)),
        None => Err(length),
    }
}

fn credential_text(kind: u8, bytes: &[u8]) -> String {
    let mut whole = Zeroizing::new(Vec::with_capacity(bytes.len().saturating_add(1)));
    whole.push(kind);
    whole.extend_from_slice(bytes);
    let mut text = BASE32_NOPAD.encode(&whole);
    text.make_ascii_lowercase();
    text
}
