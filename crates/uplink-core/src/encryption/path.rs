//! Encryption of object keys, component by component.
//!
//! Each component is sealed under the key of its parent with a nonce derived from the component's
//! own key, so that equal names give equal encrypted names and a prefix can be shared by handing
//! out one key. Names of buckets are never encrypted. The encrypted component is
//! `escape(nonce ‖ sealed)`; an empty component is the nonce alone.

use base64::{Engine, engine::general_purpose::URL_SAFE};

use super::{
    CipherSuite, EncryptionError, EncryptionStore, Key, Nonce,
    aead::Aead,
    escape::{escape, unescape},
    key::{component_key, content_key_of, path_nonce},
    nonce::SHORT_SIZE,
    store::{Base, Components, Lookup},
};

/// Encrypts the key of an object. The empty key stays empty and needs no encryption key.
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

/// Decrypts the key of an object. The empty key stays empty and needs no encryption key.
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

/// Encrypts a prefix: a trailing `/` stays a `/`, and does not become an empty component.
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

/// Derives the key at a path: that of everything below it.
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

/// A prefix prepared for a listing: its parent in both forms, and the key to decrypt what is listed.
///
/// For the prefix `foo/` the parent is `foo`; for the empty prefix it is the bucket.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PrefixInfo {
    /// The cipher of names here.
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
    /// Prepares a path. It must lie below the prefix of its governing key: at that prefix the key of
    /// the parent is not known ([`PathError::NoParent`]).
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

    /// Encrypts a name relative to the parent, for instance a listing's cursor.
    pub fn encrypt_relative(&self, name: &[u8]) -> Result<Vec<u8>, PathError> {
        let components = Components::new(name);
        encrypt_components(self.cipher, self.parent_key.clone(), b"", components)
            .map(|(encrypted, _)| encrypted)
    }

    /// Decrypts a name that was listed relative to the parent. A trailing `/` of a prefix item
    /// stays.
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

/// Decrypts one component under the key of its parent. The empty component decrypts to itself,
/// because listings end prefixes with a bare `/`. A component that holds nothing but a nonce
/// decrypts to the empty component **without authentication**: there is nothing to authenticate.
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
    /// The governing key begins exactly here, so that names beside it cannot be encrypted.
    #[error("missing encryption base: the access grant holds no key for the parent of this path")]
    NoParent,
    /// The encrypted component has no valid escaping: it was not made by path encryption.
    #[error("decryption failed: malformed encrypted path component")]
    Escape,
    /// The encrypted component is shorter than its nonce.
    #[error("encrypted path component did not contain enough nonce bytes")]
    Short,
    /// The view of a component is not URL-safe Base64.
    #[error("path component is not URL-safe base64")]
    Base64,
    /// The cipher failed.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
}

impl PathError {
    /// Tells whether the name was made with another key or damaged, as against a missing key or an
    /// unknown cipher. Listings of the public libraries leave such names out.
    #[must_use]
    pub const fn is_decryption_failure(&self) -> bool {
        matches!(self, Self::Escape | Self::Encryption(EncryptionError::Decryption))
    }

    /// Tells whether the access grant lacks the key, which users know as "permission denied".
    #[must_use]
    pub const fn is_missing_base(&self) -> bool {
        matches!(self, Self::EncryptionBase | Self::DecryptionBase | Self::NoParent)
    }
}

/// Suites other than AES-GCM and ChaCha20-Poly1305 keep the whole nonce, known or not.
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

/// Encrypts the components below a base and returns the whole path with the key at its end.
fn encrypt_below<'a>(
    base: &Base<'_>,
    bucket: &[u8],
    components: impl Iterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, Key), PathError> {
    let key = start_key(base, bucket);
    encrypt_components(base.path_cipher, key, base.encrypted_path, components)
}

/// Encrypts components left to right, each under the key of those before it.
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

/// Joins components with `/`, knowing an empty first component from none.
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
