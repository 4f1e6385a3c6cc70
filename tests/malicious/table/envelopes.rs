//! Objects with a missing or replaced envelope.

use uplink_core::encryption::content::ContentCipher;
use uplink_core::encryption::mark::{ChainValue, KeyKind};
use uplink_core::encryption::metadata::{CustomMetadata, MetadataKeys, StreamInfo, StreamMeta};
use uplink_core::encryption::{CipherSuite, Nonce};

use super::super::fixture::Fixture;
use super::super::forgery::{Content, Forgery};
use super::super::reader::Attack;

pub(crate) async fn without_envelope(fixture: &Fixture) -> Vec<Attack> {
    type Strip = fn(&mut Forgery);
    let strips: [(&str, Strip); 4] = [
        ("no metadata, key and nonce", strip),
        ("no metadata", |forgery| forgery.object.encrypted_metadata.clear()),
        ("empty stream info", |forgery| set_stream_info(forgery, Vec::new())),
        ("no metadata key", strip_key),
    ];
    let mut attacks = Vec::new();
    for (name, strip) in strips {
        for kept in 0..=fixture.b.segments.len() {
            let attack = fixture.edit(format!("{name}, {kept} segments kept"), |forgery| {
                strip(forgery);
                forgery.segments.truncate(kept);
                forgery.make_consistent();
            });
            attacks.push(attack.refused());
        }
    }
    attacks
}

pub(crate) async fn etag_alone(fixture: &Fixture) -> Vec<Attack> {
    if !fixture.has_envelope() {
        return Vec::new();
    }
    let etag = etag(fixture);
    let kept = 1..=fixture.b.segments.len();
    let attack = |kept| {
        let attack = fixture.edit(format!("an ETag alone, {kept} segments kept"), |forgery| {
            set_stream_info(forgery, Vec::new());
            forgery.object.encrypted_etag = etag.clone().into();
            forgery.segments.truncate(kept);
            forgery.make_consistent();
        });
        attack.refused()
    };
    kept.map(attack).collect()
}

/// The envelope with which a multipart upload is begun, in place of that of the commit.
pub(crate) async fn begun(fixture: &Fixture) -> Vec<Attack> {
    if !fixture.has_envelope() {
        return Vec::new();
    }
    let keys = MetadataKeys {
        suite: CipherSuite::AesGcm,
        content_key: &fixture.content_key,
        metadata_key: &ChainValue::new([7; ChainValue::SIZE]).key(KeyKind::Metadata),
        metadata_key_nonce: Nonce::ONE,
    };
    let metadata = CustomMetadata::new(fixture.known.custom[0].clone());
    let info = StreamInfo { metadata, ..StreamInfo::default() };
    let sealed = keys.seal(&info, b"").expect("sealed");
    let kept = 0..=fixture.b.segments.len();
    let attack = |kept| {
        let attack = fixture.edit(format!("a begun envelope, {kept} segments kept"), |forgery| {
            let object = &mut forgery.object;
            object.encrypted_metadata = sealed.encrypted_metadata.clone().into();
            object.encrypted_metadata_encrypted_key = sealed.encrypted_metadata_key.to_vec().into();
            object.encrypted_metadata_nonce = sealed.metadata_key_nonce.as_bytes().to_vec().into();
            object.encrypted_etag.clear();
            forgery.segments.truncate(kept);
            forgery.make_consistent();
        });
        attack.refused()
    };
    kept.map(attack).collect()
}

pub(crate) async fn other_keys(fixture: &Fixture) -> Vec<Attack> {
    if !fixture.has_envelope() {
        return Vec::new();
    }
    let etag = etag(fixture);
    let object = fixture.b.object.clone();
    let metadata_key = (object.encrypted_metadata_encrypted_key, object.encrypted_metadata_nonce);
    let mut attacks = Vec::new();
    for stripped in [false, true] {
        let name = format!("ETag as inline content, stripped: {stripped}");
        let attack = fixture.edit(name, |forgery| {
            forgery.segments.truncate(1);
            let part = &mut forgery.segments[0];
            part.content = Content::Inline(etag.clone().into());
            part.item.plain_size = etag.len() as i64 - 16;
            part.item.encrypted_key = metadata_key.0.clone();
            part.item.encrypted_key_nonce = metadata_key.1.clone();
            forgery.make_consistent();
            if stripped {
                strip(forgery);
            }
        });
        attacks.push(attack.refused());
    }
    let key_as_content = fixture.edit("metadata key as content key", |forgery| {
        for part in &mut forgery.segments {
            part.item.encrypted_key = metadata_key.0.clone();
            part.item.encrypted_key_nonce = metadata_key.1.clone();
        }
    });
    attacks.push(key_as_content.refused_reads());
    let first = &fixture.b.segments[0];
    if let Content::Inline(content) = &first.content {
        let attack = fixture.edit("inline content as ETag", |forgery| {
            set_stream_info(forgery, Vec::new());
            forgery.object.encrypted_etag = content.clone();
            forgery.object.encrypted_metadata_encrypted_key = first.item.encrypted_key.clone();
            forgery.object.encrypted_metadata_nonce = first.item.encrypted_key_nonce.clone();
        });
        attacks.push(attack.refused());
    }
    attacks
}

/// Removes the envelope: metadata, wrapped key and nonce.
pub(crate) fn strip(forgery: &mut Forgery) {
    forgery.object.encrypted_metadata.clear();
    forgery.object.encrypted_metadata_encrypted_key.clear();
    forgery.object.encrypted_metadata_nonce.clear();
}

fn set_stream_info(forgery: &mut Forgery, encrypted_stream_info: Vec<u8>) {
    let meta = StreamMeta::decode(&forgery.object.encrypted_metadata).expect("metadata");
    forgery.object.encrypted_metadata =
        StreamMeta { encrypted_stream_info, ..meta }.encode().into();
}

/// Removes the wrapped metadata key from the object and from the clear part of its metadata, where
/// the client would also look for it.
fn strip_key(forgery: &mut Forgery) {
    forgery.object.encrypted_metadata_encrypted_key.clear();
    let meta = StreamMeta::decode(&forgery.object.encrypted_metadata).expect("metadata");
    let meta = StreamMeta { last_segment_meta: None, ..meta };
    forgery.object.encrypted_metadata = meta.encode().into();
}

/// Returns an ETag sealed under the object's own metadata key, as a client that writes ETags would.
fn etag(fixture: &Fixture) -> Vec<u8> {
    let keys = MetadataKeys {
        suite: CipherSuite::AesGcm,
        content_key: &fixture.content_key,
        metadata_key: &fixture.metadata_key(),
        metadata_key_nonce: Nonce::ZERO,
    };
    let sealed = keys.seal(&StreamInfo::default(), b"an ETag of twenty bytes").expect("sealed");
    assert!(ContentCipher::new(CipherSuite::AesGcm, &fixture.metadata_key()).is_ok());
    sealed.encrypted_etag
}
