//! Decodes a message by the path of its call.

use std::fmt::Debug;
use std::io::Read as _;

use bytes::Bytes;
use ruzstd::decoding::StreamingDecoder;
use uplink_rpc::codec::{self, Bounded};
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_rpc::r#gen::metainfo::compressed_batch_request::CompressionType;
use uplink_rpc::r#gen::metainfo::{
    self, BatchRequest, BatchResponse, CompressedBatchRequest, CompressedBatchResponse,
};
use uplink_rpc::r#gen::piecestore::{
    PieceDownloadRequest, PieceDownloadResponse, PieceUploadRequest, PieceUploadResponse,
};

use super::recording::Side;

/// The content of a message. A separate call and an item of a batch look the same.
#[derive(Debug)]
pub(crate) enum Content {
    Requests(Vec<Request>),
    Responses(Vec<Response>),
    Upload(PieceUploadRequest),
    Uploaded(PieceUploadResponse),
    Download(PieceDownloadRequest),
    Downloaded(PieceDownloadResponse),
    /// A message that is only decoded.
    Other,
}

/// A decoded message.
pub(crate) struct Read {
    pub(crate) content: Content,
    /// The re-encoded message.
    pub(crate) encoded: Vec<u8>,
    /// The batch inside a compressed one, as recorded and re-encoded.
    pub(crate) inner: Option<(Bytes, Vec<u8>)>,
}

macro_rules! unary {
    ($rpc:expr, $side:expr, $wire:expr; $($path:literal $variant:ident $request:ident $response:ident)*) => {
        match ($rpc, $side) {
            $(
                (concat!("/metainfo.Metainfo/", $path), Side::Client) => {
                    let (message, encoded) = both::<metainfo::$request>($wire);
                    (Content::Requests(vec![Request::$variant(message)]), encoded)
                }
                (concat!("/metainfo.Metainfo/", $path), Side::Server) => {
                    let (message, encoded) = both::<metainfo::$response>($wire);
                    (Content::Responses(vec![Response::$variant(message)]), encoded)
                }
            )*
            (rpc, side) => other(rpc, side, $wire),
        }
    };
}

/// Decodes and re-encodes a message.
pub(crate) fn read(rpc: &str, side: Side, wire: Bytes) -> Read {
    if rpc == "/metainfo.Metainfo/CompressedBatch" {
        return compressed(side, wire);
    }
    let (content, encoded) = unary! { rpc, side, wire;
        "BeginCopyObject" ObjectBeginCopy BeginCopyObjectRequest BeginCopyObjectResponse
        "BeginDeleteObject" ObjectBeginDelete BeginDeleteObjectRequest BeginDeleteObjectResponse
        "BeginMoveObject" ObjectBeginMove BeginMoveObjectRequest BeginMoveObjectResponse
        "BeginObject" ObjectBegin BeginObjectRequest BeginObjectResponse
        "CommitObject" ObjectCommit CommitObjectRequest CommitObjectResponse
        "CommitSegment" SegmentCommit CommitSegmentRequest CommitSegmentResponse
        "CreateBucket" BucketCreate CreateBucketRequest CreateBucketResponse
        "DeleteBucket" BucketDelete DeleteBucketRequest DeleteBucketResponse
        "DeleteObjects" ObjectsDelete DeleteObjectsRequest DeleteObjectsResponse
        "DeletePart" PartDelete DeletePartRequest DeletePartResponse
        "DownloadObject" ObjectDownload DownloadObjectRequest DownloadObjectResponse
        "FinishCopyObject" ObjectFinishCopy FinishCopyObjectRequest FinishCopyObjectResponse
        "FinishDeleteObject" ObjectFinishDelete FinishDeleteObjectRequest FinishDeleteObjectResponse
        "FinishMoveObject" ObjectFinishMove FinishMoveObjectRequest FinishMoveObjectResponse
        "GetBucketLocation" BucketGetLocation GetBucketLocationRequest GetBucketLocationResponse
        "GetBucketObjectLockConfiguration" BucketGetObjectLockConfiguration
            GetBucketObjectLockConfigurationRequest GetBucketObjectLockConfigurationResponse
        "GetBucketTagging" BucketGetTagging GetBucketTaggingRequest GetBucketTaggingResponse
        "GetBucketVersioning" BucketGetVersioning GetBucketVersioningRequest GetBucketVersioningResponse
        "GetObject" ObjectGet GetObjectRequest GetObjectResponse
        "GetObjectRetention" ObjectGetRetention GetObjectRetentionRequest GetObjectRetentionResponse
        "ListBuckets" BucketList ListBucketsRequest ListBucketsResponse
        "ListObjects" ObjectList ListObjectsRequest ListObjectsResponse
        "ListPendingObjectStreams" ObjectListPendingStreams
            ListPendingObjectStreamsRequest ListPendingObjectStreamsResponse
        "ListSegments" SegmentList ListSegmentsRequest ListSegmentsResponse
        "RevokeAPIKey" RevokeApiKey RevokeApiKeyRequest RevokeApiKeyResponse
        "UpdateObjectMetadata" ObjectUpdateMetadata
            UpdateObjectMetadataRequest UpdateObjectMetadataResponse
    };
    Read { content, encoded, inner: None }
}

