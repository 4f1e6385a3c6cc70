//! Objects: attributes, listings, copies, deletion.

use std::collections::BTreeMap;

use super::bridge::Bridged;
use super::project::Project;
use crate::error::Result;
use crate::object::{self, CopyOptions, Deletion, ListItem, ListOptions, Object};

impl Project {
    /// Returns an object's attributes without its content; see
    /// [`stat_object`](crate::Project::stat_object).
    pub fn stat_object(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<Object> {
        self.handle.call(async |project| project.stat_object(bucket, key).await)
    }

    /// Replaces the custom metadata of an object; see
    /// [`update_object_metadata`](crate::Project::update_object_metadata).
    pub fn update_object_metadata(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        entries: BTreeMap<String, String>,
    ) -> Result<()> {
        self.handle.call(async |project| project.update_object_metadata(bucket, key, entries).await)
    }

    /// Deletes an object, and returns whether there was one; see
    /// [`delete_object`](crate::Project::delete_object).
    pub fn delete_object(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<bool> {
        self.handle.call(async |project| project.delete_object(bucket, key).await)
    }

    /// Deletes objects of one bucket, a thousand per call; see
    /// [`delete_objects`](crate::Project::delete_objects).
    pub fn delete_objects<K: AsRef<[u8]>>(
        &self,
        bucket: &str,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Deletion>> {
        self.handle.call(async |project| project.delete_objects(bucket, keys).await)
    }

    /// Copies an object to another key without transferring it; see
    /// [`copy_object`](crate::Project::copy_object).
    pub fn copy_object(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        new_bucket: &str,
        new_key: impl AsRef<[u8]>,
    ) -> Result<Object> {
        self.copy_object_with(bucket, key, new_bucket, new_key, &CopyOptions::new())
    }

    /// Copies an object with options; see [`copy_object_with`](crate::Project::copy_object_with).
    pub fn copy_object_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        new_bucket: &str,
        new_key: impl AsRef<[u8]>,
        options: &CopyOptions,
    ) -> Result<Object> {
        self.handle.call(async |project| {
            project.copy_object_with(bucket, key, new_bucket, new_key, options).await
        })
    }

    /// Moves an object to another key; see [`move_object`](crate::Project::move_object).
    pub fn move_object(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        new_bucket: &str,
        new_key: impl AsRef<[u8]>,
    ) -> Result<()> {
        self.handle
            .call(async |project| project.move_object(bucket, key, new_bucket, new_key).await)
    }

    /// Lists the top of a bucket: objects without a `/` in their key, and prefixes; see
    /// [`list_objects`](crate::Project::list_objects).
    pub fn list_objects(&self, bucket: &str) -> Result<ObjectList> {
        self.list_objects_with(bucket, &ListOptions::new())
    }

    /// Lists objects of a bucket with options; see
    /// [`list_objects_with`](crate::Project::list_objects_with).
    pub fn list_objects_with(&self, bucket: &str, options: &ListOptions) -> Result<ObjectList> {
        let handle =
            self.handle.open(async |project| project.list_objects_with(bucket, options))?;
        Ok(ObjectList { handle })
    }
}

/// An iterator over the objects of a bucket, fetched page by page; see
/// [`uplink::ObjectList`](crate::ObjectList).
///
/// End the loop at the first error: the next call fetches the same page again.
#[derive(Debug)]
#[must_use = "iterators do nothing unless consumed"]
pub struct ObjectList {
    handle: Bridged<object::ObjectList>,
}

impl Iterator for ObjectList {
    type Item = Result<ListItem>;

    fn next(&mut self) -> Option<Self::Item> {
        self.handle.next()
    }
}
