//! Cuts the bytes of one object, or of one part of a multipart upload, into segments, encrypts them and
//! uploads them to storage nodes.
//!
//! `commit.rs` commits the object; `multipart/part.rs` commits the part.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, Span};
use uplink_core::encryption::content::{ContentCipher, SegmentCipher};
use uplink_core::encryption::mark::{Chain, ChainValue, KeyKind};
use uplink_core::encryption::metadata::seal_part_etag;
use uplink_core::encryption::nonce::segment_start_nonce;
use uplink_core::encryption::{EncryptionParameters, Key, Nonce, key};
use uplink_core::id::{NodeId, SegmentPosition};
use uplink_core::layout;
use uplink_rpc::runtime::{RuntimeError, random, random_secret};
use uplink_segment::memory::Reservation;
use uplink_segment::upload::{
    ExchangeLimits, SealedSegment, Sealer, SentBytes, StoredSegment, upload,
};
use uplink_segment::{PieceLimit, SegmentError, SegmentUpload};

use super::pending::Pending;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::MAX_SEGMENTS;
use crate::location::Location;
use crate::progress::Progress;
use crate::satellite::batch::{
    Batch, BeginObject, BeginSegment, CommitSegment, MakeInlineSegment, WrappedKey,
};
use crate::session::Session;

/// The encryption parameters of every object that this client writes.
pub(super) const PARAMETERS: EncryptionParameters = EncryptionParameters::DEFAULT;
/// Total time for which sealing a segment waits for its transfers. With slower nodes the rest is sealed
/// without waiting, and the next segments are uploaded concurrently.
const PATIENCE: Duration = Duration::from_secs(1);
/// Maximum plain bytes sealed before other events are handled.
const STEP: usize = 256 << 10;

/// Segments of a part whose commits are held back until the part is complete, so that nothing of an
/// aborted part becomes part of the object.
const HELD_COMMITS: usize = 16;

/// Writes the segments of one object or part in the task of its caller. Dropping it cancels all
/// transfers, and aborts the upload unless it is a part.
pub(crate) struct Writer {
    pub(super) pending: Pending,
    destination: Destination,
    /// The keys of the segments. The chain starts with a random value, so that no key is used twice.
    chain: Chain,
    /// The first value of the chain, which the metadata records.
    pub(super) chain_start: ChainValue,
    /// The first bytes of the next segment, until they exceed an inline one.
    head: Vec<u8>,
    /// The remote segment being written.
    open: Option<OpenSegment>,
    /// All segments so far, in order.
    pub(super) segments: Vec<Segment>,
    uploads: JoinSet<(usize, Result<StoredSegment, SegmentError>)>,
    /// Calls queued for the next batch.
    calls: Vec<QueuedCall>,
    /// Plain bytes written so far.
    written: u64,
    /// Encrypted bytes that transfers have taken so far.
    sent: Arc<SentBytes>,
    progress: Progress,
    span: Span,
}

/// What the segments belong to.
#[derive(Clone, Copy, Debug)]
enum Destination {
    /// An object, which the first batch begins.
    Object { expires_at: Option<SystemTime> },
    /// The part of this number, of an upload that was begun before.
    Part(u32),
}

/// A call about a segment that is stored.
enum QueuedCall {
    Commit(usize, CommitSegment),
    Inline(usize, MakeInlineSegment),
}

/// Where one segment of an object is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// Plain bytes of the segment.
    pub size: u64,
    /// The storage nodes that hold a piece; empty for an inline segment, which the satellite keeps.
    pub holders: Vec<Holder>,
}

/// A storage node that holds a piece of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Number of the piece within its segment.
    pub piece: u16,
    /// The storage node.
    pub node: NodeId,
}

/// A segment begun so far, with what its commit, the object's metadata and a part's receipt need.
pub(crate) struct Segment {
    pub(crate) key: Key,
    encrypted_size: u64,
    pub(crate) placement: Placement,
}

/// A remote segment being written while its pieces are sent.
struct OpenSegment {
    index: usize,
    /// Remaining capacity in plain bytes.
    left: u64,
    sealer: Sealer,
    sealed: Arc<SealedSegment>,
    patience: Duration,
}

impl Writer {
    /// Writes an object, which expires at `expires_at`.
    pub(super) fn object(
        session: Session,
        location: Location,
        expires_at: Option<SystemTime>,
    ) -> Result<Self> {
        Self::new(Pending::new(session, location), Destination::Object { expires_at })
    }

