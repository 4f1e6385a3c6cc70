//! Buckets.

use std::time::SystemTime;

use uplink_rpc::r#gen::metainfo;
use uplink_rpc::status::Code;
use uplink_rpc::time::system_time;

use crate::error::{Error, ErrorKind, Result};
use crate::project::Project;
use crate::satellite::bucket_exists;
use crate::satellite::page::{PAGE, next_cursor};

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bucket {
    /// Its name: 3 to 63 letters a–z, digits, dots and hyphens. Names are not encrypted.
    pub name: String,
    /// When it was created; `None` when the satellite did not say.
    pub created: Option<SystemTime>,
}

impl Project {
    /// Creates a bucket.
    ///
    /// Sent once. When the reply is lost or makes no sense, the bucket is queried: one that was created
    /// within the last hour counts as created by this call, even if another client did it; one that is
    /// absent was not created, and creating it again is harmless.
    ///
    /// # Errors
    /// [`ErrorKind::BucketAlreadyExists`], [`ErrorKind::BucketNameInvalid`],
    /// [`ErrorKind::PermissionDenied`], or the satellite cannot be reached.
    /// [`ErrorKind::OutcomeUnknown`]: there was no sensible reply, and the bucket cannot be queried.
    pub async fn create_bucket(&self, name: &str) -> Result<Bucket> {
        check_bucket(name)?;
        let created = self.satellite().create_bucket(name).await;
        created.map(Bucket::from).map_err(|error| match error.failure().map(|f| f.code) {
            Some(Code::ALREADY_EXISTS) => bucket_exists(name).with_source(error),
            Some(Code::INVALID_ARGUMENT) => {
                let text = format!("{name:?} is no valid bucket name: {error}");
                Error::new(ErrorKind::BucketNameInvalid, text).with_source(error)
            }
            _ => error,
        })
    }

    /// Creates a bucket unless it exists, and returns it.
    ///
    /// # Errors
    /// As [`create_bucket`](Self::create_bucket), but for an existing bucket.
    pub async fn ensure_bucket(&self, name: &str) -> Result<Bucket> {
        match self.create_bucket(name).await {
            Err(error) if error.kind() == ErrorKind::BucketAlreadyExists => {
                self.stat_bucket(name).await
            }
            outcome => outcome,
        }
    }

    /// Returns what is known of a bucket.
    ///
    /// # Errors
    /// [`ErrorKind::BucketNotFound`], [`ErrorKind::PermissionDenied`], or the satellite cannot be
    /// reached.
    pub async fn stat_bucket(&self, name: &str) -> Result<Bucket> {
        check_bucket(name)?;
        let bucket = self.satellite().bucket(name).await;
        bucket.map(Bucket::from).map_err(|error| bucket_missing(error, name))
    }

    /// Deletes an empty bucket.
    ///
    /// The deletion is sent once. When the reply is lost or makes no sense, a bucket that is absent
    /// counts as deleted.
    /// One that is there is [`ErrorKind::OutcomeUnknown`]: it was not deleted, or another client has
    /// created it again.
    ///
    /// # Errors
    /// [`ErrorKind::BucketNotEmpty`], [`ErrorKind::BucketNotFound`],
    /// [`ErrorKind::PermissionDenied`], [`ErrorKind::OutcomeUnknown`], or the satellite cannot be
    /// reached.
    pub async fn delete_bucket(&self, name: &str) -> Result<()> {
        self.remove_bucket(name, false).await
    }

    /// Deletes a bucket and all objects in it.
    ///
    /// After an error some of the objects may have been deleted.
    ///
    /// # Errors
    /// As [`delete_bucket`](Self::delete_bucket); [`ErrorKind::BucketNotEmpty`] when others write
    /// into it meanwhile.
    pub async fn delete_bucket_with_objects(&self, name: &str) -> Result<()> {
        self.remove_bucket(name, true).await
    }

