//! Parsing: the order of all checks, and tolerated deviations.

use super::*;
use crate::encryption::path::encrypt_component;

/// The fields of a payload.
#[derive(Clone)]
struct Payload {
    address: Vec<u8>,
    api_key: Vec<u8>,
    access: Option<Vec<u8>>,
}

impl Payload {
    fn good() -> Self {
        let mut access = Vec::new();
        put_bytes(&mut access, 1, &[3; 32]);
        put_message(&mut access, 2, &entry("b", "p", b"P", &[4; 32], 2));
        put_int64(&mut access, 3, 2);
        Self { address: b"s:7777".to_vec(), api_key: api_key().to_bytes(), access: Some(access) }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut scope = Vec::new();
        put_bytes(&mut scope, 1, &self.address);
        put_bytes(&mut scope, 2, &self.api_key);
        if let Some(access) = &self.access {
            put_message(&mut scope, 3, access);
        }
        scope
    }
}

fn api_key() -> ApiKey {
    ApiKey::new(&[1; 32], vec![2; 32])
}

fn entry(bucket: &str, plain: &str, encrypted: &[u8], key: &[u8], cipher: i64) -> Vec<u8> {
    let mut entry = Vec::new();
    put_bytes(&mut entry, 1, bucket.as_bytes());
    put_bytes(&mut entry, 2, plain.as_bytes());
    put_bytes(&mut entry, 3, encrypted);
    put_bytes(&mut entry, 4, key);
    put_int64(&mut entry, 5, cipher);
    entry
}

fn parse(payload: &[u8]) -> Result<AccessGrant, AccessGrantError> {
    AccessGrant::parse(&base58::encode_check(VERSION, payload))
}

#[test]
fn text_other_than_base58check_of_version_zero_is_rejected() {
    let good = base58::encode_check(VERSION, &Payload::good().bytes());
    assert!(AccessGrant::parse(&good).is_ok());
    for character in [' ', '\n', '0', 'O', 'I', 'l', 'é', '\0'] {
        for text in [format!("{character}{good}"), format!("{good}{character}")] {
            let rejected = AccessGrant::parse(&text);
            let is_expected =
                matches!(rejected, Err(AccessGrantError::Text(Base58Error::Character { .. })));
            assert!(is_expected, "{character:?}: {rejected:?}");
        }
    }
    for short in ["", "1", "1111", "2g"] {
        assert_eq!(AccessGrant::parse(short), Err(Base58Error::TooShort.into()));
    }
    let other = &good[..good.len() - 1];
    assert_eq!(AccessGrant::parse(other), Err(Base58Error::Checksum.into()));
    for version in [1, 2, 255] {
        let text = base58::encode_check(version, &Payload::good().bytes());
        assert_eq!(AccessGrant::parse(&text), Err(AccessGrantError::Version(version)));
    }
}

/// A payload with several errors reports the first one; fixing it reveals the next.
#[test]
fn checks_run_in_the_order_of_the_reference() {
    let mut bad = Payload { address: Vec::new(), api_key: Vec::new(), access: None };
    let error = |payload: &Payload| parse(&payload.bytes()).unwrap_err();
    let truncated = [&bad.bytes()[..], &[0x0a, 5]].concat();
    assert_eq!(parse(&truncated), Err(WireError::Truncated.into()));
    assert_eq!(error(&bad), AccessGrantError::MissingAddress);
    bad.address = b"s:7777".to_vec();
    assert_eq!(error(&bad), MacaroonError::Empty.into());
    bad.api_key = api_key().to_bytes();
    assert_eq!(error(&bad), AccessGrantError::MissingEncryption);

    let mut default_key = Vec::new();
    put_bytes(&mut default_key, 1, &[3; 31]);
    let entries = [
        entry("b", "p", b"P", &[4; 32], 2),
        entry("b", "p", b"Q", &[4; 32], 2),
        entry("b", "p", b"Q", &[4; 31], 2),
    ];
    let with = |default_key: &[u8], entries: &[Vec<u8>]| {
        let mut access = default_key.to_vec();
        entries.iter().for_each(|entry| put_message(&mut access, 2, entry));
        Payload { access: Some(access), ..Payload::good() }
    };
    assert_eq!(error(&with(&default_key, &entries)), AccessGrantError::DefaultKey(31));
    assert_eq!(error(&with(b"", &entries)), StoreError::Conflict.into());
    assert_eq!(error(&with(b"", &entries[2..])), AccessGrantError::EntryKey(31));
    assert!(parse(&with(b"", &entries[..1]).bytes()).is_ok());
}

