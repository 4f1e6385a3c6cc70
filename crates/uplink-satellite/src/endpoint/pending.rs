//! Calls for pending uploads.

use uplink_core::macaroon::Operation;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::status::{Code, Failure};

use super::list::ListIncludes;
use super::{State, check};
use crate::auth::Caller;
use crate::failure::{RpcResult, database, invalid};
use crate::metabase::{ListStatus, MAX_PAGE, Object, Status};
use crate::token::StreamId;

/// Maximum bytes per page, well below the message limit.
const MAX_PAGE_BYTES: usize = 2 << 20;

impl State {
    /// Lists the pending uploads to one key. A client can resume any of them.
    pub(super) async fn list_pending_object_streams(
        &self,
        caller: &Caller,
        request: messages::ListPendingObjectStreamsRequest,
    ) -> RpcResult<messages::ListPendingObjectStreamsResponse> {
        let bucket = &request.bucket;
        let key = &request.encrypted_object_key;
        check::bucket(bucket)?;
        caller.require(Operation::List, bucket, key)?;
        check::key(key)?;
        let limit = check::page_limit(request.limit, MAX_PAGE)?;
        let project = &caller.project.id;
        let cursor = if request.stream_id_cursor.is_empty() {
            None
        } else {
            Some(self.tokens.open_stream_id(project, &request.stream_id_cursor)?.stream())
        };
        let rows = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
        let location = (project, &bucket[..], &key[..]);
        let found = self
            .metabase
            .pending_streams(location, cursor, rows, caller.now)
            .await
            .map_err(database)?;
        let count = found.len();

        let mut bytes = 0usize;
        let fitting = found.into_iter().take(limit).take_while(|object| {
            let fits = bytes < MAX_PAGE_BYTES;
            bytes = bytes.saturating_add(object.encoded_size());
            fits
        });
        let items: Vec<_> = fitting.map(|object| self.pending_item(caller, object)).collect();
        Ok(messages::ListPendingObjectStreamsResponse { more: items.len() < count, items })
    }

    pub(super) async fn get_pending_object_metadata(
        &self,
        caller: &Caller,
        request: messages::GetPendingObjectMetadataRequest,
    ) -> RpcResult<messages::GetPendingObjectMetadataResponse> {
        let bucket = &request.bucket;
        let key = &request.encrypted_object_key;
        check::bucket(bucket)?;
        if !caller.may(Operation::List, bucket, key) {
            caller.require(Operation::Read, bucket, key)?;
        }
        let stream = self.own_stream(caller, &request.stream_id, (bucket, key))?;
        let found = self.metabase.object_of_stream(&caller.project.id, &stream.stream()).await;
        let pending = found.map_err(database)?.filter(|object| object.status == Status::Pending);
        let object = pending.ok_or_else(|| {
            Failure::new(Code::NOT_FOUND, "object not found: no pending object of that stream id")
        })?;
        Ok(messages::GetPendingObjectMetadataResponse {
            encrypted_metadata_nonce: object.metadata.nonce.unwrap_or_default().into(),
            encrypted_metadata_encrypted_key: object.metadata.key.unwrap_or_default().into(),
            encrypted_metadata: object.metadata.data.unwrap_or_default().into(),
            encrypted_etag: object.metadata.etag.unwrap_or_default().into(),
            ..messages::GetPendingObjectMetadataResponse::default()
        })
    }

    /// Deletes a part of an upload. Without a stream id it succeeds and does nothing, as on the public
    /// network.
    pub(super) async fn delete_part(
        &self,
        caller: &Caller,
        request: messages::DeletePartRequest,
    ) -> RpcResult<messages::DeletePartResponse> {
        if request.stream_id.is_empty() {
            return Ok(messages::DeletePartResponse {});
        }
        let project = &caller.project.id;
        let stream = self.tokens.open_stream_id(project, &request.stream_id)?;
        caller.require(Operation::Delete, &stream.bucket, &stream.key)?;
        let part =
            u32::try_from(request.part_number).map_err(|_| invalid("part number is negative"))?;
        self.metabase.delete_part(project, &stream.stream(), part).await.map_err(database)?;
        Ok(messages::DeletePartResponse {})
    }

    /// Opens a stream id and rejects it unless it belongs to the requested bucket and key.
    pub(super) fn own_stream(
        &self,
        caller: &Caller,
        stream_id: &[u8],
        (bucket, key): (&[u8], &[u8]),
    ) -> RpcResult<StreamId> {
        let stream = self.tokens.open_stream_id(&caller.project.id, stream_id)?;
        if stream.bucket != bucket || stream.key != key {
            return Err(invalid("stream id belongs to another object"));
        }
        Ok(stream)
    }

    fn pending_item(&self, caller: &Caller, object: Object) -> messages::ObjectListItem {
        let named = (object.key.clone(), &object);
        self.object_item(caller, named, ListIncludes::PENDING, (ListStatus::Pending, false))
    }
}
