//! Download: the handle of an object being read.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf, SeekFrom};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uplink_core::encryption::EncryptionParameters;
use uplink_core::encryption::metadata::{OpenedMetadata, object_seal};
use uplink_core::id::SegmentPosition;
use uplink_core::layout::{Extent, ranges_in_segments};
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::status::Code;

use crate::error::{Error, ErrorKind, Result};
use crate::object::Object;
use crate::project::{Location, Project};
use crate::satellite::convert::{self, ListedSegment, SegmentDownload};
use crate::segment::download::download;

/// Which part of an object to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct DownloadOptions {
    part: Part,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Whole,
    From(u64),
    Range(u64, u64),
    Last(u64),
}

impl DownloadOptions {
    /// Reads the whole object.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads from `offset` to the end.
    pub fn from(mut self, offset: u64) -> Self {
        self.part = Part::From(offset);
        self
    }

    /// Reads `length` bytes from `offset`; what lies beyond the end of the object is left out.
    pub fn range(mut self, offset: u64, length: u64) -> Self {
        self.part = Part::Range(offset, length);
        self
    }

    /// Reads the last `length` bytes; the whole object when it has fewer.
    pub fn last(mut self, length: u64) -> Self {
        self.part = Part::Last(length);
        self
    }

    fn wire(self) -> Result<Option<metainfo::Range>> {
        use metainfo::range::Range as Wire;
        let signed = |number: u64| {
            i64::try_from(number).map_err(|_| {
                Error::new(ErrorKind::RangeInvalid, format!("offset {number} is out of range"))
            })
        };
        let range = match self.part {
            Part::Whole => return Ok(None),
            Part::From(offset) => {
                Wire::Start(metainfo::RangeStart { plain_start: signed(offset)? })
            }
            Part::Range(offset, length) => Wire::StartLimit(metainfo::RangeStartLimit {
                plain_start: signed(offset)?,
                plain_limit: signed(offset.saturating_add(length).min(i64::MAX as u64))?,
            }),
            Part::Last(length) => {
                Wire::Suffix(metainfo::RangeSuffix { plain_suffix: signed(length)? })
            }
        };
        Ok(Some(metainfo::Range { range: Some(range) }))
    }

    fn resolve(self, size: u64) -> Result<Range<u64>> {
        let range = match self.part {
            Part::Whole => 0..size,
            Part::From(offset) => offset..size,
            Part::Range(offset, length) => offset..offset.saturating_add(length).min(size),
            Part::Last(length) => size.saturating_sub(length)..size,
        };
        if range.start > size {
            let text = format!("offset {} is beyond the object's {size} bytes", range.start);
            return Err(Error::new(ErrorKind::RangeInvalid, text));
        }
        Ok(range)
    }
}

/// An object, or a range of it, being read.
///
/// Nothing is handed out before it is authenticated and its place is known. Bytes come in order and
/// as soon as their stripes are there; after an error nothing more comes. Reading on after a
/// [`seek`](AsyncSeek) asks the satellite anew.
///
/// # Cancellation
///
/// Dropping it cancels all transfers. A dropped `next` or `read` has lost nothing.
#[derive(Debug)]
pub struct Download {
    source: Source,
    object: Object,
    range: Range<u64>,
    /// Where the next byte handed out lies in the object.
    offset: u64,
    current: Bytes,
    producer: Option<Producer>,
    ended: bool,
}

#[derive(Debug)]
struct Producer {
    output: mpsc::Receiver<Result<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Windows of plain bytes that wait to be read.
const READ_AHEAD: usize = 2;

impl Download {
    pub(crate) async fn open(
        project: Project,
        location: Location,
        options: DownloadOptions,
    ) -> Result<Self> {
        let request = metainfo::DownloadObjectRequest {
            bucket: location.bucket_bytes(),
            encrypted_object_key: location.key_bytes(),
            range: options.wire()?,
            ..Default::default()
        };
        let reply = project.satellite().download_object(request).await.map_err(beyond)?;
        let wire = reply.object.ok_or_else(|| Error::protocol("a download without its object"))?;
        let parameters = convert::parameters(wire.encryption_parameters.as_ref())?;
        let object = location.object(&wire)?;
        let meta = convert::metadata(parameters.suite, &location.content_key, &(&wire).into())?;
        let range = options.resolve(object.size)?;
        let list = reply.segment_list.unwrap_or_default();
        let suite = parameters.suite;
        let key = &location.content_key;
        let mut segments = convert::listed_segments(&list.items, None, suite, key)?;
        let source = Source {
            project,
            location,
            parameters,
            meta,
            stream_id: wire.stream_id,
            object_size: object.size,
        };
        if source.project.config().require_seal {
            segments = source.sealed_list().await?;
        } else if !list.more {
            convert::check_cover(&segments, &range)?;
        }
        convert::check_sizes(&segments, object.size, source.meta.as_ref())?;
        let first = reply.segment_download.into_iter().next();
        let first = first.map(|first| source.convert(first)).transpose()?;
        let more = list.more && !source.project.config().require_seal;
        let producer = source.produce(range.clone(), segments, more, first);
        let offset = range.start;
        let (current, producer) = (Bytes::new(), Some(producer));
        Ok(Self { source, object, range, offset, current, producer, ended: false })
    }

