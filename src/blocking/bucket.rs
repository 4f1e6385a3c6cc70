//! Buckets.

use super::bridge::Bridged;
use super::project::Project;
use crate::bucket::{self, Bucket, ListBucketsOptions};
use crate::error::Result;

impl Project {
    /// Creates a bucket; see [`create_bucket`](crate::Project::create_bucket).
    pub fn create_bucket(&self, name: &str) -> Result<Bucket> {
        self.handle.call(async |project| project.create_bucket(name).await)
    }

    /// Creates a bucket unless it exists, and returns it; see
    /// [`ensure_bucket`](crate::Project::ensure_bucket).
    pub fn ensure_bucket(&self, name: &str) -> Result<Bucket> {
        self.handle.call(async |project| project.ensure_bucket(name).await)
    }

    /// Returns a bucket; see [`stat_bucket`](crate::Project::stat_bucket).
    pub fn stat_bucket(&self, name: &str) -> Result<Bucket> {
        self.handle.call(async |project| project.stat_bucket(name).await)
    }

    /// Deletes an empty bucket; see [`delete_bucket`](crate::Project::delete_bucket).
    pub fn delete_bucket(&self, name: &str) -> Result<()> {
        self.handle.call(async |project| project.delete_bucket(name).await)
    }

    /// Deletes a bucket and all objects in it; see
    /// [`delete_bucket_with_objects`](crate::Project::delete_bucket_with_objects).
    pub fn delete_bucket_with_objects(&self, name: &str) -> Result<()> {
        self.handle.call(async |project| project.delete_bucket_with_objects(name).await)
    }

    /// Lists the buckets that the access grant may see, in the order of their names. Makes no call; the
    /// first item does.
    pub fn list_buckets(&self) -> BucketList {
        self.list_buckets_with(&ListBucketsOptions::new())
    }

    /// Lists buckets with options.
    pub fn list_buckets_with(&self, options: &ListBucketsOptions) -> BucketList {
        BucketList { handle: self.handle.derive(|project| project.list_buckets_with(options)) }
    }
}

/// An iterator over the buckets of a project in the order of their names, fetched page by page; see
/// [`uplink::BucketList`](crate::BucketList).
///
/// End the loop at the first error: the next call fetches the same page again.
#[derive(Debug)]
#[must_use = "iterators do nothing unless consumed"]
pub struct BucketList {
    handle: Bridged<bucket::BucketList>,
}

impl Iterator for BucketList {
    type Item = Result<Bucket>;

    fn next(&mut self) -> Option<Self::Item> {
        self.handle.next()
    }
}
