use uplink_core::encryption::metadata::{
    EncryptedMetadata, MetadataKeys, StreamInfo, StreamMeta, open_part_etag, seal_part_etag,
};
use uplink_core::encryption::{CipherSuite, Key, Nonce};

use super::input::Input;

/// The bytes as an envelope, as what is sealed in one, and as keys and nonces beside it.
pub fn metadata_envelope(data: &[u8]) {
    if let Ok(meta) = StreamMeta::decode(data) {
        let written = meta.encode();
        assert_eq!(StreamMeta::decode(&written).as_ref(), Ok(&meta));
        let (key, nonce) = meta.metadata_key_or(&[], &[]);
        open(&meta.encrypted_stream_info, key, nonce);
    }
    if let Ok(info) = StreamInfo::decode(data) {
        let written = info.encode();
        assert_eq!(StreamInfo::decode(&written).as_ref(), Ok(&info));
        assert_eq!(info.encode(), written);
        assert_sealed(&info, data);
    }
    let mut input = Input::new(data);
    let (key, nonce) = (input.sized(), input.sized());
    open(input.rest(), key, nonce);
}

/// Nobody without the key makes metadata, and nothing is opened with a key of nothing.
fn open(info: &[u8], encrypted_key: &[u8], nonce: &[u8]) {
    let metadata = EncryptedMetadata {
        suite: CipherSuite::AesGcm,
        encrypted_stream_info: info,
        encrypted_metadata_key: encrypted_key,
        metadata_key_nonce: nonce,
        encrypted_etag: &[],
    };
    let nothing = info.is_empty() && encrypted_key.is_empty();
    match metadata.open(&Key::new([9; 32])) {
        Ok(opened) => assert!(nothing && opened.is_none()),
        Err(_) => assert!(!nothing),
    }
}

/// Sealing and opening gives the same, and a changed bit an error.
fn assert_sealed(info: &StreamInfo, etag: &[u8]) {
    let (content_key, metadata_key) = (Key::new([1; 32]), Key::new([2; 32]));
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
    let opened = open(&meta).expect("what was sealed").expect("metadata");
    assert_eq!((opened.stream_info.as_ref(), opened.etag.as_slice()), (Some(info), etag));
    let middle = meta.encrypted_stream_info.len() / 2;
    meta.encrypted_stream_info[middle] ^= 1;
    assert!(open(&meta).is_err());
    let part = seal_part_etag(keys.suite, &content_key, etag).expect("a few bytes");
    assert_eq!(open_part_etag(keys.suite, &content_key, &part).as_deref(), Ok(etag));
}
