//! Settlement with a satellite that records orders and sends scripted replies.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use uplink_core::order::PieceAction;
use uplink_rpc::r#gen::orders::orders_server::{Orders, OrdersServer};
use uplink_rpc::r#gen::orders::{SettlementRequest, SettlementWithWindowResponse};
use uplink_rpc::server::{Listener, Peer};
use uplink_rpc::tls::Identity;
use uplink_storagenode::{Disk, SettleError};

use crate::world::{World, serve, until};

const ACCEPTED: i32 = 0;
const REJECTED: i32 = 1;
const HOUR: i64 = 3600;

/// Orders service of a satellite.
#[derive(Clone, Default)]
struct OrdersService {
    /// Scripted replies, then accepted. `None` is a failure.
    replies: Arc<Mutex<VecDeque<Option<i32>>>>,
    /// The records of every completed stream.
    streams: Arc<Mutex<Vec<Vec<SettlementRequest>>>>,
}

#[tonic::async_trait]
impl Orders for OrdersService {
    async fn settlement_with_window(
        &self,
        request: Request<Streaming<SettlementRequest>>,
    ) -> Result<Response<SettlementWithWindowResponse>, Status> {
        assert!(request.extensions().get::<Peer>().unwrap().identity.is_some());
        let mut stream = request.into_inner();
        let mut records = Vec::new();
        while let Some(record) = stream.message().await? {
            records.push(record);
        }
        // A cancelled stream ends the same way; the call is then dropped here.
        tokio::task::yield_now().await;
        self.streams.lock().unwrap().push(records);
        let reply = self.replies.lock().unwrap().pop_front().unwrap_or(Some(ACCEPTED));
        let status = reply.ok_or_else(|| Status::unavailable("reply lost"))?;
        Ok(Response::new(SettlementWithWindowResponse { status, ..Default::default() }))
    }
}

impl OrdersService {
    fn with_replies(replies: impl IntoIterator<Item = Option<i32>>) -> Self {
        Self { replies: Arc::new(Mutex::new(replies.into_iter().collect())), ..Self::default() }
    }

    fn routes(&self) -> Routes {
        Routes::new(OrdersServer::new(self.clone()))
    }

