//! Access grants: satellite address, API key and encryption keys in one line of text.
//!
//! The text is the Base58Check (version 0) of a Protocol Buffers message:
//!
//! ```text
//! Scope            1 satellite address · 2 API key · 3 EncryptionAccess
//! EncryptionAccess 1 default key · 2 entries · 3 default path cipher
//! entry            1 bucket · 2 plain prefix · 3 encrypted prefix · 4 key · 5 path cipher
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

use zeroize::Zeroizing;

use crate::base58::{self, Base58Error};
use crate::encryption::path::{PathError, encrypt_path};
use crate::encryption::store::{StoreEntry, StoreError};
use crate::encryption::{CipherSuite, EncryptionStore, Key, PathScope};
use crate::macaroon::{ApiKey, MacaroonError, Permission, PermissionError};
use crate::wire::{Reader, WireError, put_bytes, put_int64, put_message};

/// A parsed access grant. Its keys are wiped on drop and redacted in `Debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessGrant {
    satellite_address: String,
    api_key: ApiKey,
    encryption: EncryptionStore,
}

impl AccessGrant {
    /// Creates a grant and limits its encryption keys to what the API key allows.
    pub fn new(
        satellite_address: String,
        api_key: ApiKey,
        encryption: &EncryptionStore,
    ) -> Result<Self, AccessGrantError> {
        if satellite_address.is_empty() {
            return Err(AccessGrantError::MissingAddress);
        }
        let encryption = limit(encryption, &api_key);
        Ok(Self { satellite_address, api_key, encryption })
    }

    /// Parses a grant's text of at most [`MAX_GRANT_CHARACTERS`] characters, without surrounding
    /// whitespace.
    ///
    /// The satellite's address is not validated; the caller must parse it as a node URL. Encryption
    /// keys that the API key's caveats make useless are dropped.
    pub fn parse(text: &str) -> Result<Self, AccessGrantError> {
        let (version, payload) = base58::decode_check(text, MAX_GRANT_CHARACTERS)?;
        let payload = Zeroizing::new(payload);
        if version != VERSION {
            return Err(AccessGrantError::Version(version));
        }
        Self::from_payload(&payload)
    }

    /// Decodes the message inside a grant's text.
    fn from_payload(payload: &[u8]) -> Result<Self, AccessGrantError> {
        let scope = Scope::decode(payload)?;
        if scope.satellite_address.is_empty() {
            return Err(AccessGrantError::MissingAddress);
        }
        let api_key = ApiKey::from_bytes(scope.api_key)?;
        let encryption = scope.encryption_access.ok_or(AccessGrantError::MissingEncryption)?;
        Self::new(scope.satellite_address.to_owned(), api_key, &encryption.into_store()?)
    }

    /// Returns the grant's text, which is the same for equal grants.
    ///
    /// # Errors
    ///
    /// If the text would be longer than [`parse`](Self::parse) accepts.
    pub fn serialize(&self) -> Result<String, AccessGrantError> {
        let payload = self.encode();
        let too_long = |length| Base58Error::TooLong { length, limit: MAX_GRANT_CHARACTERS };
        // The text is longer than the payload, and encoding takes quadratic time.
        if payload.len() > MAX_GRANT_CHARACTERS {
            return Err(too_long(payload.len()).into());
        }
        let text = base58::encode_check(VERSION, &payload);
        match text.len() {
            length if length > MAX_GRANT_CHARACTERS => Err(too_long(length).into()),
            _ => Ok(text),
        }
    }

    /// Returns the satellite's address, unmodified.
    #[must_use]
    pub fn satellite_address(&self) -> &str {
        &self.satellite_address
    }

    /// Returns the API key.
    #[must_use]
    pub const fn api_key(&self) -> &ApiKey {
        &self.api_key
    }

    /// Returns the encryption keys.
    #[must_use]
    pub const fn encryption(&self) -> &EncryptionStore {
        &self.encryption
    }

    /// Returns a restricted grant: only `permission`, and only below `prefixes` unless they are empty.
    ///
    /// Works offline. `nonce` should be random. One trailing `/` of a prefix is dropped; an empty prefix
    /// shares the whole bucket. The result contains no keys for anything else.
    pub fn restrict(
        &self,
        permission: &Permission,
        prefixes: &[SharePrefix],
        nonce: [u8; 4],
    ) -> Result<Self, ShareError> {
        // Report an invalid permission before an invalid prefix.
        permission.to_caveat(Vec::new(), nonce)?;
        let paths = prefixes
            .iter()
            .map(|prefix| self.scope(prefix))
            .collect::<Result<Vec<_>, ShareError>>()?;
        let caveat = permission.to_caveat(paths, nonce)?;
        let api_key = self.api_key.restrict(&caveat)?;
        let encryption = limit(&self.encryption, &api_key);
        Ok(Self { satellite_address: self.satellite_address.clone(), api_key, encryption })
    }

