//! The pipeline of one upload: bytes in, a committed object out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use uplink_core::encryption::mark::{Chain, ChainValue, KeyKind};
use uplink_core::encryption::metadata::{CustomMetadata, MetadataKeys, SealedMetadata, StreamInfo};
use uplink_core::encryption::{EncryptionParameters, Key, key};
use uplink_core::id::SegmentPosition;
use uplink_core::layout;
use uplink_rpc::r#gen::encryption as wire_encryption;
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response as Reply;
use uplink_rpc::time::timestamp;

use super::pending::Pending;
use super::{Placement, UploadOptions, Uploaded};
use crate::budget::Memory;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{MAX_SEGMENTS, unauthenticated};
use crate::object::Object;
use crate::project::{Location, Project};
use crate::runtime;
use crate::satellite::convert::{self, BegunSegment};
use crate::satellite::{other_reply, position};
use crate::segment::split::{Held, Sealer, seal_inline, windows};
use crate::segment::upload::{StoredSegment, upload};

/// What every object of this client is encrypted with.
const PARAMETERS: EncryptionParameters = EncryptionParameters::DEFAULT;
/// How long sealing a segment waits for its transfers in all. Nodes that are far away take longer;
/// then the rest is sealed at once, and the next segments go on their way beside this one.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most plain bytes that are sealed without looking at what else has happened.
const STEP: usize = 256 << 10;

/// One object being written, by whoever calls. Dropped before it is committed, it gives all transfers
/// up and has the satellite told.
pub(super) struct Pipeline {
    pending: Pending,
    options: UploadOptions,
    /// The keys of the segments. It begins with a random value of this attempt; no key seals twice.
    chain: Chain,
    /// The first value of the chain, which the metadata records.
    chain_start: ChainValue,
    /// The first bytes of the next segment, as long as they fit into an inline one.
    head: Vec<u8>,
    /// The remote segment that takes bytes.
    open: Option<Open>,
    /// All segments so far, in order.
    segments: Vec<Segment>,
    uploads: JoinSet<Result<Finished>>,
    /// Calls that wait for the next batch.
    calls: Vec<Request>,
}

/// What the object's seal and metadata are made of.
struct Segment {
    key: Key,
    plain_size: u64,
    placement: Placement,
}

/// A remote segment that takes bytes while its pieces are on their way.
struct Open {
    index: usize,
    /// Plain bytes that it can still take.
    left: u64,
    sealer: Sealer,
    held: Arc<Held>,
    patience: Duration,
    memory: Memory,
    sealed: oneshot::Sender<Sealed>,
}

/// A remote segment that is complete.
struct Sealed {
    plain_size: u64,
    encrypted_size: u64,
    /// Held until the segment is no longer needed.
    _memory: Memory,
}

/// A remote segment whose pieces are stored.
struct Finished {
    index: usize,
    stored: StoredSegment,
    sealed: Sealed,
}

impl Pipeline {
    pub(super) fn new(
        project: Project,
        location: Location,
        options: UploadOptions,
    ) -> Result<Self> {
        let chain_start = runtime::random_chain_value()?;
        Ok(Self {
            pending: Pending::new(project, location),
            options,
            chain: Chain::new(KeyKind::Stream, 0, chain_start.clone()),
            chain_start,
            head: Vec::new(),
            open: None,
            segments: Vec::new(),
            uploads: JoinSet::new(),
            calls: Vec::new(),
        })
    }

