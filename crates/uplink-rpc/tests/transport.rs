//! Calls of every shape over both transports, on one port.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::{iter, pending, repeat_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::BoxStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use uplink_core::id::NodeId;
use uplink_rpc::channel::{Channel, dial_failure};
use uplink_rpc::client;
use uplink_rpc::dial::{Dialer, Transport};
use uplink_rpc::r#gen::contact::ContactPingRequest;
use uplink_rpc::r#gen::piecestore::piecestore_client::PiecestoreClient;
use uplink_rpc::r#gen::piecestore::piecestore_server::{Piecestore, PiecestoreServer};
use uplink_rpc::r#gen::piecestore::{
    ExistsRequest, ExistsResponse, PieceDownloadRequest, PieceDownloadResponse, PieceUploadRequest,
    PieceUploadResponse, RetainRequest, RetainResponse, piece_download_request,
    piece_download_response, piece_upload_request,
};
use uplink_rpc::pool::Pool;
use uplink_rpc::server::{Listener, Peer, Running};
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::tls::Identity;

const TRANSPORTS: [Transport; 2] = [Transport::Negotiated, Transport::Drpc];
const TIMEOUT: Duration = Duration::from_secs(20);

/// A piece store without pieces, whose behavior the requests select.
#[derive(Clone, Default)]
struct FakePiecestore(Arc<Observed>);

#[derive(Default)]
struct Observed {
    /// Remote addresses of calls.
    connections: Mutex<BTreeSet<SocketAddr>>,
    begun: AtomicUsize,
    /// Number of calls that have ended or were dropped.
    ended: AtomicUsize,
    produced: AtomicUsize,
}

struct Call(FakePiecestore);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

impl FakePiecestore {
    fn begin<T>(&self, request: &Request<T>) -> Call {
        let peer = request.extensions().get::<Peer>().expect("set by the listener");
        assert!(peer.identity.is_some());
        self.0.connections.lock().unwrap().insert(peer.remote);
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        Call(self.clone())
    }

    fn connections(&self) -> usize {
        self.0.connections.lock().unwrap().len()
    }

    async fn until(&self, what: &str, reached: impl Fn(&Observed) -> bool + Send + Sync) {
        let waiting = async {
            while !reached(&self.0) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(TIMEOUT, waiting).await.unwrap_or_else(|_| {
            let ended = self.0.ended.load(Ordering::SeqCst);
            panic!("{what}: {} calls begun, {ended} ended", self.0.begun.load(Ordering::SeqCst))
        });
    }
}

#[tonic::async_trait]
impl Piecestore for FakePiecestore {
    async fn retain(
        &self,
        request: Request<RetainRequest>,
    ) -> Result<Response<RetainResponse>, Status> {
        let _call = self.begin(&request);
        let metadata = request.metadata().clone();
        match &request.into_inner().filter[..] {
            b"fail" => Err(Failure::new(Code::BUCKET_NOT_FOUND, "no bucket, sorry").into()),
            b"long" => Err(Failure::new(Code::BUCKET_NOT_FOUND, "ü".repeat(50_000)).into()),
            b"wait" => std::future::pending().await,
            b"pause" => {
                sleep(Duration::from_millis(300)).await;
                Ok(Response::new(RetainResponse {}))
            }
            b"metadata" => {
                assert_eq!(metadata.get("experiment").expect("a header"), "one,two");
                let bytes = metadata.get_bin("trace-bin").expect("a header").to_bytes();
                assert_eq!(bytes.expect("base64"), [0, 255, 10][..]);
                Ok(Response::new(RetainResponse {}))
            }
            _ => Ok(Response::new(RetainResponse {})),
        }
    }

    /// Reports every piece as missing; for more than ten pieces, millions.
    async fn exists(
        &self,
        request: Request<ExistsRequest>,
    ) -> Result<Response<ExistsResponse>, Status> {
        let requested = request.into_inner().piece_ids.len();
        let missing = vec![0; if requested > 10 { 3_000_000 } else { requested }];
        Ok(Response::new(ExistsResponse { missing }))
    }

