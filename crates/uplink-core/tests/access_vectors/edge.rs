//! Links to shared objects and credentials of edge services.

use uplink_core::edge::{
    AccessKeyId, CredentialError, SecretKey, SharedLink, access_key_of, join_share_url,
};

use super::{array, bytes, each, group, text};

#[test]
fn created_links_equal_the_reference() {
    for (name, count) in [("join_share_url", 13), ("join_share_url_more", 13)] {
        each(name, "cases", count, |case| {
            let joined = join_share_url(
                text(&case["base_url"]),
                text(&case["access_key_id"]),
                text(&case["bucket"]),
                text(&case["key"]).as_bytes(),
                case["raw"].as_bool().unwrap(),
            );
            match case["error"].as_str() {
                Some(error) => {
                    assert_eq!(format!("uplink: {}", joined.unwrap_err()), error);
                }
                None => assert_eq!(joined.unwrap(), text(&case["url"])),
            }
        });
    }
}

#[test]
fn access_key_of_a_link_is_found() {
    each("shared_link_parse", "cases", 6, |case| {
        let found = access_key_of(text(&case["url"]));
        if case["error"] == true {
            assert!(found.is_err(), "{case}");
            return;
        }
        assert_eq!(found.unwrap(), text(&case["access_key"]));
    });
    let link = "https://link.storjshare.io/raw/abc123/mybucket/myfiles/test.jpg";
    let link = SharedLink::parse(link).unwrap();
    assert_eq!((&link.access.expose()[..], &link.bucket[..]), ("abc123", "mybucket"));
    assert_eq!((link.raw, &link.key[..]), (true, &b"myfiles/test.jpg"[..]));
}

#[test]
fn credential_texts_equal_the_reference() {
    each("edge_credentials_format", "cases", 2, |case| {
        if let Some(key) = case.get("encryption_key_hex") {
            let id = AccessKeyId::new(bytes(key).try_into().unwrap());
            assert_eq!(id.serialize(), text(&case["access_key_id"]));
            assert_eq!(AccessKeyId::parse(text(&case["access_key_id"])), Ok(id.clone()));
            assert_eq!(id.record_key().to_vec(), bytes(&case["key_hash_sha256_hex"]));
            let padded = [bytes(key), vec![0; 16]].concat();
            assert_eq!(id.storage_key().expose().to_vec(), padded);
        } else {
            let key = SecretKey::new(bytes(&case["secret_key_hex"]).try_into().unwrap());
            assert_eq!(key.serialize(), text(&case["secret_key"]));
            assert_eq!(SecretKey::parse(text(&case["secret_key"])), Ok(key));
        }
    });
    // Ids from the reference's tests, of the right length but a different kind.
    for sample in array(&group("edge_credentials_format")["sample_ids_in_tests"]) {
        assert_eq!(AccessKeyId::parse(text(sample)), Err(CredentialError::Kind(0x5f)));
    }
}
