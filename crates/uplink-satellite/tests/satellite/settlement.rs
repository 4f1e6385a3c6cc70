//! Settlement of orders.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use tokio::time::{sleep, timeout};
use tonic::IntoStreamingRequest;
use tonic::codegen::tokio_stream::{self, StreamExt};
use uplink_core::order::{Order, OrderLimit, PieceAction, PiecePrivateKey};
use uplink_core::secret::Secret;
use uplink_rpc::channel::Channel;
use uplink_rpc::client;
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::orders::orders_client::OrdersClient;
use uplink_rpc::r#gen::orders::{SettlementRequest, SettlementWithWindowResponse};
use uplink_rpc::pool::Pool;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::tls::Identity;
use uplink_satellite::{Config, Satellite};

use crate::network::{Network, TestNode, limit_of};

const ACCEPTED: i32 = 0;
const REJECTED: i32 = 1;
const PUT: i32 = PieceAction::Put as i32;

/// An order limit of one node and the key for its orders.
#[derive(Clone)]
struct Grant {
    limit: OrderLimit,
    key: Vec<u8>,
}

impl Grant {
    fn key(&self) -> PiecePrivateKey {
        PiecePrivateKey::from_bytes(&self.key).unwrap()
    }

    /// Returns a pair as the node submits it.
    fn pair(&self, amount: i64) -> SettlementRequest {
        self.pair_by(amount, &self.limit.serial_number, &self.key())
    }

    fn pair_by(&self, amount: i64, serial: &[u8], key: &PiecePrivateKey) -> SettlementRequest {
        let mut order = Order { serial_number: serial.to_vec(), amount, ..Order::default() };
        order.sign(key).unwrap();
        SettlementRequest { limit: Some(self.limit.clone().into()), order: Some(order.into()) }
    }
}

/// Starts a network whose clock is `hours` after the middle of an hour.
async fn network(hours: &Arc<AtomicU64>) -> Network {
    let hours = Arc::clone(hours);
    Network::start_with(8, Config::dev(), move || {
        let seconds = 490_000 * 3600 + 1800 + hours.load(Relaxed) * 3600;
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    })
    .await
}

/// Returns the limits of one segment, one per node, in order of the nodes.
async fn grants(network: &Network, key: &str) -> Vec<Grant> {
    for node in &network.nodes {
        node.check_in(&network.satellite, 1 << 40).await.unwrap();
    }
    let (_, segment) = network.begin("bucket", key.as_bytes()).await;
    let limits: Vec<_> = segment.addressed_limits.iter().map(limit_of).collect();
    let ids = network.nodes.iter().map(|node| node.identity.node_id());
    ids.map(|id| Grant {
        limit: limits.iter().find(|it| it.storage_node_id == id.as_bytes()).unwrap().clone(),
        key: segment.private_key.to_vec(),
    })
    .collect()
}

async fn settle(
    identity: &Identity,
    satellite: &Satellite,
    pairs: Vec<SettlementRequest>,
) -> Result<SettlementWithWindowResponse, Failure> {
    let pairs = tokio_stream::iter(pairs).into_streaming_request();
    let response = orders(identity, satellite).settlement_with_window(pairs).await;
    response.map(tonic::Response::into_inner).map_err(Failure::from)
}

fn orders(identity: &Identity, satellite: &Satellite) -> OrdersClient<Channel> {
    let dialer = Dialer::new(identity).unwrap().with_transport(crate::transport());
    let id = satellite.node_url().id.unwrap();
    client::orders(Pool::new(dialer).peer(id, &satellite.address().to_string()).channel())
}

fn answer(status: i32, put: Option<i64>) -> SettlementWithWindowResponse {
    let action_settled: HashMap<_, _> = put.map(|amount| (PUT, amount)).into_iter().collect();
    SettlementWithWindowResponse { status, action_settled }
}

#[tokio::test]
async fn hour_is_settled_once_and_same_sums_are_accepted_again() {
    let network = network(&Arc::default()).await;
    network.create_bucket("bucket").await;
    let first = grants(&network, "a").await;
    let second = grants(&network, "b").await;
    let node = &network.nodes[0].identity;
    let pairs = vec![first[0].pair(1000), second[0].pair(234)];
    for _ in 0..2 {
        let settled = settle(node, &network.satellite, pairs.clone()).await.unwrap();
        assert_eq!(settled, answer(ACCEPTED, Some(1234)));
    }
    for other in [vec![first[0].pair(1000)], vec![first[0].pair(1000), second[0].pair(235)]] {
        let rejected = settle(node, &network.satellite, other).await.unwrap();
        assert_eq!(rejected, answer(REJECTED, None));
    }
    // Hours are settled per node.
    let other = &network.nodes[1].identity;
    let settled = settle(other, &network.satellite, vec![first[1].pair(5)]).await.unwrap();
    assert_eq!(settled, answer(ACCEPTED, Some(5)));
    network.stop().await;
}

