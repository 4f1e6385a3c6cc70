//! Objects whose envelope is missing, or stands for something else.

use uplink_core::encryption::content::ContentCipher;
use uplink_core::encryption::metadata::{MetadataKeys, StreamInfo, StreamMeta};
use uplink_core::encryption::{CipherSuite, Nonce};

use super::super::material::Material;
use super::super::reading::Attack;
use super::super::story::{Content, Story};

pub(crate) async fn without_envelope(material: &Material) -> Vec<Attack> {
    type Strip = fn(&mut Story);
    let strips: [(&str, Strip); 4] = [
        ("no metadata, key and nonce", strip),
        ("no metadata", |story| story.object.encrypted_metadata.clear()),
        ("empty stream info", |story| set_stream_info(story, Vec::new())),
        ("no metadata key", strip_key),
    ];
    let mut attacks = Vec::new();
    for (name, strip) in strips {
        for kept in 0..=material.b.segments.len() {
            let attack = material.edit(format!("{name}, {kept} segments kept"), |story| {
                strip(story);
                story.segments.truncate(kept);
                story.settle();
            });
            attacks.push(attack.refused());
        }
    }
    attacks
}

pub(crate) async fn etag_alone(material: &Material) -> Vec<Attack> {
    if !material.has_envelope() {
        return Vec::new();
    }
    let etag = etag(material);
    let kept = 1..=material.b.segments.len();
    let attack = |kept| {
        let attack = material.edit(format!("an ETag alone, {kept} segments kept"), |story| {
            set_stream_info(story, Vec::new());
            story.object.encrypted_etag = etag.clone().into();
            story.segments.truncate(kept);
            story.settle();
        });
        attack.refused()
    };
    kept.map(attack).collect()
}

pub(crate) async fn other_keys(material: &Material) -> Vec<Attack> {
    if !material.has_envelope() {
        return Vec::new();
    }
    let etag = etag(material);
    let object = material.b.object.clone();
    let metadata_key = (object.encrypted_metadata_encrypted_key, object.encrypted_metadata_nonce);
    let mut attacks = Vec::new();
    for stripped in [false, true] {
        let name = format!("ETag as inline content, stripped: {stripped}");
        let attack = material.edit(name, |story| {
            story.segments.truncate(1);
            let part = &mut story.segments[0];
            part.content = Content::Inline(etag.clone().into());
            part.item.plain_size = etag.len() as i64 - 16;
            part.item.encrypted_key = metadata_key.0.clone();
            part.item.encrypted_key_nonce = metadata_key.1.clone();
            story.settle();
            if stripped {
                strip(story);
            }
        });
        attacks.push(attack.refused());
    }
    let key_as_content = material.edit("metadata key as content key", |story| {
        for part in &mut story.segments {
            part.item.encrypted_key = metadata_key.0.clone();
            part.item.encrypted_key_nonce = metadata_key.1.clone();
        }
    });
    attacks.push(key_as_content.refused_reads());
    let first = &material.b.segments[0];
    if let Content::Inline(content) = &first.content {
        let attack = material.edit("inline content as ETag", |story| {
            set_stream_info(story, Vec::new());
            story.object.encrypted_etag = content.clone();
            story.object.encrypted_metadata_encrypted_key = first.item.encrypted_key.clone();
            story.object.encrypted_metadata_nonce = first.item.encrypted_key_nonce.clone();
        });
        attacks.push(attack.refused());
    }
    attacks
}

/// Takes away everything by which the object says what it is made of.
pub(crate) fn strip(story: &mut Story) {
    story.object.encrypted_metadata.clear();
    story.object.encrypted_metadata_encrypted_key.clear();
    story.object.encrypted_metadata_nonce.clear();
}

fn set_stream_info(story: &mut Story, encrypted_stream_info: Vec<u8>) {
    let meta = StreamMeta::decode(&story.object.encrypted_metadata).expect("metadata");
    story.object.encrypted_metadata = StreamMeta { encrypted_stream_info, ..meta }.encode().into();
}

/// Removes the wrapped metadata key from the object and from the clear part of its metadata, from
/// which the client would take it otherwise.
fn strip_key(story: &mut Story) {
    story.object.encrypted_metadata_encrypted_key.clear();
    let meta = StreamMeta::decode(&story.object.encrypted_metadata).expect("metadata");
    let meta = StreamMeta { last_segment_meta: None, ..meta };
    story.object.encrypted_metadata = meta.encode().into();
}

/// An ETag under the object's own metadata key, as a client that writes ETags would have sealed it.
fn etag(material: &Material) -> Vec<u8> {
    let keys = MetadataKeys {
        suite: CipherSuite::AesGcm,
        content_key: &material.content_key,
        metadata_key: &material.metadata_key(),
        metadata_key_nonce: Nonce::ZERO,
    };
    let sealed = keys.seal(&StreamInfo::default(), b"an ETag of twenty bytes").expect("sealed");
    assert!(ContentCipher::new(CipherSuite::AesGcm, &material.metadata_key()).is_ok());
    sealed.encrypted_etag
}