    /// Returns the number of messages and bytes. Rejects offset -1 at once.
    async fn upload(
        &self,
        request: Request<Streaming<PieceUploadRequest>>,
    ) -> Result<Response<PieceUploadResponse>, Status> {
        let _call = self.begin(&request);
        let mut requests = request.into_inner();
        let mut count = 0;
        let mut bytes = 0;
        while let Some(request) = requests.message().await? {
            let chunk = request.chunk.expect("a chunk");
            match chunk.offset {
                -1 => return Err(Failure::new(Code::PERMISSION_DENIED, "not you").into()),
                -2 => sleep(Duration::from_millis(500)).await,
                _ => {}
            }
            assert!(chunk.data.iter().all(|byte| *byte == chunk.offset as u8));
            (count, bytes) = (count + 1, bytes + chunk.data.len());
        }
        let node_certchain = format!("{count} {bytes}").into();
        Ok(Response::new(PieceUploadResponse { node_certchain, ..Default::default() }))
    }

    /// Sends the requested number of bytes for each request, or fails at a negative offset. A request of
    /// size zero yields an endless stream.
    async fn download(
        &self,
        request: Request<Streaming<PieceDownloadRequest>>,
    ) -> Result<Response<BoxStream<PieceDownloadResponse>>, Status> {
        let call = self.begin(&request);
        let piecestore = self.clone();
        let replies = request.into_inner().flat_map(move |request| {
            let _kept = &call;
            let (piecestore, chunk) =
                (piecestore.clone(), request.map(|it| it.chunk.expect("a chunk")));
            match chunk {
                Ok(chunk) if chunk.offset < 0 => {
                    let failure = Failure::new(Code::NOT_FOUND, "gone");
                    iter([Err(failure.into())]).boxed()
                }
                Ok(chunk) if chunk.chunk_size == 0 => repeat_with(move || {
                    piecestore.0.produced.fetch_add(1, Ordering::SeqCst);
                    Ok(piece(1 << 20, 1))
                })
                .boxed(),
                Ok(chunk) => iter([Ok(piece(chunk.chunk_size as usize, chunk.offset))]).boxed(),
                Err(status) => iter([Err(status)]).boxed(),
            }
        });
        Ok(Response::new(Box::pin(replies)))
    }
}

fn piece(size: usize, offset: i64) -> PieceDownloadResponse {
    let data = vec![offset as u8; size].into();
    let chunk = Some(piece_download_response::Chunk { offset, data });
    PieceDownloadResponse { chunk, ..Default::default() }
}

fn upload(size: usize, offset: i64) -> PieceUploadRequest {
    let data = vec![offset as u8; size].into();
    let chunk = Some(piece_upload_request::Chunk { offset, data });
    PieceUploadRequest { chunk, ..Default::default() }
}

fn download_request(size: i64, offset: i64) -> PieceDownloadRequest {
    let chunk = Some(piece_download_request::Chunk { offset, chunk_size: size });
    PieceDownloadRequest { chunk, ..Default::default() }
}

fn retain_request(filter: &'static [u8]) -> RetainRequest {
    RetainRequest { filter: filter.into(), ..Default::default() }
}

struct World {
    piecestore: FakePiecestore,
    node: NodeId,
    running: Running,
    pool: Pool,
}

impl World {
    async fn new(transport: Transport) -> Self {
        let node = Identity::generate().unwrap();
        let client = Identity::generate().unwrap();
        let piecestore = FakePiecestore::default();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let routes = Routes::new(PiecestoreServer::new(piecestore.clone()));
        let running = listener.serve(&node, routes).expect("serves");
        let pool = Pool::new(Dialer::new(&client).unwrap().with_transport(transport));
        Self { piecestore, node: node.node_id(), running, pool }
    }

    fn channel(&self) -> Channel {
        self.pool.peer(self.node, &self.running.address().to_string()).channel()
    }

