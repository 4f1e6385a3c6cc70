//! Check-ins of storage nodes, and when nodes count as online.

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use uplink_rpc::client;
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::contact::{GetTimeRequest, PingMeRequest};
use uplink_rpc::pool::Pool;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::tls::Identity;

use crate::network::{Network, TestNode};

#[tokio::test]
async fn node_is_online_once_reached_under_its_own_id() {
    let network = Network::start(0).await;
    let node = TestNode::start().await;
    let other = TestNode::start().await;
    let rejected = node
        .check_in_as(&network.satellite, 1 << 40, &other.running.address().to_string())
        .await
        .unwrap();
    assert!(!rejected.ping_node_success);
    let own = node.identity.node_id();
    let wrong = other.identity.node_id();
    let text = &rejected.ping_error_message;
    assert!(text.contains(&own.to_string()) && text.contains(&wrong.to_string()), "{text}");
    let known = network.satellite.nodes().await.unwrap();
    assert_eq!((known.len(), known[0].online), (1, false));

    assert!(node.check_in(&network.satellite, 12_345).await.unwrap().ping_node_success);
    let known = network.satellite.nodes().await.unwrap();
    assert_eq!((known.len(), known[0].id, known[0].online), (1, own, true));
    assert_eq!((known[0].free_disk, known[0].disqualified), (12_345, false));

    network.admin.disqualify_node(own).await.unwrap();
    assert!(network.satellite.nodes().await.unwrap()[0].disqualified);
    assert!(network.admin.disqualify_node(wrong).await.is_err());
    network.stop().await;
}

#[tokio::test]
async fn unreachable_and_invalid_addresses_are_reported() {
    let network = Network::start(0).await;
    let node = TestNode::start().await;
    for (address, part) in [("127.0.0.1:1", "127.0.0.1:1"), ("no port", "no port")] {
        let answer = node.check_in_as(&network.satellite, 1, address).await.unwrap();
        assert!(!answer.ping_node_success);
        assert!(answer.ping_error_message.contains(part), "{}", answer.ping_error_message);
    }
    for address in [String::new(), "x".repeat(257)] {
        let rejected = node.check_in_as(&network.satellite, 1, &address).await.unwrap_err();
        assert_eq!(rejected.code, Code::INVALID_ARGUMENT);
    }
    network.stop().await;
}

#[tokio::test]
async fn node_gets_time_and_ping() {
    let network = Network::start(0).await;
    let node = TestNode::start().await;
    let pool = Pool::new(Dialer::new(&node.identity).unwrap());
    let id = network.satellite.node_url().id.unwrap();
    let channel = pool.peer(id, &network.satellite.address().to_string()).channel();
    let mut client = client::node(channel);
    let time = client.get_time(GetTimeRequest {}).await.unwrap().into_inner().timestamp;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(time.unwrap().seconds.abs_diff(i64::try_from(now.as_secs()).unwrap()) < 60);
    let ping =
        |address: String, transport| PingMeRequest { address, transport, ..Default::default() };
    let own = node.running.address().to_string();
    client.ping_me(ping(own.clone(), 0)).await.unwrap();
    let rejected = client.ping_me(ping("127.0.0.1:1".to_owned(), 0)).await.unwrap_err();
    assert_eq!(Failure::from(rejected).code, Code::NOT_FOUND);
    let rejected = client.ping_me(ping(own, 1)).await.unwrap_err();
    assert_eq!(Failure::from(rejected).code, Code::UNIMPLEMENTED);
    network.stop().await;
}

#[tokio::test]
async fn full_node_is_never_selected() {
    let network = Network::start(10).await;
    network.create_bucket("bucket").await;
    let full = &network.nodes[0];
    full.check_in(&network.satellite, (64 << 20) - 1).await.unwrap();
    for number in 0..20 {
        let (_, segment) = network.begin("bucket", format!("{number}").as_bytes()).await;
        assert_eq!(segment.addressed_limits.len(), 9);
        let ids = segment.addressed_limits.iter().map(crate::network::limit_of);
        let ids: Vec<_> = ids.map(|limit| limit.storage_node_id).collect();
        assert!(!ids.contains(&full.identity.node_id().as_bytes().to_vec()));
    }
    network.stop().await;
}

#[tokio::test]
async fn node_id_with_different_ca_certificate_is_rejected() {
    // The id is derived from the CA key, so a new certificate of the same key has the same id.
    let network = Network::start(0).await;
    let node = TestNode::start().await;
    node.check_in(&network.satellite, 1).await.unwrap();
    let again = reissued(&node.identity);
    assert_eq!(again.node_id(), node.identity.node_id());
    let listener =
        uplink_rpc::server::Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let routes = crate::network::contact_routes();
    let running = listener.serve(&again, routes).unwrap();
    let again = TestNode { identity: again.into(), running };
    let rejected = again.check_in(&network.satellite, 1).await.unwrap_err();
    assert_eq!(rejected.code, Code::PERMISSION_DENIED);
    network.stop().await;
}

/// Returns the identity with new certificates of the same CA key.
fn reissued(identity: &Identity) -> Identity {
    let folder = tempfile::tempdir().unwrap();
    identity.save(folder.path()).unwrap();
    let authority = PrivateKeyDer::from_pem_file(folder.path().join("ca.key")).unwrap();
    let authority = rcgen::KeyPair::try_from(&authority).unwrap();
    let leaf = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let certificate = params.self_signed(&authority).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &authority);
    let leaf_certificate = rcgen::CertificateParams::default().signed_by(&leaf, &issuer).unwrap();
    let chain = vec![leaf_certificate.der().clone(), certificate.der().clone()];
    Identity::from_chain(chain, leaf.serialize_der().into()).unwrap()
}
