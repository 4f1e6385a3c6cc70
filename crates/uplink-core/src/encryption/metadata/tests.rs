use proptest::prelude::*;

use super::super::tests::SUITES;
use super::*;

fn sample_info() -> StreamInfo {
    let entries = [("b", "2"), ("a", "1"), ("content-type", "text/plain")];
    let entries: BTreeMap<_, _> =
        entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    StreamInfo {
        number_of_segments: 3,
        segments_size: 64 << 20,
        last_segment_size: 17,
        metadata: CustomMetadata::new(entries),
        parts_seal: Some([8; 32]),
        chain_start: Some(ChainValue::new([9; 26])),
    }
}

#[test]
fn metadata_opens_only_with_its_content_key() {
    let content_key = Key::new([1; 32]);
    let metadata_key = Key::new([2; 32]);
    for suite in SUITES {
        let keys = MetadataKeys {
            suite,
            content_key: &content_key,
            metadata_key: &metadata_key,
            metadata_key_nonce: Nonce::new([3; 24]),
        };
        let sealed = keys.seal(&sample_info(), b"etag").unwrap();
        let meta = StreamMeta::decode(&sealed.encrypted_metadata).unwrap();
        let encrypted = EncryptedMetadata {
            suite,
            encrypted_stream_info: &meta.encrypted_stream_info,
            encrypted_metadata_key: &sealed.encrypted_metadata_key,
            metadata_key_nonce: sealed.metadata_key_nonce.as_bytes(),
            encrypted_etag: &sealed.encrypted_etag,
        };
        let opened = encrypted.open(&content_key).unwrap().unwrap();
        assert_eq!((opened.stream_info, &opened.etag[..]), (Some(sample_info()), &b"etag"[..]));

        let wrong = encrypted.open(&metadata_key);
        assert_eq!(wrong, Err(EncryptionError::Decryption.into()));
        let no_key = EncryptedMetadata { encrypted_metadata_key: b"", ..encrypted };
        assert_eq!(no_key.open(&content_key), Err(EncryptionError::WrappedKey(0).into()));
        let no_nonce = EncryptedMetadata { metadata_key_nonce: b"", ..encrypted };
        assert_eq!(no_nonce.open(&content_key), Err(MetadataError::Nonce(0)));
        let swapped = EncryptedMetadata {
            encrypted_etag: encrypted.encrypted_stream_info,
            encrypted_stream_info: encrypted.encrypted_etag,
            ..encrypted
        };
        assert!(swapped.open(&content_key).is_err());
        let other_suite =
            EncryptedMetadata { suite: SUITES[usize::from(suite == SUITES[0])], ..encrypted };
        assert!(other_suite.open(&content_key).is_err());
        let null = EncryptedMetadata { suite: CipherSuite::Null, ..encrypted };
        assert_eq!(null.open(&content_key), Err(EncryptionError::Unencrypted.into()));
    }
}

#[test]
fn object_without_metadata_opens_as_none() {
    let nothing = EncryptedMetadata {
        suite: CipherSuite::AesGcm,
        encrypted_stream_info: b"",
        encrypted_metadata_key: b"",
        metadata_key_nonce: b"",
        encrypted_etag: b"",
    };
    assert_eq!(nothing.open(&Key::new([1; 32])), Ok(None));
}

#[test]
fn metadata_messages_round_trip_sorted() {
    let info = sample_info();
    assert_eq!(StreamInfo::decode(&info.encode()), Ok(info.clone()));
    let position = |text: &[u8]| info.encode().windows(text.len()).position(|at| at == text);
    assert!(position(b"a\x12\x011") < position(b"b\x12\x012"));
    let meta = StreamMeta {
        encrypted_stream_info: vec![1],
        encryption_type: 2,
        encryption_block_size: 7424,
        last_segment_meta: Some(SegmentMeta { encrypted_key: vec![2], key_nonce: vec![3] }),
        number_of_segments: 4,
    };
    assert_eq!(StreamMeta::decode(&meta.encode()), Ok(meta));
    // Wrong lengths are rejected; unknown fields are skipped.
    let mut bad = Vec::new();
    put_bytes(&mut bad, 100, &[1; 31]);
    assert_eq!(StreamInfo::decode(&bad), Err(MetadataError::SealLength));
    let mut bad = Vec::new();
    put_bytes(&mut bad, 101, &[1; 27]);
    assert_eq!(StreamInfo::decode(&bad), Err(MetadataError::ChainStartLength));
    let mut unknown = Vec::new();
    put_bytes(&mut unknown, 102, &[1; 31]);
    assert_eq!(StreamInfo::decode(&unknown), Ok(StreamInfo::default()));
}

