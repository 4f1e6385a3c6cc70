//! Encryption of object keys, component by component.
//!
//! Each component is sealed under the key of its parent with a nonce derived from the component's own
//! key. Encryption is therefore deterministic, and a prefix can be shared by sharing one key. Bucket
//! names are never encrypted. The encrypted component is `escape(nonce ‖ sealed)`; an empty component
//! is only the nonce.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

use super::aead::Aead;
use super::escape::{escape, unescape};
use super::key::{component_key, content_key_of, path_nonce};
use super::nonce::SHORT_SIZE;
use super::store::{Base, Components, Lookup};
use super::{CipherSuite, EncryptionError, EncryptionStore, Key, Nonce};

/// Encrypts the key of an object. The empty key stays empty and requires no encryption key.
pub fn encrypt_path(
    store: &EncryptionStore,
    bucket: &[u8],
    path: &[u8],
) -> Result<Vec<u8>, PathError> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let (base, remaining) =
        base(store.lookup_unencrypted(bucket, path), PathError::EncryptionBase)?;
    let (encrypted, _) = encrypt_below(&base, bucket, remaining)?;
    Ok(encrypted)
}

/// Decrypts the key of an object. The empty key stays empty and requires no encryption key.
pub fn decrypt_path(
    store: &EncryptionStore,
    bucket: &[u8],
    encrypted: &[u8],
) -> Result<Vec<u8>, PathError> {
    if encrypted.is_empty() {
        return Ok(Vec::new());
    }
    let lookup = store.lookup_encrypted(bucket, encrypted);
    let (base, remaining) = base(lookup, PathError::DecryptionBase)?;
    let key = start_key(&base, bucket);
    decrypt_components(base.path_cipher, key, base.unencrypted_path, remaining)
}

/// Encrypts a prefix. A trailing `/` is preserved and does not become an empty component.
pub fn encrypt_prefix(
    store: &EncryptionStore,
    bucket: &[u8],
    prefix: &[u8],
) -> Result<Vec<u8>, PathError> {
    match prefix.strip_suffix(b"/") {
        Some(stripped) => {
            let mut encrypted = encrypt_path(store, bucket, stripped)?;
            encrypted.push(b'/');
            Ok(encrypted)
        }
        None => encrypt_path(store, bucket, prefix),
    }
}

/// Derives the key of a path, which governs everything below it.
pub fn path_key(store: &EncryptionStore, bucket: &[u8], path: &[u8]) -> Result<Key, PathError> {
    let (base, remaining) =
        base(store.lookup_unencrypted(bucket, path), PathError::EncryptionBase)?;
    let start = start_key(&base, bucket);
    Ok(remaining.fold(start, |key, component| component_key(&key, component)))
}

/// Derives the key that wraps the segment keys and the metadata key of one object.
pub fn content_key(store: &EncryptionStore, bucket: &[u8], path: &[u8]) -> Result<Key, PathError> {
    path_key(store, bucket, path).map(|key| content_key_of(&key))
}

/// The paths and keys needed to list a prefix and to decrypt the listed names.
///
/// For the prefix `foo/` the parent is `foo`; for the empty prefix it is the bucket.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PrefixInfo {
    /// The cipher of names below the prefix.
    pub cipher: CipherSuite,
    /// The path in plain.
    pub unencrypted_path: Vec<u8>,
    /// The path in encrypted form.
    pub encrypted_path: Vec<u8>,
    /// The key at the path.
    pub path_key: Key,
    /// The path without its last component.
    pub unencrypted_parent: Vec<u8>,
    /// The encrypted form of the parent.
    pub encrypted_parent: Vec<u8>,
    /// The key at the parent, under which names relative to it are encrypted.
    pub parent_key: Key,
}

