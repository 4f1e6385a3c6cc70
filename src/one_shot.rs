//! Whole objects from and to memory, each in one call.

use bytes::Bytes;

#[cfg(doc)]
use crate::download::Download;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::project::Project;
use crate::upload::{UploadOptions, Uploaded};

/// Maximum bytes of an object that [`Project::get`] reads.
const GET_LIMIT: u64 = 64 << 20;

impl Project {
    /// Stores an object, replacing one of the same key.
    ///
    /// Dropping the future before it returns aborts the upload, unless the commit has been sent.
    ///
    /// # Errors
    /// As [`upload_object`](Self::upload_object), [`Upload::write`](crate::Upload::write) and
    /// [`Upload::commit`](crate::Upload::commit).
    pub async fn put(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        bytes: impl Into<Bytes>,
    ) -> Result<Uploaded> {
        self.put_with(bucket, key, bytes, &UploadOptions::new()).await
    }

    /// Stores an object with options, replacing one of the same key.
    ///
    /// # Errors
    /// As [`put`](Self::put) and [`upload_object_with`](Self::upload_object_with).
    pub async fn put_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        bytes: impl Into<Bytes>,
        options: &UploadOptions,
    ) -> Result<Uploaded> {
        let mut upload = self.upload_object_with(bucket, key, options)?;
        upload.write(&bytes.into()).await?;
        upload.commit().await
    }

    /// Reads a whole object of at most 64 MiB into memory. Use
    /// [`download_object`](Self::download_object) and [`Download::read_to_end`] for another limit.
    ///
    /// # Errors
    /// As [`download_object`](Self::download_object) and [`Download::chunk`].
    /// [`ErrorKind::ObjectTooLarge`] when the object is larger.
    pub async fn get(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<Bytes> {
        self.download_object(bucket, key).await?.read_to_end(GET_LIMIT).await
    }
}
