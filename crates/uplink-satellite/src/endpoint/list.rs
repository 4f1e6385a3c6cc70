//! Listing objects.

use uplink_core::macaroon::Operation;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::object::Status as WireStatus;

use super::convert::{self, StreamMetaFields};
use super::{State, check};
use crate::auth::Caller;
use crate::failure::{RpcResult, database, invalid};
use crate::metabase::{ListQuery, ListStatus, ListedEntry, MAX_PAGE, Object};
use crate::time::Time;
use crate::token::StreamId;

/// Default delimiter of keys.
const DELIMITER: &[u8] = b"/";
/// Maximum length of a delimiter.
const MAX_DELIMITER: usize = 64;

/// Fields that the items of a listing include.
#[derive(Clone, Copy)]
pub(super) struct ListIncludes {
    system: bool,
    custom: bool,
    etag: bool,
    etag_or_custom: bool,
    /// Whether the client set these options; older clients do not know them.
    explicit: bool,
}

impl State {
    pub(super) async fn list_objects(
        &self,
        caller: &Caller,
        request: messages::ListObjectsRequest,
    ) -> RpcResult<messages::ListObjectsResponse> {
        check::bucket(&request.bucket)?;
        caller.require(Operation::List, &request.bucket, &request.encrypted_prefix)?;
        let includes = ListIncludes::of(&request)?;
        let status = list_status(&request)?;
        let delimiter = delimiter(&request)?;
        let mut prefix = request.encrypted_prefix.to_vec();
        if !prefix.is_empty() && !request.arbitrary_prefix {
            prefix.extend_from_slice(delimiter);
        }
        let query = ListQuery {
            project: &caller.project.id,
            bucket: &request.bucket,
            prefix: &prefix,
            cursor: &request.encrypted_cursor,
            version_cursor: check::version(&request.version_cursor)?
                .filter(|_| request.include_all_versions || status == ListStatus::Pending),
            delimiter: (!request.recursive).then_some(delimiter),
            status,
            limit: check::page_limit(request.limit, MAX_PAGE)?,
            now: caller.now,
        };
        let page = self.metabase.list_objects(&query).await.map_err(database)?;
        let items = page.entries.into_iter();
        let versions = request.include_all_versions;
        let item = |entry| {
            let mut item = self.item(caller, entry, includes, status, versions);
            // A bucket keeps one version of each object.
            item.is_latest = versions && status == ListStatus::Committed && !is_prefix(&item);
            item
        };
        Ok(messages::ListObjectsResponse { items: items.map(item).collect(), more: page.more })
    }

    fn item(
        &self,
        caller: &Caller,
        entry: ListedEntry,
        includes: ListIncludes,
        status: ListStatus,
        versions: bool,
    ) -> messages::ObjectListItem {
        let pending = status == ListStatus::Pending;
        match entry {
            ListedEntry::Prefix(prefix) => messages::ObjectListItem {
                encrypted_object_key: prefix.into(),
                status: WireStatus::Prefix.into(),
                object_version: if pending { vec![0; 16].into() } else { Vec::new().into() },
                ..messages::ObjectListItem::default()
            },
            ListedEntry::Object(key, object) => {
                self.object_item(caller, (key, &object), includes, (status, versions))
            }
        }
    }

    pub(super) fn object_item(
        &self,
        caller: &Caller,
        (key, object): (Vec<u8>, &Object),
        includes: ListIncludes,
        (status, versions): (ListStatus, bool),
    ) -> messages::ObjectListItem {
        let pending = status == ListStatus::Pending;
        let mut item = includes.item(key, object);
        if pending {
            item.created_at = Some(object.created.to_wire());
            let facts = StreamId::of(object);
            item.stream_id = self.tokens.stream_id(&caller.project.id, &facts);
        }
        if pending || versions {
            item.object_version = object.object_version().to_vec().into();
        }
        item
    }
}

impl ListIncludes {
    /// Default for clients that do not set options.
    const ALL: Self = Self { explicit: false, ..Self::PENDING };
    /// Fields of pending uploads to one key.
    pub(super) const PENDING: Self =
        Self { system: true, custom: true, etag: true, etag_or_custom: false, explicit: true };

    fn of(request: &messages::ListObjectsRequest) -> RpcResult<Self> {
        if !request.use_object_includes {
            return Ok(Self::ALL);
        }
        let wanted = request
            .object_includes
            .as_ref()
            .ok_or_else(|| invalid("object includes are missing"))?;
        Ok(Self {
            system: !wanted.exclude_system_metadata,
            custom: wanted.metadata,
            etag: wanted.include_etag,
            etag_or_custom: wanted.include_etag_or_custom_metadata,
            explicit: true,
        })
    }

    fn item(self, key: Vec<u8>, object: &Object) -> messages::ObjectListItem {
        let metadata = &object.metadata;
        let etag = self.etag || self.etag_or_custom;
        let custom = self.custom || self.etag_or_custom && metadata.etag.is_none();
        let mut item = messages::ObjectListItem {
            encrypted_object_key: key.into(),
            status: convert::status(object.status).into(),
            ..messages::ObjectListItem::default()
        };
        if self.system {
            item.created_at = Some(object.created.to_wire());
            item.expires_at = object.expires.map(Time::to_wire);
            item.plain_size = object.plain_size;
        }
        if custom || etag {
            item.encrypted_metadata_nonce = metadata.nonce.clone().unwrap_or_default().into();
            item.encrypted_metadata_encrypted_key = metadata.key.clone().unwrap_or_default().into();
        }
        if etag {
            item.encrypted_etag = metadata.etag.clone().unwrap_or_default().into();
        }
        let fields = StreamMetaFields { number: self.system, wrapped_key: !self.explicit };
        if custom {
            item.encrypted_metadata = fields.fill(object).into();
        } else if etag {
            // Clients need the empty envelope to decrypt the ETag.
            let mut without_data = object.clone();
            without_data.metadata.data = None;
            item.encrypted_metadata = fields.fill(&without_data).into();
        }
        item
    }
}

fn is_prefix(item: &messages::ObjectListItem) -> bool {
    item.status == i32::from(WireStatus::Prefix)
}

fn list_status(request: &messages::ListObjectsRequest) -> RpcResult<ListStatus> {
    match request.status() {
        WireStatus::Invalid | WireStatus::CommittedUnversioned | WireStatus::CommittedVersioned => {
            Ok(ListStatus::Committed)
        }
        WireStatus::Uploading => Ok(ListStatus::Pending),
        _ => Err(invalid("unsupported status")),
    }
}

fn delimiter(request: &messages::ListObjectsRequest) -> RpcResult<&[u8]> {
    match request.delimiter.as_ref() {
        b"" => Ok(DELIMITER),
        delimiter if delimiter.len() <= MAX_DELIMITER => Ok(delimiter),
        _ => Err(invalid("delimiter is too long: maximum is 64 bytes")),
    }
}
