//! Multipart uploads: objects whose parts are uploaded separately, concurrently or after interruptions.
//!
//! ```text
//!   begin_upload ─► upload_part ─► commit ─► receipt ─┐
//!                   upload_part ─► commit ─► receipt ─┴─► commit_upload
//! ```
//!
//! Every upload is pending at the satellite from its first segment until it is committed, aborted or
//! forgotten. A client that is killed leaves its pending uploads behind; they keep a bucket from
//! being deleted and count as stored bytes.

use uplink_rpc::status::Code;

use crate::bucket::bucket_missing;
use crate::error::{Error, ErrorKind, Result};
use crate::location::check_bucket;
use crate::project::Project;

mod commit;
mod id;
mod list;
mod part;
mod parts;

pub use self::commit::{BeginUploadOptions, CommitUploadOptions};
use self::id::{invalid_upload_id, stream_id};
pub use self::list::{ListUploadsOptions, PendingUpload, UploadItem, UploadList};
pub use self::part::{MAX_PART_NUMBER, PartReceipt, PartUpload};
pub use self::parts::{ListPartsOptions, Part, PartList};

impl Project {
    /// Lists the pending uploads at the top of a bucket.
    ///
    /// Makes no call; a missing bucket is reported by the first item.
    ///
    /// # Errors
    /// [`ErrorKind::BucketNameInvalid`] for an empty name, [`ErrorKind::PermissionDenied`] when the
    /// access grant holds no encryption key for the prefix.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(project: uplink::Project) -> uplink::Result<()> {
    /// use futures_util::TryStreamExt;
    /// use uplink::{ListUploadsOptions, UploadItem};
    ///
    /// let options = ListUploadsOptions::new().recursive(true);
    /// let mut uploads = project.list_uploads_with("photos", &options)?;
    /// while let Some(item) = uploads.try_next().await? {
    ///     if let UploadItem::Upload(upload) = item {
    ///         project.abort_upload("photos", &upload.key, &upload.upload_id).await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_uploads(&self, bucket: &str) -> Result<UploadList> {
        self.list_uploads_with(bucket, &ListUploadsOptions::new())
    }

    /// Lists pending uploads of a bucket with options.
    ///
    /// # Errors
    /// As [`list_uploads`](Self::list_uploads).
    pub fn list_uploads_with(
        &self,
        bucket: &str,
        options: &ListUploadsOptions,
    ) -> Result<UploadList> {
        check_bucket(bucket)?;
        UploadList::new(self.session().clone(), bucket, options)
    }

    /// Aborts a pending upload and deletes its data. A client that still writes it fails.
    ///
    /// # Errors
    /// [`ErrorKind::UploadIdInvalid`] when `upload_id` is not an upload id of this object,
    /// [`ErrorKind::ObjectNotFound`] when the upload is not pending any more,
    /// [`ErrorKind::PermissionDenied`], or the satellite cannot be reached.
    pub async fn abort_upload(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload_id: &str,
    ) -> Result<()> {
        let location = self.session().locate(bucket, key.as_ref())?;
        let stream_id = stream_id(upload_id)?;
        let satellite = self.session().satellite();
        let aborted = satellite.abort_object(bucket, location.encrypted_key, stream_id).await;
        aborted.map_err(|error| match error.failure().map(|failure| failure.code) {
            Some(Code::NOT_FOUND) if error.kind() != ErrorKind::BucketNotFound => {
                let key = String::from_utf8_lossy(key.as_ref());
                let text =
                    format!("no pending upload of {key:?} with this id in bucket {bucket:?}");
                Error::new(ErrorKind::ObjectNotFound, text).with_included(error)
            }
            Some(Code::INVALID_ARGUMENT) => invalid_upload_id().with_included(error),
            _ => bucket_missing(error, bucket),
        })
    }
}
