//! The handle of an object being written.

use std::collections::BTreeMap;
use std::io;

use super::bridge::Bridged;
use super::project::Project;
use crate::error::Result;
use crate::upload::{self, UploadOptions, Uploaded};

impl Project {
    /// Begins uploading an object; see [`upload_object`](crate::Project::upload_object).
    pub fn upload_object(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<Upload> {
        self.upload_object_with(bucket, key, &UploadOptions::new())
    }

    /// Begins uploading an object with options; see
    /// [`upload_object_with`](crate::Project::upload_object_with).
    pub fn upload_object_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        options: &UploadOptions,
    ) -> Result<Upload> {
        let handle =
            self.handle.open(async |project| project.upload_object_with(bucket, key, options))?;
        Ok(Upload { handle })
    }
}

/// An object being written; see [`uplink::Upload`](crate::Upload). **Flushing it as an [`io::Write`] does
/// not commit; [`commit`](Self::commit) does.**
///
/// Dropping it without a commit aborts the upload: no object is created, and the satellite is notified in
/// the background if the process lives long enough.
#[derive(Debug)]
pub struct Upload {
    handle: Bridged<upload::Upload>,
}

impl Upload {
    /// Writes all of `bytes`, waiting while the memory budget is used up; see
    /// [`write`](crate::Upload::write). They are encrypted on this thread and sent by others.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.handle.call_mut(async |upload| upload.write(bytes).await)
    }

    /// Calls `callback` with the bytes sent so far; see
    /// [`on_progress`](crate::Upload::on_progress). It runs on the thread that calls this handle.
    pub fn on_progress(&mut self, callback: impl FnMut(u64) + Send + 'static) {
        self.handle.update(|upload| upload.on_progress(callback));
    }

    /// Replaces the custom metadata that the commit will store; see
    /// [`set_custom_metadata`](crate::Upload::set_custom_metadata).
    pub fn set_custom_metadata(&mut self, entries: BTreeMap<String, String>) -> Result<()> {
        self.handle.call_mut(async |upload| upload.set_custom_metadata(entries))
    }

    /// Replaces the ETag that the commit will store.
    pub fn set_etag(&mut self, etag: impl Into<Vec<u8>>) {
        self.handle.update(|upload| upload.set_etag(etag));
    }

    /// Commits the object, replacing one of the same key; see [`commit`](crate::Upload::commit).
    pub fn commit(self) -> Result<Uploaded> {
        self.handle.finish(async |upload| upload.commit().await)
    }

    /// Aborts the upload and discards its data; see [`abort`](crate::Upload::abort).
    pub fn abort(self) -> Result<()> {
        self.handle.finish(async |upload| upload.abort().await)
    }
}

impl io::Write for Upload {
    /// Writes all of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::write(self, bytes)?;
        Ok(bytes.len())
    }

    /// Does nothing: bytes are sent as they are written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
