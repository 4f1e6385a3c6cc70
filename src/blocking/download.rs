//! The handle of an object being read.

use std::io::{self, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::bridge::Bridged;
use super::project::Project;
use crate::download::{self, DownloadOptions};
use crate::error::Result;
use crate::object::Object;

impl Project {
    /// Opens an object for reading; see [`download_object`](crate::Project::download_object).
    pub fn download_object(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<Download> {
        self.download_object_with(bucket, key, &DownloadOptions::new())
    }

    /// Opens an object, or a part of it, for reading; see
    /// [`download_object_with`](crate::Project::download_object_with).
    pub fn download_object_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        options: &DownloadOptions,
    ) -> Result<Download> {
        let handle = self
            .handle
            .open(async |project| project.download_object_with(bucket, key, options).await)?;
        let object = handle.get()?.object().clone();
        let range = handle.get()?.range();
        Ok(Download { handle, object, range })
    }
}

/// An object, or a range of it, being read; see [`uplink::Download`](crate::Download).
///
/// Bytes are returned only after they and their position are authenticated. Dropping it cancels all
/// transfers.
#[derive(Debug)]
pub struct Download {
    handle: Bridged<download::Download>,
    object: Object,
    range: Range<u64>,
}

impl Download {
    /// Returns the object that is being read.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Returns the part of the object that is being read, in bytes from its beginning.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Calls `callback` with the bytes returned so far; see
    /// [`on_progress`](crate::Download::on_progress). It runs on the thread that calls this handle.
    pub fn on_progress(&mut self, callback: impl FnMut(u64) + Send + 'static) {
        self.handle.update(|download| download.on_progress(callback));
    }

    /// Returns the next chunk, or `None` at the end of the range; see
    /// [`chunk`](crate::Download::chunk). Copies no bytes, unlike [`io::Read`].
    pub fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.handle.call_mut(async |download| download.chunk().await)
    }

    /// Reads the rest of the range into memory, at most `limit` bytes; see
    /// [`read_to_end`](crate::Download::read_to_end).
    pub fn read_to_end(&mut self, limit: u64) -> Result<Bytes> {
        self.handle.call_mut(async |download| download.read_to_end(limit).await)
    }
}

impl io::Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.handle.call_mut(async |download| download.read(buffer).await)
    }
}

impl io::Seek for Download {
    /// Seeks within the range being read; positions count from its beginning.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.handle.call_mut(async |download| download.seek(to).await)
    }
}