    /// Returns the object that is being read.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Returns the part of the object that is being read, in bytes from its beginning.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Returns the next bytes, or `None` at the end of the range.
    ///
    /// # Errors
    /// [`ErrorKind::NotEnoughNodes`]; [`ErrorKind::Decryption`] when more storage nodes return
    /// wrong bytes than can be told from the others; [`ErrorKind::Protocol`]; or the satellite
    /// cannot be reached. The download is over then.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        std::future::poll_fn(|context| self.poll_bytes(context)).await
    }

    /// Reads the rest of the range into memory.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn read_to_vec(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(part) = self.next().await? {
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if !self.current.is_empty() {
            let bytes = std::mem::take(&mut self.current);
            self.offset += bytes.len() as u64;
            return Poll::Ready(Ok(Some(bytes)));
        }
        if self.ended || self.offset == self.range.end {
            return Poll::Ready(Ok(None));
        }
        let Some(producer) = &mut self.producer else { return Poll::Ready(Ok(None)) };
        match ready!(producer.output.poll_recv(context)) {
            Some(Ok(bytes)) => {
                self.offset += bytes.len() as u64;
                Poll::Ready(Ok(Some(bytes)))
            }
            Some(Err(error)) => {
                self.ended = true;
                Poll::Ready(Err(error))
            }
            None => {
                self.ended = true;
                Poll::Ready(Err(Error::new(ErrorKind::Internal, "the download ended early")))
            }
        }
    }
}

fn beyond(error: Error) -> Error {
    match error.failure() {
        Some(failure)
            if failure.code == Code::INVALID_ARGUMENT && failure.message.contains("range") =>
        {
            let text = "the range begins beyond the end of the object";
            Error::new(ErrorKind::RangeInvalid, text).with_source(error)
        }
        _ => error,
    }
}

impl Stream for Download {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_bytes(context).map(Result::transpose)
    }
}

impl AsyncRead for Download {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut bytes) = ready!(self.poll_bytes(context))? else { return Poll::Ready(Ok(())) };
        let size = bytes.len().min(buffer.remaining());
        buffer.put_slice(bytes.get(..size).unwrap_or_default());
        bytes.advance(size);
        self.offset -= bytes.len() as u64;
        self.current = bytes;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for Download {
    /// Seeks within the range being read; positions count from its beginning.
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let length = self.range.end - self.range.start;
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => length.checked_add_signed(by),
            SeekFrom::Current(by) => (self.offset - self.range.start).checked_add_signed(by),
        };
        let target = target.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "seek before the beginning of the range")
        })?;
        let offset = self.range.start + target.min(length);
        if offset != self.offset {
            self.offset = offset;
            self.current = Bytes::new();
            self.ended = false;
            self.producer =
                Some(self.source.produce(offset..self.range.end, Vec::new(), true, None));
        }
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.offset - self.range.start))
    }
}

/// An object at its satellite: everything needed to read on anywhere in it.
#[derive(Clone, Debug)]
struct Source {
    project: Project,
    location: Location,
    parameters: EncryptionParameters,
    meta: Option<OpenedMetadata>,
    stream_id: Bytes,
    object_size: u64,
}

