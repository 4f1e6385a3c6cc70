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
use crate::object::{Object, check_custom};
use crate::project::Project;

mod commit;
mod pending;
mod writer;

pub use self::writer::Placement;

impl Project {
    /// Begins uploading an object.
    ///
    /// Nothing is visible until [`Upload::commit`] returns. Makes no call: a missing bucket or
    /// right is reported while writing or on commit.
    ///
    /// # Errors
    /// [`ErrorKind::BucketNameInvalid`] and [`ErrorKind::ObjectKeyInvalid`] for empty names,
    /// [`ErrorKind::PermissionDenied`] when the access grant holds no encryption key for the key.
    pub fn upload_object(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        options: UploadOptions,
    ) -> Result<Upload> {
        let session = self.session().clone();
        let location = session.locate(bucket, key.as_ref())?;
        let writer = Writer::new(session, location, options.expires)?;
        let state = State::Ready(Box::new(writer));
        Ok(Upload { state, part: Vec::new(), custom: BTreeMap::new() })
    }
}

/// How an object is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct UploadOptions {
    pub(crate) expires: Option<SystemTime>,
}

impl UploadOptions {
    /// Writes an object that stays.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the object disappear at a time in the future.
    pub fn expires(mut self, at: SystemTime) -> Self {
        self.expires = Some(at);
        self
    }
}

/// An object being written. **Shutting it down as an [`AsyncWrite`] flushes and does not commit;
/// [`commit`](Self::commit) does.**
///
/// Bytes are encrypted and sent on while they come in; of each segment one encrypted copy is held
/// in memory until enough of its pieces are stored, and writing waits while the project's budget is
/// used up.
///
/// # Cancellation
///
/// Dropping it without commit aborts: all transfers end, nothing becomes visible, and the satellite
/// is told within five seconds as far as it can be reached. Dropping the future of a `write` that has
/// not returned does the same; further writes and a commit fail with [`ErrorKind::UploadDone`]. As an
/// [`AsyncWrite`] it takes 256 KiB at most at once, and they are sealed while it is called again or
/// flushed.
pub struct Upload {
    state: State,
    /// Where the bytes of [`AsyncWrite`] are kept from one call to the next.
    part: Vec<u8>,
    custom: BTreeMap<String, String>,
}

enum State {
    /// Between two writes.
    Ready(Box<Writer>),
    /// Takes bytes of [`AsyncWrite`].
    Busy(ReusableBoxFuture<'static, Written>),
    /// It has failed, or a write was dropped.
    Over,
}

/// What became of a part, and its buffer.
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
    /// Writes all of `bytes`, waiting while the budget is used up.
    ///
    /// They are encrypted in the task that calls, without being copied first, and sent by others.
    ///
    /// # Errors
    /// Whatever ended the upload: the bucket is missing, the grant does not allow it, too few nodes
    /// take pieces. The upload is over then.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut writer = self.take().await?;
        writer.write(bytes).await?;
        self.state = State::Ready(writer);
        Ok(())
    }

    /// Replaces the custom metadata that the commit will store; it is encrypted like the content.
    ///
    /// # Errors
    /// [`ErrorKind::ObjectKeyInvalid`]: a key is empty, or a key or value holds NUL.
    pub fn set_metadata(&mut self, custom: BTreeMap<String, String>) -> Result<()> {
        check_custom(&custom)?;
        self.custom = custom;
        Ok(())
    }

    /// Makes the object visible, replacing one of the same key.
    ///
    /// Returns once enough storage nodes have signed for every piece and the satellite has stored
    /// the commit durably.
    ///
    /// # Errors
    /// Whatever ended the upload. [`ErrorKind::CommitUnknown`] when the connection broke while
    /// committing and the outcome cannot be learned.
    pub async fn commit(mut self) -> Result<Uploaded> {
        let writer = self.take().await?;
        let custom = std::mem::take(&mut self.custom);
        let (object, placement) = commit::commit(*writer, custom).await?;
        Ok(Uploaded { object, placement })
    }

    /// Gives the upload up; nothing becomes visible.
    ///
    /// # Errors
    /// The satellite could not be told; it forgets the upload by itself after a day.
    pub async fn abort(self) -> Result<()> {
        match self.state {
            State::Ready(writer) => writer.abort().await,
            // The satellite is told in the background.
            State::Busy(_) | State::Over => Ok(()),
        }
    }

    /// The writer, once it has taken what was written before. The upload is over unless it is put
    /// back.
    async fn take(&mut self) -> Result<Box<Writer>> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Ready(writer) => Ok(writer),
            State::Busy(writing) => writing.await.0,
            State::Over => Err(over()),
        }
    }

    /// Goes on with what was written before.
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
    Error::new(ErrorKind::UploadDone, "the upload has failed, or a write was given up")
}

/// Most bytes that [`AsyncWrite`] takes at once.
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
            // The rest of it is done when this is called again.
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
