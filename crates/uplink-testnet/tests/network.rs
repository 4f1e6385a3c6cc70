//! Starting, stopping and resuming networks, without a client.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use uplink_testnet::{NETWORK_FILE, Network, NetworkError, NodeId, Options, Scheme};

fn small() -> Options {
    Options::new().scheme(scheme("2/2/3/4-64"))
}

fn scheme(text: &str) -> Scheme {
    text.parse().expect("a scheme")
}

async fn start(options: Options) -> Network {
    Network::start(options).await.expect("the network starts")
}

/// Returns the error of starting a network, which must fail.
async fn start_error(options: Options) -> NetworkError {
    match Network::start(options).await {
        Ok(network) => panic!("the network in {:?} started", network.directory()),
        Err(error) => error,
    }
}

fn ids_and_addresses(network: &Network) -> Vec<(NodeId, SocketAddr)> {
    network.nodes().iter().map(|node| (node.id(), node.address())).collect()
}

async fn online_count(network: &Network) -> usize {
    let nodes = network.satellite_nodes().await.expect("nodes");
    nodes.iter().filter(|node| node.online).count()
}

#[tokio::test]
async fn new_network_has_one_online_node_per_piece() {
    let network = start(Options::new()).await;
    assert_eq!(network.scheme(), scheme("4/6/8/10-256"));
    assert_eq!((network.nodes().len(), online_count(&network).await), (10, 10));
    let records = network.satellite_nodes().await.expect("nodes");
    for node in network.nodes() {
        let record = records.iter().find(|record| record.id == node.id()).expect("known");
        assert_eq!(record.address, node.address().to_string());
        assert!(node.address().ip().is_loopback());
        assert_eq!(network.node_by_id(node.id()).expect("a node").index(), node.index());
    }
    assert!(network.node_by_id(NodeId::new([7; 32])).is_err());
    assert!(matches!(network.node(10), Err(NetworkError::NoSuchNode { index: 10, count: 10 })));
}

#[tokio::test]
async fn temporary_network_leaves_no_files() {
    let network = start(small()).await;
    let folder = network.directory().to_owned();
    assert!(folder.is_dir());
    network.stop().await;
    assert!(!folder.exists());
}

#[tokio::test]
async fn resumed_network_keeps_ids_ports_scheme_and_projects() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = start(small().directory(folder.path())).await;
    let satellite = first.satellite_url();
    let nodes = ids_and_addresses(&first);
    let api_key = first.project("kept").await.expect("a project").api_key;
    assert!(api_key.len() > 40);
    first.stop().await;

    let resumed = start(Options::new().directory(folder.path())).await;
    assert_eq!((resumed.satellite_url(), ids_and_addresses(&resumed)), (satellite, nodes.clone()));
    assert_eq!(resumed.scheme(), scheme("2/2/3/4-64"));
    assert!(matches!(resumed.project("kept").await, Err(NetworkError::Admin(_))));
    drop(resumed);

    let grown = start(Options::new().directory(folder.path()).nodes(6)).await;
    assert_eq!((grown.nodes().len(), online_count(&grown).await), (6, 6));
    assert_eq!(ids_and_addresses(&grown)[..4], nodes);
    grown.stop().await;
    let error = start_error(Options::new().directory(folder.path()).nodes(5)).await;
    assert!(matches!(error, NetworkError::NodesLost { found: 6, wanted: 5, .. }), "{error}");
}

#[tokio::test]
async fn restarted_node_keeps_its_id_and_address() {
    let network = start(small()).await;
    let before = ids_and_addresses(&network);
    let node = network.node(2).expect("a node");
    assert!(node.is_running().await && node.usage().await.is_some());
    node.stop().await.expect("stopped");
    assert!(!node.is_running().await && node.usage().await.is_none());
    assert!(matches!(node.stop().await, Err(NetworkError::NotRunning(_))));
    node.start().await.expect("started");
    assert!(matches!(node.start().await, Err(NetworkError::AlreadyRunning(_))));
    // After a kill the sockets may still be closing when it restarts.
    for _ in 0..5 {
        node.kill().await.expect("killed");
        node.start().await.expect("started");
    }
    network.online().await.expect("online");
    assert_eq!(ids_and_addresses(&network), before);
}

#[tokio::test]
async fn restarted_satellite_keeps_its_url_and_projects() {
    let network = start(small()).await;
    let url = network.satellite_url();
    network.project("before").await.expect("a project");
    network.stop_satellite().await.expect("stopped");
    assert!(!network.satellite_is_running().await);
    assert!(matches!(network.project("meanwhile").await, Err(NetworkError::NotRunning(_))));
    network.start_satellite().await.expect("started");
    for _ in 0..5 {
        network.kill_satellite().await.expect("killed");
        network.start_satellite().await.expect("started");
    }
    network.online().await.expect("online");
    assert_eq!(network.satellite_url(), url);
    let admin = network.admin().await.expect("running");
    assert!(admin.project("before").await.is_ok());
}

#[tokio::test]
async fn slow_node_delays_calls_and_stays_online() {
    const DELAY: Duration = Duration::from_millis(100);
    let network = start(small()).await;
    let before = ids_and_addresses(&network);
    let node = network.node(1).expect("a node");
    node.slow(DELAY).await.expect("slowed");
    assert_eq!(node.delay().await, Some(DELAY));
    let started = tokio::time::Instant::now();
    node.check_in().await.expect("checked in");
    // The satellite's ping needs a handshake and a call, one round trip each.
    assert!(started.elapsed() >= 4 * DELAY, "{:?}", started.elapsed());
    node.slow(Duration::ZERO).await.expect("fast again");
    network.online().await.expect("online");
    assert_eq!(ids_and_addresses(&network), before);
}