    /// Sets the encryption key of everything below a prefix, which must end with `/`; the prefix `/`
    /// is the whole bucket. Applications use this to give each user a separate key.
    ///
    /// Names up to the prefix remain encrypted with the keys of this grant. The key is preserved by
    /// serialization only if the API key's caveats contain exactly this prefix, or no paths.
    pub fn override_encryption_key(
        &mut self,
        bucket: &str,
        prefix: &[u8],
        key: Key,
    ) -> Result<(), ShareError> {
        let prefix = prefix.strip_suffix(b"/").ok_or(ShareError::PrefixSlash)?;
        let encrypted_path = self.encrypt_prefix(bucket, prefix)?;
        let path_cipher = self.encryption.default_path_cipher();
        self.encryption.add(StoreEntry {
            bucket: bucket.as_bytes().to_vec(),
            unencrypted_path: prefix.to_vec(),
            encrypted_path,
            key,
            path_cipher,
        })?;
        Ok(())
    }

    fn scope(&self, share: &SharePrefix) -> Result<PathScope, ShareError> {
        let prefix = share.prefix.strip_suffix(b"/").unwrap_or(&share.prefix);
        let encrypted_path_prefix = self.encrypt_prefix(&share.bucket, prefix)?;
        Ok(PathScope { bucket: share.bucket.as_bytes().to_vec(), encrypted_path_prefix })
    }

    fn encrypt_prefix(&self, bucket: &str, prefix: &[u8]) -> Result<Vec<u8>, ShareError> {
        encrypt_path(&self.encryption, bucket.as_bytes(), prefix).map_err(|error| {
            if !error.is_missing_base() {
                return error.into();
            }
            let prefix = String::from_utf8_lossy(prefix).into_owned();
            ShareError::MissingBase { bucket: bucket.to_owned(), prefix }
        })
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut access = secret_buffer();
        if let Some(key) = self.encryption.default_key() {
            put_bytes(&mut access, 1, key.expose());
        }
        for entry in self.encryption.entries() {
            let mut message = secret_buffer();
            put_bytes(&mut message, 1, &entry.bucket);
            put_bytes(&mut message, 2, &entry.unencrypted_path);
            put_bytes(&mut message, 3, &entry.encrypted_path);
            put_bytes(&mut message, 4, entry.key.expose());
            put_int64(&mut message, 5, entry.path_cipher.number().into());
            put_message(&mut access, 2, &message);
        }
        put_int64(&mut access, 3, self.encryption.default_path_cipher().number().into());
        let mut scope = secret_buffer();
        put_bytes(&mut scope, 1, self.satellite_address.as_bytes());
        put_bytes(&mut scope, 2, &Zeroizing::new(self.api_key.to_bytes()));
        put_message(&mut scope, 3, &access);
        scope
    }
}

/// A prefix to share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharePrefix {
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix of object keys, made of whole components; empty for the whole bucket.
    pub prefix: Vec<u8>,
}

