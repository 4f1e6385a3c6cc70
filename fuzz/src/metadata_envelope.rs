use uplink_core::encryption::metadata::{
    EncryptedMetadata, MetadataKeys, StreamInfo, StreamMeta, open_part_etag, seal_part_etag,
};
use uplink_core::encryption::{CipherSuite, Key, Nonce};

use super::input::Input;

/// Uses the input as an envelope, as its content, and as encrypted key, nonce and stream info.
pub fn metadata_envelope(data: &[u8]) {
    if let Ok(meta) = StreamMeta::decode(data) {
        let encoded = meta.encode();
        assert_eq!(StreamMeta::decode(&encoded).as_ref(), Ok(&meta));
        let (key, nonce) = meta.metadata_key_or(&[], &[]);
        assert_not_opened(&meta.encrypted_stream_info, key, nonce);
    }
    if let Ok(info) = StreamInfo::decode(data) {
        let encoded = info.encode();
        assert_eq!(StreamInfo::decode(&encoded).as_ref(), Ok(&info));
        assert_eq!(info.encode(), encoded);
        assert_sealed(&info, data);
    }
    let mut input = Input::new(data);
    let key = input.sized();
    let nonce = input.sized();
    assert_not_opened(input.rest(), key, nonce);
}

/// Asserts that metadata made without the key does not open, and that empty metadata opens to
/// `None`.
fn assert_not_opened(info: &[u8], encrypted_key: &[u8], nonce: &[u8]) {
    let metadata = EncryptedMetadata {
        suite: CipherSuite::AesGcm,
        encrypted_stream_info: info,
        encrypted_metadata_key: encrypted_key,
        metadata_key_nonce: nonce,
        encrypted_etag: &[],
    };
    let is_empty = info.is_empty() && encrypted_key.is_empty();
    match metadata.open(&Key::new([9; 32])) {
        Ok(opened) => assert!(is_empty && opened.is_none()),
        Err(_) => assert!(!is_empty),
    }
}

/// Asserts that sealed metadata opens unchanged, and that a flipped bit is an error.
fn assert_sealed(info: &StreamInfo, etag: &[u8]) {
    let content_key = Key::new([1; 32]);
    let metadata_key = Key::new([2; 32]);
    let keys = MetadataKeys {
        suite: CipherSuite::ChaCha20Poly1305,
        content_key: &content_key,
        metadata_key: &metadata_key,
        metadata_key_nonce: Nonce::new([3; 24]),
    };
    let sealed = keys.seal(info, etag).expect("metadata of a few bytes");
    let mut meta = StreamMeta::decode(&sealed.encrypted_metadata).expect("an envelope");
    let open = |meta: &StreamMeta| {
        let metadata = EncryptedMetadata {
            suite: keys.suite,
            encrypted_stream_info: &meta.encrypted_stream_info,
            encrypted_metadata_key: &sealed.encrypted_metadata_key,
            metadata_key_nonce: sealed.metadata_key_nonce.as_bytes(),
            encrypted_etag: &sealed.encrypted_etag,
        };
        metadata.open(&content_key)
    };
    let opened = open(&meta).expect("sealed metadata").expect("metadata");
    assert_eq!((opened.stream_info.as_ref(), opened.etag.as_slice()), (Some(info), etag));
    let middle = meta.encrypted_stream_info.len() / 2;
    meta.encrypted_stream_info[middle] ^= 1;
    assert!(open(&meta).is_err());
    let part = seal_part_etag(keys.suite, &content_key, etag).expect("a few bytes");
    assert_eq!(open_part_etag(keys.suite, &content_key, &part).as_deref(), Ok(etag));
}