impl PrefixInfo {
    /// Derives the information for a path. The path must be below the prefix of its governing key,
    /// because at that prefix the parent's key is unknown ([`PathError::NoParent`]).
    pub fn new(store: &EncryptionStore, bucket: &[u8], path: &[u8]) -> Result<Self, PathError> {
        let lookup = store.lookup_unencrypted(bucket, path);
        let (base, remaining) = base(lookup, PathError::EncryptionBase)?;
        let components: Vec<_> = remaining.collect();
        let above = match components.split_last() {
            Some((_, above)) => above,
            None if path.is_empty() => &[][..],
            None => return Err(PathError::NoParent),
        };
        let encrypt =
            |components: &[&[u8]]| encrypt_below(&base, bucket, components.iter().copied());
        let (encrypted_parent, parent_key) = encrypt(above)?;
        let (encrypted_path, path_key) = encrypt(&components)?;
        let parent_length = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) if !components.is_empty() => slash,
            _ => 0,
        };
        Ok(Self {
            cipher: base.path_cipher,
            unencrypted_path: path.to_vec(),
            encrypted_path,
            path_key,
            unencrypted_parent: path.get(..parent_length).unwrap_or_default().to_vec(),
            encrypted_parent,
            parent_key,
        })
    }

    /// Encrypts a name relative to the parent, such as a listing's cursor.
    pub fn encrypt_relative(&self, name: &[u8]) -> Result<Vec<u8>, PathError> {
        let components = Components::new(name);
        encrypt_components(self.cipher, self.parent_key.clone(), b"", components)
            .map(|(encrypted, _)| encrypted)
    }

    /// Decrypts a name listed relative to the parent. The trailing `/` of a prefix item is preserved.
    pub fn decrypt_relative(&self, encrypted: &[u8]) -> Result<Vec<u8>, PathError> {
        let components = Components::new(encrypted);
        decrypt_components(self.cipher, self.parent_key.clone(), b"", components)
    }
}

/// Encrypts one component under the key of its parent.
pub fn encrypt_component(
    cipher: CipherSuite,
    component: &[u8],
    key: &Key,
) -> Result<Vec<u8>, PathError> {
    let nonce_size = match cipher {
        CipherSuite::Null => return Ok(component.to_vec()),
        CipherSuite::NullBase64Url => {
            return URL_SAFE.decode(component).map_err(|_| PathError::Base64);
        }
        cipher => nonce_size(cipher),
    };
    let nonce = path_nonce(&component_key(key, component));
    let mut raw = nonce.as_bytes().split_at(nonce_size).0.to_vec();
    if !component.is_empty() {
        raw.extend(Aead::new(cipher, key)?.seal(&nonce, component)?);
    }
    Ok(escape(&raw))
}

/// Decrypts one component under the key of its parent.
///
/// The empty component decrypts to itself, because prefixes in listings end with a bare `/`. A
/// component that consists only of a nonce decrypts to the empty component **without
/// authentication**, because it has no tag.
pub fn decrypt_component(
    cipher: CipherSuite,
    encrypted: &[u8],
    key: &Key,
) -> Result<Vec<u8>, PathError> {
    if encrypted.is_empty() {
        return Ok(Vec::new());
    }
    let nonce_size = match cipher {
        CipherSuite::Null => return Ok(encrypted.to_vec()),
        CipherSuite::NullBase64Url => return Ok(URL_SAFE.encode(encrypted).into_bytes()),
        cipher => nonce_size(cipher),
    };
    let raw = unescape(encrypted).ok_or(PathError::Escape)?;
    let (start, sealed) = raw.split_at_checked(nonce_size).ok_or(PathError::Short)?;
    if sealed.is_empty() {
        return Ok(Vec::new());
    }
    let mut nonce = [0; Nonce::SIZE];
    nonce.iter_mut().zip(start).for_each(|(to, from)| *to = *from);
    Ok(Aead::new(cipher, key)?.open(&Nonce::new(nonce), sealed)?)
}

