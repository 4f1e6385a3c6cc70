use proptest::prelude::*;

use super::*;
use crate::encryption::path::{content_key, decrypt_path};

fn root() -> AccessGrant {
    let api_key = ApiKey::new(&[1; 32], vec![2; 32]);
    let store = EncryptionStore::with_default_key(Key::new([3; 32]), CipherSuite::AesGcm);
    AccessGrant::new(
        "1SYXsAycDPUu4z2ZksJD5fh5nTDcH3vCFHnpcVye5XuL1NrYV@s:7777".into(),
        api_key,
        &store,
    )
    .unwrap()
}

fn share(grant: &AccessGrant, prefixes: &[(&str, &str)]) -> Result<AccessGrant, ShareError> {
    let prefixes: Vec<_> = prefixes
        .iter()
        .map(|(bucket, prefix)| SharePrefix {
            bucket: (*bucket).to_owned(),
            prefix: prefix.as_bytes().to_vec(),
        })
        .collect();
    grant.restrict(&Permission::full(), &prefixes, [9; 4])
}

#[test]
fn entries_are_serialized_in_sorted_order() {
    let one = share(&root(), &[("b", "x"), ("a", "y"), ("a", "x")]).unwrap();
    let mut store = EncryptionStore::new();
    for entry in one.encryption().entries().into_iter().rev() {
        store.add(entry.clone()).unwrap();
    }
    let other = AccessGrant { encryption: store, ..one.clone() };
    assert_eq!(one.encryption().entries().len(), 3);
    assert_eq!(one.serialize(), other.serialize());
}

#[test]
fn any_changed_character_is_detected() {
    let text = share(&root(), &[("bucket", "prefix")]).unwrap().serialize().unwrap();
    for (position, original) in text.char_indices() {
        for substitute in "19AZaz0 ".chars().filter(|character| *character != original) {
            let mut changed = text.clone();
            changed.replace_range(position..=position, &substitute.to_string());
            assert!(AccessGrant::parse(&changed).is_err(), "{substitute} at {position}");
        }
    }
}

#[test]
fn truncated_or_corrupt_payload_never_panics() {
    let grant = share(&root(), &[("bucket", "a/b"), ("other", "")]).unwrap();
    let payload = grant.encode();
    for length in 0..payload.len() {
        assert!(AccessGrant::from_payload(&payload[..length]).is_err(), "cut to {length}");
    }
    for bit in 0..payload.len() * 8 {
        let mut changed = payload.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(parsed) = AccessGrant::from_payload(&changed) {
            assert_eq!(AccessGrant::from_payload(&parsed.encode()).unwrap(), parsed, "bit {bit}");
        }
    }
}

#[test]
fn text_beyond_the_limit_is_rejected_before_decoding() {
    let text = "1".repeat(MAX_GRANT_CHARACTERS + 1);
    let rejected = Base58Error::TooLong { length: text.len(), limit: MAX_GRANT_CHARACTERS };
    assert_eq!(AccessGrant::parse(&text), Err(rejected.into()));
    assert_eq!(AccessGrant::parse(&text[1..]), Err(Base58Error::Checksum.into()));
}

#[test]
fn grant_too_long_to_parse_is_not_serialized() {
    let grant =
        AccessGrant::new("a".repeat(MAX_GRANT_CHARACTERS), root().api_key, &EncryptionStore::new());
    assert!(matches!(grant.unwrap().serialize(), Err(AccessGrantError::Text(_))));
}