    fn client(&self) -> PiecestoreClient<Channel> {
        client::piecestore(self.channel())
    }

    async fn assert_working(&self) {
        let response = timeout(TIMEOUT, self.client().clone().retain(retain_request(b""))).await;
        response.expect("in time").expect("a response");
    }
}

fn failure<T>(response: Result<T, Status>) -> Failure {
    response.err().expect("a failure").into()
}

#[tokio::test]
async fn unary_calls_succeed_or_fail_with_the_networks_code() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let mut client = world.client();
        for _ in 0..10 {
            client.retain(retain_request(b"")).await.expect("a response");
            let failed = failure(client.retain(retain_request(b"fail")).await);
            assert_eq!(failed, Failure::new(Code::BUCKET_NOT_FOUND, "no bucket, sorry"));
        }
        assert_eq!(world.piecestore.connections(), 1, "{transport:?}");
    }
}

#[tokio::test]
async fn long_status_text_is_truncated_over_both_transports() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        for _ in 0..3 {
            let failed = failure(world.client().retain(retain_request(b"long")).await);
            assert_eq!(failed, Failure::new(Code::BUCKET_NOT_FOUND, "ü".repeat(512)));
        }
        world.assert_working().await;
    }
}

/// A codec of raw bytes.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[tokio::test]
async fn request_of_millions_of_empty_items_is_rejected() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        // Empty piece ids.
        for (count, code) in [(1000, Code::UNIMPLEMENTED), (1_900_000, Code::OUT_OF_RANGE)] {
            let request = Request::new(Bytes::from([0x0a, 0].repeat(count)));
            let mut client = tonic::client::Grpc::new(world.channel());
            client.ready().await.expect("ready");
            let path = PathAndQuery::from_static("/piecestore.Piecestore/DeletePieces");
            let failed = failure(client.unary(request, path, RawCodec).await);
            assert_eq!(failed.code, code, "{transport:?} {count}: {failed}");
        }
        world.assert_working().await;
    }
}

#[tokio::test]
async fn response_of_millions_of_small_items_is_rejected() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let exists_request =
            |count: usize| ExistsRequest { piece_ids: vec![vec![1; 32].into(); count] };
        let exists = world.client().exists(exists_request(10)).await.expect("a response");
        assert_eq!(exists.into_inner().missing.len(), 10);
        let failed = failure(world.client().exists(exists_request(11)).await);
        assert_eq!(failed.code, Code::OUT_OF_RANGE, "{transport:?}: {failed}");
        world.assert_working().await;
    }
}

#[tokio::test]
async fn call_without_a_connection_is_reported_as_unsent() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        world.assert_working().await;
        let mut client = world.client();
        let lost = client.retain(retain_request(b"wait"));
        let kill = async {
            world
                .piecestore
                .until("a call", |observed| observed.begun.load(Ordering::SeqCst) > 1)
                .await;
            world.running.kill();
        };
        let (lost, ()) = tokio::join!(lost, kill);
        assert!(dial_failure(&lost.unwrap_err()).is_none(), "{transport:?}: it was delivered");
        // Open connections close one by one.
        for attempt in 0.. {
            let status = world.client().retain(retain_request(b"")).await.unwrap_err();
            match dial_failure(&status) {
                Some(error) => {
                    assert!(error.to_string().contains("cannot connect"), "{error}");
                    break;
                }
                None => assert!(attempt < 10, "{transport:?}: {status:?}"),
            }
        }
    }
}

#[tokio::test]
async fn metadata_arrives() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let mut request = Request::new(retain_request(b"metadata"));
        request.metadata_mut().insert("experiment", "one,two".parse().unwrap());
        let bytes = tonic::metadata::MetadataValue::from_bytes(&[0, 255, 10]);
        request.metadata_mut().insert_bin("trace-bin", bytes);
        world.client().retain(request).await.expect("a response");
    }
}