/// Why a path could not be encrypted or decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The access grant holds no key that governs this name.
    #[error("missing encryption base: the access grant holds no key for this bucket and path")]
    EncryptionBase,
    /// The access grant holds no key that governs this encrypted name.
    #[error("missing decryption base: the access grant holds no key for this bucket and path")]
    DecryptionBase,
    /// The governing key is exactly that of this path, so that sibling names cannot be encrypted.
    #[error("missing encryption base: the access grant holds no key for the parent of this path")]
    NoParent,
    /// The encrypted component has invalid escaping: it was not made by path encryption.
    #[error("decryption failed: malformed encrypted path component")]
    Escape,
    /// The encrypted component is shorter than its nonce.
    #[error("encrypted path component did not contain enough nonce bytes")]
    Short,
    /// A component is not URL-safe Base64, with encryption bypass enabled.
    #[error("path component is not URL-safe base64")]
    Base64,
    /// The cipher failed.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
}

impl PathError {
    /// Returns whether the name was encrypted with a different key or is corrupt, in contrast to a
    /// missing key or an unsupported cipher. Listings of the public libraries skip such names.
    #[must_use]
    pub const fn is_decryption_failure(&self) -> bool {
        matches!(self, Self::Escape | Self::Encryption(EncryptionError::Decryption))
    }

    /// Returns whether the access grant lacks the key, which is reported as "permission denied".
    #[must_use]
    pub const fn is_missing_base(&self) -> bool {
        matches!(self, Self::EncryptionBase | Self::DecryptionBase | Self::NoParent)
    }
}

/// All suites other than AES-GCM and ChaCha20-Poly1305, even unknown ones, store the whole nonce.
const fn nonce_size(cipher: CipherSuite) -> usize {
    match cipher {
        CipherSuite::AesGcm | CipherSuite::ChaCha20Poly1305 => SHORT_SIZE,
        _ => Nonce::SIZE,
    }
}

fn base(lookup: Lookup<'_>, missing: PathError) -> Result<(Base<'_>, Components<'_>), PathError> {
    Ok((lookup.base.ok_or(missing)?, lookup.remaining))
}

fn start_key(base: &Base<'_>, bucket: &[u8]) -> Key {
    if base.is_default { component_key(base.key, bucket) } else { base.key.clone() }
}

/// Encrypts the components below a base. Returns the whole path and its key.
fn encrypt_below<'a>(
    base: &Base<'_>,
    bucket: &[u8],
    components: impl Iterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, Key), PathError> {
    let key = start_key(base, bucket);
    encrypt_components(base.path_cipher, key, base.encrypted_path, components)
}

/// Encrypts components left to right, each under the key of its parent.
fn encrypt_components<'a>(
    cipher: CipherSuite,
    mut key: Key,
    prefix: &[u8],
    components: impl Iterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, Key), PathError> {
    let mut path = Join::after(prefix);
    for component in components {
        path.push(&encrypt_component(cipher, component, &key)?);
        key = component_key(&key, component);
    }
    Ok((path.joined, key))
}

fn decrypt_components(
    cipher: CipherSuite,
    mut key: Key,
    prefix: &[u8],
    components: Components<'_>,
) -> Result<Vec<u8>, PathError> {
    let mut path = Join::after(prefix);
    for encrypted in components {
        let component = decrypt_component(cipher, encrypted, &key)?;
        key = component_key(&key, &component);
        path.push(&component);
    }
    Ok(path.joined)
}

/// Joins components with `/`. Distinguishes an empty first component from none.
struct Join {
    joined: Vec<u8>,
    is_first: bool,
}

impl Join {
    fn after(prefix: &[u8]) -> Self {
        Self { joined: prefix.to_vec(), is_first: prefix.is_empty() }
    }

    fn push(&mut self, component: &[u8]) {
        if !self.is_first {
            self.joined.push(b'/');
        }
        self.is_first = false;
        self.joined.extend_from_slice(component);
    }
}
