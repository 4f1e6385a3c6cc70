//! Content, wrapped keys and metadata.

use serde_json::Value;
use uplink_core::encryption::content::append_padding;
use uplink_core::encryption::key::{part_etag_key, unwrap_key, wrap_key};
use uplink_core::encryption::metadata::{open_part_etag, seal_part_etag};
use uplink_core::encryption::nonce::{add_little_endian, segment_start_nonce};
use uplink_core::encryption::path::{content_key, encrypt_path};
use uplink_core::encryption::{
    CipherSuite, ContentCipher, EncryptionError, EncryptionParameters, EncryptionStore, Nonce,
};
use uplink_core::id::SegmentPosition;
use uplink_core::layout;

use super::{array, bytes, each, group, key, number, suite, text};

#[test]
fn nonces_increment_little_endian() {
    each("nonce_increment", "cases", 16, |case| {
        let mut nonce = bytes(&case["in_hex"]);
        let wrapped = add_little_endian(&mut nonce, number(&case["amount"]));
        assert_eq!(nonce, bytes(&case["out_hex"]), "{case}");
        assert_eq!(Some(wrapped), case["truncated"].as_bool(), "{case}");
    });
    // Negative amounts, an error in the reference, cannot be expressed with unsigned types.
    assert_eq!(array(&group("nonce_increment")["negative_amount_is_error"]).len(), 2);
}

#[test]
fn start_nonces_of_segments_equal_the_reference() {
    each("segment_content_nonce", "cases", 7, |case| {
        let position = SegmentPosition {
            part: number(&case["part_number"]) as u32,
            index: number(&case["index"]) as u32,
        };
        assert_eq!(segment_start_nonce(position).as_bytes().to_vec(), bytes(&case["nonce_hex"]));
    });
}

fn nonce(value: &Value) -> Nonce {
    Nonce::from_slice(&bytes(value)).unwrap()
}

/// 84 cases: 21 + 3 of each suite, 8 invalid block sizes, 4 unsupported suites.
#[test]
fn sealed_content_equals_the_reference() {
    let group = group("content_encryption");
    let key = key(&group["key_hex"]);
    let start = nonce(&group["nonce_hex"]);
    each("content_encryption", "cases", 84, |case| {
        let cipher = suite(&case["cipher"]);
        if let Some(error) = case.get("error") {
            assert!(text(error).contains("too small"));
            let size = case["block_size"].as_i64().unwrap();
            let rejected = EncryptionParameters::new(cipher, size);
            assert_eq!(rejected, Err(EncryptionError::BlockSize(size)));
            return;
        }
        let prepared = ContentCipher::allow_unencrypted(cipher, &key);
        if case.get("new_encrypter_error").is_some() && cipher != CipherSuite::ChaCha20Poly1305 {
            assert_eq!(prepared.unwrap_err(), EncryptionError::Unsupported(cipher));
            return;
        }
        let prepared = prepared.unwrap();
        if cipher == CipherSuite::ChaCha20Poly1305 {
            // The reference does not support it. Empty input gives empty output in every suite.
            assert_eq!(prepared.seal_whole(&start, b""), Ok(Vec::new()));
            return;
        }
        let plain: Vec<u8> = (0..number(&case["plain_len"])).map(|i| (7 * i + 3) as u8).collect();
        if case["one_shot"] == true {
            check_whole(&prepared, &start, &plain, &bytes(&case["encrypted_hex"]));
        } else {
            let block_size = number(&case["block_size"]) as usize;
            let sealed = bytes(&case["encrypted_hex"]);
            assert_eq!(sealed.len() as u64, number(&case["calc_size"]));
            check_blocks(&prepared, &start, block_size, &plain, &sealed);
        }
    });
}

fn check_whole(cipher: &ContentCipher, start: &Nonce, plain: &[u8], sealed: &[u8]) {
    assert_eq!(cipher.seal_whole(start, plain).unwrap(), sealed);
    assert_eq!(cipher.open_whole(start, sealed).unwrap(), plain);
}

fn check_blocks(
    cipher: &ContentCipher,
    start: &Nonce,
    block_size: usize,
    plain: &[u8],
    sealed: &[u8],
) {
    // The null suite has no blocks; the reference uses blocks of one byte.
    let is_null = cipher.suite() == CipherSuite::Null;
    let plain_size = if is_null { 1 } else { cipher.plain_block_size(block_size).unwrap() };
    let mut padded = plain.to_vec();
    append_padding(&mut padded, plain.len() as u64, plain_size as u64).unwrap();
    if is_null {
        assert_eq!(padded, sealed);
        return;
    }
    let mut out = vec![0; sealed.len()];
    cipher.seal_blocks(start, 0, block_size, &padded, &mut out).unwrap();
    assert_eq!(out, sealed);
    // Every run of blocks opens independently.
    let blocks = sealed.len() / block_size;
    for first in 0..blocks {
        for last in first + 1..=blocks {
            let mut opened = vec![0; (last - first) * plain_size];
            let run = &sealed[first * block_size..last * block_size];
            cipher.open_blocks(start, first as u64, block_size, run, &mut opened).unwrap();
            assert_eq!(opened, padded[first * plain_size..last * plain_size]);
        }
    }
}

