//! What the vectors do not show: tampering, impossible input, equality with other implementations.

use std::collections::BTreeMap;

use aes_gcm::{Aes256Gcm, KeyInit as _, aead::Aead as _};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use proptest::prelude::*;

use super::{
    content::append_padding,
    key::{root_key, unwrap_key, wrap_key},
    metadata::{
        CustomMetadata, EncryptedMetadata, MetadataError, MetadataKeys, SegmentMeta, StreamInfo,
        StreamMeta, object_seal,
    },
    path::{PathError, PrefixInfo, decrypt_path, encrypt_path},
    store::{StoreEntry, StoreError},
    *,
};
use crate::id::SegmentPosition;

const SUITES: [CipherSuite; 2] = [CipherSuite::AesGcm, CipherSuite::ChaCha20Poly1305];

#[test]
fn sealed_blocks_equal_those_of_another_implementation() {
    let key = Key::new([5; 32]);
    let plain = [9; 100];
    let start = Nonce::new([0xff; 24]);
    for index in [0u64, 1, 255, 1 << 40] {
        let nonce = start.short_plus(index);
        let aes = Aes256Gcm::new(key.expose().into()).encrypt(&nonce.into(), &plain[..]).unwrap();
        let mut chacha = plain.to_vec();
        let oracle = UnboundKey::new(&CHACHA20_POLY1305, key.expose()).unwrap();
        LessSafeKey::new(oracle)
            .seal_in_place_append_tag((&nonce).into(), Aad::empty(), &mut chacha)
            .unwrap();
        for (suite, expected) in SUITES.into_iter().zip([aes, chacha]) {
            let mut sealed = vec![0; plain.len() + TAG_SIZE];
            let cipher = ContentCipher::new(suite, &key).unwrap();
            cipher.seal_block(&start, index, &plain, &mut sealed).unwrap();
            assert_eq!(sealed, expected, "{suite} {index}");
            let mut in_place = [&plain[..], &[0; TAG_SIZE]].concat();
            cipher.seal_block_in_place(&start, index, &mut in_place).unwrap();
            assert_eq!(in_place, expected);
        }
    }
}

#[test]
fn blocks_that_cannot_be_numbered_are_refused() {
    let cipher = ContentCipher::new(CipherSuite::AesGcm, &Key::new([5; 32])).unwrap();
    let (plain, mut sealed) = ([1; 2 * 16], [0; 2 * 32]);
    let mut seal = |first| cipher.seal_blocks(&Nonce::ZERO, first, 32, &plain, &mut sealed);
    let refused = EncryptionError::BlockNumber { first: u64::MAX - 1, count: 2 };
    assert_eq!(seal(u64::MAX - 1), Err(refused.clone()));
    assert_eq!(seal(u64::MAX - 2), Ok(()));
    let mut opened = [0; 2 * 16];
    let mut open = |first| cipher.open_blocks(&Nonce::ZERO, first, 32, &sealed, &mut opened);
    assert_eq!(open(u64::MAX - 1), Err(refused));
    assert_eq!(open(u64::MAX - 2), Ok(()));
}

#[test]
fn a_block_out_of_place_or_changed_is_refused() {
    let key = Key::new([5; 32]);
    for suite in SUITES {
        let cipher = ContentCipher::new(suite, &key).unwrap();
        let (plain, mut sealed) = (vec![1; 3 * 16], vec![0; 3 * 32]);
        cipher.seal_blocks(&Nonce::ONE, 4, 32, &plain, &mut sealed).unwrap();
        let mut out = vec![0; plain.len()];
        let mut open = |start: &Nonce, first, sealed: &[u8]| {
            let opened = cipher.open_blocks(start, first, 32, sealed, &mut out);
            opened.map(|()| out.clone())
        };
        assert_eq!(open(&Nonce::ONE, 4, &sealed), Ok(plain));
        let refused = Err(EncryptionError::Decryption);
        assert_eq!(open(&Nonce::ONE, 5, &sealed), refused);
        assert_eq!(open(&Nonce::ZERO, 4, &sealed), refused);
        let swapped = [&sealed[32..64], &sealed[..32], &sealed[64..]].concat();
        assert_eq!(open(&Nonce::ONE, 4, &swapped), refused);
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&Nonce::ONE, 4, &changed), refused);
        }
    }
}

