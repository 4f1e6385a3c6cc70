//! Buckets.

use std::time::SystemTime;

use uplink_rpc::status::Code;

use crate::error::{Error, ErrorKind, Result};
use crate::location::check_bucket;
use crate::project::Project;
use crate::satellite::{BucketRecord, bucket_exists};
use crate::session::Session;

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
        let created = self.session().satellite().create_bucket(name).await;
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
        let bucket = self.session().satellite().bucket(name).await;
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
        let deleted = self.session().satellite().delete_bucket(name, with_objects).await;
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
        BucketList::new(self.session().clone(), cursor)
    }
}

/// Buckets of a project in the order of their names, fetched page by page.
///
/// Holds one page. Dropping it ends the listing.
#[derive(Debug)]
pub struct BucketList {
    session: Session,
    /// Where the next page begins; `None` after the last one.
    next: Option<Vec<u8>>,
    page: std::vec::IntoIter<BucketRecord>,
}

impl BucketList {
    fn new(session: Session, cursor: &str) -> Self {
        let next = Some(cursor.as_bytes().to_vec());
        Self { session, next, page: Vec::new().into_iter() }
    }

    /// Returns the next bucket, or `None` after the last one.
    ///
    /// # Errors
    /// As the satellite's answer tells. [`ErrorKind::Protocol`] when a page does not advance, is out
    /// of order, too large, or holds an invalid name. Calling again fetches the same page again.
    pub async fn next(&mut self) -> Result<Option<Bucket>> {
        loop {
            if let Some(bucket) = self.page.next() {
                return Ok(Some(bucket.into()));
            }
            let Some(cursor) = &self.next else { return Ok(None) };
            let page = self.session.satellite().list_buckets(cursor).await?;
            self.next = page.next;
            self.page = page.items.into_iter();
        }
    }
}

impl From<BucketRecord> for Bucket {
    fn from(bucket: BucketRecord) -> Self {
        Self { name: bucket.name, created: bucket.created }
    }
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
