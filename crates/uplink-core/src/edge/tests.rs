use proptest::prelude::*;

use super::*;

#[test]
fn malformed_credentials_are_rejected() {
    let id = AccessKeyId::new([7; 16]).serialize();
    assert_eq!(id.len(), 28);
    assert!(id.starts_with('j'));
    assert_eq!(AccessKeyId::parse(""), Err(CredentialError::Length(0)));
    assert_eq!(AccessKeyId::parse(&id[1..]), Err(CredentialError::Length(27)));
    assert_eq!(AccessKeyId::parse(&id.to_uppercase()), Err(CredentialError::Base32));
    assert_eq!(AccessKeyId::parse(&id.replace('j', "1")), Err(CredentialError::Base32));
    // The last of 28 characters encodes four bits, so its fifth bit must be 0.
    let changed = format!("{}z", &id[..27]);
    assert_eq!(AccessKeyId::parse(&changed), Err(CredentialError::Base32));
    let secret = SecretKey::new([7; 32]).serialize();
    assert_eq!(secret.len(), 53);
    assert_eq!(AccessKeyId::parse(&secret), Err(CredentialError::Length(53)));
    let shown = format!("{:?} {:?}", AccessKeyId::new([7; 16]), SecretKey::new([7; 32]));
    assert_eq!(shown, "AccessKeyId(Secret(redacted)) SecretKey(Secret(redacted))");
}

#[test]
fn link_flags_are_true_unless_negated() {
    let link = |query: &str| SharedLink::parse(&format!("/s/id/bucket/key{query}")).unwrap();
    assert_eq!(link("").download, None);
    for yes in ["?download", "?download=", "?download=1", "?x=1&download=yes", "?download=nope"] {
        assert_eq!(link(yes).download, Some(true), "{yes}");
    }
    for no in ["?download=no", "?download=FALSE", "?download=0&download=1", "?download=Off#x"] {
        assert_eq!(link(no).download, Some(false), "{no}");
    }
    let all = link("?wrap=0&view=1&map=off");
    assert_eq!((all.wrap, all.view, all.map), (Some(false), Some(true), Some(false)));
}

#[test]
fn link_kind_defaults_to_page_and_bucket_is_required() {
    let link = SharedLink::parse("https://link.example/id/bucket").unwrap();
    assert_eq!((link.raw, &link.access.expose()[..], &link.key[..]), (false, "id", &b""[..]));
    assert_eq!(link.path(), "/s/id/bucket");
    assert_eq!(SharedLink::parse("https://link.example/s/id"), Err(LinkError::Bucket));
    assert_eq!(SharedLink::parse("https://link.example/s/id/"), Err(LinkError::Bucket));
    assert_eq!(SharedLink::parse("https://link.example"), Err(LinkError::Access));
    assert_eq!(SharedLink::parse("https://link.example/s/%ff/b"), Err(LinkError::Text));
    let long = format!("/s/id/bucket/{}", "x".repeat(128 << 10));
    assert_eq!(SharedLink::parse(&long), Err(LinkError::TooLong(long.len())));
    assert!(link.access_key_id().is_err());
}

#[test]
fn invalid_base_addresses_are_rejected() {
    for base in
        ["", "x", "x/y", "//[x", ":x", "1:x", "https://a b/", "https://a\n", "https://a/%zz"]
    {
        let joined = join_share_url(base, "id", "", b"", false);
        let is_path = base.starts_with('/');
        assert_eq!(joined.is_err(), !is_path, "{base}: {joined:?}");
    }
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn credentials_round_trip(id: [u8; 16], key: [u8; 32]) {
        let id = AccessKeyId::new(id);
        let key = SecretKey::new(key);
        prop_assert_eq!(&AccessKeyId::parse(&id.serialize()).unwrap(), &id);
        prop_assert_eq!(&SecretKey::parse(&key.serialize()).unwrap(), &key);
        prop_assert!(SecretKey::parse(&id.serialize()).is_err());
    }

    #[test]
    fn links_round_trip(
        id: [u8; 16],
        base_path in "(/[a-z]{1,5})?/?",
        bucket in "[a-z0-9.-]{3,10}",
        key in proptest::collection::vec(any::<u8>(), 0..20),
        raw: bool,
    ) {
        let id = AccessKeyId::new(id).serialize();
        let base = "https://user:pass@link.example:8443";
        let joined = join_share_url(base, &id, &bucket, &key, raw);
        if raw && (key.is_empty() || key.ends_with(b"/")) {
            prop_assert!(joined.is_err());
            return Ok(());
        }
        let joined = joined.unwrap();
        prop_assert!(joined.is_ascii());
        let link = SharedLink::parse(&joined).unwrap();
        prop_assert_eq!(link.access.expose(), &id);
        prop_assert_eq!(access_key_of(&joined), Ok(id.clone()));
        prop_assert_eq!(format!("{base}{}", link.path()), joined.clone());
        prop_assert_eq!((link.bucket, link.key, link.raw), (bucket.clone(), key.clone(), raw));
        // The path of the base address is preserved.
        let below = join_share_url(&format!("{base}{base_path}?q=1"), &id, &bucket, &key, raw);
        let expected = joined.replacen(base, &format!("{base}{}", base_path.trim_end_matches('/')), 1);
        prop_assert_eq!(below, Ok(format!("{expected}?q=1")));
    }

    #[test]
    fn parsing_any_text_does_not_panic(text in "[a-z0-9:/?&=#%.@-]{0,60}|.{0,60}", raw: bool) {
        let _ = access_key_of(&text);
        if let Ok(link) = SharedLink::parse(&text) {
            prop_assert_eq!(SharedLink::parse(&link.path()).map(|link| link.path()), Ok(link.path()));
        }
        let _ = join_share_url(&text, "id", "bucket", text.as_bytes(), raw);
    }
}