fn other(rpc: &str, side: Side, wire: Bytes) -> (Content, Vec<u8>) {
    match (rpc, side) {
        ("/metainfo.Metainfo/Batch", Side::Client) => requests(wire),
        ("/metainfo.Metainfo/Batch", Side::Server) => responses(wire),
        ("/metainfo.Metainfo/ProjectInfo", Side::Client) => {
            (Content::Other, both::<metainfo::ProjectInfoRequest>(wire).1)
        }
        ("/metainfo.Metainfo/ProjectInfo", Side::Server) => {
            (Content::Other, both::<metainfo::ProjectInfoResponse>(wire).1)
        }
        ("/piecestore.Piecestore/Upload", Side::Client) => map(Content::Upload, both(wire)),
        ("/piecestore.Piecestore/Upload", Side::Server) => map(Content::Uploaded, both(wire)),
        ("/piecestore.Piecestore/Download", Side::Client) => map(Content::Download, both(wire)),
        ("/piecestore.Piecestore/Download", Side::Server) => map(Content::Downloaded, both(wire)),
        // A call that no node knows was made with an empty message.
        ("/piecestore.Piecestore/Delete", Side::Client) if wire.is_empty() => {
            (Content::Other, Vec::new())
        }
        _ => panic!("message of {side:?} for unknown call {rpc}"),
    }
}

fn map<M>(content: fn(M) -> Content, (message, encoded): (M, Vec<u8>)) -> (Content, Vec<u8>) {
    (content(message), encoded)
}

fn requests(wire: Bytes) -> (Content, Vec<u8>) {
    let (batch, encoded) = both::<BatchRequest>(wire);
    // A batch may hold an item without a kind: one was sent to record the satellite's response.
    let requests = batch.requests.into_iter().filter_map(|item| item.request).collect();
    (Content::Requests(requests), encoded)
}

fn responses(wire: Bytes) -> (Content, Vec<u8>) {
    let (batch, encoded) = both::<BatchResponse>(wire);
    let responses = batch.responses.into_iter().filter_map(|item| item.response).collect();
    (Content::Responses(responses), encoded)
}

fn compressed(side: Side, wire: Bytes) -> Read {
    let (encoded, selected, data) = match side {
        Side::Client => {
            let (message, encoded) = both::<CompressedBatchRequest>(wire);
            (encoded, message.selected(), message.data)
        }
        Side::Server => {
            let (message, encoded) = both::<CompressedBatchResponse>(wire);
            (encoded, message.selected(), message.data)
        }
    };
    let batch = match selected {
        CompressionType::None => data,
        CompressionType::Zstd => {
            let mut batch = Vec::new();
            let mut decoder = StreamingDecoder::new(&data[..]).expect("a frame");
            decoder.read_to_end(&mut batch).expect("a whole frame");
            batch.into()
        }
    };
    let (content, inner) = match side {
        Side::Client => requests(batch.clone()),
        Side::Server => responses(batch.clone()),
    };
    Read { content, encoded, inner: Some((batch, inner)) }
}

/// Decodes and re-encodes a message, and asserts that decoding it again yields an equal message.
fn both<M: Bounded + PartialEq + Debug>(wire: Bytes) -> (M, Vec<u8>) {
    let message: M = codec::decode(wire).expect("a message of this type");
    let encoded = message.encode_to_vec();
    assert_eq!(M::decode(&encoded[..]).as_ref(), Ok(&message));
    (message, encoded)
}
