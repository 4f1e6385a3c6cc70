//! Check-in with a satellite that records requests and pings back.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use uplink_core::id::NodeId;
use uplink_core::order::PieceAction;
use uplink_rpc::client;
use uplink_rpc::r#gen::contact::node_server::{Node, NodeServer};
use uplink_rpc::r#gen::contact::{
    CheckInRequest, CheckInResponse, ContactPingRequest, GetTimeRequest, GetTimeResponse,
};
use uplink_rpc::pool::Pool;
use uplink_rpc::server::Peer;
use uplink_rpc::status::Code;
use uplink_rpc::time::timestamp;
use uplink_rpc::tls::Identity;
use uplink_storagenode::{CheckInError, Config, Disk, Satellite, StorageNode};

use crate::world::{CAPACITY, World, noise, offset_now, pool, until};

#[derive(Clone)]
struct Registry {
    pool: Pool,
    requests: Arc<Mutex<Vec<(NodeId, CheckInRequest)>>>,
    /// Number of check-ins to reject before the first is accepted.
    rejections: Arc<AtomicUsize>,
    /// Seconds by which the satellite's clock is ahead of the system clock.
    ahead: Arc<AtomicI64>,
}

#[tonic::async_trait]
impl Node for Registry {
    async fn check_in(
        &self,
        request: Request<CheckInRequest>,
    ) -> Result<Response<CheckInResponse>, Status> {
        if self.rejections.load(Ordering::Relaxed) > 0 {
            self.rejections.fetch_sub(1, Ordering::Relaxed);
            return Err(Status::unavailable("not now"));
        }
        let peer = request.extensions().get::<Peer>().unwrap().identity.clone().unwrap();
        let message = request.into_inner();
        let channel = self.pool.peer(peer.node_id(), &message.address).channel();
        let ping = client::contact(channel).ping_node(ContactPingRequest {}).await;
        self.requests.lock().unwrap().push((peer.node_id(), message));
        Ok(Response::new(CheckInResponse {
            ping_node_success: ping.is_ok(),
            ping_error_message: ping.err().map(|error| error.to_string()).unwrap_or_default(),
            ..CheckInResponse::default()
        }))
    }

    async fn get_time(
        &self,
        _: Request<GetTimeRequest>,
    ) -> Result<Response<GetTimeResponse>, Status> {
        let timestamp = Some(timestamp(offset_now(self.ahead.load(Ordering::Relaxed))));
        Ok(Response::new(GetTimeResponse { timestamp }))
    }
}

impl Registry {
    fn new(rejections: usize) -> Self {
        Self {
            pool: pool(),
            requests: Arc::default(),
            rejections: Arc::new(AtomicUsize::new(rejections)),
            ahead: Arc::default(),
        }
    }

    async fn world(&self, change: impl Fn(&mut Config)) -> World {
        let satellite = Identity::generate().unwrap();
        let node = Identity::generate().unwrap();
        let routes = Routes::new(NodeServer::new(self.clone()));
        World::start_as(satellite, routes, node, Arc::new(Disk::default()), change).await
    }

    fn check_ins(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

#[tokio::test]
async fn node_checks_in_at_start_and_answers_the_ping() {
    let registry = Registry::new(0);
    let world = registry.world(|_| {}).await;
    until("the node checked in", || registry.check_ins() > 0).await;
    world.node.check_in_now().await.unwrap();
    let requests = registry.requests.lock().unwrap();
    let (node, request) = requests.last().unwrap();
    assert_eq!(*node, world.node.node_id());
    assert_eq!(request.address, world.node.address().to_string());
    let free = request.capacity.unwrap().free_disk;
    assert_eq!(u64::try_from(free).unwrap(), CAPACITY);
    assert!(request.version.as_ref().unwrap().version.starts_with('v'));
}

#[tokio::test]
async fn rejected_check_in_is_retried() {
    let registry = Registry::new(2);
    let world = registry.world(|_| {}).await;
    until("the node checked in", || registry.check_ins() > 0).await;
    world.node.check_in_now().await.unwrap();
}

#[tokio::test]
async fn shrinking_free_space_is_reported_before_the_interval() {
    let registry = Registry::new(0);
    let world = registry.world(|config| config.capacity = 1 << 20).await;
    until("the node checked in", || registry.check_ins() == 1).await;
    // The first report must be recorded before free space changes.
    world.node.check_in_now().await.unwrap();
    world.stored(60_000).await;
    until("the node reported", || registry.check_ins() == 3).await;
    let free = registry.requests.lock().unwrap()[2].1.capacity.unwrap().free_disk;
    assert_eq!(free, (1 << 20) - 60_000 - 512);
}

#[tokio::test]
async fn unreachable_external_address_is_named_in_the_error() {
    let registry = Registry::new(0);
    let world =
        registry.world(|config| config.external_address = Some("127.0.0.1:1".to_owned())).await;
    let error = world.node.check_in_now().await.unwrap_err();
    assert!(matches!(error, CheckInError::NotReachable { .. }), "{error}");
    assert!(error.to_string().contains("at 127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn unreachable_or_wrong_satellite_is_named_in_the_error() {
    let world = World::start().await;
    let other = world.satellite_port.address().to_string();
    for (address, part) in [("127.0.0.1:1", "cannot connect"), (&other, "wrong node")] {
        let directory = TempDir::new().unwrap();
        let satellite = Satellite { id: NodeId::new([0; 32]), address: address.to_owned() };
        let config = Config::new(directory.path(), CAPACITY, vec![satellite]);
        let node = StorageNode::start(config, Identity::generate().unwrap()).await.unwrap();
        let error = node.check_in_now().await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        node.stop(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn clock_step_is_detected_at_check_in() {
    let registry = Registry::new(0);
    let world = registry.world(|_| {}).await;
    world.node.check_in_now().await.unwrap();
    for ahead in [7200, -7200] {
        world.clock.store(ahead, Ordering::Relaxed);
        let error = world.node.check_in_now().await.unwrap_err();
        assert!(matches!(error, CheckInError::Clock { .. }), "{error}");
        let direction = if ahead < 0 { "behind" } else { "ahead of" };
        assert!(error.to_string().contains(direction), "{error}");
        let reported = registry.requests.lock().unwrap().last().unwrap().1.node_time.unwrap();
        let satellite_time = timestamp(offset_now(0)).seconds;
        assert!((reported.seconds - satellite_time - ahead).abs() < 60, "reports the node's time");
        world.clock.store(0, Ordering::Relaxed);
        world.node.check_in_now().await.unwrap();
    }
}

#[tokio::test]
async fn rejected_limit_names_the_clock_that_differs() {
    let registry = Registry::new(0);
    let world = registry.world(|_| {}).await;
    registry.ahead.store(7200, Ordering::Relaxed);
    world.node.check_in_now().await.unwrap_err();
    // A limit created by the satellite's clock.
    world.clock.store(7200, Ordering::Relaxed);
    let put = world.limit(PieceAction::Put, 10);
    world.clock.store(0, Ordering::Relaxed);
    let rejected = world.upload(&put, &noise(10, 1)).await.unwrap_err();
    assert_eq!(rejected.code, Code::INVALID_ARGUMENT, "{rejected}");
    let reason = "the clock of this storage node is 7200 s behind that of satellite";
    assert!(rejected.message.contains(reason) || rejected.message.contains("7199 s"), "{rejected}");
    // After the correction the same limit is valid, without another check-in.
    world.clock.store(7200, Ordering::Relaxed);
    world.upload(&put, &noise(10, 1)).await.unwrap();
}
