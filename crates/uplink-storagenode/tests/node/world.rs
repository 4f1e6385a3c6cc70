//! Test fixture: a satellite's identity on a port, a storage node, and a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message;
use tempfile::TempDir;
use tonic::Streaming;
use tonic::service::Routes;
use uplink_core::id::NodeId;
use uplink_core::order::{
    Order, OrderLimit, PieceAction, PieceHash, PieceHashAlgorithm, PiecePrivateKey,
};
use uplink_core::secret::Secret;
use uplink_rpc::channel::Channel;
use uplink_rpc::client;
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::orders::SettlementRequest;
use uplink_rpc::r#gen::piecestore::{
    PieceDownloadRequest, PieceDownloadResponse, PieceUploadRequest, PieceUploadResponse,
    piece_download_request, piece_upload_request,
};
use uplink_rpc::pool::{Connection, Pool};
use uplink_rpc::server::{Listener, Running};
use uplink_rpc::status::Failure;
use uplink_rpc::time::timestamp;
use uplink_rpc::tls::Identity;
use uplink_storagenode::{Clock, Config, Disk, Files, Satellite, StorageNode, Usage};

pub(crate) struct World {
    pub(crate) satellite: Identity,
    pub(crate) satellite_port: Running,
    pub(crate) node: StorageNode,
    pub(crate) directory: TempDir,
    pub(crate) clock: Arc<AtomicI64>,
    identity_directory: TempDir,
    files: Arc<dyn Files>,
    pool: Pool,
}

