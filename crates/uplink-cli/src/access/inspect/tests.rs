//! Rows of a known grant and of restricted ones.

use std::time::{Duration, UNIX_EPOCH};

use uplink::grant::{ApiKey, Caveat, Key, PathScope};
use uplink::{Access, SharePrefix};

use super::*;

fn full() -> AccessGrant {
    let key = ApiKey::new(&[1; 32], vec![2; 32]);
    let store = EncryptionStore::with_default_key(Key::new([3; 32]), CipherSuite::AesGcm);
    AccessGrant::new(SATELLITE.to_owned(), key, &store).unwrap()
}

const SATELLITE: &str =
    "12EayRS2V1kEsWESU9QMRseFhdxYxKicsiFmxrsLZHeLUtdps3S@satellite.example:7777";

fn share(grant: &AccessGrant, permission: Permission, prefixes: &[SharePrefix]) -> AccessGrant {
    let access = Access::parse(&grant.serialize().unwrap()).unwrap();
    let shared = access.share(&permission, prefixes).unwrap();
    AccessGrant::parse(&shared.serialize().unwrap()).unwrap()
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
    let public = share(&full(), Permission::full(), &[]);
    assert_eq!(
        value(&public, "Allows"),
        "download, upload, list, delete, set retention, read retention, set legal hold, read legal \
         hold, bypass governance retention, configure object lock, read object lock configuration"
    );
    let month = Permission::read_only()
        .not_after(UNIX_EPOCH + Duration::from_secs(4_000_000_000))
        .max_object_ttl(Duration::from_secs(86_400));
    let prefixes = [SharePrefix::new("photos", "2024"), SharePrefix::bucket("docs")];
    let grant = share(&full(), month, &prefixes);
    let hour = Permission::full()
        .not_after(UNIX_EPOCH + Duration::from_secs(1_600_000_000))
        .max_object_ttl(Duration::from_secs(5400));
    let grant = share(&grant, hour, &[SharePrefix::new("photos", "2024/may")]);
    assert_eq!(value(&grant, "Allows"), "download, list");
    assert_eq!(value(&grant, "Where"), "sj://photos/2024/may");
    assert_eq!(value(&grant, "When"), "until 2020-09-13T12:26:40Z (expired)");
    assert_eq!(value(&grant, "New objects"), "expire after at most 90 minutes");
    assert_eq!(value(&grant, "Decrypts"), "sj://photos/2024/may (names: AES-256-GCM)");
}

#[test]
fn paths_without_a_key_are_shown_encrypted() {
    let scope = PathScope { bucket: b"b".to_vec(), encrypted_path_prefix: b"\x02x/\x02y".to_vec() };
    let caveat = Caveat { allowed_paths: vec![scope], ..Caveat::default() };
    let key = full().api_key().restrict(&caveat).unwrap();
    let grant = AccessGrant::new(SATELLITE.to_owned(), key, &EncryptionStore::new()).unwrap();
    assert_eq!(value(&grant, "Where"), "sj://b, encrypted prefix Ang=/Ank=");
}

#[test]
fn disjoint_caveats_allow_nothing() {
    let grant = share(&full(), Permission::full(), &[SharePrefix::bucket("a")]);
    let scope = PathScope { bucket: b"b".to_vec(), ..PathScope::default() };
    let caveat = Caveat { allowed_paths: vec![scope], ..Caveat::default() };
    let key = grant.api_key().restrict(&caveat).unwrap();
    let grant = AccessGrant::new(SATELLITE.to_owned(), key, grant.encryption()).unwrap();
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
    ] {
        assert_eq!(duration(Duration::from_nanos(nanos)), text);
    }
}