#[tokio::test]
async fn unknown_path_fails_with_the_transports_error() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let response = client::contact(world.channel()).ping_node(ContactPingRequest {}).await;
        let expected = match transport {
            Transport::Drpc => {
                let text = "protocol error: unknown rpc: \"/contact.Contact/PingNode\"";
                Failure::new(Code::UNKNOWN, text)
            }
            _ => Failure::new(Code::UNIMPLEMENTED, ""),
        };
        assert_eq!(failure(response), expected);
        world.assert_working().await;
    }
}

/// A piece store that implements no method.
struct UnimplementedPiecestore;

#[tonic::async_trait]
impl Piecestore for UnimplementedPiecestore {}

#[tokio::test]
async fn unimplemented_method_fails_with_unimplemented() {
    for transport in TRANSPORTS {
        let identity = Identity::generate().unwrap();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let routes = Routes::new(PiecestoreServer::new(UnimplementedPiecestore));
        let running = listener.serve(&identity, routes).unwrap();
        let pool = Pool::new(Dialer::new(&identity).unwrap().with_transport(transport));
        let channel = pool.peer(identity.node_id(), &running.address().to_string()).channel();
        let response = client::piecestore(channel).retain(retain_request(b"")).await;
        assert_eq!(failure(response).code, Code::UNIMPLEMENTED);
    }
}

#[tokio::test]
async fn streamed_messages_of_every_size_arrive() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let sizes = [0, 1, 30_000, 65_536, 3_000_000, 100, 3_000_000, 70_000];
        let messages = iter(sizes).enumerate().map(|(index, size)| upload(size, index as i64));
        let response = world.client().upload(messages).await.expect("a response").into_inner();
        let expected = format!("{} {}", sizes.len(), sizes.iter().sum::<usize>());
        assert_eq!(response.node_certchain, expected);
        world.assert_working().await;
    }
}

#[tokio::test]
async fn both_sides_stream_concurrently_and_in_turns() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let (requests, received) = mpsc::channel(4);
        let response = world.client().download(ReceiverStream::new(received)).await;
        let mut replies = response.expect("a response").into_inner();
        for (offset, size) in [(1, 30_000), (2, 3_000_000), (3, 1), (4, 65_536)] {
            requests.send(download_request(size, offset)).await.unwrap();
            let reply = replies.message().await.expect("a reply").expect("not the end");
            assert!(reply == piece(size as usize, offset));
        }
        drop(requests);
        assert!(replies.message().await.expect("the end").is_none());

        // All requests at once, with responses that exceed every buffer.
        let requests = iter(0..40).map(|offset| download_request(1_000_000, offset));
        let mut replies = world.client().download(requests).await.unwrap().into_inner();
        for offset in 0..40 {
            assert!(replies.message().await.unwrap().unwrap() == piece(1_000_000, offset));
        }
        assert!(replies.message().await.expect("the end").is_none());
        assert_eq!(world.piecestore.connections(), 1, "{transport:?}");
    }
}

#[tokio::test]
async fn failure_after_messages_arrives_after_them() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let requests = iter([download_request(10, 1), download_request(10, -1)]).chain(pending());
        let mut replies = world.client().download(requests).await.unwrap().into_inner();
        assert!(replies.message().await.unwrap().unwrap() == piece(10, 1));
        let failed = failure(timeout(TIMEOUT, replies.message()).await.expect("in time"));
        assert_eq!(failed, Failure::new(Code::NOT_FOUND, "gone"));
        world.assert_working().await;
    }
}

#[tokio::test]
async fn rejection_arrives_while_the_request_still_streams() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let endless = iter([upload(10, -1)]).chain(repeat_with(|| upload(50_000, 1)));
        let response = timeout(TIMEOUT, world.client().upload(endless)).await.expect("in time");
        assert_eq!(failure(response), Failure::new(Code::PERMISSION_DENIED, "not you"));
        world.assert_working().await;
        // A request stalled by its caller does not occupy the connection.
        let stalled = iter([upload(10, -1)]).chain(pending());
        let response = timeout(TIMEOUT, world.client().upload(stalled)).await.expect("in time");
        assert_eq!(failure(response).code, Code::PERMISSION_DENIED);
        world.assert_working().await;
        world
            .piecestore
            .until("all calls end", |observed| observed.ended.load(Ordering::SeqCst) == 4)
            .await;
    }
}