pub(crate) const CAPACITY: u64 = 64 << 20;

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl Fn(&mut Config)) -> Self {
        Self::start_on(Arc::new(Disk::default()), change).await
    }

    pub(crate) async fn start_on(files: Arc<dyn Files>, change: impl Fn(&mut Config)) -> Self {
        let satellite = Identity::generate().unwrap();
        let node = Identity::generate().unwrap();
        Self::start_as(satellite, Routes::default(), node, files, change).await
    }

    pub(crate) async fn start_as(
        satellite: Identity,
        routes: Routes,
        identity: Identity,
        files: Arc<dyn Files>,
        change: impl Fn(&mut Config),
    ) -> Self {
        let satellite_port = serve(&satellite, routes).await;
        let directory = TempDir::new().unwrap();
        let identity_directory = TempDir::new().unwrap();
        identity.save(identity_directory.path()).unwrap();
        let clock = Arc::new(AtomicI64::new(0));
        let config = config(&directory, &satellite, &satellite_port, &clock, &change);
        let node = StorageNode::start_on(config, identity, Arc::clone(&files)).await.unwrap();
        Self {
            satellite,
            satellite_port,
            node,
            directory,
            clock,
            identity_directory,
            files,
            pool: pool(),
        }
    }

    /// Stops and restarts the node.
    pub(crate) async fn restart(self, change: impl Fn(&mut Config)) -> Self {
        self.node.stop(Duration::from_secs(5)).await;
        let config =
            config(&self.directory, &self.satellite, &self.satellite_port, &self.clock, &change);
        let identity = Identity::load(self.identity_directory.path()).unwrap();
        let node = StorageNode::start_on(config, identity, Arc::clone(&self.files)).await.unwrap();
        Self { node, ..self }
    }

    /// Waits until unfinished uploads are cleaned up, and returns the usage.
    pub(crate) async fn settled(&self) -> Usage {
        until("unfinished uploads are cleaned up", || {
            let temp = std::fs::read_dir(self.directory.path().join("temp")).unwrap();
            self.node.usage().unwrap().reserved == 0 && temp.count() == 0
        })
        .await;
        self.node.usage().unwrap()
    }

    /// Returns the orders that the node has written for the satellite.
    pub(crate) fn kept_orders(&self) -> Vec<(OrderLimit, Order)> {
        let satellite = self.satellite.node_id().to_string();
        let Ok(logs) = std::fs::read_dir(self.directory.path().join("orders").join(satellite))
        else {
            return Vec::new();
        };
        let logs = logs.map(|log| std::fs::read(log.unwrap().path()).unwrap());
        logs.flat_map(|log| records(&log)).collect()
    }

    /// Returns a client connection to the node.
    pub(crate) fn link(&self) -> Link {
        let address = self.node.address().to_string();
        Link { pool: self.pool.clone(), node: self.node.node_id(), address }
    }

    pub(crate) fn channel(&self) -> Channel {
        self.link().channel()
    }

    pub(crate) fn now(&self) -> SystemTime {
        offset_now(self.clock.load(Ordering::Relaxed))
    }

    /// Returns a connection to the node with this peer identity.
    pub(crate) fn peer(&self, identity: &Identity) -> Connection {
        let dialer = Dialer::new(identity).unwrap().with_transport(crate::transport());
        Pool::new(dialer).peer(self.node.node_id(), &self.node.address().to_string())
    }

    /// Returns a new limit for a new piece.
    pub(crate) fn limit(&self, action: PieceAction, max_bytes: i64) -> Draft {
        Draft::new(&self.satellite, self.node.node_id(), self.now(), action, max_bytes)
    }

    /// Returns a new limit for the same piece as `piece`.
    pub(crate) fn limit_for(&self, piece: &Draft, action: PieceAction, max_bytes: i64) -> Draft {
        let mut draft = self.limit(action, max_bytes);
        draft.limit.piece_id.clone_from(&piece.limit.piece_id);
        draft.sign(&self.satellite);
        draft
    }

    pub(crate) async fn send(
        &self,
        messages: Vec<PieceUploadRequest>,
    ) -> Result<PieceUploadResponse, Failure> {
        self.link().send(messages).await
    }

    pub(crate) async fn upload(&self, draft: &Draft, data: &[u8]) -> Result<PieceHash, Failure> {
        let reply = self.send(draft.messages(data, PieceHashAlgorithm::Blake3)).await?;
        Ok(reply.done.unwrap().decode_typed().unwrap())
    }

    /// Uploads a piece of `size` bytes, and returns its draft and content.
    pub(crate) async fn stored(&self, size: usize) -> (Draft, Vec<u8>) {
        let draft = self.limit(PieceAction::Put, i64::try_from(size).unwrap());
        let data = noise(size, draft.limit.piece_id[0]);
        self.upload(&draft, &data).await.unwrap();
        (draft, data)
    }

    pub(crate) async fn request(
        &self,
        messages: Vec<PieceDownloadRequest>,
    ) -> Result<Streaming<PieceDownloadResponse>, Failure> {
        self.link().request(messages).await
    }

    pub(crate) async fn collect(
        &self,
        messages: Vec<PieceDownloadRequest>,
    ) -> (Vec<u8>, Result<(), Failure>) {
        self.link().collect(messages).await
    }

    pub(crate) async fn download(
        &self,
        piece: &Draft,
        offset: i64,
        length: i64,
    ) -> Result<Vec<u8>, Failure> {
        let draft = self.limit_for(piece, PieceAction::Get, length.max(0));
        let (data, end) = self.collect(vec![draft.range(offset, length, Some(length))]).await;
        end.map(|()| data)
    }
}

/// Client access to a node.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) pool: Pool,
    pub(crate) node: NodeId,
    pub(crate) address: String,
}

impl Link {
    pub(crate) fn channel(&self) -> Channel {
        self.pool.peer(self.node, &self.address).channel()
    }

    pub(crate) async fn send(
        &self,
        messages: Vec<PieceUploadRequest>,
    ) -> Result<PieceUploadResponse, Failure> {
        let mut client = client::piecestore(self.channel());
        let reply = client.upload(tokio_stream::iter(messages)).await;
        reply.map(tonic::Response::into_inner).map_err(Failure::from)
    }

    pub(crate) async fn request(
        &self,
        messages: Vec<PieceDownloadRequest>,
    ) -> Result<Streaming<PieceDownloadResponse>, Failure> {
        let mut client = client::piecestore(self.channel());
        let reply = client.download(tokio_stream::iter(messages)).await;
        reply.map(tonic::Response::into_inner).map_err(Failure::from)
    }

