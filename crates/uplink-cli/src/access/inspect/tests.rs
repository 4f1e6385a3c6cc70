//! Rows of a known grant and of restricted ones.

use uplink::grant::{ApiKey, Key, Permission, SharePrefix};

use super::*;

fn full() -> AccessGrant {
    let key = ApiKey::new(&[1; 32], vec![2; 32]);
    let store = EncryptionStore::with_default_key(Key::new([3; 32]), CipherSuite::AesGcm);
    AccessGrant::new("satellite.example:7777".to_owned(), key, &store).unwrap()
}

fn share(bucket: &str, prefix: &str) -> SharePrefix {
    SharePrefix { bucket: bucket.to_owned(), prefix: prefix.as_bytes().to_vec() }
}

fn value(grant: &AccessGrant, name: &str) -> String {
    let rows = rows(grant, false);
    let index =
        rows.iter().position(|row| row.0 == name).unwrap_or_else(|| panic!("no row {name}"));
    let more = rows[index + 1..].iter().take_while(|row| row.0.is_empty());
    std::iter::once(&rows[index])
        .chain(more)
        .map(|row| row.1.as_str())
        .collect::<Vec<_>>()
        .join("; ")
}

#[test]
fn unrestricted_grant_allows_everything_everywhere() {
    let grant = full();
    assert_eq!(value(&grant, "Allows"), "everything");
    assert_eq!(value(&grant, "Where"), "all buckets");
    assert_eq!(value(&grant, "Decrypts"), "all buckets (names: AES-256-GCM)");
    assert!(value(&grant, "API key").ends_with(", with no caveats"));
    assert!(!rows(&grant, false).iter().any(|row| row.0 == "When" || row.0 == "New objects"));
}

#[test]
fn restrictions_combine_and_prefixes_are_decrypted() {
    let public = full().restrict(&Permission::full(), &[], [0; 4]).unwrap();
    assert_eq!(value(&public, "Allows"), "download, upload, list, delete, lock");
    let mut month = Permission::read_only();
    month.not_after = Some(Timestamp::new(4_000_000_000, 0));
    month.max_object_ttl_nanos = Some(86_400_000_000_000);
    let grant =
        full().restrict(&month, &[share("photos", "2024"), share("docs", "")], [1; 4]).unwrap();
    let mut hour = Permission::full();
    hour.not_after = Some(Timestamp::new(1_600_000_000, 0));
    hour.max_object_ttl_nanos = Some(5_400_000_000_000);
    let grant = grant.restrict(&hour, &[share("photos", "2024/may")], [2; 4]).unwrap();
    assert_eq!(value(&grant, "Allows"), "download, list");
    assert_eq!(value(&grant, "Where"), "sj://photos/2024/may");
    assert_eq!(value(&grant, "When"), "until 2020-09-13T12:26:40Z (expired)");
    assert_eq!(value(&grant, "New objects"), "expire after at most 90 minutes");
    assert_eq!(value(&grant, "Decrypts"), "sj://photos/2024/may (names: AES-256-GCM)");
}

#[test]
fn paths_without_a_key_are_shown_encrypted() {
    let store = EncryptionStore::new();
    let scope = PathScope { bucket: b"b".to_vec(), encrypted_path_prefix: b"\x02x/\x02y".to_vec() };
    assert_eq!(location(&store, &scope), "sj://b, encrypted prefix Ang=/Ank=");
}

#[test]
fn disjoint_caveats_allow_nothing() {
    let grant = full().restrict(&Permission::full(), &[share("a", "")], [1; 4]).unwrap();
    let caveat = Permission::full()
        .to_caveat(vec![PathScope { bucket: b"b".to_vec(), ..PathScope::default() }], [2; 4])
        .unwrap();
    let key = grant.api_key().restrict(&caveat).unwrap();
    let address = "satellite.example:7777".to_owned();
    let grant = AccessGrant::new(address, key, grant.encryption()).unwrap();
    assert_eq!(value(&grant, "Where"), "nowhere: the paths of the caveats do not overlap");
    assert_eq!(value(&grant, "Decrypts"), "nothing: the grant has no encryption key");
}

#[test]
fn malformed_caveat_allows_nothing() {
    // A caveat whose only field is truncated.
    let mut bytes = full().api_key().to_bytes();
    let end = bytes.len() - 35;
    bytes.splice(end..end, [2, 1, 0x50, 0]);
    let key = ApiKey::from_bytes(&bytes).unwrap();
    assert_eq!(key.caveats(), [vec![0x50]]);
    let grant = AccessGrant::new("a:1".to_owned(), key, full().encryption()).unwrap();
    assert_eq!(value(&grant, "Allows"), "nothing: the API key has a malformed caveat");
    assert_eq!(value(&grant, "Warning"), "1 caveat cannot be read");
}

#[test]
fn durations_use_the_largest_unit_that_divides_them() {
    for (nanos, text) in [
        (86_400_000_000_000, "1 day"),
        (172_800_000_000_000, "2 days"),
        (90_000_000_000, "90 seconds"),
        (1, "1 nanoseconds"),
        (0, "0 nanoseconds"),
        (-1_000_000_000, "-1000000000 nanoseconds"),
    ] {
        assert_eq!(duration(nanos), text);
    }
}
