//! Download: the handle of an object being read.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf, SeekFrom};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::Instrument as _;
use uplink_rpc::runtime;

use self::source::Source;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::Layout;
use crate::location::Location;
use crate::object::{Object, missing};
use crate::progress::Progress;
use crate::project::Project;
use crate::satellite::SegmentDownload;
use crate::satellite::download::ByteRange;
use crate::session::Session;

mod options;
pub(crate) mod source;

pub use self::options::DownloadOptions;

impl Project {
    /// Opens an object for reading.
    ///
    /// # Errors
    /// [`ErrorKind::ObjectNotFound`], [`ErrorKind::Decryption`] when the object's metadata or no object
    /// key in the bucket can be decrypted, [`ErrorKind::LayoutUnauthenticated`] when the satellite's
    /// reply does not match the writer's record, [`ErrorKind::PermissionDenied`], or the satellite
    /// cannot be reached.
    pub async fn download_object(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<Download> {
        self.download_object_with(bucket, key, &DownloadOptions::new()).await
    }

    /// Opens an object, or a part of it, for reading.
    ///
    /// # Errors
    /// As [`download_object`](Self::download_object), and [`ErrorKind::RangeInvalid`].
    pub async fn download_object_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        options: &DownloadOptions,
    ) -> Result<Download> {
        let session = self.session();
        let location = session.locate(bucket, key.as_ref())?;
        let requested = options.byte_range()?;
        match Download::open(session, &location, &requested).await {
            Err(error) => Err(missing::explain(session, error, &location).await),
            opened => opened,
        }
    }
}

/// An object, or a range of it, being read.
///
/// Bytes are returned only after they and their position are authenticated. They arrive in order, each
/// stripe as soon as enough of its shares have; an error ends the download. Reading after a
/// [`seek`](AsyncSeek) requests order limits again.
///
/// # Cancellation
///
/// Dropping it cancels all transfers. Dropping the future of `chunk` or of a read loses no bytes.
#[derive(Debug)]
pub struct Download {
    source: Source,
    object: Object,
    range: Range<u64>,
    /// Offset in the object of the next byte to return.
    offset: u64,
    current: Bytes,
    pass: Pass,
    ended: bool,
    /// Bytes returned so far, seeks included.
    returned: u64,
    progress: Progress,
}

/// Attempts to open an object that is replaced while it is being opened, after the first.
const RESTARTS: usize = 10;

/// Decrypted windows that may wait to be read.
const READ_AHEAD: usize = 2;

impl Download {
    /// Opens an object. If it is replaced meanwhile it is opened again: no byte was returned yet.
    async fn open(session: &Session, location: &Location, requested: &ByteRange) -> Result<Self> {
        let mut restarts = 0;
        loop {
            match source::open(session, location, requested).await {
                Err(error) if error.kind() == ErrorKind::ObjectChanged && restarts < RESTARTS => {
                    restarts += 1;
                }
                opened => {
                    let source::Opened { source, object, range, first } = opened?;
                    let pass = Pass::spawn(source.clone(), range.clone(), first);
                    return Ok(Self {
                        source,
                        object,
                        offset: range.start,
                        range,
                        current: Bytes::new(),
                        pass,
                        ended: false,
                        returned: 0,
                        progress: Progress::default(),
                    });
                }
            }
        }
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

    /// Calls `callback` with the bytes returned so far, whenever some are.
    ///
    /// It runs in the task that reads, and should return quickly. A second call replaces the callback.
    pub fn on_progress(&mut self, callback: impl FnMut(u64) + Send + 'static) {
        self.progress.set(callback);
    }

    /// Returns the next chunk, or `None` at the end of the range.
    ///
    /// # Errors
    /// [`ErrorKind::NotEnoughNodes`]; [`ErrorKind::Decryption`] when more storage nodes return
    /// corrupt bytes than can be corrected; [`ErrorKind::ObjectChanged`] when the object
    /// was replaced or deleted meanwhile; [`ErrorKind::LayoutUnauthenticated`] and
    /// [`ErrorKind::Protocol`]; or the satellite cannot be reached. An error ends the download.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        std::future::poll_fn(|context| self.poll_chunk(context)).await
    }

    /// Reads the rest of the range into memory, at most `limit` bytes.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk). [`ErrorKind::ObjectTooLarge`] when more than `limit` bytes are
    /// left, none of which is read then.
    pub async fn read_to_end(&mut self, limit: u64) -> Result<Bytes> {
        let left = self.range.end - self.offset;
        if left > limit {
            let text = format!("object too large: {left} bytes to read, limit is {limit}");
            return Err(Error::new(ErrorKind::ObjectTooLarge, text));
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let chunk = ready!(self.poll_bytes(context))?;
        self.record_returned(chunk.as_ref().map_or(0, Bytes::len));
        Poll::Ready(Ok(chunk))
    }

    fn record_returned(&mut self, bytes: usize) {
        self.returned += bytes as u64;
        self.progress.report(self.returned);
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
        match ready!(self.pass.poll_bytes(context)) {
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
                Poll::Ready(Err(Error::new(
                    ErrorKind::Internal,
                    "download ended before the end of the range",
                )))
            }
        }
    }
}

impl Stream for Download {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(context).map(Result::transpose)
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
        self.record_returned(size);
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
            self.pass = Pass::spawn(self.source.clone(), offset..self.range.end, None);
        }
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.offset - self.range.start))
    }
}

/// One pass over a range, segment by segment, in the background. Dropping it cancels all transfers.
#[derive(Debug)]
struct Pass {
    output: mpsc::Receiver<Result<Bytes>>,
    task: JoinHandle<()>,
}

impl Pass {
    fn spawn(source: Source, range: Range<u64>, first: Option<SegmentDownload>) -> Self {
        let (sender, output) = mpsc::channel(READ_AHEAD);
        let span = tracing::debug_span!("download", ?range);
        let reading = async move {
            let mut layout = source.lock_layout().await;
            if let Err(error) = read_range(&source, &mut layout, range, first, &sender).await {
                tracing::debug!(kind = ?error.kind(), "failed");
                let _ = sender.send(Err(error)).await;
            }
        };
        let task = runtime::spawn(reading.instrument(span));
        Self { output, task }
    }

    /// Returns the next bytes; `None` when the pass has ended without an error.
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.output.poll_recv(context)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a range, segment after segment, into `output`.
async fn read_range(
    source: &Source,
    layout: &mut Layout,
    mut range: Range<u64>,
    mut first: Option<SegmentDownload>,
    output: &mpsc::Sender<Result<Bytes>>,
) -> Result<()> {
    let segments = source.segments();
    while range.start < range.end {
        let expected = segments.expect(layout, range.start).await?;
        let segment = match first.take() {
            Some(first) => first,
            None => segments.fetch(layout, &expected).await?,
        };
        let within = expected.within(&range);
        let length = within.end - within.start;
        segments.read(expected, segment, within, output).await?;
        tracing::debug!(monotonic_counter.downloaded_bytes = length);
        range.start += length;
    }
    Ok(())
}