#[test]
fn buffers_that_do_not_fit_are_errors() {
    let cipher = ContentCipher::new(CipherSuite::AesGcm, &Key::new([5; 32])).unwrap();
    let start = Nonce::ZERO;
    let length = |result| matches!(result, Err(EncryptionError::Length { .. }));
    assert!(length(cipher.seal_block(&start, 0, &[0; 4], &mut [0; 19])));
    assert!(length(cipher.seal_block_in_place(&start, 0, &mut [0; 15])));
    assert!(length(cipher.seal_blocks(&start, 0, 32, &[0; 17], &mut [0; 64])));
    assert!(length(cipher.seal_blocks(&start, 0, 32, &[0; 16], &mut [0; 64])));
    assert!(length(cipher.open_blocks(&start, 0, 32, &[0; 33], &mut [0; 16])));
    assert!(length(cipher.open_blocks(&start, 0, 32, &[0; 32], &mut [0; 32])));
    assert_eq!(cipher.open_whole(&start, &[0; 15]), Err(EncryptionError::Decryption));
    for size in [0, 1, 16] {
        let refused = Err(EncryptionError::BlockSize(size as i64));
        assert_eq!(cipher.seal_blocks(&start, 0, size, &[], &mut []), refused);
    }
    assert!(EncryptionParameters::new(CipherSuite::AesGcm, 17).is_ok());
    assert!(EncryptionParameters::new(CipherSuite::AesGcm, 16 << 20).is_ok());
    assert!(EncryptionParameters::new(CipherSuite::AesGcm, (16 << 20) + 1).is_err());
}

#[test]
fn content_without_encryption_needs_an_explicit_wish() {
    let key = Key::new([5; 32]);
    let refused = EncryptionError::Unencrypted;
    assert_eq!(ContentCipher::new(CipherSuite::Null, &key).unwrap_err(), refused);
    assert!(ContentCipher::allow_unencrypted(CipherSuite::Null, &key).is_ok());
    let wrapped = wrap_key(CipherSuite::Null, &key, &Nonce::ZERO, &key);
    assert_eq!(wrapped, Err(refused.clone()));
    assert_eq!(unwrap_key(CipherSuite::Null, &key, &Nonce::ZERO, &[0; 48]), Err(refused));
}

#[test]
fn only_a_whole_wrapped_key_is_unwrapped() {
    let (wrapping, key) = (Key::new([5; 32]), Key::new([6; 32]));
    for suite in SUITES {
        let wrapped = wrap_key(suite, &wrapping, &Nonce::ONE, &key).unwrap();
        let unwrap = |wrapped: &[u8]| unwrap_key(suite, &wrapping, &Nonce::ONE, wrapped);
        assert_eq!(unwrap(&wrapped), Ok(key.clone()));
        for length in [0, 16, 32, 47] {
            assert_eq!(unwrap(&wrapped[..length]), Err(EncryptionError::WrappedKey(length)));
        }
        let other = unwrap_key(suite, &key, &Nonce::ONE, &wrapped);
        assert_eq!(other, Err(EncryptionError::Decryption));
    }
}

#[test]
fn impossible_numbers_of_lanes_are_errors() {
    for lanes in [0, 8193, u32::MAX] {
        assert_eq!(root_key(b"", b"", b"", lanes), Err(key::KeyError::Lanes(lanes)));
    }
    assert!(root_key(b"", b"", b"", 8192).is_ok());
}

#[test]
fn suites_convert_to_numbers_of_eight_bits() {
    for number in 0..=255 {
        assert_eq!(u64::from(CipherSuite::from_number(number).number()), number);
        assert_eq!(CipherSuite::from_number(number + 256), CipherSuite::from_number(number));
    }
    assert_eq!(CipherSuite::NullBase64Url.number(), 0);
}

#[test]
fn secrets_do_not_show_in_debug() {
    let key = Key::new([0xab; 32]);
    let store = EncryptionStore::with_default_key(key.clone(), CipherSuite::AesGcm);
    let info = PrefixInfo::new(&store, b"b", b"a/b").unwrap();
    let cipher = ContentCipher::new(CipherSuite::AesGcm, &key).unwrap();
    let keys = MetadataKeys {
        suite: CipherSuite::AesGcm,
        content_key: &key,
        metadata_key: &key,
        metadata_key_nonce: Nonce::ZERO,
    };
    let lookup = store.lookup_unencrypted(b"b", b"a");
    let shown = format!("{key:?} {store:?} {info:?} {cipher:?} {keys:?} {lookup:?}");
    for secret in [&key, &info.path_key, &info.parent_key] {
        let list = format!("{:?}", secret.expose());
        assert!(!shown.contains(list.trim_matches(['[', ']'])), "{shown}");
        assert!(!shown.contains(&hex::encode(secret.expose())), "{shown}");
    }
    assert!(shown.contains("redacted"));
}

fn sample_info() -> StreamInfo {
    let entries = [("b", "2"), ("a", "1"), ("content-type", "text/plain")];
    let entries: BTreeMap<_, _> =
        entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    StreamInfo {
        number_of_segments: 3,
        segments_size: 64 << 20,
        last_segment_size: 17,
        metadata: CustomMetadata::new(entries),
        object_seal: Some([8; 32]),
    }
}

