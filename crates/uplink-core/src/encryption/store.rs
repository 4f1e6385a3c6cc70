//! The encryption store: maps buckets and prefixes to their keys.
//!
//! A grant may hold a default key, from which the key of every bucket is derived, and entries: keys
//! that govern one bucket or one prefix. Each entry stores its prefix in plain and in encrypted form,
//! so that a name can be looked up by either. The entry with the longest prefix of whole components
//! wins.
//!
//! Paths are split at every `/`: the empty path has no components, `/` has two empty ones, `a/` has
//! `a` and an empty one.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use super::{CipherSuite, Key};

/// Keys of an access grant, by bucket and prefix. Equality ignores the order of insertion.
#[derive(Clone)]
pub struct EncryptionStore {
    default_key: Option<Key>,
    default_path_cipher: CipherSuite,
    encryption_bypass: bool,
    buckets: BTreeMap<Vec<u8>, Tree>,
}

impl EncryptionStore {
    /// Creates an empty store, with AES-256-GCM as the default path cipher.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            default_key: None,
            default_path_cipher: CipherSuite::AesGcm,
            encryption_bypass: false,
            buckets: BTreeMap::new(),
        }
    }

    /// Creates a store with a default key, for a grant to everything.
    #[must_use]
    pub fn with_default_key(key: Key, path_cipher: CipherSuite) -> Self {
        Self { default_key: Some(key), default_path_cipher: path_cipher, ..Self::new() }
    }

    /// Sets or removes the key from which keys of buckets without entries are derived.
    pub fn set_default_key(&mut self, key: Option<Key>) {
        self.default_key = key;
    }

    /// Sets the cipher of names below the default key and of entries created later.
    pub const fn set_default_path_cipher(&mut self, cipher: CipherSuite) {
        self.default_path_cipher = cipher;
    }

    /// Sets whether names are presented as URL-safe Base64 of their encrypted form instead of being
    /// decrypted, for tools that handle objects without their names. The flag is not serialized.
    pub const fn set_encryption_bypass(&mut self, bypass: bool) {
        self.encryption_bypass = bypass;
    }

    /// Returns whether names are presented as URL-safe Base64 of their encrypted form.
    #[must_use]
    pub const fn encryption_bypass(&self) -> bool {
        self.encryption_bypass
    }

    /// Adds or replaces the key of a prefix.
    ///
    /// Both forms of the prefix must have the same number of components, and no component may have two
    /// encrypted or two plain forms; otherwise the store is unchanged.
    pub fn add(&mut self, entry: StoreEntry) -> Result<(), StoreError> {
        if Components::new(&entry.unencrypted_path).count()
            != Components::new(&entry.encrypted_path).count()
        {
            return Err(StoreError::ComponentCount);
        }
        match self.buckets.get_mut(&entry.bucket) {
            Some(tree) => tree.insert(entry),
            None => {
                let bucket = entry.bucket.clone();
                let mut tree = Tree::new();
                tree.insert(entry)?;
                self.buckets.insert(bucket, tree);
                Ok(())
            }
        }
    }

    /// Returns the default key, if there is one.
    #[must_use]
    pub const fn default_key(&self) -> Option<&Key> {
        self.default_key.as_ref()
    }

    /// Returns the cipher of names below the default key.
    #[must_use]
    pub const fn default_path_cipher(&self) -> CipherSuite {
        self.default_path_cipher
    }

    /// Returns the entries, sorted by bucket and plain prefix.
    #[must_use]
    pub fn entries(&self) -> Vec<&StoreEntry> {
        let mut entries: Vec<_> = self.buckets.values().flat_map(Tree::entries).collect();
        entries.sort_by(|a, b| {
            (&a.bucket, &a.unencrypted_path).cmp(&(&b.bucket, &b.unencrypted_path))
        });
        entries
    }

    /// Looks up the key that governs a name given in plain.
    #[must_use]
    pub fn lookup_unencrypted<'a>(&'a self, bucket: &[u8], path: &'a [u8]) -> Lookup<'a> {
        self.lookup(bucket, path, Form::Plain)
    }

    /// Looks up the key that governs a name given in encrypted form.
    #[must_use]
    pub fn lookup_encrypted<'a>(&'a self, bucket: &[u8], path: &'a [u8]) -> Lookup<'a> {
        self.lookup(bucket, path, Form::Encrypted)
    }

    fn lookup<'a>(&'a self, bucket: &[u8], path: &'a [u8], form: Form) -> Lookup<'a> {
        let mut found = self.buckets.get(bucket).map_or_else(
            || Lookup { base: None, remaining: Components::new(path), revealed: BTreeMap::new() },
            |tree| tree.lookup(path, form),
        );
        if let (None, Some(key)) = (&found.base, &self.default_key) {
            found = Lookup {
                base: Some(Base {
                    unencrypted_path: b"",
                    encrypted_path: b"",
                    key,
                    path_cipher: self.default_path_cipher,
                    is_default: true,
                }),
                remaining: Components::new(path),
                revealed: BTreeMap::new(),
            };
        }
        if let (true, Some(base)) = (self.encryption_bypass, &mut found.base) {
            base.path_cipher = CipherSuite::NullBase64Url;
        }
        found
    }
}

