//! Batches: several calls in one request, executed in order. Ids created by one call are filled into
//! the following ones.
//!
//! The header of the batch applies to every item. The first item that fails ends the batch with its
//! status; the effects of earlier items remain.

use bytes::Bytes;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_rpc::server::Peer;
use uplink_rpc::status::{Code, Failure};

use super::State;
use crate::auth::Caller;
use crate::failure::RpcResult;

/// Ids from successful items, for later items that leave the field empty.
#[derive(Default)]
struct CarryOver {
    stream_id: Bytes,
    segment_id: Bytes,
}

impl State {
    pub(super) async fn batch(
        &self,
        peer: Option<&Peer>,
        request: messages::BatchRequest,
    ) -> RpcResult<messages::BatchResponse> {
        // An empty batch needs no permission.
        if request.requests.is_empty() {
            return Ok(messages::BatchResponse::default());
        }
        let caller = &self.caller(request.header.as_ref(), peer).await?;
        let max = self.config.requests_per_batch;
        if request.requests.len() > usize::try_from(max).unwrap_or(usize::MAX) {
            let text = format!("batch has more than {max} requests");
            return Err(Failure::new(Code::INVALID_ARGUMENT, text));
        }

        let header = request.header;
        let mut carried = CarryOver::default();
        let mut responses = Vec::with_capacity(request.requests.len());
        let mut items = request.requests.into_iter().map(|item| item.request).peekable();
        while let Some(item) = items.next() {
            let mut item = item.ok_or_else(unsupported)?;
            // The authentication of the caller counted the first item.
            if !responses.is_empty() {
                self.rates.request(&caller.project.id, caller.now)?;
            }
            carried.fill_into(&mut item);
            let response = match item {
                Request::ObjectBegin(begin) => {
                    let multipart = !matches!(
                        items.peek(),
                        Some(Some(Request::SegmentBegin(_) | Request::SegmentMakeInline(_)))
                    );
                    Response::ObjectBegin(Box::pin(self.begin(caller, begin, multipart)).await?)
                }
                Request::BucketCreate(mut create) => {
                    create.header.clone_from(&header);
                    Response::BucketCreate(Box::pin(self.create_bucket(caller, create)).await?)
                }
                item => Box::pin(self.batch_item(caller, item)).await?,
            };
            carried.update(&response);
            responses.push(messages::BatchResponseItem { response: Some(response) });
        }
        Ok(messages::BatchResponse { responses })
    }

    async fn batch_item(&self, caller: &Caller, item: Request) -> RpcResult<Response> {
        macro_rules! dispatch {
            ($($item:ident => $call:ident;)*) => {
                match item {
                    $(Request::$item(request) => {
                        Ok(Response::$item(Box::pin(self.$call(caller, request)).await?))
                    })*
                    // As the public network's satellites, so that no client relies on more.
                    _ => Err(unsupported()),
                }
            };
        }
        dispatch! {
            BucketGet => get_bucket;
            BucketDelete => delete_bucket;
            BucketList => list_buckets;
            ObjectCommit => commit_object;
            ObjectGet => get_object;
            ObjectList => list_objects;
            ObjectBeginDelete => begin_delete_object;
            ObjectDownload => download_object;
            SegmentBegin => begin_segment;
            SegmentBeginRetryPieces => retry_begin_segment_pieces;
            SegmentCommit => commit_segment;
            SegmentMakeInline => make_inline_segment;
            SegmentList => list_segments;
            SegmentDownload => download_segment;
            ObjectsDelete => delete_objects;
            RevokeApiKey => revoke_api_key;
            BucketGetLocation => get_bucket_location;
            BucketGetVersioning => get_bucket_versioning;
            BucketSetVersioning => set_bucket_versioning;
            BucketGetObjectLockConfiguration => get_bucket_object_lock_configuration;
            BucketSetObjectLockConfiguration => set_bucket_object_lock_configuration;
            ObjectGetRetention => get_object_retention;
            ObjectSetRetention => set_object_retention;
            ObjectSetLegalHold => set_object_legal_hold;
            ObjectFinishDelete => finish_delete_object;
            SegmentBeginDelete => begin_delete_segment;
            SegmentFinishDelete => finish_delete_segment;
        }
    }
}

impl CarryOver {
    fn fill_into(&self, request: &mut Request) {
        let (field, carried) = match request {
            Request::ObjectCommit(request) => (&mut request.stream_id, &self.stream_id),
            Request::SegmentBegin(request) => (&mut request.stream_id, &self.stream_id),
            Request::SegmentMakeInline(request) => (&mut request.stream_id, &self.stream_id),
            Request::SegmentList(request) => (&mut request.stream_id, &self.stream_id),
            Request::SegmentDownload(request) => (&mut request.stream_id, &self.stream_id),
            Request::ObjectFinishDelete(request) => (&mut request.stream_id, &self.stream_id),
            Request::SegmentBeginDelete(request) => (&mut request.stream_id, &self.stream_id),
            Request::SegmentFinishDelete(request) => (&mut request.segment_id, &self.segment_id),
            Request::SegmentCommit(request) => (&mut request.segment_id, &self.segment_id),
            Request::SegmentBeginRetryPieces(request) => {
                (&mut request.segment_id, &self.segment_id)
            }
            _ => return,
        };
        if field.is_empty() {
            field.clone_from(carried);
        }
    }

    fn update(&mut self, response: &Response) {
        let stream_id_of = |object: &Option<messages::Object>| {
            object.as_ref().map(|object| object.stream_id.clone())
        };
        let stream_id = match response {
            Response::ObjectBegin(response) => Some(response.stream_id.clone()),
            Response::ObjectGet(response) => stream_id_of(&response.object),
            Response::ObjectDownload(response) => stream_id_of(&response.object),
            Response::ObjectBeginDelete(response) => Some(response.stream_id.clone()),
            _ => None,
        };
        let segment_id = match response {
            Response::SegmentBegin(response) => Some(&response.segment_id),
            Response::SegmentDownload(response) => Some(&response.segment_id),
            _ => None,
        };
        if let Some(stream_id) = stream_id {
            self.stream_id = stream_id;
        }
        if let Some(segment_id) = segment_id {
            self.segment_id = segment_id.clone();
        }
    }
}

fn unsupported() -> Failure {
    Failure::new(Code::UNKNOWN, "unsupported request type")
}
