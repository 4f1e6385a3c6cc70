//! Registering access grants with an authentication service, which only tests imitate.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use uplink::{EdgeConfig, ErrorKind, Permission, SharePrefix, join_share_url};
use uplink_rpc::drpc::packet::Packets;
use uplink_rpc::drpc::parts::Parts;
use uplink_rpc::drpc::{Id, Kind, frame};
use uplink_rpc::r#gen::edgeauth::{EdgeRegisterAccessRequest, EdgeRegisterAccessResponse};

use super::world::{BUCKET, World};

/// Answers one call: registers the grant, or refuses it with a status.
async fn serve(mut socket: impl AsyncRead + AsyncWrite + Unpin, refusal: Option<(u64, &str)>) {
    let mut packets = Packets::default();
    let mut path = Bytes::new();
    let mut reply = Parts::default();
    'call: loop {
        while let Some(packet) = packets.take().expect("packets of the protocol") {
            let id = Id { stream: packet.id.stream, message: 1 };
            match packet.kind {
                Kind::INVOKE => path = packet.data.into_bytes(),
                Kind::MESSAGE => {
                    let bytes = packet.data.into_bytes();
                    let request = EdgeRegisterAccessRequest::decode(bytes).expect("a request");
                    match refusal {
                        Some((code, text)) => {
                            let error = [&code.to_be_bytes()[..], text.as_bytes()].concat();
                            frame::write_packet(Kind::ERROR, id, error.into(), &mut reply);
                        }
                        None => {
                            let answer = answer(&path, &request).encode_to_vec();
                            frame::write_packet(Kind::MESSAGE, id, answer.into(), &mut reply);
                            let end = Id { message: 2, ..id };
                            frame::write_packet(Kind::CLOSE, end, Bytes::new(), &mut reply);
                        }
                    }
                    break 'call;
                }
                _ => {}
            }
        }
        if socket.read_buf(packets.buffer()).await.expect("readable") == 0 {
            return;
        }
    }
    socket.write_all(&reply.into_bytes()).await.expect("writable");
    socket.flush().await.expect("writable");
    // Until the client closes.
    let _ = socket.read(&mut [0; 1]).await;
}

fn answer(path: &[u8], request: &EdgeRegisterAccessRequest) -> EdgeRegisterAccessResponse {
    assert_eq!(path, b"/EdgeAuth/RegisterAccess");
    EdgeRegisterAccessResponse {
        access_key_id: format!("key of {} characters", request.access_grant.len()),
        secret_key: format!("public {}", request.public),
        endpoint: "https://gateway.example".to_owned(),
        free_tier_restricted_expiration: None,
    }
}

/// Starts a service that answers one call without TLS.
async fn plain(refusal: Option<(u64, &'static str)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("a client");
        serve(socket, refusal).await;
    });
    address
}

/// Starts a service with a certificate for `name`. Returns its address and the authority's certificate.
async fn encrypted(name: &str) -> (SocketAddr, String) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca_params = CertificateParams::default();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = ca_params.self_signed(&ca_key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new([name.to_owned()]).expect("parameters");
    let leaf = leaf.signed_by(&key, &Issuer::from_params(&ca_params, &ca_key)).expect("signed");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("a client");
        if let Ok(socket) = acceptor.accept(socket).await {
            serve(socket, None).await;
        }
    });
    let der = pem::Pem::new("CERTIFICATE", ca.der().to_vec());
    (address, pem::encode(&der))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grant_is_registered_with_and_without_tls() {
    let world = World::start().await;
    let shared = [SharePrefix::new(BUCKET, "public/")];
    let access = world.access.share(&Permission::read_only(), &shared).expect("shared");
    let length = access.serialize().expect("a text").len();
    let (address, authority) = encrypted("127.0.0.1").await;
    let with_tls = EdgeConfig::new(address.to_string()).certificates(authority);
    let without = EdgeConfig::new(plain(None).await.to_string()).danger_plaintext();
    for (config, public) in [(with_tls, true), (without, false)] {
        let credentials = access.register(&config, public).await.expect("registered");
        let id = credentials.access_key_id.expose();
        assert_eq!(id, &format!("key of {length} characters"));
        assert_eq!(credentials.secret_key.expose(), &format!("public {public}"));
        assert_eq!(credentials.endpoint, "https://gateway.example");
        assert!(!format!("{credentials:?}").contains("characters"), "a secret is shown");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_that_is_not_authentic_receives_no_grant() {
    let world = World::start().await;
    let (address, authority) = encrypted("other.example").await;
    let (_, other_authority) = encrypted("127.0.0.1").await;
    let (second, _) = encrypted("127.0.0.1").await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = silent.local_addr().expect("an address");
    drop(silent);
    for (address, authority) in
        [(address, &authority), (second, &other_authority), (closed, &authority)]
    {
        let config = EdgeConfig::new(address.to_string()).certificates(authority.as_str());
        let error = world.access.register(&config, false).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AuthDialFailed, "{error}");
    }
    // Certificates of the system: none of its authorities has signed this one.
    let (address, _) = encrypted("127.0.0.1").await;
    let error = world.access.register(&EdgeConfig::new(address.to_string()), false).await;
    let kind = error.unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::AuthDialFailed | ErrorKind::ConfigInvalid), "{kind:?}");
    let garbage = EdgeConfig::new(address.to_string()).certificates("no certificate");
    let error = world.access.register(&garbage, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_of_the_service_is_the_error() {
    let world = World::start().await;
    let address = plain(Some((3, "access grant expires too soon"))).await;
    let config = EdgeConfig::new(address.to_string()).danger_plaintext();
    let error = world.access.register(&config, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RegisterAccessFailed);
    assert!(error.to_string().contains("access grant expires too soon"), "{error}");
    let missing = world.access.register(&EdgeConfig::new(""), false).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::AuthDialFailed);
}

#[test]
fn links_name_bucket_and_key() {
    let base = "https://link.example/";
    let link = join_share_url(base, "id", "bucket", "a b/c", true).expect("a link");
    assert_eq!(link, "https://link.example/raw/id/bucket/a%20b/c");
    let page = join_share_url(base, "id", "", "", false).expect("a link");
    assert_eq!(page, "https://link.example/s/id");
    for (id, bucket, key) in [("", "b", "k"), ("id", "", "k"), ("id", "b", "prefix/")] {
        let error = join_share_url(base, id, bucket, key, true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LinkInvalid, "{error}");
    }
}