#[test]
fn keys_of_wrong_length_are_rejected() {
    for length in [1, 16, 31, 33, 64] {
        let mut access = Vec::new();
        put_bytes(&mut access, 1, &vec![3; length]);
        let payload = Payload { access: Some(access), ..Payload::good() };
        assert_eq!(parse(&payload.bytes()), Err(AccessGrantError::DefaultKey(length)));
    }
    for length in [0, 1, 31, 33, 64] {
        let mut access = Vec::new();
        put_message(&mut access, 2, &entry("b", "", b"", &vec![4; length], 2));
        let payload = Payload { access: Some(access), ..Payload::good() };
        assert_eq!(parse(&payload.bytes()), Err(AccessGrantError::EntryKey(length)));
    }
    // An empty default key counts as absent.
    let payload = Payload { access: Some(vec![0x0a, 0]), ..Payload::good() };
    assert!(parse(&payload.bytes()).unwrap().encryption().default_key().is_none());
}

#[test]
fn conflicting_entries_are_rejected() {
    let parsed = |entries: &[(&str, &[u8])]| {
        let mut access = Vec::new();
        for (plain, encrypted) in entries {
            put_message(&mut access, 2, &entry("b", plain, encrypted, &[4; 32], 2));
        }
        parse(&Payload { access: Some(access), ..Payload::good() }.bytes())
    };
    let count = Err(StoreError::ComponentCount.into());
    for (plain, encrypted) in [("", &b"P"[..]), ("p", b""), ("p", b"P/Q"), ("p/", b"P")] {
        assert_eq!(parsed(&[(plain, encrypted)]), count, "{plain}");
    }
    let conflict = Err(StoreError::Conflict.into());
    assert_eq!(parsed(&[("p", b"P"), ("p", b"Q")]), conflict);
    assert_eq!(parsed(&[("p", b"P"), ("q", b"P")]), conflict);
    assert_eq!(parsed(&[("p/x", b"P/X"), ("p/y", b"Q/Y")]), conflict);
    assert_eq!(
        parsed(&[("p", b"P"), ("p/x", b"P/X"), ("p", b"P")]).unwrap().encryption().entries().len(),
        2
    );
}

/// The reference crashes here with a nil dereference.
#[test]
fn missing_encryption_access_is_rejected_without_a_crash() {
    let missing = Payload { access: None, ..Payload::good() };
    assert_eq!(parse(&missing.bytes()), Err(AccessGrantError::MissingEncryption));
    let narrowed = api_key().restrict(&crate::macaroon::Caveat::default()).unwrap();
    let missing = Payload { api_key: narrowed.to_bytes(), ..missing };
    assert_eq!(parse(&missing.bytes()), Err(AccessGrantError::MissingEncryption));
    // A wrong field number or type counts as missing or as an error.
    let mut elsewhere = missing.bytes();
    put_message(&mut elsewhere, 4, b"");
    assert_eq!(parse(&elsewhere), Err(AccessGrantError::MissingEncryption));
    let mut number = missing.bytes();
    put_int64(&mut number, 3, 1);
    assert_eq!(parse(&number), Err(WireError::WireType { field: 3 }.into()));
    // An empty message is present and holds no key.
    let empty = Payload { access: Some(Vec::new()), ..missing };
    assert!(parse(&empty.bytes()).unwrap().encryption().entries().is_empty());
}

#[test]
fn malformed_messages_are_rejected_at_every_depth() {
    let at_depth = |fault: &[u8], depth: usize| {
        let mut message = fault.to_vec();
        for field in [2, 3].into_iter().skip(2 - depth) {
            let mut outer = Vec::new();
            put_message(&mut outer, field, &message);
            message = outer;
        }
        parse(&[&Payload::good().bytes()[..], &message].concat())
    };
    let faults = [
        (&[0x0a, 9, 1][..], WireError::Truncated),
        (&[0x0d, 1, 2], WireError::Truncated),
        (&[0x08, 1], WireError::WireType { field: 1 }),
        (&[0x0b], WireError::Malformed),
        (&[0x02, 0], WireError::Malformed),
        (&[0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], WireError::Malformed),
    ];
    for (fault, error) in faults {
        for depth in 0..=2 {
            assert_eq!(at_depth(fault, depth), Err(error.into()), "{fault:x?} at {depth}");
        }
    }
}

#[test]
fn unknown_fields_are_skipped_and_dropped() {
    let plain = parse(&Payload::good().bytes()).unwrap();
    let mut access = Payload::good().access.unwrap();
    put_message(&mut access, 4, &[0x08, 2]);
    put_message(&mut access, 99, b"later");
    let mut more = entry("b", "p", b"P", &[4; 32], 2);
    put_message(&mut more, 6, &[0x08, 100]);
    put_int64(&mut more, 77, 1);
    put_message(&mut access, 2, &more);
    let mut payload = Payload { access: Some(access), ..Payload::good() }.bytes();
    put_message(&mut payload, 9, b"later");
    payload.extend([0x55, 1, 2, 3, 4, 0x51, 1, 2, 3, 4, 5, 6, 7, 8]);
    let parsed = parse(&payload).unwrap();
    assert_eq!(parsed, plain);
    assert_eq!(parsed.serialize(), plain.serialize());
}