    /// Starts a node that trusts this satellite and has served an upload of 1000 bytes and a
    /// download of 600 bytes.
    async fn world(&self) -> World {
        let satellite = Identity::generate().unwrap();
        let node = Identity::generate().unwrap();
        let files = Arc::new(Disk::default());
        let world = World::start_as(satellite, self.routes(), node, files, |_| {}).await;
        // Start in the middle of an hour, so that the hour does not end during the test.
        let second = world.now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 3600;
        let offset = (5400 - i64::try_from(second).unwrap()) % HOUR;
        world.clock.store(offset, Ordering::Relaxed);
        let (piece, _) = world.stored(1000).await;
        world.download(&piece, 0, 600).await.unwrap();
        while world.kept_orders().len() < 2 {
            world.node.settle_now().await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world
    }

    fn streams(&self) -> Vec<Vec<SettlementRequest>> {
        self.streams.lock().unwrap().clone()
    }
}

/// Returns the actions and amounts of records.
fn amounts(records: &[SettlementRequest]) -> Vec<(i32, i64)> {
    let amount = |record: &SettlementRequest| {
        let limit = record.limit.as_ref().unwrap().decode_typed().unwrap();
        let order = record.order.as_ref().unwrap().decode_typed().unwrap();
        assert_eq!(limit.serial_number, order.serial_number);
        (limit.action, order.amount)
    };
    records.iter().map(amount).collect()
}

/// Returns the order files of the satellite, sorted by name.
fn files(world: &World) -> Vec<PathBuf> {
    let satellite = world.satellite.node_id().to_string();
    let orders = fs::read_dir(world.directory.path().join("orders").join(satellite)).unwrap();
    let mut files: Vec<_> = orders.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn extensions(world: &World) -> Vec<String> {
    let extension = |path: &PathBuf| path.extension().unwrap().to_str().unwrap().to_owned();
    files(world).iter().map(extension).collect()
}

fn move_clock(world: &World, hours: i64) {
    world.clock.fetch_add(hours * HOUR, Ordering::Relaxed);
}

#[tokio::test]
async fn past_hour_is_settled_once_and_removed_when_accepted() {
    let orders = OrdersService::default();
    let world = orders.world().await;
    assert_eq!((orders.streams().len(), extensions(&world)), (0, vec!["log".to_owned()]));
    move_clock(&world, 2);
    for _ in 0..2 {
        world.node.settle_now().await.unwrap();
        let streams = orders.streams();
        assert_eq!(streams.len(), 1);
        let put = PieceAction::Put as i32;
        let get = PieceAction::Get as i32;
        assert_eq!(amounts(&streams[0]), [(put, 1000), (get, 600)]);
        assert!(files(&world).is_empty());
    }
}

#[tokio::test]
async fn rejected_hour_is_kept_and_not_settled_again() {
    let orders = OrdersService::with_replies([Some(REJECTED)]);
    let world = orders.world().await;
    move_clock(&world, 2);
    for _ in 0..2 {
        world.node.settle_now().await.unwrap();
        assert_eq!((orders.streams().len(), extensions(&world)), (1, vec!["rejected".to_owned()]));
        assert_eq!(world.kept_orders().len(), 2);
    }
}

#[tokio::test]
async fn hour_without_a_valid_reply_is_sent_again_unchanged() {
    let orders = OrdersService::with_replies([None, Some(2)]);
    let world = orders.world().await;
    move_clock(&world, 2);
    for reason in ["reply lost", "unknown status 2"] {
        let error = world.node.settle_now().await.unwrap_err();
        assert!(matches!(&error, SettleError::Call { reason: text, .. } if text.contains(reason)));
        assert_eq!(extensions(&world), ["closed"]);
    }
    world.node.settle_now().await.unwrap();
    let streams = orders.streams();
    assert_eq!(streams.len(), 3);
    assert!(streams[0] == streams[1] && streams[0] == streams[2]);
    assert!(files(&world).is_empty());
}

#[tokio::test]
async fn unreachable_satellite_gets_the_orders_after_its_return() {
    let orders = OrdersService::default();
    let mut world = orders.world().await;
    let address = world.satellite_port.address();
    let elsewhere = serve(&world.satellite, Routes::default()).await;
    let port = std::mem::replace(&mut world.satellite_port, elsewhere);
    port.stop(Duration::from_secs(5)).await;
    move_clock(&world, 2);
    assert!(matches!(world.node.settle_now().await, Err(SettleError::Call { .. })));
    assert_eq!((orders.streams().len(), extensions(&world)), (0, vec!["closed".to_owned()]));
    let listener = Listener::bind(address).await.unwrap();
    world.satellite_port = listener.serve(&world.satellite, orders.routes()).unwrap();
    world.node.settle_now().await.unwrap();
    assert_eq!((orders.streams().len(), files(&world).len()), (1, 0));
}

#[tokio::test]
async fn orders_of_an_earlier_process_are_settled_at_start() {
    for closed_before in [false, true] {
        let orders = OrdersService::with_replies(closed_before.then_some(None));
        let world = orders.world().await;
        move_clock(&world, 2);
        if closed_before {
            world.node.settle_now().await.unwrap_err();
            assert_eq!(extensions(&world), ["closed"]);
        }
        let world = world.restart(|_| {}).await;
        until("the orders are settled", || files(&world).is_empty()).await;
        assert_eq!(amounts(orders.streams().last().unwrap()).len(), 2);
    }
}

#[tokio::test]
async fn hour_with_many_records_is_sent_completely() {
    const COPIES: usize = 10_000;
    let orders = OrdersService::default();
    let world = orders.world().await;
    let log = files(&world).remove(0);
    fs::write(log.with_file_name("1000.closed"), fs::read(&log).unwrap().repeat(COPIES)).unwrap();
    world.node.settle_now().await.unwrap();
    assert_eq!(orders.streams()[0].len(), 2 * COPIES);
    assert_eq!(files(&world), [log]);
}

#[tokio::test]
async fn unreadable_file_does_not_block_other_hours() {
    let orders = OrdersService::default();
    let world = orders.world().await;
    // Opening a directory succeeds, reading it fails.
    let directory = files(&world)[0].with_file_name("1000.closed");
    fs::create_dir(&directory).unwrap();
    move_clock(&world, 2);
    let error = world.node.settle_now().await.unwrap_err();
    assert!(matches!(&error, SettleError::File { path, .. } if *path == directory), "{error}");
    assert_eq!((orders.streams().len(), files(&world)), (1, vec![directory]));
    assert_eq!(amounts(&orders.streams()[0]).len(), 2);
}
