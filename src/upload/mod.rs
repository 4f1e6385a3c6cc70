//! Upload: the handle of an object being written.
//!
//! ```text
//!   write  ─► writer ─► inline segment, or sealed into a remote segment
//!                          │ begin (batched with commits of finished segments)
//!                          ├─► segment upload  ┐ concurrently, as memory permits
//!                          ├─► segment upload  ┘
//!   commit ─► commit ─►    └─ last batch: commits, inline tail, object with sealed metadata
//! ```

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;
use std::{fmt, io};

use tokio::io::AsyncWrite;
use tokio_util::sync::ReusableBoxFuture;

use self::writer::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{Object, check_custom_metadata};
use crate::project::Project;

mod commit;
mod pending;
mod writer;

pub use self::writer::{Holder, Placement};

impl Project {
    /// Begins uploading an object.
    ///
    /// The object does not exist until [`Upload::commit`] returns. Makes no call: a missing bucket or
    /// permission is reported while writing or on commit.
    ///
    /// # Errors
    /// [`ErrorKind::BucketNameInvalid`] and [`ErrorKind::ObjectKeyInvalid`] for empty names,
    /// [`ErrorKind::PermissionDenied`] when the access grant holds no encryption key for the key.
    pub fn upload_object(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<Upload> {
        self.upload_object_with(bucket, key, &UploadOptions::new())
    }

    /// Begins uploading an object with options.
    ///
    /// # Errors
    /// As [`upload_object`](Self::upload_object), and [`ErrorKind::CustomMetadataInvalid`].
    pub fn upload_object_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        options: &UploadOptions,
    ) -> Result<Upload> {
        check_custom_metadata(&options.custom_metadata)?;
        let session = self.session().clone();
        let location = session.locate(bucket, key.as_ref())?;
        let writer = Writer::new(session, location, options.expires_at)?;
        let state = State::Ready(Box::new(writer));
        let custom_metadata = options.custom_metadata.clone();
        Ok(Upload { state, part: Vec::new(), custom_metadata })
    }
}

/// How an object is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct UploadOptions {
    expires_at: Option<SystemTime>,
    custom_metadata: BTreeMap<String, String>,
}

impl UploadOptions {
    /// Writes an object that does not expire, without custom metadata.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the object expire at a time in the future.
    pub fn expires_at(mut self, at: SystemTime) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Stores custom metadata with the object, encrypted like the content. Keys must not be empty, and
    /// keys and values must not contain NUL.
    pub fn custom_metadata(mut self, entries: BTreeMap<String, String>) -> Self {
        self.custom_metadata = entries;
        self
    }
}

/// An object being written. **Shutting it down as an [`AsyncWrite`] flushes and does not commit;
/// [`commit`](Self::commit) does.**
///
/// Bytes are encrypted and sent as they are written. One encrypted copy of each segment is held in
/// memory until enough of its pieces are stored; a write waits while the project's memory budget is
/// used up ([`Config::memory`](crate::Config::memory)).
///
/// # Cancellation
///
/// Dropping it without a commit aborts the upload: transfers are cancelled, no object is created, and
/// the satellite is notified within five seconds if it is reachable and the drop is inside a tokio
/// runtime. Dropping the future of a `write`
/// before it returns does the same; further writes and a commit fail with [`ErrorKind::UploadDone`].
/// As an [`AsyncWrite`] it accepts at most 256 KiB per call; a write that must wait for memory or
/// transfers continues at the next call or flush.
pub struct Upload {
    state: State,
    /// The buffer of [`AsyncWrite`], reused between calls.
    part: Vec<u8>,
    custom_metadata: BTreeMap<String, String>,
}

enum State {
    /// Between two writes.
    Ready(Box<Writer>),
    /// A write of [`AsyncWrite`] is running.
    Busy(ReusableBoxFuture<'static, Written>),
    /// The upload has failed, or a write was cancelled.
    Over,
}

/// The outcome of a write, and its buffer.
type Written = (Result<Box<Writer>>, Vec<u8>);

impl fmt::Debug for Upload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Upload").finish_non_exhaustive()
    }
}

