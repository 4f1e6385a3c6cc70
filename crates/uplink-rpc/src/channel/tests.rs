//! Peers that select no protocol, as in the public network, and peers that switch protocols.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::*;
use crate::client;
use crate::dial::Transport;
use crate::r#gen::contact::contact_server::{Contact, ContactServer};
use crate::r#gen::contact::{ContactPingRequest, ContactPingResponse};
use crate::pool::Pool;
use crate::server::{Listener, Peer};
use crate::tls::{Identity, server_config};

struct PingService;

#[tonic::async_trait]
impl Contact for PingService {
    async fn ping_node(
        &self,
        _: Request<ContactPingRequest>,
    ) -> Result<Response<ContactPingResponse>, Status> {
        Ok(Response::new(ContactPingResponse {}))
    }
}

fn routes() -> Routes {
    Routes::new(ContactServer::new(PingService))
}

/// Runs a peer that negotiates no protocol and serves only DRPC after the preamble.
async fn serve_drpc_only(identity: &Identity, address: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let mut config = server_config(identity).unwrap();
    Arc::make_mut(&mut config).alpn_protocols.clear();
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(config);
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut socket, remote) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let mut preamble = [0; 8];
                tokio::io::AsyncReadExt::read_exact(&mut socket, &mut preamble).await.unwrap();
                assert_eq!(&preamble, b"DRPC!!!1");
                let stream = acceptor.accept(socket).await.unwrap();
                let peer = Peer { remote, identity: None };
                let stop = CancellationToken::new();
                let _ = crate::drpc::server::serve(stream, peer, routes(), stop).await;
            });
        }
    });
    (address, task)
}

async fn ping(pool: &Pool, node: NodeId, address: SocketAddr) -> Result<(), Status> {
    let channel = pool.peer(node, &address.to_string()).channel();
    client::contact(channel).ping_node(ContactPingRequest {}).await.map(|_| ())
}

#[tokio::test]
async fn peer_of_the_public_network_is_called_over_drpc() {
    let identity = Identity::generate().unwrap();
    let pool = Pool::new(Dialer::new(&identity).unwrap());
    let node = identity.node_id();
    let (address, task) = serve_drpc_only(&identity, ([127, 0, 0, 1], 0).into()).await;
    for _ in 0..3 {
        ping(&pool, node, address).await.unwrap();
    }
    let connection = pool.peer(node, &address.to_string());
    assert_eq!(connection.identity().unwrap().node_id(), node);
    assert!(connection.dial_error().is_none());
    task.abort();
}

#[tokio::test]
async fn peer_that_restarts_with_the_other_transport_is_redetected() {
    let identity = Identity::generate().unwrap();
    let pool = Pool::new(Dialer::new(&identity).unwrap());
    let node = identity.node_id();
    let (address, task) = serve_drpc_only(&identity, ([127, 0, 0, 1], 0).into()).await;
    ping(&pool, node, address).await.unwrap();
    task.abort();
    let _ = task.await;

    // From DRPC to gRPC: no call is lost.
    let listener = loop {
        match Listener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let running = listener.serve(&identity, routes()).unwrap();
    ping(&pool, node, address).await.unwrap();
    let channel = pool.peer(node, &address.to_string()).channel();
    assert!(matches!(channel.0.state().protocol, PeerProtocol::Grpc(_)));
    running.stop(Duration::from_secs(1)).await;

    // From gRPC to DRPC: the call that detects the change may fail.
    let (_, task) = serve_drpc_only(&identity, address).await;
    let _ = ping(&pool, node, address).await;
    let _ = ping(&pool, node, address).await;
    ping(&pool, node, address).await.unwrap();
    assert!(matches!(channel.0.state().protocol, PeerProtocol::Drpc));
    task.abort();
}

#[tokio::test]
async fn failed_first_dial_is_shared_and_the_next_call_dials_again() {
    let identity = Identity::generate().unwrap();
    let pool = Pool::new(Dialer::new(&identity).unwrap());
    let node = identity.node_id();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let calls = (0..5).map(|_| ping(&pool, node, address));
    for failed in futures_util::future::join_all(calls).await {
        let failure = crate::status::Failure::from(failed.unwrap_err());
        assert_eq!(failure.code, crate::status::Code::UNAVAILABLE);
        assert!(failure.message.starts_with("cannot connect to 127.0.0.1"), "{failure}");
    }
    assert!(pool.peer(node, &address.to_string()).dial_error().is_some());
    let (_, task) = serve_drpc_only(&identity, address).await;
    ping(&pool, node, address).await.unwrap();
    task.abort();
}

/// Relays every connection to `target` until it is frozen; later connections are relayed again.
async fn relay(target: SocketAddr) -> (SocketAddr, tokio::sync::watch::Sender<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (freeze, frozen) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        for number in 1.. {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut frozen = frozen.clone();
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
                let is_frozen = async { frozen.wait_for(|frozen| number <= *frozen).await.is_ok() };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    // Keeps both sockets open and forwards nothing.
                    _ = is_frozen => std::future::pending().await,
                }
            });
        }
    });
    (address, freeze)
}

#[tokio::test]
async fn peer_that_vanished_is_dialled_again_after_a_reset() {
    const SHORT: Duration = Duration::from_millis(200);
    for transport in [Transport::Negotiated, Transport::Drpc] {
        let identity = Identity::generate().unwrap();
        let node = identity.node_id();
        let pool = Pool::new(Dialer::new(&identity).unwrap().with_transport(transport));
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let (address, freeze) = relay(listener.address()).await;
        let _running = listener.serve(&identity, routes()).unwrap();
        ping(&pool, node, address).await.unwrap();

        freeze.send_replace(1);
        let stalled = tokio::time::timeout(SHORT, ping(&pool, node, address)).await;
        assert!(stalled.is_err(), "{transport:?}: the connection is dead");
        pool.peer(node, &address.to_string()).reset();
        ping(&pool, node, address).await.unwrap();
    }
}
