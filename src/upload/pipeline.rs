//! The pipeline of one upload: bytes in, a committed object out.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use uplink_core::encryption::metadata::{
    CustomMetadata, MetadataKeys, SealedMetadata, StreamInfo, object_seal,
};
use uplink_core::encryption::{EncryptionParameters, Key, key};
use uplink_core::id::SegmentPosition;
use uplink_core::layout;
use uplink_rpc::r#gen::encryption as wire_encryption;
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response as Reply;
use uplink_rpc::time::timestamp;

use super::{Begun, Finish, Placement, UploadOptions, Uploaded};
use crate::error::{Error, ErrorKind, Result};
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

pub(super) async fn run(
    project: Project,
    location: Location,
    options: UploadOptions,
    input: mpsc::Receiver<Bytes>,
    finish: oneshot::Receiver<Finish>,
    begun: Begun,
) -> Result<Uploaded> {
    let mut pipeline = Pipeline {
        input: Input { input, rest: Bytes::new() },
        segments: Vec::new(),
        uploads: JoinSet::new(),
        pending: Vec::new(),
        project,
        location,
        options,
        begun,
    };
    while pipeline.segment().await? {}
    let Ok(finish) = finish.await else {
        return Err(Error::new(ErrorKind::UploadDone, "the upload was given up"));
    };
    while let Some(ended) = pipeline.uploads.join_next().await {
        pipeline.stored(ended)?;
    }
    pipeline.commit(finish).await
}

struct Pipeline {
    project: Project,
    location: Location,
    options: UploadOptions,
    input: Input,
    /// All segments so far, in order.
    segments: Vec<Segment>,
    uploads: JoinSet<Result<Finished>>,
    /// Calls that wait for the next batch.
    pending: Vec<Request>,
    begun: Begun,
}

/// What the object's seal and metadata are made of.
struct Segment {
    key: Key,
    plain_size: u64,
    placement: Placement,
}

/// A remote segment whose pieces are stored.
struct Finished {
    index: usize,
    stored: StoredSegment,
    plain_size: u64,
    encrypted_size: u64,
    /// Held until the segment is no longer needed.
    _memory: crate::budget::Memory,
}

impl Pipeline {
    /// Takes one segment from the input. Returns whether there may be another.
    async fn segment(&mut self) -> Result<bool> {
        let size = self.project.config().segment_size;
        let head = self.input.take_up_to(size.min(layout::INLINE_LIMIT + 1)).await;
        if head.is_empty() && !self.segments.is_empty() {
            return Ok(false);
        }
        if head.len() as u64 <= layout::INLINE_LIMIT {
            self.inline(&head)?;
            return Ok(!head.is_empty());
        }
        self.remote(head, size).await?;
        Ok(true)
    }

