//! Calls to the satellite that the client never makes: what a satellite can do by itself.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use prost::Message;
use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::Key;
use uplink_core::encryption::content::append_padding;
use uplink_core::encryption::path::{content_key, encrypt_path};
use uplink_core::erasure::{Encoder, Scheme};
use uplink_core::id::NodeId;
use uplink_core::macaroon::ApiKey;
use uplink_core::order::{OrderLimit, PieceHashAlgorithm, PiecePrivateKey};
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::encryption::EncryptionParameters;
use uplink_rpc::r#gen::metainfo::{self as messages, AddressedOrderLimit, RequestHeader};
use uplink_rpc::piece::Target;
use uplink_rpc::piece::upload::upload;
use uplink_rpc::pool::Pool;
use uplink_rpc::tls::Identity;
use uplink_testnet::{Call, Upstream};

use super::world::{BUCKET, World};

/// The satellite, called directly.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    upstream: Upstream,
    header: RequestHeader,
    nodes: Pool,
    grant: String,
}

const TIMEOUT: Duration = Duration::from_secs(5);

impl Raw {
    pub(crate) fn new(world: &World) -> Self {
        let api_key = ApiKey::parse(&world.api_key).expect("an API key").to_bytes().into();
        let identity = Identity::generate().expect("an identity");
        Self {
            upstream: world.satellite.upstream(),
            header: RequestHeader { api_key, ..Default::default() },
            nodes: Pool::new(Dialer::new(&identity).expect("a dialer")),
            grant: world.honest_access.serialize().expect("a grant"),
        }
    }

    /// Returns the encrypted key of an object.
    pub(crate) fn encrypted_key(&self, key: &str) -> Bytes {
        let grant = AccessGrant::parse(&self.grant).expect("a grant");
        let encrypted = encrypt_path(grant.encryption(), BUCKET.as_bytes(), key.as_bytes());
        encrypted.expect("a key").into()
    }

    /// Returns the key that wraps the keys of an object's segments.
    pub(crate) fn content_key(&self, key: &str) -> Key {
        let grant = AccessGrant::parse(&self.grant).expect("a grant");
        content_key(grant.encryption(), BUCKET.as_bytes(), key.as_bytes()).expect("a key")
    }

    pub(crate) async fn download_object(&self, key: &[u8]) -> messages::DownloadObjectResponse {
        let request = messages::DownloadObjectRequest {
            bucket: BUCKET.into(),
            encrypted_object_key: Bytes::copy_from_slice(key),
            header: self.header(),
            ..Default::default()
        };
        self.call("DownloadObject", &request).await
    }

    /// Returns the complete list of an object's segments.
    pub(crate) async fn list_segments(&self, stream_id: &Bytes) -> Vec<messages::SegmentListItem> {
        let mut items: Vec<messages::SegmentListItem> = Vec::new();
        loop {
            let request = messages::ListSegmentsRequest {
                stream_id: stream_id.clone(),
                cursor_position: items.last().and_then(|last| last.position),
                header: self.header(),
                ..Default::default()
            };
            let page: messages::ListSegmentsResponse = self.call("ListSegments", &request).await;
            items.extend(page.items);
            if !page.more {
                return items;
            }
        }
    }

    pub(crate) async fn download_segment(
        &self,
        stream_id: &Bytes,
        position: messages::SegmentPosition,
    ) -> messages::DownloadSegmentResponse {
        let request = messages::DownloadSegmentRequest {
            stream_id: stream_id.clone(),
            cursor_position: Some(position),
            desired_nodes: i32::MAX,
            header: self.header(),
            ..Default::default()
        };
        self.call("DownloadSegment", &request).await
    }

    /// Moves an object without rewrapping its keys: clients cannot read it there, but its pieces stay.
    pub(crate) async fn move_aside(&self, key: &Bytes, name: &str) -> Bytes {
        let aside: Bytes = [key.as_ref(), name.as_bytes()].concat().into();
        let request = messages::BeginMoveObjectRequest {
            bucket: BUCKET.into(),
            encrypted_object_key: key.clone(),
            new_bucket: BUCKET.into(),
            new_encrypted_object_key: aside.clone(),
            header: self.header(),
        };
        let begun: messages::BeginMoveObjectResponse = self.call("BeginMoveObject", &request).await;
        let request = messages::FinishMoveObjectRequest {
            stream_id: begun.stream_id,
            new_bucket: BUCKET.into(),
            new_encrypted_object_key: aside.clone(),
            new_encrypted_metadata_key_nonce: begun.encrypted_metadata_key_nonce,
            new_encrypted_metadata_key: begun.encrypted_metadata_key,
            new_segment_keys: begun.segment_keys,
            header: self.header(),
            ..Default::default()
        };
        let _: messages::FinishMoveObjectResponse = self.call("FinishMoveObject", &request).await;
        aside
    }

