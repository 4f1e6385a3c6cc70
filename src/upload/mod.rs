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
use std::task::{Context, Poll};
use std::time::SystemTime;
use std::{fmt, io};

use tokio::io::AsyncWrite;

use self::commit::Contents;
use self::handle::WriteHandle;
use self::writer::Writer;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::object::{Object, check_custom_metadata};
use crate::project::Project;

pub(crate) mod commit;
pub(crate) mod handle;
mod pending;
pub(crate) mod writer;

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
        check_custom_metadata(&options.contents.custom_metadata)?;
        let session = self.session().clone();
        let location = session.locate(bucket, key.as_ref())?;
        let writer = Writer::object(session, location, options.expires_at)?;
        let contents = options.contents.clone();
        Ok(Upload { handle: WriteHandle::new(writer), contents })
    }
}

/// How an object is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct UploadOptions {
    expires_at: Option<SystemTime>,
    contents: Contents,
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
        self.contents.custom_metadata = entries;
        self
    }

    /// Stores an ETag with the object, encrypted like the content: a few bytes that mean something to
    /// the caller, such as a hash.
    pub fn etag(mut self, etag: impl Into<Vec<u8>>) -> Self {
        self.contents.etag = etag.into();
        self
    }

    /// Fails the commit with [`ErrorKind::ObjectAlreadyExists`]
    /// if there is an object under the key.
    #[doc(alias = "if_none_match")]
    pub fn if_absent(mut self, if_absent: bool) -> Self {
        self.contents.if_absent = if_absent;
        self
    }
}

/// An object being written. **Shutting it down as tokio's [`AsyncWrite`] flushes and does not commit;
/// [`commit`](Self::commit) does.**
///
/// # Examples
///
/// ```no_run
/// # async fn example(
/// #     project: uplink::Project,
/// #     mut file: impl tokio::io::AsyncRead + Unpin,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// // `file` is anything that tokio can read.
/// let mut upload = project.upload_object("photos", "cat.jpg")?;
/// tokio::io::copy(&mut file, &mut upload).await?;
/// upload.commit().await?;
/// # Ok(())
/// # }
/// ```
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
    handle: WriteHandle,
    contents: Contents,
}

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
        self.handle.write(bytes).await
    }

    /// Calls `callback` with the plain bytes sent so far, whenever more are handed to the connections of
    /// enough storage nodes, and with all bytes once they are committed.
    ///
    /// It runs in the task that writes or commits, while that waits, and should return quickly. Bytes that
    /// the satellite keeps itself, as it does for objects of up to 4 KiB, count when they are committed.
    /// It is not called for an empty object. A second call replaces the callback.
    pub fn on_progress(&mut self, callback: impl FnMut(u64) + Send + 'static) {
        self.handle.on_progress(callback);
    }

    /// Replaces the custom metadata that the commit will store; it is encrypted like the content.
    ///
    /// # Errors
    /// [`ErrorKind::CustomMetadataInvalid`]: a key is empty, or a key or value contains NUL.
    pub fn set_custom_metadata(&mut self, entries: BTreeMap<String, String>) -> Result<()> {
        check_custom_metadata(&entries)?;
        self.contents.custom_metadata = entries;
        Ok(())
    }

    /// Replaces the ETag that the commit will store, for one that is known only after all bytes.
    pub fn set_etag(&mut self, etag: impl Into<Vec<u8>>) {
        self.contents.etag = etag.into();
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
        let writer = self.handle.take().await?;
        let contents = std::mem::take(&mut self.contents);
        let (object, placement) = commit::commit(*writer, contents).await?;
        Ok(Uploaded { object, placement })
    }

    /// Aborts the upload and discards its data.
    ///
    /// # Errors
    /// The satellite could not be notified; it discards the upload by itself after a day. While a write
    /// of [`AsyncWrite`] is running the satellite is notified in the background instead, and after a
    /// failed write it has been already: neither returns an error.
    pub async fn abort(self) -> Result<()> {
        self.handle.abort().await
    }
}

impl AsyncWrite for Upload {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.handle.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
