//! One part of a multipart upload.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::{fmt, io};

use tokio::io::AsyncWrite;
use uplink_core::encryption::mark::PartDigest;
use uplink_rpc::status::Code;

use super::id::{invalid_upload_id, stream_id};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::SealedPart;
use crate::project::Project;
use crate::upload::handle::WriteHandle;
use crate::upload::writer::Writer;

/// Maximum number of a part: that of the reference client.
pub const MAX_PART_NUMBER: u32 = i32::MAX as u32 - 1;

impl Project {
    /// Begins uploading a part. Parts may be uploaded concurrently and in any order; the object consists
    /// of them in the order of their numbers. Uploading a number again replaces the part.
    ///
    /// All but the last part must have at least 5 MiB. Makes no call: a missing upload is reported while
    /// writing or on commit.
    ///
    /// # Errors
    /// [`ErrorKind::UploadIdInvalid`]; [`ErrorKind::PartNumberInvalid`] for a number greater than
    /// [`MAX_PART_NUMBER`]; otherwise as [`upload_object`](Self::upload_object).
    pub fn upload_part(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload_id: &str,
        number: u32,
    ) -> Result<PartUpload> {
        if number > MAX_PART_NUMBER {
            let text = format!("invalid part number {number}: must be 0 to {MAX_PART_NUMBER}");
            return Err(Error::new(ErrorKind::PartNumberInvalid, text));
        }
        let session = self.session().clone();
        let location = session.locate(bucket, key.as_ref())?;
        let writer = Writer::part(session, location, stream_id(upload_id)?, number)?;
        Ok(PartUpload { handle: WriteHandle::new(writer), number, etag: Vec::new() })
    }
}

/// A part being written. **Shutting it down as an [`AsyncWrite`] flushes and does not commit;
/// [`commit`](Self::commit) does.**
///
/// It encrypts and sends bytes as [`Upload`](crate::Upload) does, within the same memory budget.
///
/// # Cancellation
///
/// Dropping it without a commit cancels its transfers; the upload and its other parts stay. Segments of
/// a part of more than a gigabyte may be stored already: upload the part again, or commit with the
/// receipts of all parts, which then fails instead of including them.
pub struct PartUpload {
    handle: WriteHandle,
    number: u32,
    etag: Vec<u8>,
}

/// What a committed part consists of. The commit of the upload compares it with the satellite's list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartReceipt {
    /// Number of the part.
    pub number: u32,
    /// Plain bytes.
    pub size: u64,
    digest: [u8; 32],
}

impl PartUpload {
    /// Writes all of `bytes`, waiting while the memory budget is used up.
    ///
    /// # Errors
    /// As [`Upload::write`](crate::Upload::write), and [`ErrorKind::UploadIdInvalid`] when the upload
    /// was committed or aborted. An error ends the part.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.handle.write(bytes).await.map_err(explain)
    }

    /// Calls `callback` with the plain bytes of the part sent so far, as
    /// [`Upload::on_progress`](crate::Upload::on_progress) does.
    pub fn on_progress(&mut self, callback: impl FnMut(u64) + Send + 'static) {
        self.handle.on_progress(callback);
    }

    /// Sets the ETag of the part, which [`list_parts`](Project::list_parts) returns; encrypted like the
    /// content.
    pub fn set_etag(&mut self, etag: impl Into<Vec<u8>>) {
        self.etag = etag.into();
    }

    /// Commits the part, replacing one of the same number.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn commit(mut self) -> Result<PartReceipt> {
        let mut writer = self.handle.take().await.map_err(explain)?;
        let calls = writer.finish(&self.etag).await.map_err(explain)?;
        // The commits of segments are idempotent, and retried after a lost reply.
        writer.session().satellite().commit_part(calls).await.map_err(explain)?;
        writer.report_all();
        let mut digest = PartDigest::new(self.number);
        let mut size = 0;
        for (segment, index) in writer.segments().iter().zip(0..) {
            digest.add(index, segment.placement.size, &segment.key);
            size += segment.placement.size;
        }
        Ok(PartReceipt { number: self.number, size, digest: digest.finish() })
    }

    /// Discards the part; the upload and its other parts stay. Makes no call.
    ///
    /// # Errors
    /// None; the signature is that of [`Upload::abort`](crate::Upload::abort).
    pub async fn abort(self) -> Result<()> {
        self.handle.abort().await
    }
}

impl From<PartReceipt> for SealedPart {
    fn from(receipt: PartReceipt) -> Self {
        Self { number: receipt.number, size: receipt.size, digest: receipt.digest }
    }
}

/// The satellite does not find the upload of a part.
fn explain(error: Error) -> Error {
    let code = error.failure().map(|failure| failure.code);
    let is_missing = code == Some(Code::NOT_FOUND) && error.kind() != ErrorKind::BucketNotFound;
    if is_missing { invalid_upload_id().with_included(error) } else { error }
}

impl fmt::Debug for PartUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartUpload").field("number", &self.number).finish_non_exhaustive()
    }
}

impl AsyncWrite for PartUpload {
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