#[tokio::test]
async fn invalid_pairs_are_skipped() {
    let hours = Arc::new(AtomicU64::new(0));
    let network = network(&hours).await;
    network.create_bucket("bucket").await;
    let first = grants(&network, "a").await;
    let second = grants(&network, "b").await;
    hours.store(1, Relaxed);
    let later = grants(&network, "c").await;
    let good = &first[0];
    let spare = &second[0];
    let later = &later[0];

    let stranger = PiecePrivateKey::from_seed(&Secret::new([9; 32])).unwrap();
    let mut raised = spare.clone();
    raised.limit.limit += 1;
    let mut forged = spare.clone();
    forged.limit.sign(network.nodes[0].identity.signing_key()).unwrap();
    let max = spare.limit.limit;
    let bad = vec![
        second[1].pair(1),
        later.pair(1),
        raised.pair(1),
        forged.pair(1),
        spare.pair(max + 1),
        spare.pair(-1),
        spare.pair_by(1, &spare.limit.serial_number, &stranger),
        spare.pair_by(1, &good.limit.serial_number, &spare.key()),
        good.pair(7),
        SettlementRequest { order: None, ..spare.pair(1) },
        SettlementRequest { limit: None, ..spare.pair(1) },
        SettlementRequest {
            limit: Some(uplink_rpc::raw::OrderLimit::from_wire(vec![8, 1].into())),
            ..spare.pair(1)
        },
    ];
    // Each bad pair is submitted with a good one; only the good one counts.
    let node = &network.nodes[0].identity;
    for bad in bad.clone() {
        let settled = settle(node, &network.satellite, vec![good.pair(1000), bad]).await.unwrap();
        assert_eq!(settled, answer(ACCEPTED, Some(1000)));
    }
    // Control: a valid pair changes the sum.
    let both = vec![good.pair(1000), spare.pair(max)];
    assert_eq!(settle(node, &network.satellite, both).await.unwrap().status, REJECTED);
    // No pairs, no good pairs, and later only expired ones.
    for none in [Vec::new(), bad[2..8].to_vec()] {
        let rejected = settle(node, &network.satellite, none).await.unwrap();
        assert_eq!(rejected, answer(REJECTED, None));
    }
    let settled = settle(node, &network.satellite, vec![later.pair(3)]).await.unwrap();
    assert_eq!(settled, answer(ACCEPTED, Some(3)));
    hours.store(26, Relaxed);
    let late = settle(node, &network.satellite, vec![later.pair(3)]).await.unwrap();
    assert_eq!(late, answer(REJECTED, None));
    network.stop().await;
}

#[tokio::test]
async fn serial_number_counts_once_and_only_for_its_own_node() {
    let network = network(&Arc::default()).await;
    network.create_bucket("bucket").await;
    let grants = grants(&network, "a").await;
    let node = &network.nodes[0].identity;
    // Repetitions of a serial number count once.
    let pairs = vec![grants[0].pair(10); 20_000];
    let settled = settle(node, &network.satellite, pairs).await.unwrap();
    assert_eq!(settled, answer(ACCEPTED, Some(10)));
    let unknown = TestNode::start().await;
    let rejected = settle(&unknown.identity, &network.satellite, vec![grants[0].pair(10)]).await;
    assert_eq!(rejected.unwrap(), answer(REJECTED, None));
    network.stop().await;
}

#[tokio::test]
#[ignore = "slow: four million messages"]
async fn endless_call_is_rejected_at_its_limit() {
    let network = network(&Arc::default()).await;
    network.create_bucket("bucket").await;
    for node in &network.nodes {
        node.check_in(&network.satellite, 1 << 40).await.unwrap();
    }
    let node = &network.nodes[0].identity;
    let endless = tokio_stream::iter(std::iter::repeat_with(SettlementRequest::default));
    let rejected = orders(node, &network.satellite).settlement_with_window(endless).await;
    let rejected = Failure::from(rejected.unwrap_err());
    assert_eq!(rejected.code, Code::RESOURCE_EXHAUSTED, "{rejected}");
    network.stop().await;
}

#[tokio::test]
async fn orders_of_cancelled_call_are_not_settled() {
    let network = network(&Arc::default()).await;
    network.create_bucket("bucket").await;
    let first = grants(&network, "a").await;
    let second = grants(&network, "b").await;
    let node = &network.nodes[0].identity;
    let endless = tokio_stream::iter([first[0].pair(10)]).chain(tokio_stream::pending());
    let mut orders = orders(node, &network.satellite);
    let call = orders.settlement_with_window(endless);
    assert!(timeout(Duration::from_millis(300), call).await.is_err());
    let both = vec![first[0].pair(10), second[0].pair(20)];
    let settled = loop {
        match settle(node, &network.satellite, both.clone()).await {
            // The satellite has not noticed the cancellation yet.
            Err(failure) if failure.code == Code::UNAVAILABLE => {
                sleep(Duration::from_millis(5)).await
            }
            settled => break settled.unwrap(),
        }
    };
    assert_eq!(settled, answer(ACCEPTED, Some(30)));
    network.stop().await;
}
