//! Deleting many objects of a bucket in one call.

use std::collections::BTreeSet;

use uplink_core::macaroon::Operation;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::delete_objects_response_item::Status;
use uplink_rpc::status::{Code, Failure};

use super::{State, check, convert};
use crate::auth::Caller;
use crate::failure::{RpcResult, database};
use crate::metabase::{MetabaseError, Object};

/// Maximum number of objects per call.
const MAX_ITEMS: usize = 1_000;

impl State {
    /// Atomically deletes the objects that the caller may delete, and returns the outcome for each.
    pub(super) async fn delete_objects(
        &self,
        caller: &Caller,
        request: messages::DeleteObjectsRequest,
    ) -> RpcResult<messages::DeleteObjectsResponse> {
        let bucket = &request.bucket;
        check_bucket(bucket)?;
        caller.require(Operation::Read, bucket, b"")?;
        if request.bypass_governance_retention {
            caller.require(Operation::BypassGovernanceRetention, bucket, b"")?;
        }
        let names = names(&request.items)?;
        let (allowed, denied): (Vec<Name<'_>>, Vec<Name<'_>>) =
            names.into_iter().partition(|name| caller.may(Operation::Delete, bucket, name.key));
        let requested: Vec<_> = allowed.iter().map(|name| (name.key, name.version)).collect();
        let location = (&caller.project.id, &bucket[..]);
        let deleted =
            self.metabase.delete_objects(location, &requested, caller.now).await.map_err(
                |error| match error {
                    MetabaseError::NotFound { what } => Failure::new(Code::BUCKET_NOT_FOUND, what),
                    error => database(error),
                },
            )?;
        let mut items: Vec<_> =
            allowed.iter().zip(deleted).map(|(name, object)| name.item(object)).collect();
        items.extend(denied.iter().map(Name::denied));
        items.retain(|item| !request.quiet || item.status != i32::from(Status::Ok));
        items.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(messages::DeleteObjectsResponse { items })
    }
}

/// Sort key: shortest object keys first.
fn order(item: &messages::DeleteObjectsResponseItem) -> (usize, &[u8], &[u8]) {
    let key = &item.encrypted_object_key;
    (key.len(), key, &item.requested_object_version)
}

/// An object to delete, or one version of it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a> {
    key: &'a [u8],
    version: Option<[u8; 16]>,
}

impl Name<'_> {
    fn item(&self, deleted: Option<Object>) -> messages::DeleteObjectsResponseItem {
        let status = if deleted.is_some() { Status::Ok } else { Status::NotFound };
        let removed = deleted.map(|object| messages::DeleteObjectsResponseItemInfo {
            object_version: object.object_version().to_vec().into(),
            status: convert::status(object.status).into(),
        });
        messages::DeleteObjectsResponseItem { removed, ..self.with_status(status) }
    }

    fn denied(&self) -> messages::DeleteObjectsResponseItem {
        self.with_status(Status::Unauthorized)
    }

    fn with_status(&self, status: Status) -> messages::DeleteObjectsResponseItem {
        messages::DeleteObjectsResponseItem {
            encrypted_object_key: self.key.to_vec().into(),
            requested_object_version: self.version.map_or_else(Vec::new, Vec::from).into(),
            status: status.into(),
            ..messages::DeleteObjectsResponseItem::default()
        }
    }
}

/// Returns the distinct objects of a request.
fn names(items: &[messages::DeleteObjectsRequestItem]) -> RpcResult<BTreeSet<Name<'_>>> {
    match items.len() {
        0 => return Err(Failure::new(Code::DELETE_OBJECTS_NO_ITEMS, "no objects to delete")),
        1..=MAX_ITEMS => {}
        _ => {
            let text = format!("too many objects to delete: maximum is {MAX_ITEMS}");
            return Err(Failure::new(Code::DELETE_OBJECTS_TOO_MANY_ITEMS, text));
        }
    }
    let name = |item: &'_ messages::DeleteObjectsRequestItem| {
        let key = &item.encrypted_object_key;
        match key.len() {
            0 => return Err(Failure::new(Code::OBJECT_KEY_MISSING, "object key is missing")),
            1..=check::MAX_KEY => {}
            _ => {
                let text = format!("object key is too long: maximum is {} bytes", check::MAX_KEY);
                return Err(Failure::new(Code::OBJECT_KEY_TOO_LONG, text));
            }
        }
        check::version(&item.object_version).map_err(|_| invalid_version())
    };
    let named = |item| {
        let version = name(item)?;
        if version.is_some_and(|version| version.starts_with(&[0; 8])) {
            return Err(invalid_version());
        }
        Ok(Name { key: &item.encrypted_object_key, version })
    };
    items.iter().map(named).collect()
}

fn invalid_version() -> Failure {
    Failure::new(Code::OBJECT_VERSION_INVALID, "invalid object version")
}

fn check_bucket(name: &[u8]) -> RpcResult<()> {
    if name.is_empty() {
        return Err(Failure::new(Code::BUCKET_NAME_MISSING, "metainfo: no bucket specified"));
    }
    let named = check::bucket(name);
    named.map_err(|failure| Failure::new(Code::BUCKET_NAME_INVALID, failure.message))
}