    /// Returns the received bytes and the outcome of a download.
    pub(crate) async fn collect(
        &self,
        messages: Vec<PieceDownloadRequest>,
    ) -> (Vec<u8>, Result<(), Failure>) {
        let mut replies = match self.request(messages).await {
            Ok(replies) => replies,
            Err(failure) => return (Vec::new(), Err(failure)),
        };
        let mut data = Vec::new();
        loop {
            match replies.message().await {
                Ok(Some(message)) => data.extend(message.chunk.into_iter().flat_map(|c| c.data)),
                Ok(None) => return (data, Ok(())),
                Err(status) => return (data, Err(status.into())),
            }
        }
    }
}

/// Returns a client pool with a new identity.
pub(crate) fn pool() -> Pool {
    let dialer = Dialer::new(&Identity::generate().unwrap()).unwrap();
    Pool::new(dialer.with_transport(crate::transport()))
}

/// Serves routes with the satellite's identity on a free port.
pub(crate) async fn serve(satellite: &Identity, routes: Routes) -> Running {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    listener.serve(satellite, routes).unwrap()
}

/// Waits for a condition, at most 10 seconds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool + Send + Sync) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    assert!(waited.is_ok(), "timed out waiting until {what}");
}

/// Decodes the records of a settlement log: length, message, four bytes of its hash.
fn records(mut log: &[u8]) -> Vec<(OrderLimit, Order)> {
    let mut records = Vec::new();
    while let Some((length, rest)) = log.split_first_chunk::<4>() {
        let (body, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        assert_eq!(rest[..4], blake3::hash(body).as_bytes()[..4]);
        let record = SettlementRequest::decode(body).unwrap();
        let limit = record.limit.unwrap();
        let order = record.order.unwrap();
        records.push((limit.decode_typed().unwrap(), order.decode_typed().unwrap()));
        log = &rest[4..];
    }
    records
}

fn config(
    directory: &TempDir,
    satellite: &Identity,
    port: &Running,
    clock: &Arc<AtomicI64>,
    change: impl Fn(&mut Config),
) -> Config {
    let trusted = Satellite { id: satellite.node_id(), address: port.address().to_string() };
    let mut config = Config::new(directory.path(), CAPACITY, vec![trusted]);
    let clock = Arc::clone(clock);
    config.clock = Clock::new(move || offset_now(clock.load(Ordering::Relaxed)));
    change(&mut config);
    config
}

/// Returns the system time plus `seconds`.
pub(crate) fn offset_now(seconds: i64) -> SystemTime {
    let now = SystemTime::now();
    let offset = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { now - offset } else { now + offset }
}

/// An order limit and its piece key. Tests change the limit and sign it again.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) limit: OrderLimit,
    pub(crate) key: PiecePrivateKey,
    pub(crate) serial: Vec<u8>,
}

impl Draft {
    /// Returns a limit with a unique serial number and piece id.
    pub(crate) fn new(
        satellite: &Identity,
        node: NodeId,
        now: SystemTime,
        action: PieceAction,
        max_bytes: i64,
    ) -> Self {
        let key = PiecePrivateKey::from_seed(&Secret::new([9; 32])).unwrap();
        let limit = OrderLimit {
            serial_number: unique(16),
            satellite_id: satellite.node_id().as_bytes().to_vec(),
            storage_node_id: node.as_bytes().to_vec(),
            piece_id: unique(32),
            limit: max_bytes,
            action: action.into(),
            order_expiration: Some(timestamp(now + Duration::from_secs(86_400))),
            order_creation: Some(timestamp(now)),
            uplink_public_key: key.public().as_bytes().to_vec(),
            ..OrderLimit::default()
        };
        let mut draft = Self { serial: limit.serial_number.clone(), limit, key };
        draft.sign(satellite);
        draft
    }

