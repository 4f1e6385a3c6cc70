//! Two versions of an object, another object, and everything needed to mix them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use uplink::Project;
use uplink_core::encryption::content::{ContentCipher, append_padding};
use uplink_core::encryption::key::unwrap_key;
use uplink_core::encryption::nonce::segment_start_nonce;
use uplink_core::encryption::{CipherSuite, Key, Nonce};

use super::forgery::{Content, Forgery, Part, position};
use super::raw::Raw;
use super::reader::Attack;
use super::world::{BUCKET, Known, SEGMENT, World};

/// Bytes of an encrypted block.
pub(crate) const BLOCK: usize = 7424;
/// Plain bytes of a block.
pub(crate) const IN_BLOCK: usize = BLOCK - 16;

/// Segment size, number of segments and size of the last segment of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) segment: u64,
    pub(crate) count: u64,
    pub(crate) last: u64,
}

#[derive(Debug)]
pub(crate) struct Fixture {
    /// Description of the object, for messages.
    pub(crate) title: String,
    pub(crate) known: Known,
    pub(crate) raw: Raw,
    pub(crate) encrypted_key: Bytes,
    /// The earlier version, moved to another key so that its pieces stay readable.
    pub(crate) a: Forgery,
    /// The current version.
    pub(crate) b: Forgery,
    /// An object at another key.
    pub(crate) other: Forgery,
    pub(crate) content_key: Key,
    names: AtomicUsize,
}

impl Shape {
    /// `count` segments, the last one of `last` bytes.
    pub(crate) const fn new(count: u64, last: u64) -> Self {
        Self { segment: SEGMENT, count, last }
    }

    pub(crate) const fn size(self) -> u64 {
        (self.count - 1) * self.segment + self.last
    }
}

impl Fixture {
    /// Creates the objects with `write(key, version)`.
    pub(crate) async fn written(
        world: &World,
        title: String,
        known: Known,
        write: impl AsyncFn(&str, usize),
    ) -> Self {
        let raw = Raw::new(world);
        let key = known.key.clone();
        let encrypted_key = raw.encrypted_key(&key);
        write(&key, 1).await;
        let a = Forgery::move_aside(&raw, &encrypted_key, "earlier").await;
        write(&key, 0).await;
        let b = Forgery::of(&raw, &encrypted_key).await;
        write(&format!("{key}-other"), 1).await;
        let other = Forgery::of(&raw, &raw.encrypted_key(&format!("{key}-other"))).await;
        let content_key = raw.content_key(&key);
        let names = AtomicUsize::new(0);
        Self { title, known, raw, encrypted_key, a, b, other, content_key, names }
    }

    /// Returns the size of the object in plain bytes.
    pub(crate) fn size(&self) -> u64 {
        self.known.contents[0].len() as u64
    }

    /// Returns the byte range of a segment.
    pub(crate) fn segment(&self, index: usize) -> Range<u64> {
        let item = &self.b.segments[index].item;
        item.plain_offset as u64..(item.plain_offset + item.plain_size) as u64
    }

    /// Returns whether the object has encrypted metadata.
    pub(crate) fn has_envelope(&self) -> bool {
        !self.b.object.encrypted_metadata_encrypted_key.is_empty()
    }

    /// Returns an unused name for an object that the satellite stores by itself.
    pub(crate) fn unused_name(&self) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("{}-stored-{number}", self.known.key)
    }

    /// Returns an attack that serves the first forgery, unless a selector is set.
    pub(crate) fn attack(&self, name: impl Into<String>, forgeries: Vec<Forgery>) -> Attack {
        Attack::new(name, forgeries)
    }

    /// Returns an attack that serves an edited copy of the true responses.
    pub(crate) fn edit(&self, name: impl Into<String>, edit: impl FnOnce(&mut Forgery)) -> Attack {
        let mut forgery = self.b.clone();
        edit(&mut forgery);
        self.attack(name, vec![forgery])
    }

    /// Returns the key of the object's metadata.
    pub(crate) fn metadata_key(&self) -> Key {
        let object = &self.b.object;
        self.unwrap(&object.encrypted_metadata_encrypted_key, &object.encrypted_metadata_nonce)
    }

    /// Returns the encrypted blocks of a remote segment; none for an inline one.
    pub(crate) fn blocks(&self, index: usize) -> Vec<u8> {
        let Part { item, content, .. } = &self.b.segments[index];
        if matches!(content, Content::Inline(_)) {
            return Vec::new();
        }
        let key = self.unwrap(&item.encrypted_key, &item.encrypted_key_nonce);
        let start = item.plain_offset as usize;
        let size = item.plain_size as usize;
        let mut plain = self.known.contents[0][start..start + size].to_vec();
        append_padding(&mut plain, size as u64, IN_BLOCK as u64).expect("padded");
        let cipher = ContentCipher::new(CipherSuite::AesGcm, &key).expect("a cipher");
        let mut blocks = vec![0; plain.len() / IN_BLOCK * BLOCK];
        let nonce = segment_start_nonce(position(item.position));
        cipher.seal_blocks(&nonce, 0, BLOCK, &plain, &mut blocks).expect("sealed");
        blocks
    }

    fn unwrap(&self, wrapped: &[u8], nonce: &[u8]) -> Key {
        let nonce = Nonce::from_slice(nonce).expect("a nonce");
        unwrap_key(CipherSuite::AesGcm, &self.content_key, &nonce, wrapped).expect("a key")
    }
}

/// Writes a version of an object.
pub(crate) async fn put(project: &Project, known: &Known, key: &str, version: usize) {
    let uploading = async {
        let mut upload = project.upload_object(BUCKET, key)?;
        upload.set_custom_metadata(known.custom[version].clone())?;
        let plain: Arc<Vec<u8>> = Arc::clone(&known.contents[version]);
        upload.write(&plain).await?;
        upload.commit().await
    };
    uploading.await.expect("uploaded");
}