    /// Writes one part of the upload with this stream id.
    pub(crate) fn part(
        session: Session,
        location: Location,
        stream_id: Bytes,
        number: u32,
    ) -> Result<Self> {
        Self::new(Pending::of_part(session, location, stream_id), Destination::Part(number))
    }

    fn new(pending: Pending, destination: Destination) -> Result<Self> {
        let chain_start = ChainValue::new(random_secret()?);
        let chain = match destination {
            Destination::Object { .. } => Chain::new(KeyKind::Stream, 0, chain_start.clone()),
            Destination::Part(number) => Chain::new(KeyKind::Part, number, chain_start.clone()),
        };
        Ok(Self {
            pending,
            destination,
            chain,
            chain_start,
            head: Vec::new(),
            open: None,
            segments: Vec::new(),
            uploads: JoinSet::new(),
            calls: Vec::new(),
            written: 0,
            sent: Arc::default(),
            progress: Progress::default(),
            span: tracing::debug_span!("upload"),
        })
    }

    /// Returns the callback that learns how many bytes were sent.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Reports how many of the written bytes were sent: blocks are larger once they are encrypted.
    fn report_sent(&self) {
        let block = u64::from(PARAMETERS.block_size);
        let plain_block = layout::in_block_size(PARAMETERS.block_size).unwrap_or_default();
        let plain = self.sent.total() / block * plain_block;
        self.progress.report(plain.min(self.written));
    }

    /// Reports that all written bytes are committed.
    pub(crate) fn report_all(&self) {
        let segments = self.segments.len();
        tracing::debug!(
            parent: &self.span,
            monotonic_counter.uploaded_bytes = self.written,
            segments,
            "committed"
        );
        self.progress.report(self.written);
    }