    /// Stores encrypted blocks on nodes as the segment of a new object, and returns its stream and position.
    pub(crate) async fn store(
        &self,
        name: &str,
        blocks: &[u8],
    ) -> (Bytes, messages::SegmentPosition) {
        let position = messages::SegmentPosition::default();
        let request = messages::BeginObjectRequest {
            bucket: BUCKET.into(),
            encrypted_object_key: Bytes::copy_from_slice(name.as_bytes()),
            encryption_parameters: Some(EncryptionParameters { cipher_suite: 2, block_size: 7424 }),
            header: self.header(),
            ..Default::default()
        };
        let begun: messages::BeginObjectResponse = self.call("BeginObject", &request).await;
        let request = messages::BeginSegmentRequest {
            stream_id: begun.stream_id.clone(),
            position: Some(position),
            max_order_limit: 64 << 20,
            header: self.header(),
            ..Default::default()
        };
        let segment: messages::BeginSegmentResponse = self.call("BeginSegment", &request).await;
        let upload_result = self.send_pieces(&segment, blocks).await;
        let request = messages::CommitSegmentRequest {
            segment_id: segment.segment_id,
            encrypted_key_nonce: vec![1; 24].into(),
            encrypted_key: vec![1; 48].into(),
            size_encrypted_data: blocks.len() as i64,
            plain_size: (blocks.len() / 7424 * 7408 - 4) as i64,
            upload_result,
            header: self.header(),
            ..Default::default()
        };
        let _: messages::CommitSegmentResponse = self.call("CommitSegment", &request).await;
        let request = messages::CommitObjectRequest {
            stream_id: begun.stream_id.clone(),
            header: self.header(),
            ..Default::default()
        };
        let committed: messages::CommitObjectResponse = self.call("CommitObject", &request).await;
        (committed.object.expect("an object").stream_id, position)
    }

    async fn send_pieces(
        &self,
        segment: &messages::BeginSegmentResponse,
        blocks: &[u8],
    ) -> Vec<messages::SegmentPieceUploadResult> {
        let wire = segment.redundancy_scheme.expect("a scheme");
        let scheme = Scheme::from_wire(
            wire.min_req,
            wire.repair_threshold,
            wire.success_threshold,
            wire.total,
            wire.erasure_share_size,
        );
        let scheme = scheme.expect("a scheme");
        let share = wire.erasure_share_size as usize;
        let stripe = share * usize::from(scheme.required());
        let mut stripes = blocks.to_vec();
        append_padding(&mut stripes, blocks.len() as u64, stripe as u64).expect("padded");
        let encoder = Encoder::new(&scheme);
        let mut results = Vec::new();
        for (number, addressed) in (0_u16..).zip(&segment.addressed_limits) {
            let mut piece = vec![0; stripes.len() / stripe * share];
            encoder.encode_piece(&stripes, number, &mut piece).expect("a piece");
            results.push(self.send_piece(number, addressed, &segment.private_key, piece).await);
        }
        results
    }

    async fn send_piece(
        &self,
        number: u16,
        addressed: &AddressedOrderLimit,
        key: &[u8],
        piece: Vec<u8>,
    ) -> messages::SegmentPieceUploadResult {
        let limit = addressed.limit.clone().expect("a limit");
        let typed: OrderLimit = limit.decode_typed().expect("a limit");
        let node = NodeId::from_slice(&typed.storage_node_id).expect("a node");
        let address = &addressed.storage_node_address.as_ref().expect("an address").address;
        let connection = self.nodes.peer(node, address);
        let key = PiecePrivateKey::from_bytes(key).expect("a key");
        let target = Target::new(connection, limit, key, TIMEOUT).expect("a target");
        let piece = stream::iter([Ok(Bytes::from(piece))]);
        let stored = upload(target, PieceHashAlgorithm::Blake3, piece).await.expect("stored");
        messages::SegmentPieceUploadResult {
            piece_num: number.into(),
            node_id: typed.storage_node_id.into(),
            hash: Some(stored.hash),
        }
    }

    async fn call<Q: Message, A: Message + Default>(&self, method: &str, request: &Q) -> A {
        let answer = self.upstream.call(&Call::new(method, request.encode_to_vec())).await;
        A::decode(answer.unwrap_or_else(|failure| panic!("{method}: {failure}")))
            .expect("an answer")
    }

    fn header(&self) -> Option<RequestHeader> {
        Some(self.header.clone())
    }
}
