//! Consistent forged responses about one object: the proxy answers every call of a read as an
//! honest satellite would if the object were as forged.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prost::Message;
use uplink_core::id::SegmentPosition;
use uplink_core::layout;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_rpc::r#gen::metainfo::range::Range as WireRange;
use uplink_rpc::r#gen::metainfo::{self as messages, BatchResponse, BatchResponseItem};
use uplink_rpc::status::{Code, Failure};
use uplink_testnet::{Answer, Call, Upstream};

use super::raw::Raw;

/// An object as the proxy presents it.
#[derive(Clone, Debug)]
pub(crate) struct Forgery {
    pub(crate) object: messages::Object,
    pub(crate) segments: Vec<Part>,
    /// Segments per page of a listing.
    pub(crate) page: usize,
}

/// A segment as the proxy presents it.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) item: messages::SegmentListItem,
    pub(crate) content: Content,
    /// Key and nonce in the response to a download, if they differ from the listed ones.
    pub(crate) key: Option<(Bytes, Bytes)>,
    /// Last edit of the response to a download.
    pub(crate) change: fn(&mut messages::DownloadSegmentResponse),
}

/// Source of the bytes of a segment.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A segment stored by the satellite.
    Stored(Bytes, messages::SegmentPosition),
    Inline(Bytes),
}

/// Kinds of calls made by a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallKind {
    /// The beginning of a copy or move.
    Copy,
    Stat,
    Download,
    List,
    Segment,
}

/// Returns the index of the forgery for a call, given its kind and the number of earlier calls of
/// that kind.
pub(crate) type Selector = fn(CallKind, usize) -> usize;

/// Segments per page, unless the forgery sets another number.
const PAGE: usize = 1000;

impl Forgery {
    /// Returns the true responses about an object.
    pub(crate) async fn of(raw: &Raw, encrypted_key: &[u8]) -> Self {
        let reply = raw.download_object(encrypted_key).await;
        let object = reply.object.expect("the object");
        let items = raw.list_segments(&object.stream_id).await;
        let mut segments = Vec::new();
        for item in items {
            let position = item.position.expect("a position");
            let reply = raw.download_segment(&object.stream_id, position).await;
            let content = match reply.addressed_limits.is_empty() {
                true => Content::Inline(reply.encrypted_inline_data),
                false => Content::Stored(object.stream_id.clone(), position),
            };
            segments.push(Part { item, content, key: None, change: |_| {} });
        }
        Self { object, segments, page: PAGE }
    }

    /// Moves an object aside and returns its true responses, with the segments at their new place.
    pub(crate) async fn move_aside(raw: &Raw, encrypted_key: &Bytes, name: &str) -> Self {
        let there = Self::of(raw, encrypted_key).await;
        let aside = raw.move_aside(encrypted_key, name).await;
        Self { segments: Self::of(raw, &aside).await.segments, ..there }
    }

    /// Sets offsets and the object's size from the sizes of the segments.
    pub(crate) fn make_consistent(&mut self) {
        let mut offset = 0;
        for part in &mut self.segments {
            part.item.plain_offset = offset;
            offset += part.item.plain_size;
        }
        self.object.plain_size = offset;
    }

    fn items(&self, after: Option<SegmentPosition>, range: Option<&messages::Range>) -> Vec<&Part> {
        let range = self.range(range);
        let in_range = |part: &&Part| {
            let start = part.item.plain_offset;
            let end = start + part.item.plain_size;
            range.is_none_or(|(from, to)| start < to && end > from)
        };
        let position = |part: &Part| position(part.item.position);
        let behind = |part: &&Part| after.is_none_or(|after| position(part) > after);
        self.segments.iter().filter(behind).filter(in_range).collect()
    }

    /// Returns the requested byte range; `None` for the whole object.
    fn range(&self, range: Option<&messages::Range>) -> Option<(i64, i64)> {
        // Without a recorded size, as in objects of old formats, the segments determine it.
        let end =
            self.segments.last().map_or(0, |part| part.item.plain_offset + part.item.plain_size);
        let size = if self.object.plain_size == 0 { end } else { self.object.plain_size };
        match range.and_then(|range| range.range.as_ref())? {
            WireRange::Start(range) => Some((range.plain_start, size)),
            WireRange::StartLimit(range) => Some((range.plain_start, range.plain_limit.min(size))),
            WireRange::Suffix(range) => Some(((size - range.plain_suffix).max(0), size)),
        }
    }

    fn page(&self, items: &[&Part]) -> messages::ListSegmentsResponse {
        messages::ListSegmentsResponse {
            items: items.iter().take(self.page).map(|part| part.item.clone()).collect(),
            more: items.len() > self.page,
            encryption_parameters: self.object.encryption_parameters,
        }
    }