#[test]
fn old_content_type_is_used_unless_overridden() {
    let content_type = |metadata: &[u8]| {
        let mut info = Vec::new();
        put_bytes(&mut info, 4, metadata);
        let info = StreamInfo::decode(&info).unwrap();
        info.metadata.entries().get("content-type").cloned()
    };
    let mut old = Vec::new();
    put_bytes(&mut old, 1, b"image/png");
    assert_eq!(content_type(&old).as_deref(), Some("image/png"));
    let mut entry = Vec::new();
    put_bytes(&mut entry, 1, b"content-type");
    put_bytes(&mut entry, 2, b"text/html");
    put_message(&mut old, 2, &entry);
    assert_eq!(content_type(&old).as_deref(), Some("text/html"));
}

#[test]
fn etag_without_stream_info_opens_without_stream_info() {
    let content_key = Key::new([1; 32]);
    let metadata_key = ChainValue::new([2; 26]);
    let keys = MetadataKeys {
        suite: CipherSuite::AesGcm,
        content_key: &content_key,
        metadata_key: &metadata_key.key(KeyKind::Metadata),
        metadata_key_nonce: Nonce::new([3; 24]),
    };
    let sealed = keys.seal(&sample_info(), b"etag").unwrap();
    let stripped = EncryptedMetadata {
        suite: CipherSuite::AesGcm,
        encrypted_stream_info: b"",
        encrypted_metadata_key: &sealed.encrypted_metadata_key,
        metadata_key_nonce: sealed.metadata_key_nonce.as_bytes(),
        encrypted_etag: &sealed.encrypted_etag,
    };
    let opened = stripped.open(&content_key).unwrap().unwrap();
    assert_eq!((opened.stream_info, opened.etag), (None, b"etag".to_vec()));
    assert_eq!(opened.key_kind, Some(KeyKind::Metadata));
}

#[test]
fn metadata_key_comes_from_the_object_or_the_envelope() {
    let old = SegmentMeta { encrypted_key: vec![1], key_nonce: vec![2] };
    let meta = StreamMeta { last_segment_meta: Some(old), ..StreamMeta::default() };
    assert_eq!(meta.metadata_key_or(b"k", b"n"), (&b"k"[..], &b"n"[..]));
    assert_eq!(meta.metadata_key_or(b"", b""), (&[1][..], &[2][..]));
    assert_eq!(StreamMeta::default().metadata_key_or(b"", b""), (&b""[..], &b""[..]));
}

#[test]
fn unsupported_suite_opens_as_none_only_in_listings() {
    let key = Key::new([1; 32]);
    for suite in [0, 1, 4, 101, 255].map(CipherSuite::from_number) {
        let encrypted = EncryptedMetadata {
            suite,
            encrypted_stream_info: b"sealed somehow",
            encrypted_metadata_key: &[7; 48],
            metadata_key_nonce: &[8; 24],
            encrypted_etag: b"",
        };
        assert_eq!(encrypted.open_listed(&key), Ok(None), "{suite}");
        let expected = match suite {
            CipherSuite::Null => EncryptionError::Unencrypted,
            suite => EncryptionError::Unsupported(suite),
        };
        assert_eq!(encrypted.open(&key), Err(expected.into()));
    }
    for suite in SUITES {
        let corrupt = EncryptedMetadata {
            suite,
            encrypted_stream_info: b"sealed otherwise",
            encrypted_metadata_key: &[7; 48],
            metadata_key_nonce: &[8; 24],
            encrypted_etag: b"",
        };
        assert_eq!(corrupt.open_listed(&key), Err(EncryptionError::Decryption.into()));
    }
}

#[test]
fn empty_metadata_is_not_sealed() {
    let keys = MetadataKeys {
        suite: CipherSuite::AesGcm,
        content_key: &Key::new([1; 32]),
        metadata_key: &Key::new([2; 32]),
        metadata_key_nonce: Nonce::new([3; 24]),
    };
    let nothing = StreamInfo::default();
    assert_eq!(keys.seal_if_any(&nothing, b""), Ok(None));
    let etag_alone = keys.seal_if_any(&nothing, b"etag").unwrap().unwrap();
    assert_eq!(etag_alone.encrypted_etag.len(), 4 + 16);
    let sealed = StreamInfo { parts_seal: Some([0; 32]), ..nothing };
    assert_eq!(keys.seal_if_any(&sealed, b""), keys.seal(&sealed, b"").map(Some));
}