#[test]
fn grant_of_many_components_or_paths_is_handled_quickly() {
    let start = std::time::Instant::now();
    // A prefix of 20,000 empty components.
    let mut store = EncryptionStore::new();
    let deep = vec![b'/'; 20_000];
    let entry = |path: &[u8]| StoreEntry {
        bucket: b"b".to_vec(),
        unencrypted_path: path.to_vec(),
        encrypted_path: path.to_vec(),
        key: Key::new([1; 32]),
        path_cipher: CipherSuite::Null,
    };
    store.add(entry(&deep)).unwrap();
    assert_eq!(store.lookup_encrypted(b"b", &deep).remaining.count(), 0);
    drop(store.clone());
    // As many paths as fit into a caveat.
    let store = EncryptionStore::with_default_key(Key::new([1; 32]), CipherSuite::Null);
    let scope = |number: u32| PathScope {
        bucket: Vec::new(),
        encrypted_path_prefix: number.to_be_bytes()[2..].to_vec(),
    };
    let group: Vec<_> = (0..10_000).map(scope).collect();
    let limited = store.limit_to(&[&group, &group]);
    assert!(limited.entries().len() > 9_000);
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn shared_grant_opens_only_what_was_shared() {
    let shared = share(&root(), &[("photos", "trips/rome/")]).unwrap();
    let shared = AccessGrant::parse(&shared.serialize().unwrap()).unwrap();
    let root = root();
    let name = b"trips/rome/cat.jpg";
    let encrypted = encrypt_path(root.encryption(), b"photos", name).unwrap();
    assert_eq!(encrypt_path(shared.encryption(), b"photos", name).as_ref(), Ok(&encrypted));
    assert_eq!(decrypt_path(shared.encryption(), b"photos", &encrypted).unwrap(), name);
    let key = |grant: &AccessGrant| content_key(grant.encryption(), b"photos", name).unwrap();
    assert_eq!(key(&shared), key(&root));
    assert!(shared.encryption().default_key().is_none());
    for outside in [&b"trips/oslo"[..], b"trips/rome2", b"trips", b"x"] {
        let rejected = encrypt_path(shared.encryption(), b"photos", outside);
        assert_eq!(rejected, Err(PathError::EncryptionBase));
    }
    assert!(encrypt_path(shared.encryption(), b"other", name).is_err());
}

#[test]
fn malformed_caveats_drop_all_keys() {
    let grant = root();
    let macaroon = crate::macaroon::Macaroon::new(&[1; 32], vec![2; 32]);
    let macaroon = macaroon.with_caveat(b"\xff".to_vec()).unwrap();
    let api_key = ApiKey::from_bytes(&macaroon.encode()).unwrap();
    let limited = AccessGrant::new("a".into(), api_key, grant.encryption()).unwrap();
    assert!(limited.encryption().default_key().is_none());
    assert!(limited.encryption().entries().is_empty());
}

#[test]
fn address_that_is_not_utf8_is_rejected() {
    let mut payload = Vec::new();
    put_bytes(&mut payload, 1, b"\xff\xfe");
    let text = base58::encode_check(VERSION, &payload);
    assert_eq!(AccessGrant::parse(&text), Err(WireError::Text { field: 1 }.into()));
}

#[test]
fn secrets_are_redacted_in_debug() {
    let grant = share(&root(), &[("bucket", "prefix")]).unwrap();
    let shown = format!("{grant:?} {:?} {:?}", grant.api_key(), grant.encryption().entries());
    let root = root();
    let secrets = [
        &root.encryption().default_key().unwrap().expose()[..],
        &grant.encryption().entries()[0].key.expose()[..],
        &grant.api_key().tail()[..],
        &root.api_key().tail()[..],
    ];
    for secret in secrets {
        let as_list = format!("{secret:?}");
        assert!(!shown.contains(as_list.trim_matches(['[', ']'])), "{shown}");
        assert!(!shown.contains(&hex::encode(secret)), "{shown}");
    }
    assert!(!shown.contains(&grant.api_key().serialize()));
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn decoding_any_payload_does_not_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(grant) = AccessGrant::from_payload(&payload) {
            prop_assert_eq!(AccessGrant::from_payload(&grant.encode()).unwrap(), grant);
        }
    }

    #[test]
    fn shared_grants_round_trip(
        bucket in "[a-z]{3,10}",
        prefix in "[a-z/.]{0,20}",
        below in "[a-zäß /]{1,20}",
    ) {
        let shared = share(&root(), &[(&bucket, &prefix)]).unwrap();
        let parsed = AccessGrant::from_payload(&shared.encode()).unwrap();
        prop_assert_eq!(&parsed, &shared);
        let governed = prefix.strip_suffix('/').unwrap_or(&prefix);
        let name = if governed.is_empty() { below } else { format!("{governed}/{below}") };
        let bucket = bucket.as_bytes();
        let name = name.as_bytes();
        let encrypted = encrypt_path(parsed.encryption(), bucket, name).unwrap();
        prop_assert_eq!(&encrypted, &encrypt_path(root().encryption(), bucket, name).unwrap());
        prop_assert_eq!(decrypt_path(parsed.encryption(), bucket, &encrypted).unwrap(), name);
    }
}