impl PartialEq for EncryptionStore {
    fn eq(&self, other: &Self) -> bool {
        self.default_key == other.default_key
            && self.default_path_cipher == other.default_path_cipher
            && self.encryption_bypass == other.encryption_bypass
            && self.entries() == other.entries()
    }
}

impl Eq for EncryptionStore {}

impl Default for EncryptionStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EncryptionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptionStore")
            .field("default_key", &self.default_key)
            .field("default_path_cipher", &self.default_path_cipher)
            .field("entries", &self.entries().len())
            .finish_non_exhaustive()
    }
}

/// A key that governs one bucket or one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreEntry {
    /// Name of the bucket.
    pub bucket: Vec<u8>,
    /// The prefix in plain, without a trailing `/`; empty for the whole bucket.
    pub unencrypted_path: Vec<u8>,
    /// The prefix in encrypted form, as sent to satellites.
    pub encrypted_path: Vec<u8>,
    /// The key that governs the prefix and everything below it.
    pub key: Key,
    /// The cipher of names below the prefix.
    pub path_cipher: CipherSuite,
}

/// Why an entry cannot be added to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The two forms of the prefix differ in their number of components.
    #[error("encrypted and unencrypted paths had different number of components")]
    ComponentCount,
    /// A component has a different encrypted or plain form in an earlier entry.
    #[error("conflicting encrypted parts for unencrypted path")]
    Conflict,
}

/// The result of a lookup.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Lookup<'a> {
    /// The governing key, or `None` if the store has none for this name.
    pub base: Option<Base<'a>>,
    /// The components after the base's prefix.
    pub remaining: Components<'a>,
    /// Known components directly below the name, if the whole name is known: maps the other form to
    /// the form of the lookup.
    pub revealed: BTreeMap<&'a [u8], &'a [u8]>,
}

/// The key that governs a name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Base<'a> {
    /// The governed prefix in plain.
    pub unencrypted_path: &'a [u8],
    /// The governed prefix in encrypted form.
    pub encrypted_path: &'a [u8],
    /// The key at the prefix, or the default key.
    pub key: &'a Key,
    /// The cipher of names below.
    pub path_cipher: CipherSuite,
    /// Whether this is the default key, from which the bucket's key must still be derived.
    pub is_default: bool,
}

/// Iterates over the components of a path.
#[derive(Clone, Debug)]
pub struct Components<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Components<'a> {
    /// Splits a path; the empty path has no components.
    #[must_use]
    pub const fn new(path: &'a [u8]) -> Self {
        Self { rest: if path.is_empty() { None } else { Some(path) } }
    }

    /// Returns whether no component is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_none()
    }
}

