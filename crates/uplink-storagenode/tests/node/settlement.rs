//! Orders handed in to a satellite that records them and answers as it is told.

use std::{
    collections::VecDeque,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, UNIX_EPOCH},
};

use tonic::{Request, Response, Status, Streaming, service::Routes};
use uplink_core::order::PieceAction;
use uplink_rpc::{
    r#gen::orders::{
        SettlementRequest, SettlementWithWindowResponse,
        orders_server::{Orders, OrdersServer},
    },
    server::{Listener, Peer},
    tls::Identity,
};
use uplink_storagenode::{Disk, SettleError};

use crate::world::{World, serve, until};

const ACCEPTED: i32 = 0;
const REJECTED: i32 = 1;
const HOUR: i64 = 3600;

/// Where orders are handed in.
#[derive(Clone, Default)]
struct Desk {
    /// What is answered, accepted when there is nothing left; no status is a failure.
    answers: Arc<Mutex<VecDeque<Option<i32>>>>,
    /// The records of every stream that ended in order.
    handed_in: Arc<Mutex<Vec<Vec<SettlementRequest>>>>,
}

#[tonic::async_trait]
impl Orders for Desk {
    async fn settlement_with_window(
        &self,
        request: Request<Streaming<SettlementRequest>>,
    ) -> Result<Response<SettlementWithWindowResponse>, Status> {
        assert!(request.extensions().get::<Peer>().unwrap().identity.is_some());
        let (mut stream, mut records) = (request.into_inner(), Vec::new());
        while let Some(record) = stream.message().await? {
            records.push(record);
        }
        // A stream that was taken back ends alike; the call is then dropped here.
        tokio::task::yield_now().await;
        self.handed_in.lock().unwrap().push(records);
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Some(ACCEPTED));
        let status = answer.ok_or_else(|| Status::unavailable("the answer is lost"))?;
        Ok(Response::new(SettlementWithWindowResponse { status, ..Default::default() }))
    }
}

impl Desk {
    fn answering(answers: impl IntoIterator<Item = Option<i32>>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
    }

    fn routes(&self) -> Routes {
        Routes::new(OrdersServer::new(self.clone()))
    }