    pub(crate) fn sign(&mut self, satellite: &Identity) {
        // A limit with an invalid id cannot be signed and keeps its previous, invalid signature.
        let _ = self.limit.sign(satellite.signing_key());
    }

    pub(crate) fn order(&self, amount: i64) -> Order {
        let mut order =
            Order { serial_number: self.serial.clone(), amount, uplink_signature: Vec::new() };
        order.sign(&self.key).unwrap();
        order
    }

    pub(crate) fn hash(&self, data: &[u8], algorithm: PieceHashAlgorithm) -> PieceHash {
        let mut hash = PieceHash {
            piece_id: self.limit.piece_id.clone(),
            hash: digest(data, algorithm),
            signature: Vec::new(),
            piece_size: i64::try_from(data.len()).unwrap(),
            timestamp: self.limit.order_creation,
            hash_algorithm: algorithm.into(),
        };
        let _ = hash.sign_as_uplink(&self.key);
        hash
    }

    /// Returns a complete upload: limit, one order, chunks of at most 64 KiB, hash.
    pub(crate) fn messages(
        &self,
        data: &[u8],
        algorithm: PieceHashAlgorithm,
    ) -> Vec<PieceUploadRequest> {
        let mut messages = vec![self.opening(algorithm)];
        let amount = i64::try_from(data.len()).unwrap();
        messages.push(PieceUploadRequest {
            order: Some(self.order(amount).into()),
            ..PieceUploadRequest::default()
        });
        for (index, part) in data.chunks(64 << 10).enumerate() {
            messages.push(chunk(i64::try_from(index * (64 << 10)).unwrap(), part));
        }
        messages.push(done(self.hash(data, algorithm)));
        messages
    }

    pub(crate) fn opening(&self, algorithm: PieceHashAlgorithm) -> PieceUploadRequest {
        PieceUploadRequest {
            limit: Some(self.limit.clone().into()),
            hash_algorithm: algorithm.into(),
            ..PieceUploadRequest::default()
        }
    }

    pub(crate) fn range(
        &self,
        offset: i64,
        length: i64,
        order: Option<i64>,
    ) -> PieceDownloadRequest {
        PieceDownloadRequest {
            limit: Some(self.limit.clone().into()),
            order: order.map(|amount| self.order(amount).into()),
            chunk: Some(piece_download_request::Chunk { offset, chunk_size: length }),
            maximum_chunk_size: 16_384,
        }
    }

    pub(crate) fn grant(&self, amount: i64) -> PieceDownloadRequest {
        PieceDownloadRequest {
            order: Some(self.order(amount).into()),
            ..PieceDownloadRequest::default()
        }
    }
}

pub(crate) fn chunk(offset: i64, data: &[u8]) -> PieceUploadRequest {
    let data = Bytes::copy_from_slice(data);
    PieceUploadRequest {
        chunk: Some(piece_upload_request::Chunk { offset, data }),
        ..PieceUploadRequest::default()
    }
}

pub(crate) fn done(hash: PieceHash) -> PieceUploadRequest {
    PieceUploadRequest { done: Some(hash.into()), ..PieceUploadRequest::default() }
}

pub(crate) fn digest(data: &[u8], algorithm: PieceHashAlgorithm) -> Vec<u8> {
    use sha2::Digest;
    match algorithm {
        PieceHashAlgorithm::Blake3 => blake3::hash(data).as_bytes().to_vec(),
        PieceHashAlgorithm::Sha256 => sha2::Sha256::digest(data).to_vec(),
    }
}

/// Returns pseudorandom bytes that depend on the seed.
pub(crate) fn noise(size: usize, seed: u8) -> Vec<u8> {
    let mut data = vec![0; size];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut data);
    data
}

/// Returns unique bytes.
fn unique(length: usize) -> Vec<u8> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let input = [&number.to_be_bytes()[..], &time.to_be_bytes()].concat();
    let mut bytes = blake3::hash(&input).as_bytes().to_vec();
    bytes.truncate(length);
    bytes
}
