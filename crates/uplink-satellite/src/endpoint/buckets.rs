//! Calls about the project and its buckets.

use std::ops::Bound;

use uplink_core::macaroon::{AllowedBuckets, Operation};
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::ListDirection;
use uplink_rpc::status::{Code, Failure};

use super::{State, check, convert};
use crate::auth::Caller;
use crate::failure::{RpcResult, database};
use crate::metabase::{Bucket, MetabaseError};
use crate::time::Time;

/// Maximum number of buckets per page.
const MAX_PAGE: usize = 10_000;
/// Maximum bytes per page, well below the message limit.
const MAX_PAGE_BYTES: usize = 2 << 20;
/// Upper estimate of the bytes of an item without its texts.
const ITEM_BYTES: usize = 32;
/// Maximum rounds of deleting objects; bounds the work for a bucket with concurrent writes.
const DELETE_ROUNDS: usize = 1_000_000;
/// Maximum stored bytes of the user agent that created a bucket.
const MAX_USER_AGENT: usize = 500;
/// Products of a user agent that are libraries, not programs.
const LIBRARIES: [&[u8]; 3] = [b"common", b"drpc", b"uplink"];

impl State {
    pub(super) async fn project_info(
        &self,
        caller: &Caller,
        _: messages::ProjectInfoRequest,
    ) -> RpcResult<messages::ProjectInfoResponse> {
        caller.require(Operation::ProjectInfo, b"", b"")?;
        Ok(messages::ProjectInfoResponse {
            project_salt: caller.project.salt.to_vec().into(),
            project_public_id: caller.project.public_id.to_vec().into(),
            project_created_at: Some(caller.project.created.to_wire()),
            ..messages::ProjectInfoResponse::default()
        })
    }

    pub(super) async fn create_bucket(
        &self,
        caller: &Caller,
        request: messages::CreateBucketRequest,
    ) -> RpcResult<messages::CreateBucketResponse> {
        caller.require(Operation::Write, &request.name, b"")?;
        if request.object_lock_enabled {
            let lock = Operation::PutBucketObjectLockConfiguration;
            caller.require(lock, &request.name, b"")?;
        }
        check::new_bucket(&request.name)?;
        if !request.placement.is_empty() {
            return Err(Failure::new(Code(10_012), "placements are not supported"));
        }
        if request.object_lock_enabled {
            let code = Code::OBJECT_LOCK_DISABLED_FOR_PROJECT;
            return Err(Failure::new(code, "Object Lock is not enabled for this project"));
        }
        let user_agent = request.header.map(|header| header.user_agent).unwrap_or_default();
        let bucket = Bucket {
            name: request.name.to_vec(),
            created: caller.now,
            user_agent: attribution(&user_agent),
        };
        let limit = caller
            .project
            .bucket_limit
            .unwrap_or_else(|| i64::from(self.config.buckets_per_project));
        let id = &caller.project.id;
        self.metabase.create_bucket(id, &bucket, limit).await.map_err(database)?;
        let bucket = Some(convert::bucket(bucket, &self.config.scheme));
        Ok(messages::CreateBucketResponse { bucket })
    }

    pub(super) async fn get_bucket(
        &self,
        caller: &Caller,
        request: messages::GetBucketRequest,
    ) -> RpcResult<messages::GetBucketResponse> {
        check::bucket(&request.name)?;
        caller.require(Operation::Read, &request.name, b"")?;
        let found = self.metabase.bucket(&caller.project.id, &request.name).await;
        let bucket = Some(convert::bucket(found.map_err(database)?, &self.config.scheme));
        Ok(messages::GetBucketResponse { bucket })
    }

    pub(super) async fn list_buckets(
        &self,
        caller: &Caller,
        request: messages::ListBucketsRequest,
    ) -> RpcResult<messages::ListBucketsResponse> {
        let allowed = caller.allowed_buckets()?;
        let inclusive = match request.direction() {
            ListDirection::Forward => true,
            ListDirection::After => false,
            ListDirection::DirectionUnset => {
                return Err(Failure::new(Code::UNKNOWN, "unknown list direction"));
            }
        };
        let limit = check::page_limit(request.limit, MAX_PAGE)?;
        let mut buckets = match &allowed {
            AllowedBuckets::Only(names) => {
                let names: Vec<Vec<u8>> = names
                    .range::<[u8], _>((bound(&request.cursor, inclusive), Bound::Unbounded))
                    .cloned()
                    .collect();
                self.named_buckets(caller, names, limit + 1).await?
            }
            _ => {
                let id = &caller.project.id;
                let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
                let page = self.metabase.list_buckets(id, &request.cursor, inclusive, rows).await;
                page.map_err(database)?
            }
        };
        let found = buckets.len();
        buckets.truncate(limit.min(fitting_count(&buckets)));
        let more = buckets.len() < found;
        let item = |bucket: Bucket| messages::BucketListItem {
            name: bucket.name.into(),
            created_at: Some(bucket.created.to_wire()),
            user_agent: bucket.user_agent.unwrap_or_default().into(),
        };
        Ok(messages::ListBucketsResponse { items: buckets.into_iter().map(item).collect(), more })
    }