    async fn remove_bucket(&self, name: &str, with_objects: bool) -> Result<()> {
        check_bucket(name)?;
        let deleted = self.satellite().delete_bucket(name, with_objects).await;
        deleted.map_err(|error| match error.failure() {
            Some(failure) if failure.code == Code::FAILED_PRECONDITION => {
                let text = not_empty(name, &failure.message);
                Error::new(ErrorKind::BucketNotEmpty, text).with_source(error)
            }
            _ => bucket_missing(error, name),
        })
    }

    /// Lists the buckets that the access grant shows, in the order of their names, after `cursor`.
    #[must_use]
    pub fn list_buckets(&self, cursor: &str) -> BucketList {
        BucketList::new(self.clone(), cursor)
    }
}

/// Buckets of a project in the order of their names, fetched page by page.
///
/// Holds one page. Dropping it ends the listing.
#[derive(Debug)]
pub struct BucketList {
    project: Project,
    cursor: Vec<u8>,
    page: std::vec::IntoIter<Bucket>,
    more: bool,
}

impl BucketList {
    pub(crate) fn new(project: Project, cursor: &str) -> Self {
        let cursor = cursor.as_bytes().to_vec();
        Self { project, cursor, page: Vec::new().into_iter(), more: true }
    }

    /// Returns the next bucket, or `None` after the last one.
    ///
    /// # Errors
    /// As the satellite's answer tells. [`ErrorKind::Protocol`] when a page does not advance, is out
    /// of order, too large, or holds an invalid name. Calling again fetches the same page again.
    pub async fn next(&mut self) -> Result<Option<Bucket>> {
        loop {
            if let Some(bucket) = self.page.next() {
                return Ok(Some(bucket));
            }
            if !self.more {
                return Ok(None);
            }
            self.fetch().await?;
        }
    }

    async fn fetch(&mut self) -> Result<()> {
        let satellite = self.project.satellite();
        let page = satellite.list_buckets(&self.cursor, i32::from(PAGE)).await?;
        let names = page.items.iter().map(|item| item.name.as_ref());
        let next = next_cursor(&self.cursor, names, page.more)?;
        let buckets: Result<Vec<Bucket>> = page.items.iter().map(Bucket::listed).collect();
        self.page = buckets?.into_iter();
        self.more = next.is_some();
        self.cursor = next.unwrap_or_default();
        Ok(())
    }
}

/// Longest name of a bucket accepted from a satellite; new names have at most 63 bytes.
const MAX_NAME: usize = 255;

impl Bucket {
    fn listed(item: &metainfo::BucketListItem) -> Result<Self> {
        let name = std::str::from_utf8(&item.name).unwrap_or_default();
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            let text = format!("listing of buckets: invalid name of {} bytes", item.name.len());
            return Err(Error::protocol(text));
        }
        Ok(Self { name: name.to_owned(), created: system_time(item.created_at.as_ref()) })
    }
}

impl From<metainfo::Bucket> for Bucket {
    fn from(bucket: metainfo::Bucket) -> Self {
        Self {
            name: String::from_utf8_lossy(&bucket.name).into_owned(),
            created: system_time(bucket.created_at.as_ref()),
        }
    }
}

pub(crate) fn check_bucket(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::new(ErrorKind::BucketNameInvalid, "a bucket name may not be empty"));
    }
    Ok(())
}

/// Says that a bucket is not empty, and what is in it if the satellite says so.
fn not_empty(name: &str, answer: &str) -> String {
    match answer.strip_prefix("bucket not empty: ") {
        Some(content) => format!("bucket {name:?} is not empty: {content}"),
        None => format!("bucket {name:?} is not empty"),
    }
}

pub(crate) fn bucket_missing(error: Error, name: &str) -> Error {
    if error.failure().map(|failure| failure.code) != Some(Code::NOT_FOUND) {
        return error;
    }
    let text = format!("bucket {name:?} not found");
    Error::new(ErrorKind::BucketNotFound, text).with_source(error)
}