#[test]
fn repeated_fields_replace_and_repeated_messages_merge() {
    let good = Payload::good();
    let mut payload = Vec::new();
    put_bytes(&mut payload, 1, b"first:1");
    put_bytes(&mut payload, 2, b"no macaroon");
    let mut first = Vec::new();
    put_bytes(&mut first, 1, &[9; 31]);
    put_int64(&mut first, 3, 3);
    put_message(&mut payload, 3, &first);
    payload.extend(good.bytes());
    let mut second = Vec::new();
    put_message(&mut second, 2, &entry("c", "", b"", &[5; 32], 1));
    put_message(&mut payload, 3, &second);
    let parsed = parse(&payload).unwrap();
    assert_eq!(parsed.satellite_address(), "s:7777");
    assert_eq!(parsed.encryption().default_key(), Some(&Key::new([3; 32])));
    let buckets: Vec<_> = parsed.encryption().entries().iter().map(|e| &e.bucket[..]).collect();
    assert_eq!(buckets, [b"b", b"c"]);
    assert_eq!(parsed.encryption().default_path_cipher(), CipherSuite::AesGcm);
}

#[test]
fn suites_use_their_low_eight_bits() {
    let parsed = |cipher: i64| {
        let mut access = Vec::new();
        put_bytes(&mut access, 1, &[3; 32]);
        put_message(&mut access, 2, &entry("b", "p", b"P", &[4; 32], cipher));
        put_int64(&mut access, 3, cipher);
        let payload = Payload { access: Some(access), ..Payload::good() };
        let grant = parse(&payload.bytes()).unwrap();
        let entry = grant.encryption().entries()[0].path_cipher;
        (grant.encryption().default_path_cipher(), entry)
    };
    let same = |suite| (suite, suite);
    assert_eq!(parsed(0), (CipherSuite::AesGcm, CipherSuite::Unspecified));
    assert_eq!(parsed(256), (CipherSuite::AesGcm, CipherSuite::Unspecified));
    assert_eq!(parsed(258), same(CipherSuite::AesGcm));
    assert_eq!(parsed(3), same(CipherSuite::SecretBox));
    assert_eq!(parsed(4), same(CipherSuite::Unknown(4)));
    assert_eq!(parsed(-1), same(CipherSuite::Unknown(255)));
    let rejected = encrypt_component(CipherSuite::Unspecified, b"x", &Key::new([1; 32]));
    assert_eq!(
        rejected,
        Err(crate::encryption::EncryptionError::Unsupported(CipherSuite::Unspecified).into())
    );
}

#[test]
fn trailing_bytes_and_long_integers_are_normalized() {
    let good = Payload::good();
    let mut longer = good.clone();
    longer.api_key.extend(b"trailing");
    let mut payload = longer.bytes();
    // The encryption access again, with non-minimal length and number.
    payload.extend([0x1a, 0x84, 0x80, 0x00, 0x18, 0x82, 0x80, 0x00]);
    let parsed = parse(&payload).unwrap();
    assert_eq!(parsed, parse(&good.bytes()).unwrap());
    assert_eq!(parsed.encode().len(), good.bytes().len());
}

#[test]
fn api_key_with_a_corrupt_tail_parses() {
    let mut payload = Payload::good();
    *payload.api_key.last_mut().unwrap() ^= 1;
    let parsed = parse(&payload.bytes()).unwrap();
    assert!(!parsed.api_key().is_authentic(&[1; 32]));
}

#[test]
fn encryption_bypass_is_neither_shared_nor_serialized() {
    let grant = parse(&Payload::good().bytes()).unwrap();
    let mut store = grant.encryption().clone();
    store.set_encryption_bypass(true);
    let bypass = AccessGrant::new("s:7777".into(), api_key(), &store).unwrap();
    assert_eq!(bypass.serialize(), grant.serialize());
    let encrypted = encrypt_path(grant.encryption(), b"x", b"trips/rome").unwrap();
    let view = crate::encryption::path::decrypt_path(&store, b"x", &encrypted).unwrap();
    let share = |grant: &AccessGrant, prefix: &[u8]| {
        let prefix = SharePrefix { bucket: "x".into(), prefix: prefix.to_vec() };
        grant.restrict(&Permission::full(), &[prefix], [7; 4]).unwrap()
    };
    let shared = share(&bypass, &view);
    let expected = share(&grant, b"trips/rome");
    assert_eq!(shared, expected);
    assert_eq!(shared.serialize(), expected.serialize());
}