    fn inline(&mut self, plain: &[u8]) -> Result<()> {
        let (segment_key, nonce) = (runtime::random_key()?, runtime::random_nonce()?);
        let at = self.position()?;
        let wrapped =
            key::wrap_key(PARAMETERS.suite, &self.location.content_key, &nonce, &segment_key)?;
        let plain_size = plain.len() as u64;
        self.pending.push(Request::SegmentMakeInline(metainfo::MakeInlineSegmentRequest {
            stream_id: self.stream_id(),
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

    async fn remote(&mut self, head: Bytes, size: u64) -> Result<()> {
        let most = layout::encrypted_size(size, PARAMETERS.block_size)?;
        let mut memory = self.memory(most).await?;
        let at = self.position()?;
        let begun = self.begin_segment(at, most).await?;
        let (segment_key, held) = (runtime::random_key()?, Arc::new(Held::default()));
        let index = self.segments.len();
        let placement = Placement { size: 0, holders: Vec::new() };
        self.segments.push(Segment { key: segment_key.clone(), plain_size: 0, placement });

        let windows = windows(&self.project, &begun.scheme);
        let mut sealer = Sealer::new(PARAMETERS, &segment_key, at, &begun.scheme, &windows, &held)?;
        let (sizes, sized) = oneshot::channel();
        let transfers = upload(self.project.clone(), begun.clone(), Arc::clone(&held));
        self.uploads.spawn(async move {
            let stored = transfers.await?;
            let (plain_size, encrypted_size, memory) = sized.await.map_err(|_| given_up())?;
            Ok(Finished { index, stored, plain_size, encrypted_size, _memory: memory })
        });
        let (mut left, mut patience) = (size - head.len() as u64, PATIENCE);
        sealer.write(&head)?;
        while left > 0 {
            let bytes = self.next_input(left).await?;
            if bytes.is_empty() {
                break;
            }
            left -= bytes.len() as u64;
            sealer.write(&bytes)?;
            self.keep_near(&held, &mut patience).await?;
        }
        let (plain_size, encrypted_size) = sealer.finish()?;
        memory.shrink(encrypted_size);
        if let Some(segment) = self.segments.get_mut(index) {
            segment.plain_size = plain_size;
            segment.placement.size = plain_size;
        }
        let _ = sizes.send((plain_size, encrypted_size, memory));
        Ok(())
    }

    /// The next input of a segment; fails as soon as an upload of a segment has failed.
    async fn next_input(&mut self, most: u64) -> Result<Bytes> {
        loop {
            tokio::select! {
                bytes = self.input.next(most) => return Ok(bytes),
                Some(ended) = self.uploads.join_next() => self.stored(ended)?,
            }
        }
    }

    /// Waits until the coder has nearly caught up, for as long as there is patience left.
    async fn keep_near(&mut self, held: &Held, patience: &mut Duration) -> Result<()> {
        if patience.is_zero() || !held.is_far() {
            return Ok(());
        }
        let begun = Instant::now();
        let mut near = std::pin::pin!(timeout(*patience, held.near()));
        loop {
            tokio::select! {
                _ = &mut near => break,
                Some(ended) = self.uploads.join_next() => self.stored(ended)?,
            }
        }
        *patience = patience.saturating_sub(begun.elapsed());
        Ok(())
    }

    /// Waits for memory; meanwhile segments end and give theirs back.
    async fn memory(&mut self, bytes: u64) -> Result<crate::budget::Memory> {
        let budget = self.project.budget().clone();
        let mut free = std::pin::pin!(budget.memory(bytes));
        loop {
            tokio::select! {
                memory = &mut free => return memory,
                Some(ended) = self.uploads.join_next() => self.stored(ended)?,
            }
        }
    }

    async fn begin_segment(&mut self, at: SegmentPosition, most: u64) -> Result<BegunSegment> {
        let mut batch = self.take_pending()?;
        batch.push(Request::SegmentBegin(metainfo::BeginSegmentRequest {
            stream_id: self.stream_id(),
            position: Some(position(at)?),
            max_order_limit: signed(most),
            ..Default::default()
        }));
        let mut replies = self.project.satellite().batch(batch).await?;
        let last = replies.pop();
        self.note_begun(&replies)?;
        match last {
            Some(Reply::SegmentBegin(reply)) => {
                convert::begun_segment(reply, &self.project.satellite().signing_key()?)
            }
            _ => Err(other_reply()),
        }
    }

    /// The calls that wait, after the one that begins the object if that is still to come.
    fn take_pending(&mut self) -> Result<Vec<Request>> {
        let mut batch = Vec::new();
        if self.stream_id().is_empty() {
            let suite = i32::from(PARAMETERS.suite.number());
            batch.push(Request::ObjectBegin(metainfo::BeginObjectRequest {
                bucket: self.location.bucket_bytes(),
                encrypted_object_key: self.location.key_bytes(),
                expires_at: self.options.expires.map(timestamp),
                encryption_parameters: Some(wire_encryption::EncryptionParameters {
                    cipher_suite: suite,
                    block_size: PARAMETERS.block_size.into(),
                }),
                ..Default::default()
            }));
        }
        batch.append(&mut self.pending);
        Ok(batch)
    }

    fn note_begun(&self, replies: &[Reply]) -> Result<()> {
        if !self.stream_id().is_empty() {
            return Ok(());
        }
        match replies.first() {
            Some(Reply::ObjectBegin(reply)) if !reply.stream_id.is_empty() => {
                let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
                *begun = Some(reply.stream_id.clone());
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
        let content_key = &self.location.content_key;
        let wrapped = key::wrap_key(PARAMETERS.suite, content_key, &nonce, &segment.key)?;
        self.pending.push(Request::SegmentCommit(metainfo::CommitSegmentRequest {
            segment_id: finished.stored.segment_id,
            encrypted_key_nonce: Bytes::copy_from_slice(nonce.as_bytes()),
            encrypted_key: Bytes::copy_from_slice(&wrapped),
            size_encrypted_data: signed(finished.encrypted_size),
            upload_result: finished.stored.results,
            plain_size: signed(finished.plain_size),
            ..Default::default()
        }));
        Ok(())
    }

    async fn commit(mut self, finish: Finish) -> Result<Uploaded> {
        let sealed = self.metadata(finish)?;
        let mut batch = self.take_pending()?;
        batch.push(Request::ObjectCommit(metainfo::CommitObjectRequest {
            stream_id: self.stream_id(),
            encrypted_metadata_nonce: Bytes::copy_from_slice(sealed.metadata_key_nonce.as_bytes()),
            encrypted_metadata: sealed.encrypted_metadata.clone().into(),
            encrypted_metadata_encrypted_key: Bytes::copy_from_slice(
                &sealed.encrypted_metadata_key,
            ),
            ..Default::default()
        }));
        let object = match self.project.satellite().batch(batch).await {
            Ok(mut replies) => match replies.pop() {
                Some(Reply::ObjectCommit(reply)) => reply.object.ok_or_else(other_reply)?,
                _ => return Err(other_reply()),
            },
            Err(error) if error.kind() == ErrorKind::Network => {
                self.resolve(&sealed, error).await?
            }
            Err(error) => return Err(error),
        };
        let object = self.location.object(&object)?;
        let placement = self.segments.into_iter().map(|segment| segment.placement).collect();
        Ok(Uploaded { object, placement })
    }

    /// Learns whether a commit whose answer was lost took effect: the nonce of the metadata key is
    /// random, so an object that carries it is this one.
    async fn resolve(&self, sealed: &SealedMetadata, lost: Error) -> Result<metainfo::Object> {
        let Location { bucket, encrypted_key, .. } = &self.location;
        match self.project.satellite().object(bucket, encrypted_key.clone()).await {
            Ok(object)
                if object.encrypted_metadata_nonce == sealed.metadata_key_nonce.as_bytes()[..] =>
            {
                Ok(object)
            }
            Ok(_) => Err(lost),
            Err(error) if error.kind() == ErrorKind::ObjectNotFound => Err(lost),
            Err(_) => {
                let text = format!("the commit may or may not have taken effect: {lost}");
                Err(Error::new(ErrorKind::CommitUnknown, text).with_source(lost))
            }
        }
    }

    fn metadata(&self, finish: Finish) -> Result<SealedMetadata> {
        let sealed = self.segments.iter().zip(0_u32..).map(|(segment, index)| {
            (SegmentPosition { part: 0, index }, segment.plain_size, &segment.key)
        });
        let info = StreamInfo {
            number_of_segments: signed(self.segments.len() as u64),
            segments_size: signed(self.project.config().segment_size),
            last_segment_size: signed(self.segments.last().map_or(0, |last| last.plain_size)),
            metadata: CustomMetadata::new(finish.custom),
            object_seal: Some(object_seal(sealed)),
        };
        let keys = MetadataKeys {
            suite: PARAMETERS.suite,
            content_key: &self.location.content_key,
            metadata_key: &runtime::random_key()?,
            metadata_key_nonce: runtime::random_nonce()?,
        };
        Ok(keys.seal(&info, b"")?)
    }

    fn position(&self) -> Result<SegmentPosition> {
        let index = u32::try_from(self.segments.len());
        let index = index.map_err(|_| Error::new(ErrorKind::Internal, "too many segments"))?;
        Ok(SegmentPosition { part: 0, index })
    }

    /// The object's stream id; empty before the object is begun, as batches expect it.
    fn stream_id(&self) -> Bytes {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }
}

/// Written bytes, in whatever parts are wanted.
struct Input {
    input: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Input {
    /// The next bytes, at most `most`; empty at the end. Loses nothing when dropped.
    async fn next(&mut self, most: u64) -> Bytes {
        while self.rest.is_empty() {
            match self.input.recv().await {
                Some(bytes) => self.rest = bytes,
                None => return Bytes::new(),
            }
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.rest.split_to(self.rest.len().min(most))
    }

    /// The next `most` bytes in one piece; fewer only at the end.
    async fn take_up_to(&mut self, most: u64) -> Bytes {
        let mut taken = BytesMut::new();
        while (taken.len() as u64) < most {
            let bytes = self.next(most - taken.len() as u64).await;
            if bytes.is_empty() {
                break;
            }
            taken.extend_from_slice(&bytes);
        }
        taken.freeze()
    }
}

fn given_up() -> Error {
    Error::new(ErrorKind::UploadDone, "the upload was given up")
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
