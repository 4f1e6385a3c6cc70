//! A satellite with storage nodes that only check in and sign, and a client.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tonic::service::Routes;
use uplink_core::id::NodeId;
use uplink_core::macaroon::ApiKey;
use uplink_core::order::{OrderLimit, PieceHash, PieceHashAlgorithm};
use uplink_rpc::channel::Channel;
use uplink_rpc::client;
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::contact::contact_server::{Contact, ContactServer};
use uplink_rpc::r#gen::contact::{
    CheckInRequest, CheckInResponse, ContactPingRequest, ContactPingResponse,
};
use uplink_rpc::r#gen::encryption::EncryptionParameters;
use uplink_rpc::r#gen::metainfo::metainfo_client::MetainfoClient;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::r#gen::node::NodeCapacity;
use uplink_rpc::pool::Pool;
use uplink_rpc::server::{Listener, Running};
use uplink_rpc::status::Failure;
use uplink_rpc::time::timestamp;
use uplink_rpc::tls::Identity;
use uplink_satellite::{Admin, Clock, Config, ProjectRecord, Satellite};

/// A satellite in its own folder, with one project.
pub(crate) struct Network {
    pub(crate) satellite: Satellite,
    pub(crate) nodes: Vec<TestNode>,
    pub(crate) admin: Admin,
    pub(crate) project: ProjectRecord,
    pub(crate) api_key: ApiKey,
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    pool: Pool,
    _folder: tempfile::TempDir,
}

/// A storage node: an identity that responds to pings.
pub(crate) struct TestNode {
    pub(crate) identity: Arc<Identity>,
    pub(crate) running: Running,
}

struct PingService;

#[tonic::async_trait]
impl Contact for PingService {
    async fn ping_node(
        &self,
        _: tonic::Request<ContactPingRequest>,
    ) -> Result<tonic::Response<ContactPingResponse>, tonic::Status> {
        Ok(tonic::Response::new(ContactPingResponse {}))
    }
}

/// Routes of the service that satellites ping.
pub(crate) fn contact_routes() -> Routes {
    Routes::new(ContactServer::new(PingService))
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        let identity = Arc::new(Identity::generate().unwrap());
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self { running: listener.serve(&identity, contact_routes()).unwrap(), identity }
    }

    pub(crate) async fn check_in(
        &self,
        satellite: &Satellite,
        free_disk: i64,
    ) -> Result<CheckInResponse, Failure> {
        self.check_in_as(satellite, free_disk, &self.running.address().to_string()).await
    }

    pub(crate) async fn check_in_as(
        &self,
        satellite: &Satellite,
        free_disk: i64,
        address: &str,
    ) -> Result<CheckInResponse, Failure> {
        let pool = Pool::new(Dialer::new(&self.identity).unwrap());
        let url = satellite.node_url();
        let connection = pool.peer(url.id.unwrap(), &satellite.address().to_string());
        let request = CheckInRequest {
            address: address.to_owned(),
            capacity: Some(NodeCapacity { free_disk, ..NodeCapacity::default() }),
            ..CheckInRequest::default()
        };
        let response = client::node(connection.channel()).check_in(request).await;
        response.map(tonic::Response::into_inner).map_err(Failure::from)
    }
}

impl Network {
    pub(crate) async fn start(nodes: usize) -> Self {
        Self::start_with(nodes, Config::dev(), SystemTime::now).await
    }