/// A committed object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uploaded {
    /// The object as it can be read now.
    pub object: Object,
    /// Where its segments are, in order.
    pub placement: Vec<Placement>,
}

impl Upload {
    /// Writes all of `bytes`, waiting while the memory budget is used up.
    ///
    /// They are encrypted in the calling task without being copied first; other tasks send them.
    ///
    /// # Errors
    /// The bucket is missing, the access grant does not permit the upload, or not enough storage nodes
    /// accept pieces. [`ErrorKind::MemoryBudgetExceeded`] with
    /// [`Config::memory_strict`](crate::Config::memory_strict). An error ends the upload.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut writer = self.take().await?;
        writer.write(bytes).await?;
        self.state = State::Ready(writer);
        Ok(())
    }

    /// Replaces the custom metadata that the commit will store; it is encrypted like the content.
    ///
    /// # Errors
    /// [`ErrorKind::CustomMetadataInvalid`]: a key is empty, or a key or value contains NUL.
    pub fn set_custom_metadata(&mut self, entries: BTreeMap<String, String>) -> Result<()> {
        check_custom_metadata(&entries)?;
        self.custom_metadata = entries;
        Ok(())
    }

    /// Commits the object, replacing one of the same key.
    ///
    /// Returns once enough storage nodes have signed for the pieces of every segment and the satellite
    /// has stored the commit durably.
    ///
    /// # Errors
    /// As [`write`](Self::write). [`ErrorKind::CommitUnknown`] when the reply to the commit was lost and
    /// its outcome cannot be queried.
    pub async fn commit(mut self) -> Result<Uploaded> {
        let writer = self.take().await?;
        let entries = std::mem::take(&mut self.custom_metadata);
        let (object, placement) = commit::commit(*writer, entries).await?;
        Ok(Uploaded { object, placement })
    }

    /// Aborts the upload and discards its data.
    ///
    /// # Errors
    /// The satellite could not be notified; it discards the upload by itself after a day. While a write
    /// of [`AsyncWrite`] is running the satellite is notified in the background instead, and after a
    /// failed write it has been already: neither returns an error.
    pub async fn abort(self) -> Result<()> {
        match self.state {
            State::Ready(writer) => writer.abort().await,
            // Dropping the state notifies the satellite in the background.
            State::Busy(_) | State::Over => Ok(()),
        }
    }

    /// Takes the writer, once it has finished the write before. The upload has ended unless the writer
    /// is put back.
    async fn take(&mut self) -> Result<Box<Writer>> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Ready(writer) => Ok(writer),
            State::Busy(writing) => writing.await.0,
            State::Over => Err(over()),
        }
    }

    /// Continues the write before.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let State::Busy(writing) = &mut self.state else { return Poll::Ready(Ok(())) };
        let (written, part) = ready!(writing.poll(context));
        self.part = part;
        self.state = State::Over;
        self.state = State::Ready(written?);
        Poll::Ready(Ok(()))
    }
}

fn over() -> Error {
    Error::new(ErrorKind::UploadDone, "the upload has failed, or a write was cancelled")
}

/// Maximum bytes that [`AsyncWrite`] accepts per call.
const WRITE_SIZE: usize = 256 << 10;

impl AsyncWrite for Upload {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(context))?;
        let State::Ready(mut writer) = std::mem::replace(&mut self.state, State::Over) else {
            return Poll::Ready(Err(over().into()));
        };
        let mut part = std::mem::take(&mut self.part);
        part.clear();
        part.extend_from_slice(bytes.get(..WRITE_SIZE).unwrap_or(bytes));
        let taken = part.len();
        self.state = State::Busy(ReusableBoxFuture::new(async move {
            let written = writer.write(&part).await;
            (written.map(|()| writer), part)
        }));
        match self.poll_ready(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            // A pending write continues at the next call.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_ready(context).map_err(io::Error::from)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
