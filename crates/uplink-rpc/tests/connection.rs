//! One port, one dial: who may talk to whom, and how failures look.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use uplink_core::id::NodeId;
use uplink_rpc::client;
use uplink_rpc::dial::{DialError, Dialer, Transport};
use uplink_rpc::r#gen::contact::contact_server::{Contact, ContactServer};
use uplink_rpc::r#gen::contact::{ContactPingRequest, ContactPingResponse};
use uplink_rpc::pool::Pool;
use uplink_rpc::server::{Listener, Peer, Running};
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::tls::Identity;

/// Answers pings of one node id and refuses everybody else with a code gRPC has no number for.
struct Friend(NodeId);

#[tonic::async_trait]
impl Contact for Friend {
    async fn ping_node(
        &self,
        request: Request<ContactPingRequest>,
    ) -> Result<Response<ContactPingResponse>, Status> {
        let peer = request.extensions().get::<Peer>().expect("set by the listener");
        match &peer.identity {
            Some(caller) if caller.node_id() == self.0 => Ok(Response::new(ContactPingResponse {})),
            _ => Err(Failure::new(Code::BUCKET_NOT_FOUND, "stranger").into()),
        }
    }
}

/// Each test runs over both transports.
const TRANSPORTS: [Transport; 2] = [Transport::Negotiated, Transport::Drpc];

fn pool(identity: &Identity, transport: Transport) -> Pool {
    Pool::new(Dialer::new(identity).unwrap().with_transport(transport))
}

async fn serve(identity: &Identity, friend: NodeId, port: u16) -> Running {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = Listener::bind(address).await.expect("a free port");
    listener.serve(identity, Routes::new(ContactServer::new(Friend(friend)))).expect("serves")
}

async fn ping(pool: &Pool, node: NodeId, address: SocketAddr) -> Result<(), Failure> {
    let connection = pool.peer(node, &address.to_string());
    let answer = client::contact(connection.channel()).ping_node(ContactPingRequest {}).await;
    match answer {
        Ok(_) => {
            assert_eq!(connection.identity().expect("connected").node_id(), node);
            Ok(())
        }
        Err(status) => Err(status.into()),
    }
}

#[tokio::test]
async fn caller_and_callee_know_each_other_by_node_id() {
    for transport in TRANSPORTS {
        let (caller, callee) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let running = serve(&callee, caller.node_id(), 0).await;
        let kept = pool(&caller, transport);
        ping(&kept, callee.node_id(), running.address()).await.expect("answered");

        let stranger = pool(&Identity::generate().unwrap(), transport);
        let refused = ping(&stranger, callee.node_id(), running.address()).await.unwrap_err();
        assert_eq!(refused, Failure::new(Code::BUCKET_NOT_FOUND, "stranger"));
    }
}