    pub(crate) async fn start_with(
        nodes: usize,
        mut config: Config,
        now: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Self {
        let now: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(now);
        let clock = Clock::new({
            let now = Arc::clone(&now);
            move || now()
        });
        let folder = tempfile::tempdir().unwrap();
        config.folder = folder.path().to_path_buf();
        let identity = Identity::generate().unwrap();
        let satellite = Satellite::start_with_clock(config, identity, clock).await.unwrap();
        let admin = satellite.admin();
        let project = admin.create_project("project").await.unwrap();
        let api_key = admin.create_api_key(&project, "key").await.unwrap();
        let dialer = Dialer::new(&Identity::generate().unwrap()).unwrap();
        let mut network = Self {
            pool: Pool::new(dialer.with_transport(crate::transport())),
            nodes: Vec::new(),
            satellite,
            admin,
            project,
            api_key,
            now,
            _folder: folder,
        };
        for _ in 0..nodes {
            let node = TestNode::start().await;
            let answer = node.check_in(&network.satellite, 1 << 40).await.unwrap();
            assert!(answer.ping_node_success, "{}", answer.ping_error_message);
            network.nodes.push(node);
        }
        network
    }

    pub(crate) fn client(&self) -> MetainfoClient<Channel> {
        client::metainfo(self.channel())
    }

    pub(crate) fn channel(&self) -> Channel {
        let id = self.satellite.node_url().id.unwrap();
        self.pool.peer(id, &self.satellite.address().to_string()).channel()
    }

    pub(crate) fn header(&self) -> Option<RequestHeader> {
        header(&self.api_key)
    }

    /// Returns the piece hash as signed by the node of an order limit.
    pub(crate) fn hash(&self, limit: &AddressedOrderLimit, piece_size: i64) -> (NodeId, PieceHash) {
        let limit = limit_of(limit);
        let id = NodeId::from_slice(&limit.storage_node_id).unwrap();
        let node = self.nodes.iter().find(|node| node.identity.node_id() == id).unwrap();
        let mut hash = PieceHash {
            piece_id: limit.piece_id,
            hash: vec![7; 32],
            piece_size,
            timestamp: Some(timestamp((self.now)())),
            hash_algorithm: PieceHashAlgorithm::Blake3.into(),
            signature: Vec::new(),
        };
        hash.sign_as_node(node.identity.signing_key()).unwrap();
        (id, hash)
    }

    pub(crate) async fn create_bucket(&self, name: &str) {
        let request = CreateBucketRequest {
            name: name.to_owned().into(),
            header: self.header(),
            ..CreateBucketRequest::default()
        };
        self.client().create_bucket(request).await.unwrap();
    }

    /// Sends requests as one batch.
    pub(crate) async fn batch(
        &self,
        requests: Vec<batch_request_item::Request>,
    ) -> Result<Vec<batch_response_item::Response>, Failure> {
        self.batch_as(&self.api_key, requests).await
    }

    /// Sends requests as one batch with another API key.
    pub(crate) async fn batch_as(
        &self,
        api_key: &ApiKey,
        requests: Vec<batch_request_item::Request>,
    ) -> Result<Vec<batch_response_item::Response>, Failure> {
        let item = |request| BatchRequestItem { request: Some(request) };
        let request = BatchRequest {
            requests: requests.into_iter().map(item).collect(),
            header: header(api_key),
        };
        let response = self.client().batch(request).await.map_err(Failure::from)?;
        let responses = response.into_inner().responses.into_iter();
        Ok(responses.map(|item| item.response.unwrap()).collect())
    }

    /// Stores an object with one inline segment.
    pub(crate) async fn put_inline(&self, bucket: &str, key: &[u8], data: &[u8]) -> Object {
        self.try_put_inline(bucket, key, data).await.unwrap()
    }

    pub(crate) async fn try_put_inline(
        &self,
        bucket: &str,
        key: &[u8],
        data: &[u8],
    ) -> Result<Object, Failure> {
        use batch_request_item::Request;
        let requests = vec![
            Request::ObjectBegin(begin_object(bucket, key)),
            Request::SegmentMakeInline(inline_segment(0, 0, data)),
            Request::ObjectCommit(CommitObjectRequest::default()),
        ];
        let responses = self.batch(requests).await?;
        match responses.into_iter().last() {
            Some(batch_response_item::Response::ObjectCommit(response)) => {
                Ok(response.object.unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Begins an upload and one segment of it.
    pub(crate) async fn begin(
        &self,
        bucket: &str,
        key: &[u8],
    ) -> (BeginObjectResponse, BeginSegmentResponse) {
        use batch_response_item::Response;
        let requests = vec![
            batch_request_item::Request::ObjectBegin(begin_object(bucket, key)),
            batch_request_item::Request::SegmentBegin(begin_segment(0, 0)),
        ];
        match <[Response; 2]>::try_from(self.batch(requests).await.unwrap()).unwrap() {
            [Response::ObjectBegin(object), Response::SegmentBegin(segment)] => (object, segment),
            other => panic!("{other:?}"),
        }
    }

    /// Returns a valid commit of a begun segment, with hashes of all its nodes.
    pub(crate) fn commit_of(
        &self,
        begun: &BeginSegmentResponse,
        plain_size: i64,
        encrypted_size: i64,
        piece_size: i64,
    ) -> CommitSegmentRequest {
        let results = begun.addressed_limits.iter().enumerate().map(|(number, limit)| {
            let (node, hash) = self.hash(limit, piece_size);
            SegmentPieceUploadResult {
                piece_num: i32::try_from(number).unwrap(),
                node_id: node.as_bytes().to_vec().into(),
                hash: Some(hash.into()),
            }
        });
        CommitSegmentRequest {
            segment_id: begun.segment_id.clone(),
            encrypted_key_nonce: vec![1; 24].into(),
            encrypted_key: vec![2; 48].into(),
            size_encrypted_data: encrypted_size,
            plain_size,
            upload_result: results.collect(),
            header: self.header(),
            ..CommitSegmentRequest::default()
        }
    }

    pub(crate) async fn stop(self) {
        self.satellite.stop(Duration::from_secs(1)).await;
    }
}

pub(crate) fn header(api_key: &ApiKey) -> Option<RequestHeader> {
    Some(RequestHeader { api_key: api_key.to_bytes().into(), user_agent: Bytes::new() })
}

pub(crate) fn begin_object(bucket: &str, key: &[u8]) -> BeginObjectRequest {
    BeginObjectRequest {
        bucket: bucket.to_owned().into(),
        encrypted_object_key: key.to_vec().into(),
        encryption_parameters: Some(EncryptionParameters { cipher_suite: 2, block_size: 7424 }),
        ..BeginObjectRequest::default()
    }
}

pub(crate) fn begin_segment(part: i32, index: i32) -> BeginSegmentRequest {
    BeginSegmentRequest {
        position: Some(SegmentPosition { part_number: part, index }),
        max_order_limit: 67_254_016,
        ..BeginSegmentRequest::default()
    }
}

pub(crate) fn inline_segment(part: i32, index: i32, data: &[u8]) -> MakeInlineSegmentRequest {
    MakeInlineSegmentRequest {
        position: Some(SegmentPosition { part_number: part, index }),
        encrypted_key_nonce: vec![1; 24].into(),
        encrypted_key: vec![2; 48].into(),
        encrypted_inline_data: data.to_vec().into(),
        plain_size: i64::try_from(data.len()).unwrap(),
        ..MakeInlineSegmentRequest::default()
    }
}

pub(crate) fn limit_of(addressed: &AddressedOrderLimit) -> OrderLimit {
    addressed.limit.as_ref().unwrap().decode_typed().unwrap()
}
