//! A storage node without gRPC, like those of the public network: its TLS selects no ALPN protocol,
//! and it responds to DRPC packets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use uplink_rpc::client;
use uplink_rpc::dial::{Dialer, Transport};
use uplink_rpc::drpc::packet::Packets;
use uplink_rpc::drpc::parts::Parts;
use uplink_rpc::drpc::{Id, Kind, frame};
use uplink_rpc::r#gen::contact::{CheckInRequest, CheckInResponse};
use uplink_rpc::pool::Pool;
use uplink_rpc::tls::Identity;
use uplink_satellite::Satellite;

use crate::network::Network;

struct DrpcNode {
    identity: Identity,
    address: SocketAddr,
    /// Paths of the received calls.
    called: Arc<Mutex<Vec<Bytes>>>,
}

impl DrpcNode {
    async fn start() -> Self {
        let identity = Identity::generate().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let tls = without_protocols(&identity);
        let called = Arc::default();
        tokio::spawn({
            let called = Arc::clone(&called);
            async move {
                while let Ok((stream, _)) = socket.accept().await {
                    tokio::spawn(respond(stream, tls.clone(), Arc::clone(&called)));
                }
            }
        });
        Self { identity, address, called }
    }

    async fn check_in(&self, satellite: &Satellite, address: SocketAddr) -> CheckInResponse {
        let dialer = Dialer::new(&self.identity).unwrap().with_transport(Transport::Drpc);
        let id = satellite.node_url().id.unwrap();
        let channel = Pool::new(dialer).peer(id, &satellite.address().to_string()).channel();
        let address = address.to_string();
        let request = CheckInRequest { address, ..CheckInRequest::default() };
        client::node(channel).check_in(request).await.unwrap().into_inner()
    }

    fn called(&self) -> Vec<Bytes> {
        self.called.lock().unwrap().clone()
    }
}

fn without_protocols(identity: &Identity) -> TlsAcceptor {
    let folder = tempfile::tempdir().unwrap();
    identity.save(folder.path()).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.path().join("identity.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain().to_vec(), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Responds to every call on a connection with one empty message.
async fn respond(mut stream: TcpStream, tls: TlsAcceptor, called: Arc<Mutex<Vec<Bytes>>>) {
    let mut preamble = [0; 8];
    stream.read_exact(&mut preamble).await.unwrap();
    assert_eq!(&preamble, b"DRPC!!!1");
    // A dialer that expects a different node id closes the connection here.
    let Ok(mut stream) = tls.accept(stream).await else { return };
    let mut packets = Packets::default();
    let mut path = Bytes::new();
    while stream.read_buf(packets.buffer()).await.is_ok_and(|read| read > 0) {
        while let Some(packet) = packets.take().unwrap() {
            match packet.kind {
                Kind::INVOKE => path = packet.data.into_bytes(),
                Kind::MESSAGE => {
                    called.lock().unwrap().push(path.clone());
                    let id = |message| Id { stream: packet.id.stream, message };
                    let mut reply = Parts::default();
                    frame::write_packet(Kind::MESSAGE, id(1), Bytes::new(), &mut reply);
                    frame::write_packet(Kind::CLOSE_SEND, id(2), Bytes::new(), &mut reply);
                    stream.write_all(&reply.into_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn drpc_only_node_is_reached_and_online() {
    let network = Network::start(0).await;
    let node = DrpcNode::start().await;
    let other = DrpcNode::start().await;
    let rejected = node.check_in(&network.satellite, other.address).await;
    assert!(!rejected.ping_node_success);
    let own = node.identity.node_id();
    let wrong = other.identity.node_id();
    let text = &rejected.ping_error_message;
    assert!(text.contains(&own.to_string()) && text.contains(&wrong.to_string()), "{text}");
    assert!(!network.satellite.nodes().await.unwrap()[0].online);
    assert!(node.called().is_empty() && other.called().is_empty());

    let reached = node.check_in(&network.satellite, node.address).await;
    assert!(reached.ping_node_success, "{}", reached.ping_error_message);
    assert_eq!(node.called(), ["/contact.Contact/PingNode"]);
    assert!(network.satellite.nodes().await.unwrap()[0].online);
    network.stop().await;
}