    /// Answers a request from the forgery; `None` if it has no segments.
    async fn answer(&self, request: Request, raw: &Raw) -> Option<Response> {
        Some(match request {
            Request::ObjectGet(_) => Response::ObjectGet(messages::GetObjectResponse {
                object: Some(self.object.clone()),
            }),
            Request::ObjectBeginCopy(_) => Response::ObjectBeginCopy(self.copy_offer()),
            Request::ObjectBeginMove(_) => Response::ObjectBeginMove(self.move_offer()),
            Request::SegmentList(request) => Response::SegmentList(self.list(&request)),
            Request::SegmentDownload(request) => {
                let wanted = position(request.cursor_position);
                let segments = &mut self.segments.iter();
                let part = segments.find(|part| position(part.item.position) == wanted);
                // A missing segment is answered with the last one.
                let part = part.or_else(|| self.segments.last())?;
                Response::SegmentDownload(part.download(raw).await)
            }
            Request::ObjectDownload(request) => {
                let items = self.items(None, request.range.as_ref());
                let list = Some(self.page(&items));
                let first = match items.first() {
                    Some(part) => vec![part.download(raw).await],
                    None => Vec::new(),
                };
                Response::ObjectDownload(messages::DownloadObjectResponse {
                    object: Some(self.object.clone()),
                    segment_list: list,
                    segment_download: first,
                })
            }
            other => panic!("no forgery answers {other:?}"),
        })
    }

    fn copy_offer(&self) -> messages::BeginCopyObjectResponse {
        messages::BeginCopyObjectResponse {
            stream_id: self.object.stream_id.clone(),
            encryption_parameters: self.object.encryption_parameters,
            encrypted_metadata_key_nonce: self.object.encrypted_metadata_nonce.clone(),
            encrypted_metadata_key: self.object.encrypted_metadata_encrypted_key.clone(),
            segment_keys: self.wrapped_keys(),
            ..Default::default()
        }
    }

    fn move_offer(&self) -> messages::BeginMoveObjectResponse {
        messages::BeginMoveObjectResponse {
            stream_id: self.object.stream_id.clone(),
            encryption_parameters: self.object.encryption_parameters,
            encrypted_metadata_key_nonce: self.object.encrypted_metadata_nonce.clone(),
            encrypted_metadata_key: self.object.encrypted_metadata_encrypted_key.clone(),
            segment_keys: self.wrapped_keys(),
        }
    }

    fn wrapped_keys(&self) -> Vec<messages::EncryptedKeyAndNonce> {
        let wrapped = |part: &Part| messages::EncryptedKeyAndNonce {
            position: part.item.position,
            encrypted_key_nonce: part.item.encrypted_key_nonce.clone(),
            encrypted_key: part.item.encrypted_key.clone(),
        };
        self.segments.iter().map(wrapped).collect()
    }

    fn list(&self, request: &messages::ListSegmentsRequest) -> messages::ListSegmentsResponse {
        let after = request.cursor_position.map(|cursor| position(Some(cursor)));
        let after = after.filter(|after| *after != SegmentPosition::default());
        self.page(&self.items(after, request.range.as_ref()))
    }
}

impl Part {
    pub(crate) fn position_mut(&mut self) -> &mut messages::SegmentPosition {
        self.item.position.as_mut().expect("a position")
    }

    /// Returns the response to a download of the segment.
    async fn download(&self, raw: &Raw) -> messages::DownloadSegmentResponse {
        let mut reply = match &self.content {
            Content::Stored(stream_id, position) => {
                raw.download_segment(stream_id, *position).await
            }
            Content::Inline(bytes) => messages::DownloadSegmentResponse {
                segment_size: bytes.len() as i64,
                encrypted_inline_data: bytes.clone(),
                ..Default::default()
            },
        };
        reply.position = self.item.position;
        reply.plain_offset = self.item.plain_offset;
        reply.plain_size = self.item.plain_size;
        if matches!(self.content, Content::Stored(..)) {
            let size = u64::try_from(self.item.plain_size).unwrap_or_default();
            let size = layout::encrypted_size(size, layout::BLOCK_SIZE).unwrap_or_default();
            reply.segment_size = size as i64;
        }
        let listed = (self.item.encrypted_key.clone(), self.item.encrypted_key_nonce.clone());
        (reply.encrypted_key, reply.encrypted_key_nonce) = self.key.clone().unwrap_or(listed);
        (self.change)(&mut reply);
        reply
    }
}