    /// Writes all of `bytes`. After an error, or when the future is dropped before it returns, some of
    /// them may be part of the object: the writer must be dropped.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            while let Some(ended) = self.uploads.try_join_next() {
                self.stored(ended)?;
            }
            let taken = match self.open.take() {
                Some(open) => self.seal(open, bytes).await?,
                None => self.buffer_head(bytes).await?,
            };
            bytes = bytes.get(taken..).unwrap_or_default();
            self.written += taken as u64;
            self.report_sent();
        }
        Ok(())
    }

    /// Completes the last segment and waits until all are stored. Returns the calls to send before the
    /// commit: the commits of segments, after the call that begins the object if that was not sent.
    ///
    /// The last segment carries the ETag of a part; that of an object is in its metadata.
    pub(crate) async fn finish(&mut self, part_etag: &[u8]) -> Result<Batch> {
        if let Some(open) = self.open.take() {
            self.close(open)?;
        } else if !self.head.is_empty() || self.segments.is_empty() {
            let head = std::mem::take(&mut self.head);
            self.inline(&head)?;
        }
        while !self.uploads.is_empty() {
            self.wait_for_segment().await?;
        }
        // A segment may complete before its last bytes are reported.
        self.report_sent();
        self.set_part_etag(part_etag)?;
        self.take_calls()
    }

    fn set_part_etag(&mut self, etag: &[u8]) -> Result<()> {
        let Some(last) = self.segments.last().filter(|_| !etag.is_empty()) else { return Ok(()) };
        let sealed = seal_part_etag(PARAMETERS.suite, &last.key, etag)?;
        let last = self.segments.len() - 1;
        let call = self.calls.iter_mut().find(|call| call.segment() == last);
        match call {
            Some(QueuedCall::Commit(_, commit)) => commit.encrypted_etag = sealed,
            Some(QueuedCall::Inline(_, segment)) => segment.encrypted_etag = sealed,
            None => return Err(Error::new(ErrorKind::Internal, "the last segment is committed")),
        }
        Ok(())
    }

    /// Cancels all transfers and aborts the upload.
    pub(crate) async fn abort(self) -> Result<()> {
        let Self { pending, uploads, open, .. } = self;
        drop((open, uploads));
        pending.abort().await
    }

    /// Adds bytes to the head of a segment, and begins a remote segment once the head exceeds an inline
    /// one. Returns the number of bytes consumed.
    async fn buffer_head(&mut self, bytes: &[u8]) -> Result<usize> {
        let size = self.session().config().segment_size;
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

    /// Seals bytes into an open segment, and closes it once it is full. Returns the number of bytes
    /// consumed.
    async fn seal(&mut self, mut open: OpenSegment, bytes: &[u8]) -> Result<usize> {
        let left = usize::try_from(open.left).unwrap_or(usize::MAX);
        let taken = bytes.get(..bytes.len().min(STEP).min(left)).unwrap_or(bytes);
        open.sealer.write(taken)?;
        open.left -= taken.len() as u64;
        if open.left == 0 {
            self.close(open)?;
        } else {
            self.wait_for_coder(&mut open).await?;
            self.open = Some(open);
        }
        Ok(taken.len())
    }

    /// Queues an inline segment, which is encrypted as a whole.
    fn inline(&mut self, plain: &[u8]) -> Result<()> {
        let position = self.position()?;
        let segment_key = self.chain.key(position.index);
        let key = self.wrap(&segment_key)?;
        let cipher = ContentCipher::new(PARAMETERS.suite, &segment_key)?;
        let sealed = cipher.seal_whole(&segment_start_nonce(position), plain)?;
        let plain_size = plain.len() as u64;
        let stream_id = self.pending.stream_id();
        let encrypted_etag = Vec::new();
        let segment =
            MakeInlineSegment { stream_id, position, key, sealed, plain_size, encrypted_etag };
        self.calls.push(QueuedCall::Inline(self.segments.len(), segment));
        let placement = Placement { size: plain_size, holders: Vec::new() };
        self.segments.push(Segment { key: segment_key, encrypted_size: 0, placement });
        Ok(())
    }

    /// Begins a remote segment of at most `size` plain bytes.
    async fn begin(&mut self, size: u64) -> Result<OpenSegment> {
        let max_size = layout::encrypted_size(size, PARAMETERS.block_size)?;
        let reservation = self.reserve(max_size).await?;
        let position = self.position()?;
        let budget = self.session().transfers().budget().clone();
        let segment = budget.while_running(self.begin_segment(position, max_size)).await?;
        let key = self.chain.key(position.index);
        let cipher = SegmentCipher::new(PARAMETERS, &key, position)?;
        let transfers = self.session().transfers();
        let sealed = SealedSegment::new(reservation, Arc::clone(&self.sent));
        let sealer = Sealer::new(cipher, &segment.scheme, transfers.budget(), &sealed);
        let exchange = Exchange { session: self.session().clone() };
        let upload = upload(transfers.clone(), segment, Arc::clone(&sealed), exchange);
        let index = self.segments.len();
        let span = tracing::debug_span!(parent: &self.span, "segment", index);
        self.uploads.spawn(async move { (index, upload.await) }.instrument(span));
        let placement = Placement { size: 0, holders: Vec::new() };
        self.segments.push(Segment { key, encrypted_size: 0, placement });
        Ok(OpenSegment { index, left: size, sealer, sealed, patience: PATIENCE })
    }

    /// Completes a remote segment; its upload continues in the background.
    fn close(&mut self, open: OpenSegment) -> Result<()> {
        let size = open.sealer.finish()?;
        if let Some(segment) = self.segments.get_mut(open.index) {
            segment.encrypted_size = size.encrypted;
            segment.placement.size = size.plain;
        }
        Ok(())
    }

    /// Waits until the coder has nearly caught up, for at most the rest of the segment's patience.
    async fn wait_for_coder(&mut self, open: &mut OpenSegment) -> Result<()> {
        if !open.sealed.is_ahead() {
            return Ok(());
        }
        if open.patience.is_zero() {
            tokio::task::yield_now().await;
            return Ok(());
        }
        let started = Instant::now();
        let budget = self.session().transfers().budget().clone();
        let caught_up = budget.while_running(open.sealed.wait_for_coder());
        let mut caught_up = std::pin::pin!(timeout(open.patience, caught_up));
        loop {
            tokio::select! {
                _ = &mut caught_up => break,
                ended = self.wait_for_segment() => ended?,
            }
        }
        open.patience = open.patience.saturating_sub(started.elapsed());
        Ok(())
    }

    /// Waits for memory, and handles segments that complete meanwhile.
    async fn reserve(&mut self, bytes: u64) -> Result<Reservation> {
        let budget = self.session().transfers().budget().clone();
        let mut free = std::pin::pin!(budget.reserve(bytes));
        loop {
            tokio::select! {
                memory = &mut free => return Ok(memory?),
                ended = self.wait_for_segment() => ended?,
            }
        }
    }

    /// Waits until a segment is stored, and reports progress meanwhile; does not return while none is
    /// being uploaded. Dropping the future loses nothing.
    async fn wait_for_segment(&mut self) -> Result<()> {
        loop {
            tokio::select! {
                Some(ended) = self.uploads.join_next() => return self.stored(ended),
                () = self.sent.changed() => self.report_sent(),
            }
        }
    }

    async fn begin_segment(
        &mut self,
        position: SegmentPosition,
        max_size: u64,
    ) -> Result<SegmentUpload> {
        let is_held =
            matches!(self.destination, Destination::Part(_)) && self.calls.len() < HELD_COMMITS;
        let batch = if is_held { Batch::default() } else { self.take_calls()? };
        let stream_id = self.pending.stream_id();
        let segment = BeginSegment { stream_id, position, max_size };
        let begun = self.session().satellite().begin_segment(batch, segment).await?;
        if let Some(stream_id) = begun.stream_id {
            self.pending.begun(stream_id);
        }
        begun.segment
    }

    /// Returns the queued calls, after the one that begins the object if that was not sent.
    fn take_calls(&mut self) -> Result<Batch> {
        let mut batch = Batch::default();
        if let Destination::Object { expires_at } = self.destination
            && self.pending.stream_id().is_empty()
        {
            let location = self.pending.location();
            batch.begin_object(&BeginObject { location, parameters: PARAMETERS, expires_at });
        }
        for call in std::mem::take(&mut self.calls) {
            match call {
                QueuedCall::Commit(_, commit) => batch.commit_segment(commit),
                QueuedCall::Inline(_, segment) => batch.make_inline_segment(segment)?,
            }
        }
        Ok(batch)
    }

    /// Handles the outcome of a segment's upload and queues its commit.
    fn stored(&mut self, ended: UploadEnded) -> Result<()> {
        let (index, stored) = ended.map_err(RuntimeError::from)?;
        let StoredSegment { segment_id, pieces, .. } = stored?;
        let segment = self.segments.get_mut(index).ok_or_else(unknown_segment)?;
        let holders = pieces.iter().map(|piece| Holder { piece: piece.number, node: piece.node });
        segment.placement.holders = holders.collect();
        let encrypted_size = segment.encrypted_size;
        let plain_size = segment.placement.size;
        let key = segment.key.clone();
        let key = self.wrap(&key)?;
        let encrypted_etag = Vec::new();
        let commit =
            CommitSegment { segment_id, key, encrypted_size, plain_size, pieces, encrypted_etag };
        self.calls.push(QueuedCall::Commit(index, commit));
        Ok(())
    }

    /// Wraps a segment key under the content key of the object.
    fn wrap(&self, segment_key: &Key) -> Result<WrappedKey> {
        let nonce = Nonce::new(random()?);
        let content_key = &self.pending.location().content_key;
        let wrapped = key::wrap_key(PARAMETERS.suite, content_key, &nonce, segment_key)?;
        Ok(WrappedKey { wrapped, nonce })
    }

    fn position(&self) -> Result<SegmentPosition> {
        let count = self.segments.len() as u64;
        let index = u32::try_from(count).ok().filter(|_| count < MAX_SEGMENTS);
        let index = index.ok_or_else(|| {
            let text = format!("object too large: more than {MAX_SEGMENTS} segments");
            Error::new(ErrorKind::RangeInvalid, text)
        })?;
        let part = if let Destination::Part(number) = self.destination { number } else { 0 };
        Ok(SegmentPosition { part, index })
    }

    pub(crate) fn session(&self) -> &Session {
        self.pending.session()
    }

    /// Returns the segments, once they are [finished](Self::finish).
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

impl QueuedCall {
    /// Returns the index of the segment.
    fn segment(&self) -> usize {
        match self {
            Self::Commit(index, _) | Self::Inline(index, _) => *index,
        }
    }
}

/// A segment's index and the outcome of its upload.
type UploadEnded = Result<(usize, Result<StoredSegment, SegmentError>), JoinError>;

/// Exchanges order limits at the satellite of a session.
struct Exchange {
    session: Session,
}

impl ExchangeLimits for Exchange {
    async fn exchange(
        &self,
        segment: &SegmentUpload,
        pieces: &[u16],
    ) -> Result<(Bytes, Vec<PieceLimit>), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.session.satellite().exchange_limits(segment, pieces).await?)
    }
}

fn unknown_segment() -> Error {
    Error::new(ErrorKind::Internal, "an unknown segment completed")
}