#[tokio::test]
async fn folder_of_a_running_network_is_rejected() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = start(small().directory(folder.path())).await;
    let error = start_error(small().directory(folder.path())).await;
    assert!(matches!(error, NetworkError::InUse { .. }), "{error}");
    let error = start_error(small().directory(folder.path()).reset()).await;
    assert!(matches!(error, NetworkError::InUse { .. }), "{error}");
    network.online().await.expect("the running network is unaffected");
}

#[tokio::test]
async fn reset_network_has_new_ids_and_no_projects() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = start(small().directory(folder.path())).await;
    first.project("project").await.expect("a project");
    let url = first.satellite_url();
    first.stop().await;
    // Invalid options are rejected before anything is deleted.
    let error = start_error(small().directory(folder.path()).reset().nodes(1)).await;
    assert!(matches!(error, NetworkError::TooFewNodes { .. }), "{error}");
    let same = start(Options::new().directory(folder.path())).await;
    assert_eq!(same.satellite_url(), url);
    same.stop().await;
    corrupt(&folder.path().join(NETWORK_FILE));
    let other = start(small().directory(folder.path()).reset().nodes(3)).await;
    assert_ne!(other.satellite_url(), url);
    assert_eq!(other.nodes().len(), 3);
    other.project("project").await.expect("the name is available");
}

#[tokio::test]
async fn satellite_port_in_use_names_address_and_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = start(small().directory(folder.path())).await;
    let url = network.satellite_url();
    network.stop().await;
    let address = url.split_once('@').expect("a node URL").1;
    let _listener = std::net::TcpListener::bind(address).expect("the port is free");
    let error = start_error(small().directory(folder.path())).await;
    assert!(matches!(error, NetworkError::Port { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(address) && text.contains(NETWORK_FILE), "{text}");
    // Another address works.
    let listen = "127.0.0.1:0".parse().expect("an address");
    let moved = start(small().directory(folder.path()).listen(listen)).await;
    assert_ne!(moved.satellite_url(), url);
}

#[tokio::test]
async fn node_port_in_use_moves_the_node_to_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = start(small().directory(folder.path())).await;
    let before = ids_and_addresses(&network);
    network.stop().await;
    let _listener = std::net::TcpListener::bind(before[1].1).expect("the port is free");
    let network = start(small().directory(folder.path())).await;
    let after = ids_and_addresses(&network);
    assert_eq!((before[0], before[1].0), (after[0], after[1].0));
    assert_ne!(before[1].1, after[1].1);
}

#[tokio::test]
async fn error_of_corrupt_folder_names_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    start(small().directory(folder.path())).await.stop().await;
    for (file, expected) in [
        ("node-01/identity/identity.cert", "storage node 1"),
        ("satellite/identity/identity.key", "identity of the satellite"),
        (NETWORK_FILE, NETWORK_FILE),
    ] {
        corrupt(&folder.path().join(file));
        let error = start_error(small().directory(folder.path())).await.to_string();
        assert!(error.contains(expected), "{file}: {error}");
    }
}

fn corrupt(file: &Path) {
    std::fs::write(file, "not what it was").expect("written");
}

#[tokio::test]
async fn invalid_options_are_rejected() {
    let error = start_error(small().nodes(2)).await;
    assert!(matches!(error, NetworkError::TooFewNodes { optimal: 3, nodes: 2, .. }), "{error}");
    for count in [0, uplink_testnet::MAX_NODES + 1] {
        let error = start_error(small().nodes(count)).await;
        assert!(matches!(error, NetworkError::NodeCount(found) if found == count), "{error}");
    }
    let any_interface = "0.0.0.0:0".parse().expect("an address");
    let error = start_error(small().listen(any_interface)).await;
    assert!(matches!(error, NetworkError::NotLoopback(_)), "{error}");
}

#[tokio::test]
async fn missing_folder_is_an_error_that_names_the_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = start(small().directory(folder.path())).await;
    let ids: Vec<NodeId> = first.nodes().iter().map(|node| node.id()).collect();
    first.stop().await;
    let missing: [(&str, &str); 4] = [
        ("node-02", "data of storage node 2 is missing"),
        ("node-02/data/node-id", "node-02/data\": restore the folder"),
        ("satellite", "data of the satellite is missing"),
        ("satellite/satellite.db", "satellite.db\" is missing"),
    ];
    for (path, expected) in missing {
        let original = folder.path().join(path);
        let moved = folder.path().join("moved");
        std::fs::rename(&original, &moved).expect("moved away");
        let error = start_error(small().directory(folder.path())).await.to_string();
        assert!(error.contains(expected), "{path}: {error}");
        assert!(!original.exists(), "{path} was recreated");
        std::fs::rename(&moved, &original).expect("moved back");
    }

    let resumed = start(small().directory(folder.path())).await;
    assert!(resumed.nodes().iter().map(|node| node.id()).eq(ids));
    resumed.stop().await;

    std::fs::remove_dir_all(folder.path().join("node-01")).expect("removed");
    let reset = start(small().directory(folder.path()).reset()).await;
    reset.stop().await;
}

#[tokio::test]
async fn node_with_the_folder_of_another_is_rejected() {
    let folder = tempfile::tempdir().expect("a folder");
    start(small().directory(folder.path())).await.stop().await;
    let at = |name: &str| folder.path().join(name);
    std::fs::rename(at("node-00"), at("spare")).expect("moved");
    std::fs::rename(at("node-01"), at("node-00")).expect("moved");
    std::fs::rename(at("spare"), at("node-01")).expect("moved");
    let error = start_error(small().directory(folder.path())).await;
    assert!(matches!(error, NetworkError::IdentityMismatch { .. }), "{error}");
}