impl Source {
    /// Reads `range` in the background. `segments` are those known, `more` says that the satellite
    /// has further ones, `first` is the first one of the range if it came with the object.
    fn produce(
        &self,
        range: Range<u64>,
        segments: Vec<ListedSegment>,
        more: bool,
        first: Option<SegmentDownload>,
    ) -> Producer {
        let (sender, output) = mpsc::channel(READ_AHEAD);
        let source = self.clone();
        let task = tokio::spawn(async move {
            let reading = Reading { source, range, segments, more, first, seal: Vec::new() };
            if let Err(error) = reading.run(&sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Producer { output, task }
    }

    fn convert(&self, reply: metainfo::DownloadSegmentResponse) -> Result<SegmentDownload> {
        let satellite = self.project.satellite().signing_key()?;
        convert::segment_download(reply, self.parameters, &self.location.content_key, &satellite)
    }

    async fn segment(&self, at: SegmentPosition, all: bool) -> Result<SegmentDownload> {
        let satellite = self.project.satellite();
        let reply = satellite.download_segment(self.stream_id.clone(), at, all).await?;
        self.convert(reply)
    }

    /// One more page of the segment list.
    async fn page(&self, last: Option<&ListedSegment>) -> Result<(Vec<ListedSegment>, bool)> {
        let after = last.map_or(SegmentPosition { part: 0, index: 0 }, |last| last.position);
        let satellite = self.project.satellite();
        let reply = satellite.list_segments(self.stream_id.clone(), after).await?;
        let key = &self.location.content_key;
        let page = convert::listed_segments(&reply.items, last, self.parameters.suite, key)?;
        if page.is_empty() && reply.more {
            return Err(Error::protocol("a listing of segments does not advance"));
        }
        convert::check_sizes(&page, self.object_size, self.meta.as_ref())?;
        Ok((page, reply.more))
    }

    /// All segments of the object, their seal checked.
    async fn sealed_list(&self) -> Result<Vec<ListedSegment>> {
        let mut segments: Vec<ListedSegment> = Vec::new();
        loop {
            let (page, more) = self.page(segments.last()).await?;
            segments.extend(page);
            if !more {
                break;
            }
        }
        let keys = segments.iter().map(|segment| {
            let key = segment.key.as_ref();
            key.map(|key| (segment.position, segment.plain_size, key))
        });
        let keys: Option<Vec<_>> = keys.collect();
        let keys = keys.ok_or_else(|| Error::protocol("a listing of segments has no keys"))?;
        match self.seal() {
            Some(seal) if seal == object_seal(keys) => Ok(segments),
            Some(_) => Err(broken_seal()),
            None => Err(Error::new(ErrorKind::Decryption, "the object has no seal")),
        }
    }

    fn seal(&self) -> Option<[u8; 32]> {
        self.meta.as_ref().and_then(|meta| meta.stream_info.object_seal)
    }
}

fn broken_seal() -> Error {
    let text = "the object's segments are not those that its writer sealed";
    Error::new(ErrorKind::Decryption, text)
}

/// One pass over a range.
struct Reading {
    source: Source,
    range: Range<u64>,
    segments: Vec<ListedSegment>,
    more: bool,
    first: Option<SegmentDownload>,
    /// What the seal covers, as far as it was read from the first segment on without a gap.
    seal: Vec<(SegmentPosition, u64, uplink_core::encryption::Key)>,
}

impl Reading {
    async fn run(mut self, output: &mpsc::Sender<Result<Bytes>>) -> Result<()> {
        let mut offset = self.range.start;
        while offset < self.range.end {
            let listed = self.listed(offset).await?;
            let within =
                offset - listed.offset..(self.range.end - listed.offset).min(listed.plain_size);
            let segment = self.segment(&listed).await?;
            self.check_seal(&listed, &segment)?;
            let again = self.source.clone();
            let position = segment.position;
            let ask = Box::pin(async move { again.segment(position, true).await });
            let Source { project, parameters, .. } = &self.source;
            let length = within.end - within.start;
            download(project, *parameters, segment, within, ask, output).await?;
            offset += length;
        }
        Ok(())
    }

    /// The segment that holds the byte at `offset`.
    async fn listed(&mut self, offset: u64) -> Result<ListedSegment> {
        loop {
            let extents = self
                .segments
                .iter()
                .map(|listed| Extent { offset: listed.offset, size: listed.plain_size });
            let place = ranges_in_segments(extents, offset..offset.saturating_add(1)).next();
            if let Some(found) = place.and_then(|(place, _)| self.segments.get(place)) {
                return Ok(found.clone());
            }
            if !self.more {
                return Err(Error::protocol("the segments listed do not cover the object"));
            }
            let (page, more) = self.source.page(self.segments.last()).await?;
            self.segments.extend(page);
            self.more = more;
        }
    }

    async fn segment(&mut self, listed: &ListedSegment) -> Result<SegmentDownload> {
        let segment = match self.first.take() {
            Some(first) if first.position == listed.position => first,
            _ => self.source.segment(listed.position, false).await?,
        };
        let same_key = listed.key.as_ref().is_none_or(|key| *key == segment.key);
        if segment.position != listed.position
            || segment.plain_size != listed.plain_size
            || !same_key
        {
            return Err(Error::protocol("the satellite answers with another segment"));
        }
        Ok(segment)
    }

    /// Checks the seal, if there is one, before the last segment of a complete pass is handed out.
    fn check_seal(&mut self, listed: &ListedSegment, segment: &SegmentDownload) -> Result<()> {
        let Some(seal) = self.source.seal() else { return Ok(()) };
        let follows: u64 = self.seal.iter().map(|(_, size, _)| size).sum();
        if listed.offset != follows {
            return Ok(());
        }
        self.seal.push((listed.position, listed.plain_size, segment.key.clone()));
        if follows + listed.plain_size < self.source.object_size {
            return Ok(());
        }
        let sealed = self.seal.iter().map(|(position, size, key)| (*position, *size, key));
        if object_seal(sealed) == seal { Ok(()) } else { Err(broken_seal()) }
    }
}