#[tokio::test]
async fn another_node_at_the_address_is_refused_before_any_call() {
    for transport in TRANSPORTS {
        let (caller, callee) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let wanted = Identity::generate().unwrap().node_id();
        let running = serve(&callee, caller.node_id(), 0).await;
        let kept = pool(&caller, transport);
        ping(&kept, wanted, running.address()).await.unwrap_err();
        let connection = kept.peer(wanted, &running.address().to_string());
        match connection.dial_error() {
            Some(DialError::WrongNode { wanted: named, found, .. }) => {
                assert_eq!((named, found), (wanted, callee.node_id()));
            }
            other => panic!("expected the wrong node to be named, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn killed_peer_fails_calls_and_a_restarted_one_answers_on_the_same_connection() {
    for transport in TRANSPORTS {
        let (caller, callee) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let running = serve(&callee, caller.node_id(), 0).await;
        let address = running.address();
        let kept = pool(&caller, transport);
        ping(&kept, callee.node_id(), address).await.expect("answered");
        running.kill();
        drop(running);
        ping(&kept, callee.node_id(), address).await.unwrap_err();

        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let _running = loop {
            match Listener::bind(address).await {
                Ok(listener) => {
                    let friend = ContactServer::new(Friend(caller.node_id()));
                    break listener.serve(&callee, Routes::new(friend)).expect("serves");
                }
                Err(_) if tokio::time::Instant::now() < deadline => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        ping(&kept, callee.node_id(), address).await.expect("answered again");
    }
}

/// Answers each ping that it has a permit for, and notes that one has arrived.
struct Slow(Arc<Semaphore>, Arc<Notify>);

#[tonic::async_trait]
impl Contact for Slow {
    async fn ping_node(
        &self,
        _: Request<ContactPingRequest>,
    ) -> Result<Response<ContactPingResponse>, Status> {
        self.1.notify_one();
        self.0.acquire().await.expect("never closed").forget();
        Ok(Response::new(ContactPingResponse {}))
    }
}

#[tokio::test]
async fn connection_beyond_the_limit_is_refused_as_overloaded() {
    for transport in TRANSPORTS {
        let (answers, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
        let callee = Identity::generate().unwrap();
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let routes =
            Routes::new(ContactServer::new(Slow(Arc::clone(&answers), Arc::clone(&arrived))));
        let running = listener.max_connections(1).serve(&callee, routes).unwrap();
        let (node, address) = (callee.node_id(), running.address());
        let pools = [0, 1].map(|_| pool(&Identity::generate().unwrap(), transport));
        let [first, second] = &pools;
        let busy = ping(first, node, address);
        let refused = async {
            arrived.notified().await;
            let refused = ping(second, node, address).await.unwrap_err();
            answers.add_permits(100);
            refused
        };
        let (busy, refused) = tokio::join!(busy, refused);
        assert!(refused.is_overloaded(), "{refused:?}");
        busy.expect("answered");
        // The connection of the first one is idle by and by, and makes room.
        let made_room = async {
            while let Err(refused) = ping(second, node, address).await {
                assert_eq!(refused.code, Code::UNAVAILABLE, "{refused:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), made_room).await.expect("room");
    }
}

#[tokio::test]
async fn silent_peer_ends_the_dial_at_its_deadline() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let dialer = Dialer::new(&Identity::generate().unwrap()).unwrap();
    let dialler = dialer.with_deadline(Duration::from_millis(100));
    let error = dialler.dial(None, &address).await.unwrap_err();
    assert!(matches!(error, DialError::Deadline { .. }), "{error}");
}

#[tokio::test]
async fn port_in_use_names_the_address() {
    let identity = Identity::generate().unwrap();
    let running = serve(&identity, identity.node_id(), 0).await;
    let error = Listener::bind(running.address()).await.unwrap_err();
    assert!(error.to_string().contains(&running.address().to_string()), "{error}");
}

#[test]
fn identity_survives_its_files_and_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::generate().unwrap();
    identity.save(folder.path()).unwrap();
    let loaded = Identity::load(folder.path()).unwrap();
    assert_eq!(loaded.node_id(), identity.node_id());
    assert_eq!(loaded.chain(), identity.chain());
    assert_eq!(loaded.derive_secret("use"), identity.derive_secret("use"));
    for name in ["identity.cert", "identity.key", "ca.cert", "ca.key"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = folder.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let error = Identity::generate().unwrap().save(folder.path()).unwrap_err();
    assert!(error.to_string().contains("never overwritten"), "{error}");
    std::fs::write(folder.path().join("identity.key"), "damaged").unwrap();
    let error = Identity::load(folder.path()).unwrap_err();
    assert!(error.to_string().contains("identity.key"), "{error}");
}

#[test]
fn debug_of_an_identity_shows_the_node_id_only() {
    let identity = Identity::generate().unwrap();
    let expected = format!("Identity {{ node_id: {:?}, .. }}", identity.node_id());
    assert_eq!(format!("{identity:?}"), expected);
}