    pub(super) async fn delete_bucket(
        &self,
        caller: &Caller,
        request: messages::DeleteBucketRequest,
    ) -> RpcResult<messages::DeleteBucketResponse> {
        check::bucket(&request.name)?;
        caller.require(Operation::Delete, &request.name, b"")?;
        if request.bypass_governance_retention {
            caller.require(Operation::BypassGovernanceRetention, &request.name, b"")?;
        }
        let may_list = caller.may(Operation::List, &request.name, b"");
        let may_see = may_list || caller.may(Operation::Read, &request.name, b"");
        let delete_all = request.delete_all && may_list;
        match self.delete(caller, &request.name, delete_all).await {
            // A caller who may neither read nor list must not learn what existed.
            _ if !may_see => Ok(messages::DeleteBucketResponse::default()),
            Ok((bucket, count)) => Ok(messages::DeleteBucketResponse {
                bucket: Some(convert::bucket(bucket, &self.config.scheme)),
                deleted_objects_count: count,
            }),
            Err(error) => Err(database(error)),
        }
    }

    async fn delete(
        &self,
        caller: &Caller,
        name: &[u8],
        delete_all: bool,
    ) -> Result<(Bucket, i64), MetabaseError> {
        let id = &caller.project.id;
        self.metabase.bucket(id, name).await?;
        // Expired objects do not count. Deletes them in small transactions first.
        self.delete_rounds(id, name, Some(caller.now)).await?;
        let count = if delete_all { self.delete_rounds(id, name, None).await? } else { 0 };
        Ok((self.metabase.delete_bucket(id, name, caller.now).await?, count))
    }

    async fn delete_rounds(
        &self,
        project: &[u8; 16],
        bucket: &[u8],
        overdue: Option<Time>,
    ) -> Result<i64, MetabaseError> {
        let mut count = 0i64;
        for _ in 0..DELETE_ROUNDS {
            let deleted = self.metabase.delete_some_objects(project, bucket, overdue).await?;
            if deleted == 0 {
                break;
            }
            count = count.saturating_add(i64::try_from(deleted).unwrap_or(i64::MAX));
        }
        Ok(count)
    }

    /// Returns at most `limit` of the named buckets that exist.
    async fn named_buckets(
        &self,
        caller: &Caller,
        names: Vec<Vec<u8>>,
        limit: usize,
    ) -> RpcResult<Vec<Bucket>> {
        let mut snapshot = self.metabase.snapshot().await.map_err(database)?;
        let mut buckets = Vec::new();
        for name in names {
            if buckets.len() >= limit {
                break;
            }
            let found = snapshot.bucket(&caller.project.id, &name).await;
            buckets.extend(found.map_err(database)?);
        }
        Ok(buckets)
    }
}

/// Returns the program that created a bucket: its user agent without libraries.
fn attribution(user_agent: &[u8]) -> Option<Vec<u8>> {
    let is_library = |product: &&[u8]| {
        let name = product.split(|byte| *byte == b'/').next().unwrap_or_default();
        LIBRARIES.contains(&name)
    };
    let products = user_agent.split(|byte| *byte == b' ');
    let kept: Vec<&[u8]> =
        products.filter(|product| !product.is_empty() && !is_library(product)).collect();
    let mut agent = kept.join(&b' ');
    agent.truncate(MAX_USER_AGENT);
    (!agent.is_empty()).then_some(agent)
}

fn bound(cursor: &[u8], inclusive: bool) -> Bound<&[u8]> {
    if inclusive { Bound::Included(cursor) } else { Bound::Excluded(cursor) }
}

/// Returns the number of buckets that fit into a page.
fn fitting_count(buckets: &[Bucket]) -> usize {
    let size = |bucket: &Bucket| {
        ITEM_BYTES + bucket.name.len() + bucket.user_agent.as_ref().map_or(0, Vec::len)
    };
    let mut bytes = 0;
    let fits = |bucket: &&Bucket| {
        bytes += size(bucket);
        bytes <= MAX_PAGE_BYTES
    };
    buckets.iter().take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_is_attributed_to_program_not_library() {
        for (agent, kept) in [
            (&b"program/1.0 uplink/v1.2"[..], Some(&b"program/1.0"[..])),
            (b"uplink/v1.2", None),
            (b"uplinker/1  other", Some(b"uplinker/1 other")),
            (b"", None),
        ] {
            assert_eq!(attribution(agent).as_deref(), kept);
        }
        assert_eq!(attribution(&[b'a'; 600]).unwrap().len(), MAX_USER_AGENT);
    }
}
