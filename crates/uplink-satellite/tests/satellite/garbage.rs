//! Garbage collection: the retain requests that storage nodes receive.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tonic::{Request, Response, Status};
use uplink_core::bloom_filter::BloomFilter;
use uplink_core::id::PieceId;
use uplink_rpc::r#gen::piecestore::piecestore_server::{Piecestore, PiecestoreServer};
use uplink_rpc::r#gen::piecestore::{RetainRequest, RetainResponse};
use uplink_rpc::server::{Listener, Peer};
use uplink_rpc::time::system_time;
use uplink_rpc::tls::Identity;
use uplink_satellite::Config;

use crate::calls::{ENCRYPTED, PIECE, PLAIN};
use crate::network::{Network, TestNode, contact_routes, limit_of};

/// Received requests with the number of their node.
type Received = Arc<Mutex<Vec<(usize, RetainRequest)>>>;

/// A node that records retain requests.
struct RecordingNode {
    number: usize,
    received: Received,
}

#[tonic::async_trait]
impl Piecestore for RecordingNode {
    async fn retain(
        &self,
        request: Request<RetainRequest>,
    ) -> Result<Response<RetainResponse>, Status> {
        let peer = request.extensions().get::<Peer>().unwrap();
        assert!(peer.identity.is_some(), "satellite presents no identity");
        self.received.lock().unwrap().push((self.number, request.into_inner()));
        Ok(Response::new(RetainResponse {}))
    }
}

/// Adds a node that records retain requests.
async fn add_node(network: &mut Network, received: &Received) {
    let identity = Arc::new(Identity::generate().unwrap());
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let service = RecordingNode { number: network.nodes.len(), received: Arc::clone(received) };
    let routes = contact_routes().add_service(PiecestoreServer::new(service));
    let node = TestNode { running: listener.serve(&identity, routes).unwrap(), identity };
    assert!(node.check_in(&network.satellite, 1 << 40).await.unwrap().ping_node_success);
    network.nodes.push(node);
}

/// Commits a segment of a pending upload and returns its pieces.
async fn put(network: &Network, key: &[u8]) -> Vec<(usize, PieceId)> {
    let (_, begun) = network.begin("bucket", key).await;
    let commit = network.commit_of(&begun, PLAIN, ENCRYPTED, PIECE);
    network.client().commit_segment(commit).await.unwrap();
    let piece = |limit| {
        let limit = limit_of(limit);
        let holds =
            |node: &TestNode| node.identity.node_id().as_bytes()[..] == limit.storage_node_id;
        let node = network.nodes.iter().position(holds).unwrap();
        (node, PieceId::from_slice(&limit.piece_id).unwrap())
    };
    begun.addressed_limits.iter().map(piece).collect()
}

#[tokio::test]
async fn every_node_receives_filter_of_its_pieces_or_empty_filter() {
    let received = Received::default();
    let mut network = Network::start(0).await;
    network.create_bucket("bucket").await;
    for _ in 0..10 {
        add_node(&mut network, &received).await;
    }
    let mut pieces = Vec::new();
    for key in 0..5 {
        pieces.extend(put(&network, &[key]).await);
    }
    assert_eq!(pieces.len(), 50);
    add_node(&mut network, &received).await;
    let offline = network.nodes.pop().unwrap();
    add_node(&mut network, &received).await;
    offline.running.stop(Duration::ZERO).await;
    let before = SystemTime::now();
    let report = network.satellite.collect_garbage().await.unwrap();
    assert_eq!((report.notified, report.failed), (11, 1));
    let received = std::mem::take(&mut *received.lock().unwrap());
    for number in 0..11 {
        let (_, request) =
            received.iter().find(|(node, _)| *node == number).expect("no request received");
        let created = system_time(request.creation_date.as_ref()).unwrap();
        let early = before.duration_since(created).unwrap();
        assert!(early <= Duration::from_secs(301), "{early:?}");
        let filter = BloomFilter::parse(request.filter.to_vec()).unwrap();
        let own = pieces.iter().filter(|(node, _)| *node == number);
        assert!(own.clone().all(|(_, piece)| filter.contains(piece)), "node {number}");
        let found = pieces.iter().filter(|(_, piece)| filter.contains(piece)).count();
        assert!(found <= own.count() + 5, "node {number} keeps {found} pieces");
        assert!(number < 10 || filter.as_bytes()[3..].iter().all(|byte| *byte == 0));
    }
    network.stop().await;
}

#[tokio::test]
async fn garbage_is_collected_again_after_the_interval() {
    let received = Received::default();
    let hours = Arc::new(AtomicU64::new(0));
    let mut config = Config::dev();
    // Checked every 50 ms of real time; due by the satellite's clock.
    config.garbage_interval = Duration::from_millis(50);
    let clock = Arc::clone(&hours);
    let start = SystemTime::now();
    let mut network = Network::start_with(0, config, move || {
        start + Duration::from_secs(3600 * clock.load(Ordering::Relaxed))
    })
    .await;
    add_node(&mut network, &received).await;
    for round in 0..4 {
        hours.fetch_add(1, Ordering::Relaxed);
        let seen = received.lock().unwrap().len();
        let waiting = async {
            while received.lock().unwrap().len() == seen {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("no request in time");
        // The clock does not advance, so nothing more is due.
        tokio::time::sleep(Duration::from_millis(200)).await;
        // The first collection may have started before the node checked in.
        assert!(round == 0 || received.lock().unwrap().len() == seen + 1);
    }
    network.stop().await;
}