pub(crate) fn position(wire: Option<messages::SegmentPosition>) -> SegmentPosition {
    let wire = wire.unwrap_or_default();
    let number = |number: i32| u32::try_from(number).unwrap_or_default();
    SegmentPosition { part: number(wire.part_number), index: number(wire.index) }
}

/// Answers calls about one object from forgeries and forwards all others.
pub(crate) struct Forger {
    raw: Raw,
    encrypted_key: Bytes,
    forgeries: Vec<Forgery>,
    select: Selector,
    counts: Mutex<HashMap<CallKind, usize>>,
}

impl Forger {
    pub(crate) fn new(
        raw: Raw,
        encrypted_key: Bytes,
        forgeries: Vec<Forgery>,
        select: Selector,
    ) -> Arc<Self> {
        Arc::new(Self { raw, encrypted_key, forgeries, select, counts: Mutex::default() })
    }

    /// Answers a call of a client.
    pub(crate) async fn answer(self: Arc<Self>, call: Call, upstream: Upstream) -> Answer {
        let requests = requests_of(&call);
        let asked: Option<Vec<CallKind>> =
            requests.iter().map(|request| self.asked(request)).collect();
        // A batch with a call about anything else is forwarded as a whole.
        let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
            return upstream.call(&call).await;
        };
        let mut responses = Vec::new();
        for (request, asked) in requests.into_iter().zip(asked) {
            let response = self.forgery(asked).answer(request, &self.raw).await;
            let response = response.ok_or_else(missing_segment)?;
            responses.push(BatchResponseItem { response: Some(response) });
        }
        if call.method == "Batch" {
            return Ok(BatchResponse { responses }.encode_to_vec().into());
        }
        let response = responses.into_iter().next().and_then(|item| item.response);
        Ok(encoded(&response.expect("a response")))
    }

    fn asked(&self, request: &Request) -> Option<CallKind> {
        match request {
            Request::ObjectGet(get) if get.encrypted_object_key == self.encrypted_key => {
                Some(CallKind::Stat)
            }
            Request::ObjectDownload(get) if get.encrypted_object_key == self.encrypted_key => {
                Some(CallKind::Download)
            }
            Request::ObjectBeginCopy(copy) if copy.encrypted_object_key == self.encrypted_key => {
                Some(CallKind::Copy)
            }
            Request::ObjectBeginMove(object)
                if object.encrypted_object_key == self.encrypted_key =>
            {
                Some(CallKind::Copy)
            }
            Request::SegmentList(_) => Some(CallKind::List),
            Request::SegmentDownload(_) => Some(CallKind::Segment),
            _ => None,
        }
    }

    fn forgery(&self, asked: CallKind) -> &Forgery {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(asked).or_default();
        let forgery = (self.select)(asked, *count);
        *count += 1;
        &self.forgeries[forgery]
    }
}

/// Returns the requests of a call that a forgery may answer.
pub(crate) fn requests_of(call: &Call) -> Vec<Request> {
    let request = call.request.clone();
    match call.method.as_str() {
        "Batch" => {
            let batch = messages::BatchRequest::decode(request).expect("a batch");
            batch.requests.into_iter().filter_map(|item| item.request).collect()
        }
        // The reference client requests objects outside of batches.
        "DownloadObject" => vec![Request::ObjectDownload(decoded(request))],
        "ListSegments" => vec![Request::SegmentList(decoded(request))],
        "BeginCopyObject" => vec![Request::ObjectBeginCopy(decoded(request))],
        "BeginMoveObject" => vec![Request::ObjectBeginMove(decoded(request))],
        "FinishCopyObject" => vec![Request::ObjectFinishCopy(decoded(request))],
        "FinishMoveObject" => vec![Request::ObjectFinishMove(decoded(request))],
        "UpdateObjectMetadata" => vec![Request::ObjectUpdateMetadata(decoded(request))],
        _ => Vec::new(),
    }
}

fn decoded<M: Message + Default>(request: Bytes) -> M {
    M::decode(request).expect("a request")
}

/// Encodes the response to a call outside of a batch.
pub(crate) fn encoded(response: &Response) -> Bytes {
    let bytes = match response {
        Response::ObjectBeginCopy(offer) => offer.encode_to_vec(),
        Response::ObjectBeginMove(offer) => offer.encode_to_vec(),
        Response::ObjectDownload(object) => object.encode_to_vec(),
        Response::ObjectFinishMove(moved) => moved.encode_to_vec(),
        Response::ObjectUpdateMetadata(updated) => updated.encode_to_vec(),
        Response::SegmentList(list) => list.encode_to_vec(),
        other => panic!("{other:?} answers no call of its own"),
    };
    bytes.into()
}

fn missing_segment() -> Failure {
    Failure::new(Code::NOT_FOUND, "segment not found")
}
