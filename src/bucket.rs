//! Buckets.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures_core::Stream;
use uplink_rpc::status::Code;

use crate::error::{Error, ErrorKind, Result};
use crate::location::check_bucket;
use crate::pages::Pages;
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
    pub created_at: Option<SystemTime>,
}

impl Project {
    /// Creates a bucket.
    ///
    /// Sent once. When the reply is lost or invalid, the bucket is queried: one that was created within
    /// the last hour counts as created by this call, even if another client created it; one that is
    /// absent was not created, and creating it again is harmless.
    ///
    /// # Errors
    /// [`ErrorKind::BucketAlreadyExists`], whose bucket is
    /// [`existing_bucket`](Error::existing_bucket); [`ErrorKind::BucketNameInvalid`],
    /// [`ErrorKind::PermissionDenied`], or the satellite cannot be reached.
    /// [`ErrorKind::OutcomeUnknown`]: there was no valid reply, and the bucket cannot be queried.
    pub async fn create_bucket(&self, name: &str) -> Result<Bucket> {
        check_bucket(name)?;
        let error = match self.session().satellite().create_bucket(name).await {
            Ok(bucket) => return Ok(bucket.into()),
            Err(error) => error,
        };
        let code = error.failure().map(|failure| failure.code);
        if code == Some(Code::INVALID_ARGUMENT) {
            let text = format!("invalid bucket name {name:?}");
            return Err(Error::new(ErrorKind::BucketNameInvalid, text).with_source(error));
        }
        if code != Some(Code::ALREADY_EXISTS) && error.kind() != ErrorKind::BucketAlreadyExists {
            return Err(error);
        }
        match self.stat_bucket(name).await {
            Ok(bucket) => Err(bucket_exists(name).with_included(Exists(bucket))),
            Err(_) => Err(bucket_exists(name).with_included(error)),
        }
    }

    /// Creates a bucket unless it exists, and returns it.
    ///
    /// # Errors
    /// As [`create_bucket`](Self::create_bucket), but for an existing bucket.
    pub async fn ensure_bucket(&self, name: &str) -> Result<Bucket> {
        match self.create_bucket(name).await {
            Err(error) if error.kind() == ErrorKind::BucketAlreadyExists => {
                match error.existing_bucket() {
                    Some(bucket) => Ok(bucket.clone()),
                    None => self.stat_bucket(name).await,
                }
            }
            outcome => outcome,
        }
    }

    /// Returns a bucket.
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
    /// The deletion is sent once. When the reply is lost or invalid, the bucket is queried: an absent
    /// one counts as deleted. An existing one is [`ErrorKind::OutcomeUnknown`]: it was not deleted, or
    /// another client has created it again.
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
    /// As [`delete_bucket`](Self::delete_bucket); [`ErrorKind::BucketNotEmpty`] when another client
    /// writes to it meanwhile.
    pub async fn delete_bucket_with_objects(&self, name: &str) -> Result<()> {
        self.remove_bucket(name, true).await
    }

    async fn remove_bucket(&self, name: &str, with_objects: bool) -> Result<()> {
        check_bucket(name)?;
        let deleted = self.session().satellite().delete_bucket(name, with_objects).await;
        deleted.map_err(|error| match error.failure() {
            Some(failure) if failure.code == Code::FAILED_PRECONDITION => {
                let text = not_empty(name, &failure.message);
                Error::new(ErrorKind::BucketNotEmpty, text).with_included(error)
            }
            _ => bucket_missing(error, name),
        })
    }

    /// Lists the buckets that the access grant may see, in the order of their names.
    ///
    /// Makes no call; the first item does.
    pub fn list_buckets(&self) -> BucketList {
        self.list_buckets_with(&ListBucketsOptions::new())
    }

    /// Lists buckets with options.
    pub fn list_buckets_with(&self, options: &ListBucketsOptions) -> BucketList {
        BucketList::new(self.session().clone(), options)
    }
}

/// The bucket that a creation found, as the cause of its error.
#[derive(Debug)]
struct Exists(Bucket);

impl fmt::Display for Exists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {:?} exists", self.0.name)
    }
}

impl std::error::Error for Exists {}

impl Error {
    /// Returns the bucket that [`Project::create_bucket`] found, if the access grant permits reading it.
    #[must_use]
    pub fn existing_bucket(&self) -> Option<&Bucket> {
        self.cause().map(|Exists(bucket)| bucket)
    }
}

/// Which buckets to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct ListBucketsOptions {
    cursor: String,
}

impl ListBucketsOptions {
    /// Lists all buckets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins after this name, which need not exist.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = cursor.into();
        self
    }
}

/// A stream of the buckets of a project in the order of their names, fetched page by page.
///
/// Holds one page. Dropping it cancels the call in flight.
///
/// # Errors
/// An item is an error when the satellite's reply is one. [`ErrorKind::Protocol`] when a page does
/// not advance, is out of order, too large, or holds an invalid name. Polling again after an error
/// fetches the same page again.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct BucketList {
    pages: Pages<BucketRecord, Vec<u8>>,
}

impl BucketList {
    fn new(session: Session, options: &ListBucketsOptions) -> Self {
        let first = options.cursor.clone().into_bytes();
        let pages = Pages::new(first, move |cursor| {
            let session = session.clone();
            async move { session.satellite().list_buckets(&cursor).await }
        });
        Self { pages }
    }
}

impl Stream for BucketList {
    type Item = Result<Bucket>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pages.poll_next(context).map_ok(Bucket::from)
    }
}

impl From<BucketRecord> for Bucket {
    fn from(bucket: BucketRecord) -> Self {
        Self { name: bucket.name, created_at: bucket.created_at }
    }
}

/// Formats the error of a bucket that is not empty, with its contents if the satellite names them.
fn not_empty(name: &str, answer: &str) -> String {
    match answer.strip_prefix("bucket not empty: ") {
        Some(content) => format!("bucket {name:?} is not empty: {content}"),
        None => format!("bucket {name:?} is not empty"),
    }
}

pub(crate) fn bucket_missing(error: Error, name: &str) -> Error {
    let code = error.failure().map(|failure| failure.code);
    if !matches!(code, Some(Code::NOT_FOUND | Code::BUCKET_NOT_FOUND)) {
        return error;
    }
    let text = format!("bucket {name:?} not found");
    Error::new(ErrorKind::BucketNotFound, text).with_included(error)
}