impl<'a> Iterator for Components<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        match rest.iter().position(|byte| *byte == b'/') {
            Some(slash) => {
                let (component, tail) = rest.split_at(slash);
                self.rest = tail.get(1..);
                Some(component)
            }
            None => {
                self.rest = None;
                Some(rest)
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Form {
    Plain,
    Encrypted,
}

/// Prefixes of one bucket. Nodes refer to each other by index, so that a malicious path of many
/// thousand components cannot overflow the stack.
#[derive(Clone)]
struct Tree {
    nodes: Vec<Node>,
}

#[derive(Clone, Default)]
struct Node {
    entry: Option<StoreEntry>,
    plain: Vec<u8>,
    encrypted: Vec<u8>,
    by_plain: BTreeMap<Vec<u8>, usize>,
    by_encrypted: BTreeMap<Vec<u8>, usize>,
}

#[allow(clippy::indexing_slicing)] // indexes come from `insert`, and nodes are never removed
impl Tree {
    fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    fn entries(&self) -> impl Iterator<Item = &StoreEntry> {
        self.nodes.iter().filter_map(|node| node.entry.as_ref())
    }

    fn insert(&mut self, entry: StoreEntry) -> Result<(), StoreError> {
        let mut at = 0;
        let mut pairs = Components::new(&entry.unencrypted_path)
            .zip(Components::new(&entry.encrypted_path))
            .peekable();
        while let Some((plain, encrypted)) = pairs.peek() {
            let node = &self.nodes[at];
            match (node.by_plain.get(*plain), node.by_encrypted.get(*encrypted)) {
                (Some(by_plain), Some(by_encrypted)) if by_plain == by_encrypted => at = *by_plain,
                (None, None) => break,
                _ => return Err(StoreError::Conflict),
            }
            pairs.next();
        }
        // Below a new node nothing can conflict.
        for (plain, encrypted) in pairs {
            let index = self.nodes.len();
            let node = &mut self.nodes[at];
            node.by_plain.insert(plain.to_vec(), index);
            node.by_encrypted.insert(encrypted.to_vec(), index);
            self.nodes.push(Node {
                plain: plain.to_vec(),
                encrypted: encrypted.to_vec(),
                ..Node::default()
            });
            at = index;
        }
        self.nodes[at].entry = Some(entry);
        Ok(())
    }

    fn lookup<'a>(&'a self, path: &'a [u8], form: Form) -> Lookup<'a> {
        let mut node = &self.nodes[0];
        let mut components = Components::new(path);
        let mut base = node.entry.as_ref();
        let mut remaining = components.clone();
        let mut known = true;
        while let Some(component) = components.next() {
            let Some(index) = node.children(form).get(component) else {
                known = false;
                break;
            };
            node = &self.nodes[*index];
            if node.entry.is_some() || base.is_none() {
                base = node.entry.as_ref();
                remaining = components.clone();
            }
        }
        let revealed = if known { self.revealed(node, form) } else { BTreeMap::new() };
        Lookup { base: base.map(StoreEntry::as_base), remaining, revealed }
    }

    fn revealed<'a>(&'a self, node: &'a Node, form: Form) -> BTreeMap<&'a [u8], &'a [u8]> {
        let children = node.by_plain.values().map(|index| &self.nodes[*index]);
        children
            .map(|child| match form {
                Form::Plain => (child.encrypted.as_slice(), child.plain.as_slice()),
                Form::Encrypted => (child.plain.as_slice(), child.encrypted.as_slice()),
            })
            .collect()
    }
}

impl Node {
    const fn children(&self, form: Form) -> &BTreeMap<Vec<u8>, usize> {
        match form {
            Form::Plain => &self.by_plain,
            Form::Encrypted => &self.by_encrypted,
        }
    }
}

impl StoreEntry {
    fn as_base(&self) -> Base<'_> {
        Base {
            unencrypted_path: &self.unencrypted_path,
            encrypted_path: &self.encrypted_path,
            key: &self.key,
            path_cipher: self.path_cipher,
            is_default: false,
        }
    }
}