#[tokio::test]
async fn message_over_the_limit_fails_only_its_call() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let response = world.client().upload(iter([upload(5 << 20, 1)])).await;
        assert!(response.is_err());
        world.assert_working().await;
    }
}

#[tokio::test]
async fn dropped_call_is_cancelled_at_the_peer_in_every_phase() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let piecestore = &world.piecestore;
        let mut waiting = world.client();
        // Before and while connecting.
        drop(waiting.retain(retain_request(b"wait")));
        let _ = timeout(Duration::ZERO, waiting.retain(retain_request(b"wait"))).await;
        world.assert_working().await;
        let begun = piecestore.0.begun.load(Ordering::SeqCst);
        piecestore.0.connections.lock().unwrap().clear();

        // While the peer processes the call.
        let mut client = world.client();
        let call = tokio::spawn(async move { client.retain(retain_request(b"wait")).await });
        piecestore
            .until("it begins", |observed| observed.begun.load(Ordering::SeqCst) == begun + 1)
            .await;
        call.abort();
        piecestore
            .until("it is dropped", |observed| observed.ended.load(Ordering::SeqCst) == begun + 1)
            .await;
        world.assert_working().await;

        // Between messages of the response, while the request is open.
        let (requests, received) = mpsc::channel(1);
        requests.send(download_request(10, 1)).await.unwrap();
        let response = world.client().download(ReceiverStream::new(received)).await;
        let mut replies = response.unwrap().into_inner();
        replies.message().await.unwrap().unwrap();
        drop(replies);
        // Over gRPC, the request of a dropped call is sent completely.
        let _open = (transport == Transport::Drpc).then_some(requests);
        piecestore
            .until("it is dropped", |observed| observed.ended.load(Ordering::SeqCst) == begun + 3)
            .await;
        world.assert_working().await;
        assert_eq!(piecestore.connections(), 1, "{transport:?}");

        // During a message of an endless request that the peer does not read.
        if transport == Transport::Negotiated {
            continue;
        }
        let stuck = iter([upload(10, -2)]).chain(repeat_with(|| upload(3_000_000, 1)));
        let mut client = world.client();
        let call = tokio::spawn(async move { client.upload(stuck).await });
        piecestore
            .until("it begins", |observed| observed.begun.load(Ordering::SeqCst) == begun + 5)
            .await;
        sleep(Duration::from_millis(200)).await;
        call.abort();
        piecestore
            .until("it is dropped", |observed| observed.ended.load(Ordering::SeqCst) == begun + 5)
            .await;
        world.assert_working().await;
    }
}

#[tokio::test]
async fn stalled_reader_exerts_backpressure_on_the_peer() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let (requests, received) = mpsc::channel(1);
        requests.send(download_request(0, 0)).await.unwrap();
        let response = world.client().download(ReceiverStream::new(received)).await;
        let mut replies = response.unwrap().into_inner();
        let produced = || world.piecestore.0.produced.load(Ordering::SeqCst);
        let mut before = 0;
        let stalls = async {
            while produced() == 0 || before != produced() {
                before = produced();
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(TIMEOUT, stalls).await.expect("the peer stops");
        assert!(before < 64, "{before} MiB are buffered ahead of the reader");
        for _ in 0..before + 10 {
            replies.message().await.unwrap().unwrap();
        }
        assert!(produced() > before);
        drop((requests, replies));
        let ended = |observed: &Observed| observed.ended.load(Ordering::SeqCst) == 1;
        world.piecestore.until("it is dropped", ended).await;
        world.assert_working().await;
    }
}

#[tokio::test]
async fn local_timeout_ends_a_call_and_cancels_it() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let mut request = Request::new(retain_request(b"wait"));
        request.set_timeout(Duration::from_millis(50));
        let response = timeout(TIMEOUT, world.client().retain(request)).await.expect("in time");
        response.unwrap_err();
        world
            .piecestore
            .until("dropped", |observed| observed.ended.load(Ordering::SeqCst) == 1)
            .await;
        world.assert_working().await;
    }
}

