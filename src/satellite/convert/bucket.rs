//! Buckets.

use std::time::SystemTime;

use uplink_rpc::r#gen::metainfo;
use uplink_rpc::time::system_time;

use crate::error::{Error, Result};

/// A bucket as the satellite describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketRecord {
    pub(crate) name: String,
    pub(crate) created_at: Option<SystemTime>,
}

/// Maximum bytes of a bucket name accepted from a satellite; new names have at most 63.
const MAX_NAME: usize = 255;

/// Reads the bucket of a reply, which must be the requested one.
pub(crate) fn named(bucket: Option<metainfo::Bucket>, name: &str) -> Result<BucketRecord> {
    let bucket = bucket.ok_or_else(|| Error::protocol("the reply contains no bucket"))?;
    if bucket.name != name.as_bytes() {
        return Err(Error::protocol("the reply contains a different bucket than requested"));
    }
    Ok(BucketRecord { name: name.to_owned(), created_at: system_time(bucket.created_at.as_ref()) })
}

/// Reads an item of a listing.
pub(crate) fn listed(item: &metainfo::BucketListItem) -> Result<BucketRecord> {
    let name = std::str::from_utf8(&item.name).unwrap_or_default();
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        let text = format!("listing of buckets: invalid name of {} bytes", item.name.len());
        return Err(Error::protocol(text));
    }
    Ok(BucketRecord { name: name.to_owned(), created_at: system_time(item.created_at.as_ref()) })
}
