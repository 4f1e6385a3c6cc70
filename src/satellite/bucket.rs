//! Calls about buckets. Creation and deletion are in `outcome.rs`.

use bytes::Bytes;
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response as Reply;

use super::call::Call;
use super::convert::bucket::{self, BucketRecord};
use super::page::{PAGE, Page, next_cursor};
use super::{RETRIES, Satellite, other_reply};
use crate::error::Result;

impl Satellite {
    pub(crate) async fn bucket(&self, name: &str) -> Result<BucketRecord> {
        self.bucket_within(RETRIES, name).await
    }

    pub(super) async fn bucket_within(&self, retries: u32, name: &str) -> Result<BucketRecord> {
        let request = metainfo::GetBucketRequest {
            name: Bytes::copy_from_slice(name.as_bytes()),
            header: None,
        };
        match self.request_with_retries(retries, Request::BucketGet(request)).await? {
            Reply::BucketGet(reply) => bucket::named(reply.bucket, name),
            _ => Err(other_reply()),
        }
    }

    /// Lists the next page of buckets after `cursor`, in the order of their names.
    pub(crate) async fn list_buckets(&self, cursor: &[u8]) -> Result<Page<BucketRecord>> {
        let request = metainfo::ListBucketsRequest {
            cursor: Bytes::copy_from_slice(cursor),
            direction: metainfo::ListDirection::After.into(),
            limit: i32::from(PAGE),
            header: self.header(),
        };
        let reply = self
            .call(Call::ListBuckets, |mut client| {
                let request = request.clone();
                async move { client.list_buckets(request).await }
            })
            .await?;
        let names = reply.items.iter().map(|item| item.name.as_ref());
        let next = next_cursor(cursor, names, reply.more)?;
        let items: Result<_> = reply.items.iter().map(bucket::listed).collect();
        Ok(Page { items: items?, next })
    }
}
