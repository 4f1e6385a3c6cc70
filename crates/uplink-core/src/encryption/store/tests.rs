use proptest::prelude::*;

use super::*;

/// Reference implementation: the empty path has no components, any other one more than slashes.
fn components(path: &str) -> Vec<&str> {
    if path.is_empty() { Vec::new() } else { path.split('/').collect() }
}

/// A bijective stand-in for encryption of each component.
fn disguised(path: &str) -> String {
    let names = components(path).into_iter().map(|component| format!("~{component}"));
    names.collect::<Vec<_>>().join("/")
}

fn entry(bucket: &str, path: &str, key: u8) -> StoreEntry {
    StoreEntry {
        bucket: bucket.into(),
        unencrypted_path: path.into(),
        encrypted_path: disguised(path).into_bytes(),
        key: Key::new([key; 32]),
        path_cipher: CipherSuite::AesGcm,
    }
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn longest_prefix_of_whole_components_governs(
        added in proptest::collection::vec(("[ab]", "[ab/]{0,5}"), 0..8),
        has_default: bool,
        bucket in "[abc]",
        path in "[ab/]{0,7}",
    ) {
        let mut store = EncryptionStore::new();
        store.set_default_key(has_default.then(|| Key::new([0xff; 32])));
        for (number, (bucket, path)) in (0u8..).zip(&added) {
            store.add(entry(bucket, path, number)).unwrap();
        }
        let asked = components(&path);
        let governing = (0u8..)
            .zip(&added)
            .map(|(number, (in_bucket, prefix))| (number, in_bucket, components(prefix)))
            .filter(|(_, in_bucket, prefix)| **in_bucket == bucket && asked.starts_with(prefix))
            // Of equal prefixes, the one added last.
            .max_by_key(|(number, _, prefix)| (prefix.len(), *number));
        let expected = match &governing {
            Some((number, _, prefix)) => Some((Key::new([*number; 32]), false, prefix.len())),
            None => has_default.then(|| (Key::new([0xff; 32]), true, 0)),
        };

        let encrypted = disguised(&path);
        let plain = store.lookup_unencrypted(bucket.as_bytes(), path.as_bytes());
        let disguised = store.lookup_encrypted(bucket.as_bytes(), encrypted.as_bytes());
        for (lookup, asked) in [(plain, &path), (disguised, &encrypted)] {
            let found = lookup.base.as_ref().map(|base| (base.key.clone(), base.is_default));
            prop_assert_eq!(found, expected.clone().map(|(key, is_default, _)| (key, is_default)));
            if let Some((_, _, depth)) = expected {
                let remaining: Vec<_> = lookup.remaining.collect();
                let all = components(asked);
                let rest: Vec<_> = all[depth..].iter().map(|component| component.as_bytes()).collect();
                prop_assert_eq!(remaining, rest);
            }
        }
    }

    #[test]
    fn paths_split_and_join_back(path in "[ab/]{0,12}") {
        let split: Vec<_> = Components::new(path.as_bytes()).collect();
        prop_assert_eq!(split.join(&b'/'), path.as_bytes());
        let expected: Vec<_> = components(&path).into_iter().map(str::as_bytes).collect();
        prop_assert_eq!(split, expected);
    }
}
