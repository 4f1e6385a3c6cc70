use uplink_core::access_grant::AccessGrant;
use uplink_core::base58::encode_check;
use uplink_core::encryption::EncryptionStore;
use uplink_core::macaroon::Permission;

/// The bytes as a grant's text, and as the message inside one.
pub fn grant(data: &[u8]) {
    if let Ok(grant) = AccessGrant::parse(&String::from_utf8_lossy(data)) {
        assert_stays(&grant);
    }
    let Ok(grant) = AccessGrant::parse(&encode_check(0, data)) else { return };
    assert_stays(&grant);
    if let Ok(shared) = grant.restrict(&Permission::read_only(), &[], [1; 4]) {
        assert_stays(&shared);
        assert_eq!(shared.api_key().caveats().len(), grant.api_key().caveats().len() + 1);
        assert_within(shared.encryption(), grant.encryption());
    }
}

/// What was written is read as what was written.
fn assert_stays(grant: &AccessGrant) {
    assert!(!grant.satellite_address().is_empty());
    // Only a grant that is too long has no text.
    let Ok(text) = grant.serialize() else { return };
    let again = AccessGrant::parse(&text).expect("a grant that was written");
    assert_eq!(&again, grant);
    assert_eq!(again.serialize().as_ref(), Ok(&text));
}

/// Sharing adds no keys.
fn assert_within(shared: &EncryptionStore, original: &EncryptionStore) {
    assert!(shared.default_key().is_none() || shared.default_key() == original.default_key());
    let all = original.entries();
    assert!(shared.entries().iter().all(|entry| all.contains(entry)));
}
