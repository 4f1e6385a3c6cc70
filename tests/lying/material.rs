//! Two versions of an object and one other object, and everything that is needed to mix them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use uplink::{Config, Project, UploadOptions};
use uplink_core::encryption::content::{ContentCipher, append_padding};
use uplink_core::encryption::key::unwrap_key;
use uplink_core::encryption::nonce::segment_start_nonce;
use uplink_core::encryption::{CipherSuite, Key, Nonce};

use super::raw::Raw;
use super::reading::Attack;
use super::story::{Content, Part, Story, position};
use super::world::{BUCKET, Known, SEGMENT, World, known};

/// Bytes of an encrypted block.
pub(crate) const BLOCK: usize = 7424;
/// Plain bytes of a block.
pub(crate) const IN_BLOCK: usize = BLOCK - 16;

/// How an object is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) segment: u64,
    pub(crate) count: u64,
    pub(crate) last: u64,
}

#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) shape: Shape,
    pub(crate) known: Known,
    pub(crate) raw: Raw,
    pub(crate) encrypted_key: Bytes,
    /// The earlier version, which is stored under another name, so that its pieces can be read.
    pub(crate) a: Story,
    /// The object as it is.
    pub(crate) b: Story,
    /// Another object.
    pub(crate) other: Story,
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

impl Material {
    /// Writes the objects through the satellite itself.
    pub(crate) async fn make(world: &World, shape: Shape) -> Self {
        let key = format!("object-{}-{}", shape.count, shape.last);
        let (known, raw) = (known(&key, shape.size()), Raw::new(world));
        let config = Config::new().segment_size(shape.segment);
        let project = Project::open_with(&world.honest_access, &config).expect("a project");
        let encrypted_key = raw.encrypted_key(&key);
        put(&project, &known, &known.key, 1).await;
        let a = Story::of(&raw, &encrypted_key).await;
        let aside = raw.move_aside(&encrypted_key).await;
        let stored = Story::of(&raw, &aside).await;
        put(&project, &known, &known.key, 0).await;
        let b = Story::of(&raw, &encrypted_key).await;
        put(&project, &known, &format!("{key}-other"), 1).await;
        let other = Story::of(&raw, &raw.encrypted_key(&format!("{key}-other"))).await;
        assert_eq!(b.segments.len() as u64, shape.count);
        let a = Story { segments: stored.segments, ..a };
        let content_key = raw.content_key(&key);
        let names = AtomicUsize::new(0);
        Self { shape, known, raw, encrypted_key, a, b, other, content_key, names }
    }

    /// A name for what the satellite stores by itself.
    pub(crate) fn name(&self) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("{}-stored-{number}", self.known.key)
    }

    /// An attack that tells the first story, unless it chooses another.
    pub(crate) fn attack(&self, name: impl Into<String>, stories: Vec<Story>) -> Attack {
        Attack::new(name, stories)
    }

    /// An attack that changes the true story.
    pub(crate) fn edit(&self, name: impl Into<String>, edit: impl FnOnce(&mut Story)) -> Attack {
        let mut story = self.b.clone();
        edit(&mut story);
        self.attack(name, vec![story])
    }

    /// The key of the object's metadata.
    pub(crate) fn metadata_key(&self) -> Key {
        let object = &self.b.object;
        self.unwrap(&object.encrypted_metadata_encrypted_key, &object.encrypted_metadata_nonce)
    }

    /// The encrypted blocks of a segment, if it is a remote one.
    pub(crate) fn blocks(&self, place: usize) -> Vec<u8> {
        let Part { item, content, .. } = &self.b.segments[place];
        if matches!(content, Content::Inline(_)) {
            return Vec::new();
        }
        let key = self.unwrap(&item.encrypted_key, &item.encrypted_key_nonce);
        let (start, size) = (item.plain_offset as usize, item.plain_size as usize);
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

async fn put(project: &Project, known: &Known, key: &str, version: usize) {
    let uploading = async {
        let mut upload = project.upload_object(BUCKET, key, UploadOptions::new())?;
        upload.set_metadata(known.custom[version].clone())?;
        let plain: Arc<Vec<u8>> = Arc::clone(&known.contents[version]);
        upload.write(&plain).await?;
        upload.commit().await
    };
    uploading.await.expect("uploaded");
}