#[test]
fn metadata_opens_with_the_content_key_alone() {
    let (content_key, metadata_key) = (Key::new([1; 32]), Key::new([2; 32]));
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
        assert_eq!((opened.stream_info, &opened.etag[..]), (sample_info(), &b"etag"[..]));

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
fn an_object_without_metadata_has_none() {
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
fn messages_of_metadata_are_read_as_written_and_sorted() {
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
    // A seal of 31 bytes is no seal; a field of the future is skipped.
    let mut bad = Vec::new();
    crate::wire::put_bytes(&mut bad, 100, &[1; 31]);
    assert_eq!(StreamInfo::decode(&bad), Err(MetadataError::SealLength));
    let mut unknown = Vec::new();
    crate::wire::put_bytes(&mut unknown, 101, &[1; 31]);
    assert_eq!(StreamInfo::decode(&unknown), Ok(StreamInfo::default()));
}

#[test]
fn the_old_content_type_shows_unless_the_new_one_is_there() {
    let content_type = |metadata: &[u8]| {
        let mut info = Vec::new();
        crate::wire::put_bytes(&mut info, 4, metadata);
        let info = StreamInfo::decode(&info).unwrap();
        info.metadata.entries().get("content-type").cloned()
    };
    let mut old = Vec::new();
    crate::wire::put_bytes(&mut old, 1, b"image/png");
    assert_eq!(content_type(&old).as_deref(), Some("image/png"));
    let mut entry = Vec::new();
    crate::wire::put_bytes(&mut entry, 1, b"content-type");
    crate::wire::put_bytes(&mut entry, 2, b"text/html");
    crate::wire::put_message(&mut old, 2, &entry);
    assert_eq!(content_type(&old).as_deref(), Some("text/html"));
}

#[test]
fn the_object_seal_depends_on_every_value_and_on_their_order() {
    let (a, b) = (Key::new([1; 32]), Key::new([2; 32]));
    let at = |part, index| SegmentPosition { part, index };
    let seal = object_seal([(at(0, 0), 10, &a), (at(0, 1), 20, &b)]);
    assert_eq!(
        seal,
        *blake3::Hasher::new_derive_key("uplink object seal v1")
            .update(&[&[0; 8][..], &10u64.to_be_bytes(), &[1; 32]].concat())
            .update(&[&[0, 0, 0, 0, 0, 0, 0, 1][..], &20u64.to_be_bytes(), &[2; 32]].concat())
            .finalize()
            .as_bytes()
    );
    let others = [
        object_seal([(at(0, 0), 10, &a)]),
        object_seal([(at(0, 0), 10, &b), (at(0, 1), 20, &a)]),
        object_seal([(at(0, 1), 20, &b), (at(0, 0), 10, &a)]),
        object_seal([(at(0, 0), 11, &a), (at(0, 1), 20, &b)]),
        object_seal([(at(1, 0), 10, &a), (at(0, 1), 20, &b)]),
        object_seal([]),
    ];
    assert!(!others.contains(&seal));
}

#[test]
fn a_prefix_whose_parent_is_not_known_cannot_be_listed() {
    let mut store = EncryptionStore::new();
    let entry = StoreEntry {
        bucket: b"b".to_vec(),
        unencrypted_path: b"a".to_vec(),
        encrypted_path: b"A".to_vec(),
        key: Key::new([1; 32]),
        path_cipher: CipherSuite::AesGcm,
    };
    store.add(entry.clone()).unwrap();
    assert_eq!(PrefixInfo::new(&store, b"b", b"a").unwrap_err(), PathError::NoParent);
    assert_eq!(PrefixInfo::new(&store, b"b", b"").unwrap_err(), PathError::EncryptionBase);
    let info = PrefixInfo::new(&store, b"b", b"a/").unwrap();
    assert_eq!((&info.unencrypted_parent[..], &info.encrypted_parent[..]), (&b"a"[..], &b"A"[..]));
    assert_eq!(info.parent_key, entry.key);
    let whole = StoreEntry { unencrypted_path: vec![], encrypted_path: vec![], ..entry.clone() };
    store.add(whole).unwrap();
    assert_eq!(PrefixInfo::new(&store, b"b", b"").unwrap().parent_key, entry.key);
}

#[test]
fn stores_filled_in_another_order_are_equal() {
    let entry = |path: &str| StoreEntry {
        bucket: b"b".to_vec(),
        unencrypted_path: path.into(),
        encrypted_path: path.into(),
        key: Key::new([1; 32]),
        path_cipher: CipherSuite::Null,
    };
    let fill = |paths: [&str; 3]| {
        let mut store = EncryptionStore::new();
        paths.into_iter().for_each(|path| store.add(entry(path)).unwrap());
        store
    };
    assert!(fill(["x/y", "a", ""]) == fill(["", "a", "x/y"]));
    assert!(fill(["x/y", "a", ""]) != fill(["", "a", "x/z"]));
}

#[test]
fn the_metadata_key_comes_from_the_object_or_from_the_envelope() {
    let old = SegmentMeta { encrypted_key: vec![1], key_nonce: vec![2] };
    let meta = StreamMeta { last_segment_meta: Some(old), ..StreamMeta::default() };
    assert_eq!(meta.metadata_key_or(b"k", b"n"), (&b"k"[..], &b"n"[..]));
    assert_eq!(meta.metadata_key_or(b"", b""), (&[1][..], &[2][..]));
    assert_eq!(StreamMeta::default().metadata_key_or(b"", b""), (&b""[..], &b""[..]));
}

#[test]
fn a_prepared_cipher_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<ContentCipher>();
    shared::<EncryptionStore>();
}

#[test]
fn an_entry_at_a_known_place_replaces_the_key_there() {
    let mut store = EncryptionStore::new();
    let entry = |encrypted: &[u8], key: u8| StoreEntry {
        bucket: b"b".to_vec(),
        unencrypted_path: b"a/b".to_vec(),
        encrypted_path: encrypted.to_vec(),
        key: Key::new([key; 32]),
        path_cipher: CipherSuite::AesGcm,
    };
    store.add(entry(b"A/B", 1)).unwrap();
    store.add(entry(b"A/B", 2)).unwrap();
    assert_eq!(store.entries(), [&entry(b"A/B", 2)]);
    assert_eq!(store.add(entry(b"A/C", 3)), Err(StoreError::Conflict));
    assert_eq!(store.add(entry(b"A", 3)), Err(StoreError::ComponentCount));
    assert_eq!(store.entries(), [&entry(b"A/B", 2)]);
}

proptest! {
    #[test]
    fn any_name_encrypts_without_separators_and_decrypts_back(
        name in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        for cipher in [CipherSuite::Null, CipherSuite::AesGcm, CipherSuite::ChaCha20Poly1305] {
            let store = EncryptionStore::with_default_key(Key::new([3; 32]), cipher);
            let encrypted = encrypt_path(&store, b"bucket", &name).unwrap();
            prop_assert_eq!(decrypt_path(&store, b"bucket", &encrypted).unwrap(), name.clone());
            if cipher != CipherSuite::Null {
                prop_assert!(!encrypted.contains(&0) && !encrypted.contains(&0xff));
                let slashes = |path: &[u8]| path.iter().filter(|byte| **byte == b'/').count();
                prop_assert_eq!(slashes(&encrypted), slashes(&name));
            }
        }
    }

    #[test]
    fn any_bytes_are_a_name_or_an_error(name in proptest::collection::vec(any::<u8>(), 0..100)) {
        let store = EncryptionStore::with_default_key(Key::new([3; 32]), CipherSuite::AesGcm);
        let _ = decrypt_path(&store, b"bucket", &name);
        let _ = StreamInfo::decode(&name);
        let _ = StreamMeta::decode(&name);
    }

    #[test]
    fn padded_segments_open_in_any_run_of_blocks(
        length in 0usize..2000,
        plain_size in 1usize..200,
        part: u32,
        index in 0..u32::MAX,
        (from, to) in (0usize..2000, 0usize..2000),
    ) {
        let block_size = plain_size + TAG_SIZE;
        let mut plain: Vec<u8> = (0..length).map(|i| i as u8).collect();
        append_padding(&mut plain, length as u64, plain_size as u64);
        prop_assert_eq!(plain.len() % plain_size, 0);
        let blocks = plain.len() / plain_size;
        let start = segment_start_nonce(SegmentPosition { part, index });
        let cipher = ContentCipher::new(CipherSuite::AesGcm, &Key::new([4; 32])).unwrap();
        let mut sealed = vec![0; blocks * block_size];
        cipher.seal_blocks(&start, 0, block_size, &plain, &mut sealed).unwrap();
        let (from, to) = (from.min(to) % blocks, from.max(to) % blocks);
        let (from, to) = (from.min(to), from.max(to) + 1);
        let mut opened = vec![0; (to - from) * plain_size];
        let run = &sealed[from * block_size..to * block_size];
        cipher.open_blocks(&start, from as u64, block_size, run, &mut opened).unwrap();
        prop_assert_eq!(&opened[..], &plain[from * plain_size..to * plain_size]);
    }
}
