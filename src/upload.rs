//! Upload: the handle of an object being written, and the pipeline behind it.
//!
//! ```text
//!   write ─► channel ─► pipeline: inline segment, or sealed into a remote segment
//!                          │ begin (batched with commits of finished segments)
//!                          ├─► segment::upload  ┐ at once, as memory permits
//!                          ├─► segment::upload  ┘
//!   commit ─────────────►  └─ last batch: commits, inline tail, object with sealed metadata
//! ```

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::PollSender;

use crate::buffers::Buffers;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{Object, check_custom};
use crate::project::{Location, Project};

mod pipeline;

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
/// is told within five seconds as far as it can be reached. A dropped `write` has either taken its
/// bytes or not; do not go on writing then.
#[derive(Debug)]
pub struct Upload {
    input: PollSender<Bytes>,
    parts: Buffers,
    finish: Option<oneshot::Sender<Finish>>,
    pipeline: Pipeline,
    custom: BTreeMap<String, String>,
    abort: Abort,
    failed: bool,
}

/// The task behind an upload; ends with its owner.
#[derive(Debug)]
struct Pipeline(JoinHandle<Result<Uploaded>>);

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the pipeline needs to know for the commit.
#[derive(Debug)]
struct Finish {
    custom: BTreeMap<String, String>,
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

/// Where one segment of an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// Plaintext bytes of the segment.
    pub size: u64,
    /// Piece numbers and node ids of the storage nodes that hold a piece; empty when the satellite
    /// keeps the segment itself.
    pub holders: Vec<(u16, String)>,
}

impl Upload {
    pub(crate) fn begin(project: Project, location: Location, options: UploadOptions) -> Self {
        let (input, bytes) = mpsc::channel(WRITE_AHEAD);
        let (finish, finished) = oneshot::channel();
        let abort =
            Abort { project: project.clone(), location: location.clone(), begun: Arc::default() };
        let begun = Arc::clone(&abort.begun);
        let run = pipeline::run(project, location, options, bytes, finished, begun);
        Self {
            input: PollSender::new(input),
            parts: Buffers::new(WRITE_SIZE, WRITE_AHEAD + 2),
            finish: Some(finish),
            pipeline: Pipeline(tokio::spawn(run)),
            custom: BTreeMap::new(),
            abort,
            failed: false,
        }
    }

    /// Writes all of `bytes`, waiting while the budget is used up.
    ///
    /// # Errors
    /// Whatever ended the upload: the bucket is missing, the grant does not allow it, too few nodes
    /// take pieces. The upload is over then.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for part in bytes.chunks(WRITE_SIZE) {
            let reserved = std::future::poll_fn(|context| self.input.poll_reserve(context)).await;
            if reserved.is_err() || self.input.send_item(copy(&self.parts, part)).is_err() {
                return Err(self.failure().await);
            }
        }
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
        self.input.close();
        let custom = std::mem::take(&mut self.custom);
        if let Some(finish) = self.finish.take() {
            let _ = finish.send(Finish { custom });
        }
        let outcome = self.outcome().await;
        if outcome.is_ok() {
            self.abort.forget();
        }
        outcome
    }

    /// Gives the upload up; nothing becomes visible.
    ///
    /// # Errors
    /// The satellite could not be told; it forgets the upload by itself after a day.
    pub async fn abort(self) -> Result<()> {
        self.pipeline.0.abort();
        self.abort.now().await
    }

    async fn failure(&mut self) -> Error {
        match self.outcome().await {
            Err(error) => error,
            Ok(_) => Error::new(ErrorKind::UploadDone, "the upload is over"),
        }
    }

    async fn outcome(&mut self) -> Result<Uploaded> {
        if std::mem::replace(&mut self.failed, true) {
            return Err(Error::new(ErrorKind::UploadDone, "the upload has failed before"));
        }
        match (&mut self.pipeline.0).await {
            Ok(outcome) => outcome,
            Err(error) => {
                Err(Error::new(ErrorKind::Internal, format!("the upload was ended: {error}")))
            }
        }
    }
}

/// Written bytes that the pipeline may keep; few of them in memory of their own size.
fn copy(parts: &Buffers, part: &[u8]) -> Bytes {
    let mut buffer = parts.take();
    match buffer.as_mut().get_mut(..part.len()).filter(|_| part.len() > WRITE_SIZE / 8) {
        Some(place) => place.copy_from_slice(part),
        None => return Bytes::copy_from_slice(part),
    }
    buffer.freeze(part.len())
}

/// Parts of written bytes that may wait for the pipeline.
const WRITE_AHEAD: usize = 4;
/// Most bytes of such a part.
const WRITE_SIZE: usize = 256 << 10;

impl AsyncWrite for Upload {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let part = bytes.get(..WRITE_SIZE).unwrap_or(bytes);
        let reserved = ready!(self.input.poll_reserve(context));
        let copied = copy(&self.parts, part);
        if reserved.is_ok() && self.input.send_item(copied).is_ok() {
            return Poll::Ready(Ok(part.len()));
        }
        if self.failed {
            return Poll::Ready(
                Err(Error::new(ErrorKind::UploadDone, "the upload is over").into()),
            );
        }
        let outcome = ready!(Pin::new(&mut self.pipeline.0).poll(context));
        self.failed = true;
        Poll::Ready(Err(match outcome {
            Ok(Err(error)) => error.into(),
            Ok(Ok(_)) => Error::new(ErrorKind::UploadDone, "the upload is over").into(),
            Err(error) => io::Error::other(error),
        }))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Tells the satellite that a begun object will not be committed. On drop it does so on its own, in
/// the background and within [`ABORT_DEADLINE`]: the one task that outlives its handle.
#[derive(Debug)]
struct Abort {
    project: Project,
    location: Location,
    begun: Begun,
}

/// The stream id of the pending object, once there is one.
type Begun = Arc<std::sync::Mutex<Option<Bytes>>>;

/// Time to tell the satellite of an abandoned upload.
const ABORT_DEADLINE: Duration = Duration::from_secs(5);

impl Abort {
    fn forget(&self) {
        take(&self.begun);
    }

    async fn now(&self) -> Result<()> {
        let Some(stream_id) = take(&self.begun) else { return Ok(()) };
        let Location { bucket, encrypted_key, .. } = &self.location;
        self.project.satellite().abort_object(bucket, encrypted_key.clone(), stream_id).await
    }
}

impl Drop for Abort {
    fn drop(&mut self) {
        let Some(stream_id) = take(&self.begun) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        tracing::debug!("an upload was dropped without commit");
        let (project, location) = (self.project.clone(), self.location.clone());
        runtime.spawn(async move {
            let Location { bucket, encrypted_key, .. } = location;
            let call = project.satellite().abort_object(&bucket, encrypted_key, stream_id);
            let _ = tokio::time::timeout(ABORT_DEADLINE, call).await;
        });
    }
}

fn take(begun: &Begun) -> Option<Bytes> {
    begun.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
}
