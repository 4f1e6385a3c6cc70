//! Whole objects from and to memory, each in one call.

use bytes::Bytes;

use super::project::Project;
use crate::error::Result;
use crate::upload::{UploadOptions, Uploaded};

impl Project {
    /// Stores an object, replacing one of the same key; see [`put`](crate::Project::put).
    pub fn put(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        bytes: impl Into<Bytes>,
    ) -> Result<Uploaded> {
        self.put_with(bucket, key, bytes, &UploadOptions::new())
    }

    /// Stores an object with options; see [`put_with`](crate::Project::put_with).
    pub fn put_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        bytes: impl Into<Bytes>,
        options: &UploadOptions,
    ) -> Result<Uploaded> {
        self.handle.call(async |project| project.put_with(bucket, key, bytes, options).await)
    }

    /// Reads a whole object of at most 64 MiB into memory; see [`get`](crate::Project::get).
    pub fn get(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<Bytes> {
        self.handle.call(async |project| project.get(bucket, key).await)
    }
}