/// Why an access grant is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessGrantError {
    /// The text is too long, not Base58, or its checksum does not match.
    #[error("invalid access grant format: {0}")]
    Text(#[from] Base58Error),
    /// The version of the text is not 0.
    #[error("invalid access grant format: unknown version {0}")]
    Version(u8),
    /// The message inside is malformed.
    #[error("unable to unmarshal access grant: {0}")]
    Message(#[from] WireError),
    /// The satellite address is missing.
    #[error("access grant is missing satellite address")]
    MissingAddress,
    /// The encryption access is missing.
    #[error("access grant is missing encryption access")]
    MissingEncryption,
    /// The API key is missing or malformed.
    #[error("access grant has malformed api key: {0}")]
    ApiKey(#[from] MacaroonError),
    /// The default key is neither absent nor 32 bytes long.
    #[error("access grant has malformed encryption access: default key has {0} bytes")]
    DefaultKey(usize),
    /// The key of an entry is not 32 bytes long.
    #[error("access grant has malformed encryption access: key of an entry has {0} bytes")]
    EntryKey(usize),
    /// An entry is invalid or conflicts with another.
    #[error("access grant has malformed encryption access: {0}")]
    Entry(#[from] StoreError),
}

/// Why an access grant could not be shared or its keys overridden.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The permission is invalid.
    #[error(transparent)]
    Permission(#[from] PermissionError),
    /// The grant has no encryption key for a prefix.
    #[error("missing encryption base: {bucket:?}/{prefix:?}")]
    MissingBase {
        /// Name of the bucket.
        bucket: String,
        /// The prefix, without the trailing slash.
        prefix: String,
    },
    /// A prefix cannot be encrypted.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The API key would become too large.
    #[error(transparent)]
    ApiKey(#[from] MacaroonError),
    /// The prefix does not end with a slash.
    #[error("prefix must end with slash")]
    PrefixSlash,
    /// The key conflicts with an existing one.
    #[error(transparent)]
    Entry(#[from] StoreError),
}

/// Maximum length of a grant's text.
pub const MAX_GRANT_CHARACTERS: usize = 64 << 10;
const VERSION: u8 = 0;
/// Initial capacity: large enough for usual grants, because a reallocation leaves copies of keys behind.
const USUAL_GRANT_SIZE: usize = 4096;

fn secret_buffer() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(USUAL_GRANT_SIZE))
}

/// Drops the keys that the API key makes useless: all of them if its caveats are malformed.
fn limit(store: &EncryptionStore, api_key: &ApiKey) -> EncryptionStore {
    match api_key.path_groups() {
        Ok(groups) => {
            let groups: Vec<_> = groups.iter().map(Vec::as_slice).collect();
            store.limit_to(&groups)
        }
        Err(_) => {
            let mut empty = EncryptionStore::new();
            empty.set_default_path_cipher(store.default_path_cipher());
            empty
        }
    }
}

#[derive(Default)]
struct Scope<'a> {
    satellite_address: &'a str,
    api_key: &'a [u8],
    encryption_access: Option<EncryptionAccess<'a>>,
}

#[derive(Default)]
struct EncryptionAccess<'a> {
    default_key: &'a [u8],
    entries: Vec<Entry<'a>>,
    default_path_cipher: u64,
}

#[derive(Default)]
struct Entry<'a> {
    bucket: &'a [u8],
    unencrypted_path: &'a [u8],
    encrypted_path: &'a [u8],
    key: &'a [u8],
    path_cipher: u64,
}

impl<'a> Scope<'a> {
    fn decode(message: &'a [u8]) -> Result<Self, WireError> {
        let mut scope = Self::default();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => scope.satellite_address = field.text()?,
                2 => scope.api_key = field.bytes()?,
                3 => scope.encryption_access.get_or_insert_default().merge(field.bytes()?)?,
                _ => {}
            }
        }
        Ok(scope)
    }
}

impl<'a> EncryptionAccess<'a> {
    fn merge(&mut self, message: &'a [u8]) -> Result<(), WireError> {
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => self.default_key = field.bytes()?,
                2 => self.entries.push(Entry::decode(field.bytes()?)?),
                3 => self.default_path_cipher = field.varint()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn into_store(self) -> Result<EncryptionStore, AccessGrantError> {
        let mut store = EncryptionStore::new();
        store.set_default_path_cipher(match CipherSuite::from_number(self.default_path_cipher) {
            CipherSuite::Unspecified => CipherSuite::AesGcm,
            cipher => cipher,
        });
        if !self.default_key.is_empty() {
            let key = Key::from_slice(self.default_key)
                .ok_or(AccessGrantError::DefaultKey(self.default_key.len()))?;
            store.set_default_key(Some(key));
        }
        for entry in self.entries {
            let key =
                Key::from_slice(entry.key).ok_or(AccessGrantError::EntryKey(entry.key.len()))?;
            store.add(StoreEntry {
                bucket: entry.bucket.to_vec(),
                unencrypted_path: entry.unencrypted_path.to_vec(),
                encrypted_path: entry.encrypted_path.to_vec(),
                key,
                path_cipher: CipherSuite::from_number(entry.path_cipher),
            })?;
        }
        Ok(store)
    }
}

impl<'a> Entry<'a> {
    fn decode(message: &'a [u8]) -> Result<Self, WireError> {
        let mut entry = Self::default();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next()? {
            match field.number {
                1 => entry.bucket = field.bytes()?,
                2 => entry.unencrypted_path = field.bytes()?,
                3 => entry.encrypted_path = field.bytes()?,
                4 => entry.key = field.bytes()?,
                5 => entry.path_cipher = field.varint()?,
                _ => {}
            }
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod attenuation;
#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod tests;
