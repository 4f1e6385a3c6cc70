//! Cases beyond the vectors: tampering, invalid input, equality with other implementations.

use aes_gcm::aead::Aead as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use proptest::prelude::*;

use super::content::append_padding;
use super::key::{root_key, unwrap_key, wrap_key};
use super::metadata::{MetadataKeys, StreamInfo, StreamMeta};
use super::path::{PathError, PrefixInfo, decrypt_path, encrypt_path};
use super::store::{StoreEntry, StoreError};
use super::*;
use crate::id::SegmentPosition;

pub(super) const SUITES: [CipherSuite; 3] =
    [CipherSuite::AesGcm, CipherSuite::ChaCha20Poly1305, CipherSuite::SecretBox];

proptest! {
    #![proptest_config(crate::cases(10_000))]

    /// AES-256-GCM comes from aws-lc-rs and is compared with a pure Rust implementation,
    /// ChaCha20-Poly1305 vice versa. Suite 3 is covered by its vectors and NaCl's.
    #[test]
    fn two_implementations_seal_and_open_the_same_blocks(
        key: [u8; 32],
        start: [u8; 24],
        index: u64,
        plain in proptest::collection::vec(any::<u8>(), 1..200),
    ) {
        let key = Key::new(key);
        let start = Nonce::new(start);
        let nonce = start.short_plus(index);
        let other = Aes256Gcm::new(key.expose().into());
        let theirs = other.encrypt(&nonce.into(), &plain[..]).unwrap();
        let ours = seal(CipherSuite::AesGcm, &key, &start, index, &plain);
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(&other.decrypt(&nonce.into(), &ours[..]).unwrap(), &plain);
        prop_assert_eq!(open(CipherSuite::AesGcm, &key, &start, index, &theirs).unwrap(), plain.clone());

        let other = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key.expose()).unwrap());
        let mut theirs = plain.clone();
        other.seal_in_place_append_tag((&nonce).into(), Aad::empty(), &mut theirs).unwrap();
        let mut ours = seal(CipherSuite::ChaCha20Poly1305, &key, &start, index, &plain);
        prop_assert_eq!(&ours, &theirs);
        let opened = open(CipherSuite::ChaCha20Poly1305, &key, &start, index, &theirs);
        prop_assert_eq!(&opened.unwrap(), &plain);
        let opened = other.open_in_place((&nonce).into(), Aad::empty(), &mut ours);
        prop_assert_eq!(opened.unwrap(), &plain);
    }

    #[test]
    fn blocks_seal_in_place_identically_and_open_only_unmodified(
        key: [u8; 32],
        start: [u8; 24],
        index: u64,
        plain in proptest::collection::vec(any::<u8>(), 0..100),
        flip: usize,
    ) {
        let key = Key::new(key);
        let start = Nonce::new(start);
        for suite in SUITES {
            let mut sealed = seal(suite, &key, &start, index, &plain);
            let mut in_place = [&plain[..], &[0; TAG_SIZE]].concat();
            let cipher = ContentCipher::new(suite, &key).unwrap();
            cipher.seal_block_in_place(&start, index, &mut in_place).unwrap();
            prop_assert_eq!(&in_place, &sealed);
            prop_assert_eq!(&open(suite, &key, &start, index, &sealed).unwrap(), &plain);
            let bit = flip % (sealed.len() * 8);
            sealed[bit / 8] ^= 1 << (bit % 8);
            let rejected = open(suite, &key, &start, index, &sealed);
            prop_assert_eq!(rejected, Err(EncryptionError::Decryption));
        }
    }
}

fn seal(suite: CipherSuite, key: &Key, start: &Nonce, index: u64, plain: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0; plain.len() + TAG_SIZE];
    let cipher = ContentCipher::new(suite, key).unwrap();
    cipher.seal_block(start, index, plain, &mut sealed).unwrap();
    sealed
}

fn open(
    suite: CipherSuite,
    key: &Key,
    start: &Nonce,
    index: u64,
    sealed: &[u8],
) -> Result<Vec<u8>, EncryptionError> {
    let mut out = vec![0; sealed.len() - TAG_SIZE];
    ContentCipher::new(suite, key)?.open_block(start, index, sealed, &mut out)?;
    Ok(out)
}

/// The example of NaCl's own tests (`tests/secretbox.c`).
#[test]
fn secretbox_matches_the_nacl_vector() {
    let key = "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389";
    let nonce = "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37";
    let plain = "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac7\
                 28d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556a\
                 d6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f9377638\
                 48645e0705";
    let sealed = "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476f\
                  b8c531a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee3\
                  14a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5\
                  f9b37973f622a43d14a6599b1f654cb45a74e355a5";
    let key = Key::from_slice(&hex::decode(key).unwrap()).unwrap();
    let nonce = Nonce::from_slice(&hex::decode(nonce).unwrap()).unwrap();
    let plain = hex::decode(plain).unwrap();
    let sealed = hex::decode(sealed).unwrap();
    assert_eq!(seal(CipherSuite::SecretBox, &key, &nonce, 0, &plain), sealed);
    assert_eq!(open(CipherSuite::SecretBox, &key, &nonce, 0, &sealed), Ok(plain));
}