#[tokio::test]
async fn stop_waits_for_calls_and_kill_does_not() {
    for transport in TRANSPORTS {
        let mut world = World::new(transport).await;
        let mut client = world.client();
        world.assert_working().await;
        let call = tokio::spawn(async move { client.retain(retain_request(b"pause")).await });
        world
            .piecestore
            .until("it begins", |observed| observed.begun.load(Ordering::SeqCst) == 2)
            .await;
        let running = std::mem::replace(&mut world.running, World::new(transport).await.running);
        let address = running.address();
        timeout(Duration::from_secs(5), running.stop(TIMEOUT)).await.expect("stops");
        call.await.unwrap().expect("finished within the grace period");
        Listener::bind(address).await.expect("the port is free");

        let world = World::new(transport).await;
        let mut client = world.client();
        let call = tokio::spawn(async move { client.retain(retain_request(b"wait")).await });
        world
            .piecestore
            .until("it begins", |observed| observed.begun.load(Ordering::SeqCst) == 1)
            .await;
        world.running.kill();
        let killed = timeout(TIMEOUT, call).await.expect("in time").unwrap();
        assert_eq!(failure(killed).code, Code::UNAVAILABLE, "{transport:?}");
        world
            .piecestore
            .until("dropped", |observed| observed.ended.load(Ordering::SeqCst) == 1)
            .await;
    }
}

#[tokio::test]
async fn stop_with_an_endless_call_ends_after_the_grace_period() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let mut client = world.client();
        let call = tokio::spawn(async move { client.retain(retain_request(b"wait")).await });
        world
            .piecestore
            .until("it begins", |observed| observed.begun.load(Ordering::SeqCst) == 1)
            .await;
        let stop = world.running.stop(Duration::from_millis(100));
        timeout(Duration::from_secs(5), stop).await.expect("stops");
        call.await.unwrap().unwrap_err();
    }
}

#[tokio::test]
async fn both_transports_work_concurrently_on_one_port() {
    let world = World::new(Transport::Negotiated).await;
    let identity = Identity::generate().unwrap();
    let other = Pool::new(Dialer::new(&identity).unwrap().with_transport(Transport::Drpc));
    let address = world.running.address().to_string();
    let calls = (0..40).map(|index| {
        let pool = if index % 2 == 0 { &world.pool } else { &other };
        let mut client = client::piecestore(pool.peer(world.node, &address).channel());
        async move {
            let messages = iter(0..5).map(|offset| upload(100_000, offset));
            client.upload(messages).await.expect("a response").into_inner().node_certchain
        }
    });
    for response in join_all(calls).await {
        assert_eq!(response, "5 500000");
    }
    let connections = world.piecestore.connections();
    assert!((3..=21).contains(&connections), "{connections}");
}

#[tokio::test]
async fn first_calls_share_one_dial() {
    let world = World::new(Transport::Negotiated).await;
    let calls = (0..20).map(|_| world.assert_working());
    join_all(calls).await;
    assert_eq!(world.piecestore.connections(), 1);
}

#[tokio::test]
async fn client_without_the_preamble_is_served() {
    for transport in TRANSPORTS {
        let world = World::new(transport).await;
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = proxy.local_addr().unwrap();
        let target = world.running.address();
        tokio::spawn(async move {
            let (mut client, _) = proxy.accept().await.unwrap();
            let mut preamble = [0; 8];
            client.read_exact(&mut preamble).await.unwrap();
            assert_eq!(&preamble, b"DRPC!!!1");
            let mut server = TcpStream::connect(target).await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut server).await;
            let _ = server.shutdown().await;
        });
        let channel = world.pool.peer(world.node, &address.to_string()).channel();
        client::piecestore(channel).retain(retain_request(b"")).await.expect("a response");
    }
}
