//! Multipart uploads: objects whose parts are uploaded separately, concurrently or after interruptions.

use std::io;

use super::bridge::Bridged;
use super::project::Project;
use crate::error::Result;
use crate::multipart::{
    self, BeginUploadOptions, CommitUploadOptions, ListPartsOptions, ListUploadsOptions, Part,
    PartReceipt, UploadItem,
};
use crate::object::Object;

impl Project {
    /// Begins a multipart upload and returns its id; see
    /// [`begin_upload`](crate::Project::begin_upload).
    pub fn begin_upload(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<String> {
        self.begin_upload_with(bucket, key, &BeginUploadOptions::new())
    }

    /// Begins a multipart upload with options and returns its id; see
    /// [`begin_upload_with`](crate::Project::begin_upload_with).
    pub fn begin_upload_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        options: &BeginUploadOptions,
    ) -> Result<String> {
        self.handle.call(async |project| project.begin_upload_with(bucket, key, options).await)
    }

    /// Begins uploading a part; see [`upload_part`](crate::Project::upload_part). Several threads can
    /// upload one part each.
    pub fn upload_part(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload_id: &str,
        number: u32,
    ) -> Result<PartUpload> {
        let handle = self
            .handle
            .open(async |project| project.upload_part(bucket, key, upload_id, number))?;
        Ok(PartUpload { handle })
    }

    /// Commits a multipart upload; see [`commit_upload`](crate::Project::commit_upload).
    pub fn commit_upload(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload_id: &str,
    ) -> Result<Object> {
        self.commit_upload_with(bucket, key, upload_id, &CommitUploadOptions::new())
    }

    /// Commits a multipart upload with options; see
    /// [`commit_upload_with`](crate::Project::commit_upload_with).
    pub fn commit_upload_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload_id: &str,
        options: &CommitUploadOptions,
    ) -> Result<Object> {
        self.handle
            .call(async |project| project.commit_upload_with(bucket, key, upload_id, options).await)
    }

    /// Aborts a pending upload and deletes its data; see
    /// [`abort_upload`](crate::Project::abort_upload).
    pub fn abort_upload(&self, bucket: &str, key: impl AsRef<[u8]>, upload_id: &str) -> Result<()> {
        self.handle.call(async |project| project.abort_upload(bucket, key, upload_id).await)
    }

    /// Lists the pending uploads at the top of a bucket; see
    /// [`list_uploads`](crate::Project::list_uploads).
    pub fn list_uploads(&self, bucket: &str) -> Result<UploadList> {
        self.list_uploads_with(bucket, &ListUploadsOptions::new())
    }

    /// Lists pending uploads of a bucket with options; see
    /// [`list_uploads_with`](crate::Project::list_uploads_with).
    pub fn list_uploads_with(
        &self,
        bucket: &str,
        options: &ListUploadsOptions,
    ) -> Result<UploadList> {
        let handle =
            self.handle.open(async |project| project.list_uploads_with(bucket, options))?;
        Ok(UploadList { handle })
    }

    /// Lists the parts of an upload in the order of their numbers; see
    /// [`list_parts`](crate::Project::list_parts).
    pub fn list_parts(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload_id: &str,
    ) -> Result<PartList> {
        self.list_parts_with(bucket, key, upload_id, &ListPartsOptions::new())
    }

    /// Lists the parts of an upload with options; see
    /// [`list_parts_with`](crate::Project::list_parts_with).
    pub fn list_parts_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload_id: &str,
        options: &ListPartsOptions,
    ) -> Result<PartList> {
        let handle = self
            .handle
            .open(async |project| project.list_parts_with(bucket, key, upload_id, options))?;
        Ok(PartList { handle })
    }
}

/// A part being written; see [`uplink::PartUpload`](crate::PartUpload). **Flushing it as an [`io::Write`]
/// does not commit; [`commit`](Self::commit) does.**
///
/// Dropping it without a commit cancels its transfers; the upload and its other parts stay.
#[derive(Debug)]
pub struct PartUpload {
    handle: Bridged<multipart::PartUpload>,
}

impl PartUpload {
    /// Writes all of `bytes`, waiting while the memory budget is used up; see
    /// [`write`](crate::PartUpload::write).
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.handle.call_mut(async |part| part.write(bytes).await)
    }

    /// Calls `callback` with the bytes sent so far; see
    /// [`on_progress`](crate::PartUpload::on_progress). It runs on the thread that calls this handle.
    pub fn on_progress(&mut self, callback: impl FnMut(u64) + Send + 'static) {
        self.handle.update(|part| part.on_progress(callback));
    }

    /// Sets the ETag of the part; see [`set_etag`](crate::PartUpload::set_etag).
    pub fn set_etag(&mut self, etag: impl Into<Vec<u8>>) {
        self.handle.update(|part| part.set_etag(etag));
    }

    /// Commits the part, replacing one of the same number; see [`commit`](crate::PartUpload::commit).
    pub fn commit(self) -> Result<PartReceipt> {
        self.handle.finish(async |part| part.commit().await)
    }

    /// Discards the part; see [`abort`](crate::PartUpload::abort).
    pub fn abort(self) -> Result<()> {
        self.handle.finish(async |part| part.abort().await)
    }
}

impl io::Write for PartUpload {
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

/// An iterator over the pending uploads of a bucket, fetched page by page; see
/// [`uplink::UploadList`](crate::UploadList).
///
/// End the loop at the first error: the next call fetches the same page again.
#[derive(Debug)]
#[must_use = "iterators do nothing unless consumed"]
pub struct UploadList {
    handle: Bridged<multipart::UploadList>,
}

impl Iterator for UploadList {
    type Item = Result<UploadItem>;

    fn next(&mut self) -> Option<Self::Item> {
        self.handle.next()
    }
}

/// An iterator over the parts of an upload, fetched page by page; see
/// [`uplink::PartList`](crate::PartList).
///
/// End the loop at the first error: the next call fetches the same page again.
#[derive(Debug)]
#[must_use = "iterators do nothing unless consumed"]
pub struct PartList {
    handle: Bridged<multipart::PartList>,
}

impl Iterator for PartList {
    type Item = Result<Part>;

    fn next(&mut self) -> Option<Self::Item> {
        self.handle.next()
    }
}