#[test]
fn block_number_overflow_is_rejected() {
    let cipher = ContentCipher::new(CipherSuite::AesGcm, &Key::new([5; 32])).unwrap();
    let plain = [1; 2 * 16];
    let mut sealed = [0; 2 * 32];
    let mut seal = |first| cipher.seal_blocks(&Nonce::ZERO, first, 32, &plain, &mut sealed);
    let rejected = EncryptionError::BlockNumber { first: u64::MAX - 1, count: 2 };
    assert_eq!(seal(u64::MAX - 1), Err(rejected.clone()));
    assert_eq!(seal(u64::MAX - 2), Ok(()));
    let mut opened = [0; 2 * 16];
    let mut open = |first| cipher.open_blocks(&Nonce::ZERO, first, 32, &sealed, &mut opened);
    assert_eq!(open(u64::MAX - 1), Err(rejected));
    assert_eq!(open(u64::MAX - 2), Ok(()));
}

#[test]
fn moved_or_modified_block_is_rejected() {
    let key = Key::new([5; 32]);
    for suite in SUITES {
        let cipher = ContentCipher::new(suite, &key).unwrap();
        let plain = vec![1; 3 * 16];
        let mut sealed = vec![0; 3 * 32];
        cipher.seal_blocks(&Nonce::ONE, 4, 32, &plain, &mut sealed).unwrap();
        let mut out = vec![0; plain.len()];
        let mut open = |start: &Nonce, first, sealed: &[u8]| {
            let opened = cipher.open_blocks(start, first, 32, sealed, &mut out);
            opened.map(|()| out.clone())
        };
        assert_eq!(open(&Nonce::ONE, 4, &sealed), Ok(plain));
        let rejected = Err(EncryptionError::Decryption);
        assert_eq!(open(&Nonce::ONE, 5, &sealed), rejected);
        assert_eq!(open(&Nonce::ZERO, 4, &sealed), rejected);
        let swapped = [&sealed[32..64], &sealed[..32], &sealed[64..]].concat();
        assert_eq!(open(&Nonce::ONE, 4, &swapped), rejected);
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&Nonce::ONE, 4, &changed), rejected);
        }
    }
}

#[test]
fn buffers_of_wrong_length_are_rejected() {
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
        let rejected = Err(EncryptionError::BlockSize(size as i64));
        assert_eq!(cipher.seal_blocks(&start, 0, size, &[], &mut []), rejected);
    }
    assert!(EncryptionParameters::new(CipherSuite::AesGcm, 17).is_ok());
    assert!(EncryptionParameters::new(CipherSuite::AesGcm, 16 << 20).is_ok());
    assert!(EncryptionParameters::new(CipherSuite::AesGcm, (16 << 20) + 1).is_err());
}

#[test]
fn unencrypted_content_must_be_allowed_explicitly() {
    let key = Key::new([5; 32]);
    let rejected = EncryptionError::Unencrypted;
    assert_eq!(ContentCipher::new(CipherSuite::Null, &key).unwrap_err(), rejected);
    assert!(ContentCipher::allow_unencrypted(CipherSuite::Null, &key).is_ok());
    let wrapped = wrap_key(CipherSuite::Null, &key, &Nonce::ZERO, &key);
    assert_eq!(wrapped, Err(rejected.clone()));
    assert_eq!(unwrap_key(CipherSuite::Null, &key, &Nonce::ZERO, &[0; 48]), Err(rejected));
}

#[test]
fn wrapped_key_of_wrong_length_is_rejected() {
    let wrapping = Key::new([5; 32]);
    let key = Key::new([6; 32]);
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
fn invalid_lane_counts_are_rejected() {
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
fn secrets_are_redacted_in_debug() {
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

#[test]
fn prefix_without_known_parent_cannot_be_listed() {
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
fn stores_filled_in_different_order_are_equal() {
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
fn ciphers_and_stores_are_send_and_sync() {
    fn shared<T: Send + Sync>() {}
    shared::<ContentCipher>();
    shared::<EncryptionStore>();
}

#[test]
fn entry_at_an_existing_prefix_replaces_its_key() {
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
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn any_name_encrypts_without_separators_and_decrypts_back(
        name in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        for cipher in [CipherSuite::Null].into_iter().chain(SUITES) {
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
    fn decoding_any_bytes_does_not_panic(name in proptest::collection::vec(any::<u8>(), 0..100)) {
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
        append_padding(&mut plain, length as u64, plain_size as u64).unwrap();
        prop_assert_eq!(plain.len() % plain_size, 0);
        let blocks = plain.len() / plain_size;
        let start = segment_start_nonce(SegmentPosition { part, index });
        let cipher = ContentCipher::new(CipherSuite::AesGcm, &Key::new([4; 32])).unwrap();
        let mut sealed = vec![0; blocks * block_size];
        cipher.seal_blocks(&start, 0, block_size, &plain, &mut sealed).unwrap();
        let one = from.min(to) % blocks;
        let other = from.max(to) % blocks;
        let from = one.min(other);
        let to = one.max(other) + 1;
        let mut opened = vec![0; (to - from) * plain_size];
        let run = &sealed[from * block_size..to * block_size];
        cipher.open_blocks(&start, from as u64, block_size, run, &mut opened).unwrap();
        prop_assert_eq!(&opened[..], &plain[from * plain_size..to * plain_size]);
    }
}