#[test]
fn object_keys_data_and_etags_equal_the_reference() {
    each("object_flow", "cases", 2, |case| {
        let cipher = suite(&case["cipher"]);
        let default_key = key(&case["default_key_hex"]);
        let store = EncryptionStore::with_default_key(default_key, CipherSuite::AesGcm);
        let bucket = text(&case["bucket"]).as_bytes();
        let content_key = content_key(&store, bucket, text(&case["path"]).as_bytes()).unwrap();
        assert_eq!(content_key, key(&case["content_key_hex"]));
        let segment_key = key(&case["segment_key_hex"]);
        assert_eq!(part_etag_key(&segment_key), key(&case["segment_etag_key_hex"]));
        let segment_nonce = nonce(&case["segment_key_nonce_hex"]);
        let wrapped = wrap_key(cipher, &content_key, &segment_nonce, &segment_key);
        assert_eq!(wrapped.unwrap().to_vec(), bytes(&case["encrypted_segment_key_hex"]));
        check_metadata(case, cipher, &content_key);
        let position = SegmentPosition {
            part: number(&case["inline_segment_part"]) as u32,
            index: number(&case["inline_segment_index"]) as u32,
        };
        let inline = text(&case["inline_plain"]).as_bytes();
        let prepared = ContentCipher::new(cipher, &segment_key).unwrap();
        let start = segment_start_nonce(position);
        check_whole(&prepared, &start, inline, &bytes(&case["encrypted_inline_hex"]));
        let etag = text(&case["part_etag_plain"]).as_bytes();
        let sealed = seal_part_etag(cipher, &segment_key, etag).unwrap();
        assert_eq!(sealed, bytes(&case["encrypted_part_etag_hex"]));
        assert_eq!(open_part_etag(cipher, &segment_key, &sealed).unwrap(), etag);
    });
}

fn check_metadata(case: &Value, cipher: CipherSuite, content_key: &uplink_core::encryption::Key) {
    let metadata_key = key(&case["metadata_key_hex"]);
    let metadata_nonce = nonce(&case["metadata_key_nonce_hex"]);
    let wrapped = bytes(&case["encrypted_metadata_key_hex"]);
    let made = wrap_key(cipher, content_key, &metadata_nonce, &metadata_key).unwrap();
    assert_eq!(made.to_vec(), wrapped);
    let opened = unwrap_key(cipher, content_key, &metadata_nonce, &wrapped).unwrap();
    assert_eq!(opened, metadata_key);
    let prepared = ContentCipher::new(cipher, &metadata_key).unwrap();
    let info = text(&case["stream_info_plain"]).as_bytes();
    check_whole(&prepared, &Nonce::ZERO, info, &bytes(&case["encrypted_stream_info_hex"]));
    let etag = text(&case["etag_plain"]).as_bytes();
    check_whole(&prepared, &Nonce::ONE, etag, &bytes(&case["encrypted_object_etag_hex"]));
}

#[test]
fn packed_parameters_equal_the_reference() {
    each("encryption_parameters_packing", "cases", 4, |case| {
        let packed = case["int64"].as_i64().unwrap();
        let (number_of_suite, block_size) = layout::unpack_encryption_parameters(packed).unwrap();
        assert_eq!(CipherSuite::from_number(number_of_suite.into()), suite(&case["cipher"]));
        assert_eq!(u64::from(block_size), number(&case["block_size"]));
        assert_eq!(layout::pack_encryption_parameters(number_of_suite, block_size), packed);
    });
}

#[test]
fn chacha20poly1305_equals_its_vectors() {
    const GROUP: &str = "proposed_enc_chacha20poly1305";
    let cipher = suite(&group(GROUP)["suite_value"]);
    assert_eq!(cipher, CipherSuite::ChaCha20Poly1305);
    each(GROUP, "one_shot", 3, |case| {
        let prepared = ContentCipher::new(cipher, &key(&case["key_hex"])).unwrap();
        assert_eq!(prepared.overhead() as u64, number(&group(GROUP)["overhead"]));
        let start = nonce(&case["nonce_hex"]);
        check_whole(&prepared, &start, &bytes(&case["plain_hex"]), &bytes(&case["encrypted_hex"]));
    });
    each(GROUP, "segments", 18, |case| {
        let prepared = ContentCipher::new(cipher, &key(&case["key_hex"])).unwrap();
        let start = nonce(&case["nonce_hex"]);
        let size = number(&case["block_size"]) as usize;
        let plain = bytes(&case["plain_hex"]);
        let sealed = bytes(&case["encrypted_hex"]);
        check_blocks(&prepared, &start, size, &plain, &sealed);
    });
    each(GROUP, "key_wrap", 1, |case| {
        let wrapping = key(&case["wrapping_key_hex"]);
        let wrapped =
            wrap_key(cipher, &wrapping, &nonce(&case["nonce_hex"]), &key(&case["key_hex"]));
        assert_eq!(wrapped.unwrap().to_vec(), bytes(&case["encrypted_key_hex"]));
    });
    each(GROUP, "paths", 4, |case| {
        let store = EncryptionStore::with_default_key(key(&case["default_key_hex"]), cipher);
        let bucket = text(&case["bucket"]).as_bytes();
        let encrypted = encrypt_path(&store, bucket, text(&case["path"]).as_bytes()).unwrap();
        assert_eq!(encrypted, bytes(&case["encrypted_hex"]));
    });
}
