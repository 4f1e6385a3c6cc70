//! Multipart uploads: so far, listing and aborting the uploads that are not committed.
//!
//! Every upload is pending at the satellite from its first segment until it is committed, aborted or
//! forgotten. A client that is killed leaves its pending uploads behind; they keep a bucket from
//! being deleted and count as stored bytes.

use bytes::Bytes;
use uplink_core::base58;
use uplink_rpc::status::Code;

use crate::bucket::{bucket_missing, check_bucket};
use crate::error::{Error, ErrorKind, Result};
use crate::project::Project;

mod list;

pub use self::list::{ListUploadsOptions, PendingUpload, UploadItem, UploadList};

impl Project {
    /// Lists the pending uploads of a bucket.
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
    /// use uplink::{ListUploadsOptions, UploadItem};
    ///
    /// let options = ListUploadsOptions::new().recursive(true);
    /// let mut uploads = project.list_uploads("photos", options)?;
    /// while let Some(item) = uploads.next().await? {
    ///     if let UploadItem::Upload(upload) = item {
    ///         project.abort_upload("photos", &upload.key, &upload.upload_id).await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_uploads(&self, bucket: &str, options: ListUploadsOptions) -> Result<UploadList> {
        check_bucket(bucket)?;
        UploadList::new(self.clone(), bucket, options)
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
        let location = self.locate(bucket, key.as_ref())?;
        let stream_id = stream_id(upload_id)?;
        let aborted =
            self.satellite().abort_object(bucket, location.encrypted_key, stream_id).await;
        aborted.map_err(|error| match error.failure().map(|failure| failure.code) {
            Some(Code::NOT_FOUND) if error.kind() != ErrorKind::BucketNotFound => {
                let key = String::from_utf8_lossy(key.as_ref());
                let text =
                    format!("no pending upload of {key:?} with this id in bucket {bucket:?}");
                Error::new(ErrorKind::ObjectNotFound, text).with_source(error)
            }
            Some(Code::INVALID_ARGUMENT) => invalid_upload_id().with_source(error),
            _ => bucket_missing(error, bucket),
        })
    }
}

/// Writes the id that the satellite gave an upload as text.
fn upload_id(stream_id: &[u8]) -> Result<String> {
    match stream_id.len() {
        1..=MAX_STREAM_ID => Ok(base58::encode_check(VERSION, stream_id)),
        length => Err(Error::protocol(format!("the id of an upload has {length} bytes"))),
    }
}

fn stream_id(upload_id: &str) -> Result<Bytes> {
    match base58::decode_check(upload_id, MAX_UPLOAD_ID) {
        Ok((VERSION, stream_id)) if !stream_id.is_empty() => Ok(stream_id.into()),
        Ok(_) => Err(invalid_upload_id()),
        Err(error) => Err(invalid_upload_id().with_source(error)),
    }
}

fn invalid_upload_id() -> Error {
    Error::new(ErrorKind::UploadIdInvalid, "invalid upload id")
}

/// The version byte of an upload id.
const VERSION: u8 = 1;
/// Most bytes of a satellite's stream id. It grows with the key, which has at most 4,000.
const MAX_STREAM_ID: usize = 8 << 10;
/// Most characters of an upload id: what the largest stream id takes in Base58.
const MAX_UPLOAD_ID: usize = 12 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_ids_are_read_back() {
        for stream_id_bytes in [&[0][..], &[7; 200], &[255; MAX_STREAM_ID]] {
            let text = upload_id(stream_id_bytes).unwrap();
            assert_eq!(stream_id(&text).unwrap(), stream_id_bytes);
        }
        for length in [0, MAX_STREAM_ID + 1] {
            assert_eq!(upload_id(&vec![1; length]).unwrap_err().kind(), ErrorKind::Protocol);
        }
    }

    #[test]
    fn malformed_upload_ids_are_refused() {
        let empty = base58::encode_check(VERSION, b"");
        let other_version = base58::encode_check(2, b"stream");
        for bad in ["", "0", "nonsense", &empty, &other_version, &"1".repeat(MAX_UPLOAD_ID + 1)] {
            assert_eq!(stream_id(bad).unwrap_err().kind(), ErrorKind::UploadIdInvalid, "{bad}");
        }
    }
}