    /// A node that trusts this satellite and has served an upload of 1000 and a download of 600
    /// bytes.
    async fn world(&self) -> World {
        let (satellite, node) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let files = Arc::new(Disk::default());
        let world = World::start_as(satellite, self.routes(), node, files, |_| {}).await;
        // From the middle of an hour on, so that it does not end in between.
        let second = world.now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 3600;
        let forward = (5400 - i64::try_from(second).unwrap()) % HOUR;
        world.clock.store(forward, Ordering::Relaxed);
        let (piece, _) = world.stored(1000).await;
        world.download(&piece, 0, 600).await.unwrap();
        while world.kept_orders().len() < 2 {
            world.node.settle_now().await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world
    }

    fn handed_in(&self) -> Vec<Vec<SettlementRequest>> {
        self.handed_in.lock().unwrap().clone()
    }
}

/// Actions and amounts, in order.
fn amounts(records: &[SettlementRequest]) -> Vec<(i32, i64)> {
    let amount = |record: &SettlementRequest| {
        let limit = record.limit.as_ref().unwrap().decode_typed().unwrap();
        let order = record.order.as_ref().unwrap().decode_typed().unwrap();
        assert_eq!(limit.serial_number, order.serial_number);
        (limit.action, order.amount)
    };
    records.iter().map(amount).collect()
}

/// The files of the satellite's orders, by name.
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
async fn an_hour_is_handed_in_once_when_it_is_over_and_gone_once_accepted() {
    let desk = Desk::default();
    let world = desk.world().await;
    assert_eq!((desk.handed_in().len(), extensions(&world)), (0, vec!["log".to_owned()]));
    move_clock(&world, 2);
    for _ in 0..2 {
        world.node.settle_now().await.unwrap();
        let handed_in = desk.handed_in();
        assert_eq!(handed_in.len(), 1);
        let (put, get) = (PieceAction::Put as i32, PieceAction::Get as i32);
        assert_eq!(amounts(&handed_in[0]), [(put, 1000), (get, 600)]);
        assert!(files(&world).is_empty());
    }
}

#[tokio::test]
async fn a_rejected_hour_is_kept_aside_and_not_handed_in_again() {
    let desk = Desk::answering([Some(REJECTED)]);
    let world = desk.world().await;
    move_clock(&world, 2);
    for _ in 0..2 {
        world.node.settle_now().await.unwrap();
        assert_eq!((desk.handed_in().len(), extensions(&world)), (1, vec!["rejected".to_owned()]));
        assert_eq!(world.kept_orders().len(), 2);
    }
}

#[tokio::test]
async fn an_hour_without_a_clear_answer_is_handed_in_again_the_same() {
    let desk = Desk::answering([None, Some(2)]);
    let world = desk.world().await;
    move_clock(&world, 2);
    for reason in ["the answer is lost", "unknown status 2"] {
        let error = world.node.settle_now().await.unwrap_err();
        assert!(matches!(&error, SettleError::Call { reason: text, .. } if text.contains(reason)));
        assert_eq!(extensions(&world), ["closed"]);
    }
    world.node.settle_now().await.unwrap();
    let handed_in = desk.handed_in();
    assert_eq!(handed_in.len(), 3);
    assert!(handed_in[0] == handed_in[1] && handed_in[0] == handed_in[2]);
    assert!(files(&world).is_empty());
}

#[tokio::test]
async fn a_satellite_that_is_away_gets_the_orders_when_it_is_back() {
    let desk = Desk::default();
    let mut world = desk.world().await;
    let address = world.satellite_port.address();
    let elsewhere = serve(&world.satellite, Routes::default()).await;
    let port = std::mem::replace(&mut world.satellite_port, elsewhere);
    port.stop(Duration::from_secs(5)).await;
    move_clock(&world, 2);
    assert!(matches!(world.node.settle_now().await, Err(SettleError::Call { .. })));
    assert_eq!((desk.handed_in().len(), extensions(&world)), (0, vec!["closed".to_owned()]));
    let listener = Listener::bind(address).await.unwrap();
    world.satellite_port = listener.serve(&world.satellite, desk.routes()).unwrap();
    world.node.settle_now().await.unwrap();
    assert_eq!((desk.handed_in().len(), files(&world).len()), (1, 0));
}

#[tokio::test]
async fn orders_of_an_earlier_process_are_handed_in_unasked() {
    for closed_before in [false, true] {
        let desk = Desk::answering(closed_before.then_some(None));
        let world = desk.world().await;
        move_clock(&world, 2);
        if closed_before {
            world.node.settle_now().await.unwrap_err();
            assert_eq!(extensions(&world), ["closed"]);
        }
        let world = world.restart(|_| {}).await;
        until("the orders are handed in", || files(&world).is_empty()).await;
        assert_eq!(amounts(desk.handed_in().last().unwrap()).len(), 2);
    }
}

#[tokio::test]
async fn a_long_hour_arrives_whole() {
    const TIMES: usize = 10_000;
    let desk = Desk::default();
    let world = desk.world().await;
    let log = files(&world).remove(0);
    fs::write(log.with_file_name("1000.closed"), fs::read(&log).unwrap().repeat(TIMES)).unwrap();
    world.node.settle_now().await.unwrap();
    assert_eq!(desk.handed_in()[0].len(), 2 * TIMES);
    assert_eq!(files(&world), [log]);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_no_hour_and_stops_no_other() {
    let desk = Desk::default();
    let world = desk.world().await;
    // Opening a directory succeeds, reading it fails.
    let directory = files(&world)[0].with_file_name("1000.closed");
    fs::create_dir(&directory).unwrap();
    move_clock(&world, 2);
    let error = world.node.settle_now().await.unwrap_err();
    assert!(matches!(&error, SettleError::File { path, .. } if *path == directory), "{error}");
    assert_eq!((desk.handed_in().len(), files(&world)), (1, vec![directory]));
    assert_eq!(amounts(&desk.handed_in()[0]).len(), 2);
}