    /// Takes all of `bytes`. After an error, or when this is dropped before it returns, some of them
    /// may be part of the object: nothing but dropping the pipeline is right then.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            while let Some(ended) = self.uploads.try_join_next() {
                self.stored(ended)?;
            }
            let taken = match self.open.take() {
                Some(open) => self.seal(open, bytes).await?,
                None => self.gather(bytes).await?,
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Takes bytes into the head of a segment, and begins the segment once that is full. Returns how
    /// many it has taken.
    async fn gather(&mut self, bytes: &[u8]) -> Result<usize> {
        let size = self.project().config().segment_size;
        let inline = size.min(layout::INLINE_LIMIT);
        let full = usize::try_from(size.min(inline + 1)).unwrap_or(usize::MAX);
        let taken = bytes.len().min(full - self.head.len());
        self.head.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if self.head.len() < full {
            return Ok(taken);
        }
        let head = std::mem::take(&mut self.head);
        if head.len() as u64 <= inline {
            self.inline(&head)?;
            return Ok(taken);
        }
        let open = self.begin(size).await?;
        self.seal(open, &head).await?;
        Ok(taken)
    }

    /// Seals bytes into an open segment, and closes it once that is full. Returns how many it has
    /// taken.
    async fn seal(&mut self, mut open: Open, bytes: &[u8]) -> Result<usize> {
        let left = usize::try_from(open.left).unwrap_or(usize::MAX);
        let taken = bytes.get(..bytes.len().min(STEP).min(left)).unwrap_or(bytes);
        open.sealer.write(taken)?;
        open.left -= taken.len() as u64;
        if open.left == 0 {
            self.close(open)?;
        } else {
            self.keep_near(&mut open).await?;
            self.open = Some(open);
        }
        Ok(taken.len())
    }

    fn inline(&mut self, plain: &[u8]) -> Result<()> {
        let at = self.position()?;
        let (segment_key, nonce) = (self.chain.key(at.index), runtime::random_nonce()?);
        let content_key = &self.pending.location().content_key;
        let wrapped = key::wrap_key(PARAMETERS.suite, content_key, &nonce, &segment_key)?;
        let plain_size = plain.len() as u64;
        self.calls.push(Request::SegmentMakeInline(metainfo::MakeInlineSegmentRequest {
            stream_id: self.pending.stream_id(),
            position: Some(position(at)?),
            encrypted_key_nonce: Bytes::copy_from_slice(nonce.as_bytes()),
            encrypted_key: Bytes::copy_from_slice(&wrapped),
            encrypted_inline_data: seal_inline(PARAMETERS, &segment_key, at, plain)?.into(),
            plain_size: signed(plain_size),
            ..Default::default()
        }));
        let placement = Placement { size: plain_size, holders: Vec::new() };
        self.segments.push(Segment { key: segment_key, plain_size, placement });
        Ok(())
    }

    /// Begins a remote segment of at most `size` plain bytes.
    async fn begin(&mut self, size: u64) -> Result<Open> {
        let most = layout::encrypted_size(size, PARAMETERS.block_size)?;
        let memory = self.memory(most).await?;
        let at = self.position()?;
        let begun = self.begin_segment(at, most).await?;
        let (segment_key, held) = (self.chain.key(at.index), Arc::new(Held::default()));
        let windows = windows(self.project(), &begun.scheme);
        let sealer = Sealer::new(PARAMETERS, &segment_key, at, &begun.scheme, windows, &held)?;
        let index = self.segments.len();
        let placement = Placement { size: 0, holders: Vec::new() };
        self.segments.push(Segment { key: segment_key, plain_size: 0, placement });
        let (sealed, complete) = oneshot::channel();
        let transfers = upload(self.project().clone(), begun, Arc::clone(&held));
        self.uploads.spawn(async move {
            let stored = transfers.await?;
            let sealed = complete.await.map_err(|_| given_up())?;
            Ok(Finished { index, stored, sealed })
        });
        Ok(Open { index, left: size, sealer, held, patience: PATIENCE, memory, sealed })
    }

    /// Completes a remote segment; its upload goes on by itself.
    fn close(&mut self, open: Open) -> Result<()> {
        let Open { index, sealer, mut memory, sealed, .. } = open;
        let (plain_size, encrypted_size) = sealer.finish()?;
        memory.shrink(encrypted_size);
        if let Some(segment) = self.segments.get_mut(index) {
            segment.plain_size = plain_size;
            segment.placement.size = plain_size;
        }
        // Nobody listens any more when its upload has failed, which is reported with that.
        let _ = sealed.send(Sealed { plain_size, encrypted_size, _memory: memory });
        Ok(())
    }

    /// Waits until the coder has nearly caught up, for as long as there is patience left.
    async fn keep_near(&mut self, open: &mut Open) -> Result<()> {
        if !open.held.is_far() {
            return Ok(());
        }
        if open.patience.is_zero() {
            tokio::task::yield_now().await;
            return Ok(());
        }
        let begun = Instant::now();
        let mut near = std::pin::pin!(timeout(open.patience, open.held.near()));
        loop {
            tokio::select! {
                _ = &mut near => break,
                Some(ended) = self.uploads.join_next() => self.stored(ended)?,
            }
        }
        open.patience = open.patience.saturating_sub(begun.elapsed());
        Ok(())
    }

    /// Waits for memory; meanwhile segments end and give theirs back.
    async fn memory(&mut self, bytes: u64) -> Result<Memory> {
        let budget = self.project().budget().clone();
        let mut free = std::pin::pin!(budget.memory(bytes));
        loop {
            tokio::select! {
                memory = &mut free => return memory,
                Some(ended) = self.uploads.join_next() => self.stored(ended)?,
            }
        }
    }

    async fn begin_segment(&mut self, at: SegmentPosition, most: u64) -> Result<BegunSegment> {
        let mut batch = self.take_calls()?;
        batch.push(Request::SegmentBegin(metainfo::BeginSegmentRequest {
            stream_id: self.pending.stream_id(),
            position: Some(position(at)?),
            max_order_limit: signed(most),
            ..Default::default()
        }));
        let mut replies = self.project().satellite().batch(batch).await?;
        let last = replies.pop();
        self.note_begun(&replies)?;
        match last {
            Some(Reply::SegmentBegin(reply)) => {
                convert::begun_segment(reply, &self.project().satellite().signing_key()?)
            }
            _ => Err(other_reply()),
        }
    }

    /// The calls that wait, after the one that begins the object if that is still to come.
    fn take_calls(&mut self) -> Result<Vec<Request>> {
        let mut batch = Vec::new();
        if self.pending.stream_id().is_empty() {
            let suite = i32::from(PARAMETERS.suite.number());
            batch.push(Request::ObjectBegin(metainfo::BeginObjectRequest {
                bucket: self.pending.location().bucket_bytes(),
                encrypted_object_key: self.pending.location().key_bytes(),
                expires_at: self.options.expires.map(timestamp),
                encryption_parameters: Some(wire_encryption::EncryptionParameters {
                    cipher_suite: suite,
                    block_size: PARAMETERS.block_size.into(),
                }),
                ..Default::default()
            }));
        }
        batch.append(&mut self.calls);
        Ok(batch)
    }

    fn note_begun(&mut self, replies: &[Reply]) -> Result<()> {
        if !self.pending.stream_id().is_empty() {
            return Ok(());
        }
        match replies.first() {
            Some(Reply::ObjectBegin(reply)) if !reply.stream_id.is_empty() => {
                self.pending.begun(reply.stream_id.clone());
                Ok(())
            }
            _ => Err(other_reply()),
        }
    }

    /// Takes the outcome of a segment's upload and queues its commit.
    fn stored(&mut self, ended: Result<Result<Finished>, tokio::task::JoinError>) -> Result<()> {
        let finished = ended.map_err(|error| {
            Error::new(ErrorKind::Internal, format!("a segment ended: {error}"))
        })??;
        let segment = self.segments.get_mut(finished.index).ok_or_else(given_up)?;
        let holders = finished.stored.holders.iter();
        segment.placement.holders =
            holders.map(|(piece, node)| (*piece, node.to_string())).collect();
        let nonce = runtime::random_nonce()?;
        let content_key = &self.pending.location().content_key;
        let wrapped = key::wrap_key(PARAMETERS.suite, content_key, &nonce, &segment.key)?;
        self.calls.push(Request::SegmentCommit(metainfo::CommitSegmentRequest {
            segment_id: finished.stored.segment_id,
            encrypted_key_nonce: Bytes::copy_from_slice(nonce.as_bytes()),
            encrypted_key: Bytes::copy_from_slice(&wrapped),
            size_encrypted_data: signed(finished.sealed.encrypted_size),
            upload_result: finished.stored.results,
            plain_size: signed(finished.sealed.plain_size),
            ..Default::default()
        }));
        Ok(())
    }

    /// Makes the object visible, once all its segments are stored.
    pub(super) async fn commit(mut self, custom: BTreeMap<String, String>) -> Result<Uploaded> {
        if let Some(open) = self.open.take() {
            self.close(open)?;
        } else if !self.head.is_empty() || self.segments.is_empty() {
            let head = std::mem::take(&mut self.head);
            self.inline(&head)?;
        }
        while let Some(ended) = self.uploads.join_next().await {
            self.stored(ended)?;
        }
        let sealed = self.metadata(custom)?;
        let mut batch = self.take_calls()?;
        batch.push(Request::ObjectCommit(metainfo::CommitObjectRequest {
            stream_id: self.pending.stream_id(),
            encrypted_metadata_nonce: Bytes::copy_from_slice(sealed.metadata_key_nonce.as_bytes()),
            encrypted_metadata: sealed.encrypted_metadata.clone().into(),
            encrypted_metadata_encrypted_key: Bytes::copy_from_slice(
                &sealed.encrypted_metadata_key,
            ),
            ..Default::default()
        }));
        let object = match self.project().satellite().batch(batch).await {
            Ok(mut replies) => match replies.pop() {
                Some(Reply::ObjectCommit(metainfo::CommitObjectResponse {
                    object: Some(object),
                })) if is_made_by(&object, &sealed) => object,
                // The satellite did commit, or it lies.
                _ => self.resolve(&sealed, other_reply()).await?,
            },
            Err(error) if error.may_have_taken_effect() => self.resolve(&sealed, error).await?,
            Err(error) => return Err(error),
        };
        self.pending.committed();
        let object = self.committed(object, &sealed)?;
        let placement = self.segments.into_iter().map(|segment| segment.placement).collect();
        Ok(Uploaded { object, placement })
    }

    /// Learns whether a commit whose answer was lost or makes no sense took effect.
    async fn resolve(&self, sealed: &SealedMetadata, flaw: Error) -> Result<metainfo::Object> {
        let Location { bucket, encrypted_key, .. } = self.pending.location();
        match self.project().satellite().object(bucket, encrypted_key.clone()).await {
            Ok(object) if is_made_by(&object, sealed) => Ok(object),
            Ok(_) if flaw.kind() == ErrorKind::Network => Err(flaw),
            Err(error)
                if error.kind() == ErrorKind::ObjectNotFound
                    && flaw.kind() == ErrorKind::Network =>
            {
                Err(flaw)
            }
            _ => {
                let text = "commit may or may not have taken effect";
                Err(Error::new(ErrorKind::CommitUnknown, text).with_source(flaw))
            }
        }
    }

    /// The committed object: the satellite's times and version, but bytes and metadata as written.
    fn committed(&self, answered: metainfo::Object, sealed: &SealedMetadata) -> Result<Object> {
        let written = self.segments.iter().map(|segment| segment.plain_size).sum::<u64>();
        let key = &sealed.encrypted_metadata_key;
        let wire = metainfo::Object {
            encrypted_metadata_nonce: Bytes::copy_from_slice(sealed.metadata_key_nonce.as_bytes()),
            encrypted_metadata: sealed.encrypted_metadata.clone().into(),
            encrypted_metadata_encrypted_key: Bytes::copy_from_slice(key),
            ..answered
        };
        let described = self.pending.location().describe(&wire, self.project().config().into());
        let described = described.and_then(|(object, _)| {
            if object.size == written {
                return Ok(object);
            }
            Err(unauthenticated("its size is not that of the bytes written"))
        });
        described.map_err(|flaw| {
            let text = "commit may or may not have taken effect";
            Error::new(ErrorKind::CommitUnknown, text).with_source(flaw)
        })
    }

    fn metadata(&self, custom: BTreeMap<String, String>) -> Result<SealedMetadata> {
        let info = StreamInfo {
            number_of_segments: signed(self.segments.len() as u64),
            segments_size: signed(self.project().config().segment_size),
            last_segment_size: signed(self.segments.last().map_or(0, |last| last.plain_size)),
            metadata: CustomMetadata::new(custom),
            parts_seal: None,
            chain_start: Some(self.chain_start.clone()),
        };
        let keys = MetadataKeys {
            suite: PARAMETERS.suite,
            content_key: &self.pending.location().content_key,
            metadata_key: &runtime::random_chain_value()?.key(KeyKind::Metadata),
            metadata_key_nonce: runtime::random_nonce()?,
        };
        Ok(keys.seal(&info, b"")?)
    }

    /// Gives everything up, and tells the satellite.
    pub(super) async fn abort(self) -> Result<()> {
        let Self { pending, uploads, open, .. } = self;
        drop((open, uploads));
        pending.abort().await
    }

    fn position(&self) -> Result<SegmentPosition> {
        let count = self.segments.len() as u64;
        let index = u32::try_from(count).ok().filter(|_| count < MAX_SEGMENTS);
        let index = index.ok_or_else(|| {
            let text = format!("object is too large: it has more than {MAX_SEGMENTS} segments");
            Error::new(ErrorKind::RangeInvalid, text)
        })?;
        Ok(SegmentPosition { part: 0, index })
    }

    fn project(&self) -> &Project {
        self.pending.project()
    }
}

/// Whether an object carries the nonce of this metadata key, which is random.
fn is_made_by(object: &metainfo::Object, sealed: &SealedMetadata) -> bool {
    object.encrypted_metadata_nonce == sealed.metadata_key_nonce.as_bytes()[..]
}

fn given_up() -> Error {
    Error::new(ErrorKind::UploadDone, "the upload was given up")
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
