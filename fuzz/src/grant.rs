use uplink_core::access_grant::AccessGrant;
use uplink_core::base58::encode_check;
use uplink_core::encryption::EncryptionStore;
use uplink_core::macaroon::Permission;

/// Uses the input as the text of a grant, and as the message inside one.
pub fn grant(data: &[u8]) {
    if let Ok(grant) = AccessGrant::parse(&String::from_utf8_lossy(data)) {
        assert_round_trips(&grant);
    }
    let Ok(grant) = AccessGrant::parse(&encode_check(0, data)) else { return };
    assert_round_trips(&grant);
    if let Ok(shared) = grant.restrict(&Permission::read_only(), &[], [1; 4]) {
        assert_round_trips(&shared);
        assert_eq!(shared.api_key().caveats().len(), grant.api_key().caveats().len() + 1);
        assert_subset(shared.encryption(), grant.encryption());
    }
}

/// Asserts that a serialized grant parses to the same grant.
fn assert_round_trips(grant: &AccessGrant) {
    assert!(!grant.satellite_address().is_empty());
    // Only a grant that is too long cannot be serialized.
    let Ok(text) = grant.serialize() else { return };
    let parsed = AccessGrant::parse(&text).expect("a serialized grant");
    assert_eq!(&parsed, grant);
    assert_eq!(parsed.serialize().as_ref(), Ok(&text));
}

/// Asserts that a shared store has no keys beyond those of the original.
fn assert_subset(shared: &EncryptionStore, original: &EncryptionStore) {
    assert!(shared.default_key().is_none() || shared.default_key() == original.default_key());
    let all = original.entries();
    assert!(shared.entries().iter().all(|entry| all.contains(entry)));
}
