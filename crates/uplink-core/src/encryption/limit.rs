//! Restricting a store to the paths an API key allows, so that a shared grant contains no other keys.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::path::{PathError, decrypt_path, path_key};
use super::store::StoreEntry;
use super::{CipherSuite, EncryptionStore, Key};

/// A bucket and an encrypted prefix in it, as allowed by a caveat.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathScope {
    /// Name of the bucket.
    pub bucket: Vec<u8>,
    /// Prefix of encrypted object keys, compared byte by byte; empty for the whole bucket.
    pub encrypted_path_prefix: Vec<u8>,
}

impl EncryptionStore {
    /// Returns the store for an API key whose caveats allow these groups of paths, one group per
    /// caveat that restricts paths.
    ///
    /// Without groups the store is unchanged. Otherwise the default key is replaced by the keys of
    /// the paths that every group covers and that this store can derive; keys below such a path are
    /// dropped. Paths that cannot be decrypted are skipped silently: a narrower grant is safe, while
    /// an error would make the grant unusable. The result has no encryption bypass.
    #[must_use]
    pub fn limit_to(&self, groups: &[&[PathScope]]) -> Self {
        if groups.is_empty() {
            return self.clone();
        }
        if self.encryption_bypass() {
            let mut names = self.clone();
            names.set_encryption_bypass(false);
            return names.limit_to(groups);
        }
        let covers: Vec<_> = groups.iter().map(|group| Cover::new(group)).collect();
        let mut limited = Self::new();
        limited.set_default_path_cipher(self.default_path_cipher());
        let mut seen = HashSet::new();
        for scope in groups.iter().copied().flatten() {
            if seen.insert(scope)
                && covers.iter().all(|cover| cover.contains(scope))
                && let Ok(entry) = self.entry_at(scope)
            {
                // Entries that conflict with an earlier one are skipped as well.
                let _ = limited.add(entry);
            }
        }
        limited
    }

    fn entry_at(&self, scope: &PathScope) -> Result<StoreEntry, PathError> {
        let PathScope { bucket, encrypted_path_prefix } = scope;
        let unencrypted_path = decrypt_path(self, bucket, encrypted_path_prefix)?;
        let key: Key = path_key(self, bucket, &unencrypted_path)?;
        let base = self.lookup_encrypted(bucket, encrypted_path_prefix).base;
        let path_cipher: CipherSuite = base.ok_or(PathError::DecryptionBase)?.path_cipher;
        Ok(StoreEntry {
            bucket: bucket.clone(),
            unencrypted_path,
            encrypted_path: encrypted_path_prefix.clone(),
            key,
            path_cipher,
        })
    }
}

/// The paths of one group, without those covered by another path of the group. Pairwise comparison
/// would take minutes for the largest grants.
struct Cover<'a>(BTreeMap<&'a [u8], BTreeSet<&'a [u8]>>);

impl<'a> Cover<'a> {
    fn new(group: &'a [PathScope]) -> Self {
        let mut sorted: Vec<_> = group.iter().collect();
        sorted.sort();
        let mut cover = Self(BTreeMap::new());
        for scope in sorted {
            // Paths covered by a prefix sort directly after it.
            if !cover.contains(scope) {
                let prefixes = cover.0.entry(&scope.bucket).or_default();
                prefixes.insert(&scope.encrypted_path_prefix);
            }
        }
        cover
    }

    fn contains(&self, scope: &PathScope) -> bool {
        let path = scope.encrypted_path_prefix.as_slice();
        self.0
            .get(scope.bucket.as_slice())
            .and_then(|prefixes| prefixes.range(..=path).next_back())
            .is_some_and(|prefix| path.starts_with(prefix))
    }
}