#[test]
fn part_etag_opens_with_the_content_key() {
    let content_key = Key::new([1; 32]);
    let segment_key = Key::new([2; 32]);
    for suite in SUITES {
        let wrapped = wrap_key(suite, &content_key, &Nonce::ONE, &segment_key).unwrap();
        let sealed = seal_part_etag(suite, &segment_key, b"etag").unwrap();
        let part = EncryptedPartEtag {
            suite,
            encrypted_key: &wrapped,
            key_nonce: Nonce::ONE.as_bytes(),
            encrypted_etag: &sealed,
        };
        assert_eq!(part.open(&content_key), Ok(Some(b"etag".to_vec())));
        let rejected = Err(EncryptionError::Decryption.into());
        assert_eq!(part.open(&segment_key), rejected);
        let other = EncryptedPartEtag { key_nonce: &[0; 24], ..part };
        assert_eq!(other.open(&content_key), rejected);
        let cut = EncryptedPartEtag { encrypted_etag: &sealed[..15], ..part };
        assert_eq!(cut.open(&content_key), rejected);
        let without_key = EncryptedPartEtag { encrypted_key: b"", ..part };
        assert_eq!(without_key.open(&content_key), Err(EncryptionError::WrappedKey(0).into()));
        let without_nonce = EncryptedPartEtag { key_nonce: b"", ..part };
        assert_eq!(without_nonce.open(&content_key), Err(MetadataError::Nonce(0)));
        let without_etag = EncryptedPartEtag { encrypted_etag: b"", ..without_key };
        assert_eq!(without_etag.open(&content_key), Ok(None));
        let unknown = EncryptedPartEtag { suite: CipherSuite::Unknown(101), ..part };
        assert_eq!(unknown.open(&content_key), Ok(None));
    }
}

fn any_info() -> impl Strategy<Value = StreamInfo> {
    let text = || proptest::string::string_regex("[a-zäß\\x00-\\x20]{0,8}").unwrap();
    let entries = proptest::collection::btree_map(text(), text(), 0..4);
    let start = any::<Option<[u8; 26]>>();
    (any::<[i64; 3]>(), entries, any::<Option<[u8; 32]>>(), start).prop_map(
        |([number_of_segments, segments_size, last_segment_size], entries, parts_seal, start)| {
            let metadata = CustomMetadata::new(entries);
            StreamInfo {
                number_of_segments,
                segments_size,
                last_segment_size,
                metadata,
                parts_seal,
                chain_start: start.map(ChainValue::new),
            }
        },
    )
}

fn any_meta() -> impl Strategy<Value = StreamMeta> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..60);
    let segment = (bytes(), bytes())
        .prop_map(|(encrypted_key, key_nonce)| SegmentMeta { encrypted_key, key_nonce });
    let segment = proptest::option::of(segment);
    (bytes(), any::<[i32; 2]>(), segment, any::<i64>()).prop_map(
        |(encrypted_stream_info, [suite, block_size], last_segment_meta, number)| StreamMeta {
            encrypted_stream_info,
            encryption_type: suite,
            encryption_block_size: block_size,
            last_segment_meta,
            number_of_segments: number,
        },
    )
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn metadata_messages_round_trip(info in any_info(), meta in any_meta()) {
        prop_assert_eq!(StreamInfo::decode(&info.encode()), Ok(info));
        prop_assert_eq!(StreamMeta::decode(&meta.encode()), Ok(meta));
    }

    #[test]
    fn sealed_metadata_opens_only_with_its_key(
        info in any_info(),
        etag in proptest::collection::vec(any::<u8>(), 0..40),
        keys: [[u8; 32]; 3],
        nonce: [u8; 24],
        suite in proptest::sample::select(&SUITES[..]),
    ) {
        let [content_key, metadata_key, other] = keys.map(Key::new);
        let keys = MetadataKeys {
            suite,
            content_key: &content_key,
            metadata_key: &metadata_key,
            metadata_key_nonce: Nonce::new(nonce),
        };
        let sealed = keys.seal(&info, &etag).unwrap();
        let meta = StreamMeta::decode(&sealed.encrypted_metadata).unwrap();
        let encrypted = EncryptedMetadata {
            suite,
            encrypted_stream_info: &meta.encrypted_stream_info,
            encrypted_metadata_key: &sealed.encrypted_metadata_key,
            metadata_key_nonce: sealed.metadata_key_nonce.as_bytes(),
            encrypted_etag: &sealed.encrypted_etag,
        };
        let opened = OpenedMetadata { stream_info: Some(info), etag, key_kind: None };
        prop_assert_eq!(encrypted.open_listed(&content_key), Ok(Some(opened)));
        prop_assert_eq!(encrypted.open(&other), Err(EncryptionError::Decryption.into()));
    }

    #[test]
    fn decoding_any_bytes_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = StreamInfo::decode(&bytes);
        let _ = StreamMeta::decode(&bytes);
    }
}
