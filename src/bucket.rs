//! Buckets.

use std::time::SystemTime;

use uplink_rpc::r#gen::metainfo;
use uplink_rpc::time::system_time;

use crate::error::Result;
use crate::project::Project;

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bucket {
    /// Its name: 3 to 63 letters a–z, digits, dots and hyphens. Names are not encrypted.
    pub name: String,
    /// When it was created; `None` when the satellite did not say.
    pub created: Option<SystemTime>,
}

/// Buckets of a project in the order of their names, fetched page by page.
///
/// Dropping it ends the listing.
#[derive(Debug)]
pub struct BucketList {
    project: Project,
    cursor: Vec<u8>,
    page: std::vec::IntoIter<metainfo::BucketListItem>,
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
    /// As the satellite's answer tells; the listing can be continued by calling again.
    pub async fn next(&mut self) -> Result<Option<Bucket>> {
        loop {
            if let Some(item) = self.page.next() {
                return Ok(Some(Bucket {
                    name: String::from_utf8_lossy(&item.name).into_owned(),
                    created: system_time(item.created_at.as_ref()),
                }));
            }
            if !self.more {
                return Ok(None);
            }
            let page = self.project.satellite().list_buckets(&self.cursor).await?;
            self.more = page.more;
            if let Some(last) = page.items.last() {
                self.cursor = last.name.to_vec();
            }
            self.page = page.items.into_iter();
        }
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
