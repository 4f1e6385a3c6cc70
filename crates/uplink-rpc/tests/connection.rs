//! Dialing and serving: peer identity, connection limits and failures.

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

/// Answers pings of one node id and rejects all others with a code that gRPC lacks.
struct SinglePeerContact(NodeId);

#[tonic::async_trait]
impl Contact for SinglePeerContact {
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

async fn serve(identity: &Identity, allowed: NodeId, port: u16) -> Running {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = Listener::bind(address).await.expect("a free port");
    listener
        .serve(identity, Routes::new(ContactServer::new(SinglePeerContact(allowed))))
        .expect("serves")
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
async fn client_and_server_know_each_others_node_id() {
    for transport in TRANSPORTS {
        let caller = Identity::generate().unwrap();
        let callee = Identity::generate().unwrap();
        let running = serve(&callee, caller.node_id(), 0).await;
        let kept = pool(&caller, transport);
        ping(&kept, callee.node_id(), running.address()).await.expect("answered");

        let stranger = pool(&Identity::generate().unwrap(), transport);
        let refused = ping(&stranger, callee.node_id(), running.address()).await.unwrap_err();
        assert_eq!(refused, Failure::new(Code::BUCKET_NOT_FOUND, "stranger"));
    }
}

#[tokio::test]
async fn wrong_node_at_the_address_is_rejected_before_any_call() {
    for transport in TRANSPORTS {
        let caller = Identity::generate().unwrap();
        let callee = Identity::generate().unwrap();
        let expected = Identity::generate().unwrap().node_id();
        let running = serve(&callee, caller.node_id(), 0).await;
        let kept = pool(&caller, transport);
        ping(&kept, expected, running.address()).await.unwrap_err();
        let connection = kept.peer(expected, &running.address().to_string());
        match connection.dial_error() {
            Some(DialError::WrongNode { wanted, found, .. }) => {
                assert_eq!((wanted, found), (expected, callee.node_id()));
            }
            other => panic!("expected WrongNode, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn calls_fail_after_kill_and_succeed_after_restart() {
    for transport in TRANSPORTS {
        let caller = Identity::generate().unwrap();
        let callee = Identity::generate().unwrap();
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
                    let contact = ContactServer::new(SinglePeerContact(caller.node_id()));
                    break listener.serve(&callee, Routes::new(contact)).expect("serves");
                }
                Err(_) if tokio::time::Instant::now() < deadline => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        ping(&kept, callee.node_id(), address).await.expect("answered again");
    }
}

/// Answers a ping once a permit is available, and notifies the test of its arrival.
struct PermittedContact(Arc<Semaphore>, Arc<Notify>);

#[tonic::async_trait]
impl Contact for PermittedContact {
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
        let answers = Arc::new(Semaphore::new(0));
        let arrived = Arc::new(Notify::new());
        let callee = Identity::generate().unwrap();
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let routes = Routes::new(ContactServer::new(PermittedContact(
            Arc::clone(&answers),
            Arc::clone(&arrived),
        )));
        let running = listener.max_connections(1).serve(&callee, routes).unwrap();
        let node = callee.node_id();
        let address = running.address();
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
        // The first connection becomes idle and is closed for the second.
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
async fn dial_to_silent_peer_ends_at_its_deadline() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let dialer = Dialer::new(&Identity::generate().unwrap()).unwrap();
    let dialer = dialer.with_timeout(Duration::from_millis(100));
    let error = dialer.dial(None, &address).await.unwrap_err();
    assert!(matches!(error, DialError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn error_for_a_port_in_use_names_the_address() {
    let identity = Identity::generate().unwrap();
    let running = serve(&identity, identity.node_id(), 0).await;
    let error = Listener::bind(running.address()).await.unwrap_err();
    assert!(error.to_string().contains(&running.address().to_string()), "{error}");
}

#[test]
fn identity_round_trips_and_is_never_overwritten() {
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
    std::fs::write(folder.path().join("identity.key"), "corrupt").unwrap();
    let error = Identity::load(folder.path()).unwrap_err();
    assert!(error.to_string().contains("identity.key"), "{error}");
}

#[test]
fn debug_of_an_identity_shows_only_the_node_id() {
    let identity = Identity::generate().unwrap();
    let expected = format!("Identity {{ node_id: {:?}, .. }}", identity.node_id());
    assert_eq!(format!("{identity:?}"), expected);
}
