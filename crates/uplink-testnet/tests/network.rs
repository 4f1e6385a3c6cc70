//! Networks start, stop and go on, seen without a client of them.

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

async fn refusal(options: Options) -> NetworkError {
    match Network::start(options).await {
        Ok(network) => panic!("the network in {:?} started", network.directory()),
        Err(error) => error,
    }
}

fn places(network: &Network) -> Vec<(NodeId, SocketAddr)> {
    network.nodes().iter().map(|node| (node.id(), node.address())).collect()
}

async fn online(network: &Network) -> usize {
    let nodes = network.satellite_nodes().await.expect("nodes");
    nodes.iter().filter(|node| node.online).count()
}

#[tokio::test]
async fn new_network_has_as_many_nodes_as_pieces_and_all_are_online() {
    let network = start(Options::new()).await;
    assert_eq!(network.scheme(), scheme("4/6/8/10-256"));
    assert_eq!((network.nodes().len(), online(&network).await), (10, 10));
    let seen = network.satellite_nodes().await.expect("nodes");
    for node in network.nodes() {
        let record = seen.iter().find(|record| record.id == node.id()).expect("known");
        assert_eq!(record.address, node.address().to_string());
        assert!(node.address().ip().is_loopback());
        assert_eq!(network.node_by_id(node.id()).expect("a node").index(), node.index());
    }
    assert!(network.node_by_id(NodeId::new([7; 32])).is_err());
    assert!(matches!(network.node(10), Err(NetworkError::NoSuchNode { index: 10, count: 10 })));
}

#[tokio::test]
async fn temporary_network_leaves_nothing() {
    let network = start(small()).await;
    let folder = network.directory().to_owned();
    assert!(folder.is_dir());
    network.stop().await;
    assert!(!folder.exists());
}

#[tokio::test]
async fn kept_network_goes_on_with_ids_ports_scheme_and_projects() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = start(small().directory(folder.path())).await;
    let (satellite, nodes) = (first.satellite_url(), places(&first));
    let api_key = first.project("kept").await.expect("a project").api_key;
    assert!(api_key.len() > 40);
    first.stop().await;

    let again = start(Options::new().directory(folder.path())).await;
    assert_eq!((again.satellite_url(), places(&again)), (satellite, nodes.clone()));
    assert_eq!(again.scheme(), scheme("2/2/3/4-64"));
    assert!(matches!(again.project("kept").await, Err(NetworkError::Admin(_))));
    drop(again);

    let grown = start(Options::new().directory(folder.path()).nodes(6)).await;
    assert_eq!((grown.nodes().len(), online(&grown).await), (6, 6));
    assert_eq!(places(&grown)[..4], nodes);
    grown.stop().await;
    let refused = refusal(Options::new().directory(folder.path()).nodes(5)).await;
    assert!(matches!(refused, NetworkError::NodesLost { found: 6, wanted: 5, .. }), "{refused}");
}

#[tokio::test]
async fn node_comes_back_with_its_id_and_address() {
    let network = start(small()).await;
    let before = places(&network);
    let node = network.node(2).expect("a node");
    assert!(node.is_running().await && node.usage().await.is_some());
    node.stop().await.expect("stopped");
    assert!(!node.is_running().await && node.usage().await.is_none());
    assert!(matches!(node.stop().await, Err(NetworkError::Stopped(_))));
    node.start().await.expect("started");
    assert!(matches!(node.start().await, Err(NetworkError::Running(_))));
    // Without grace its sockets may still be closing when it starts again.
    for _ in 0..5 {
        node.kill().await.expect("killed");
        node.start().await.expect("started");
    }
    network.online().await.expect("online");
    assert_eq!(places(&network), before);
}

#[tokio::test]
async fn satellite_comes_back_with_its_url_and_projects() {
    let network = start(small()).await;
    let url = network.satellite_url();
    network.project("before").await.expect("a project");
    network.stop_satellite().await.expect("stopped");
    assert!(!network.satellite_is_running().await);
    assert!(matches!(network.project("meanwhile").await, Err(NetworkError::Stopped(_))));
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
async fn slow_node_is_slow_to_reach_and_stays_online() {
    const DELAY: Duration = Duration::from_millis(100);
    let network = start(small()).await;
    let before = places(&network);
    let node = network.node(1).expect("a node");
    node.slow(DELAY).await.expect("slowed");
    assert_eq!(node.delay().await, Some(DELAY));
    let began = tokio::time::Instant::now();
    node.check_in().await.expect("checked in");
    // The satellite's ping has a handshake and a call to wait for.
    assert!(began.elapsed() >= 4 * DELAY, "{:?}", began.elapsed());
    node.slow(Duration::ZERO).await.expect("fast again");
    network.online().await.expect("online");
    assert_eq!(places(&network), before);
}

#[tokio::test]
async fn folder_of_a_running_network_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = start(small().directory(folder.path())).await;
    let refused = refusal(small().directory(folder.path())).await;
    assert!(matches!(refused, NetworkError::InUse { .. }), "{refused}");
    let refused = refusal(small().directory(folder.path()).anew()).await;
    assert!(matches!(refused, NetworkError::InUse { .. }), "{refused}");
    network.online().await.expect("nothing happened to it");
}

#[tokio::test]
async fn network_begun_anew_is_another_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = start(small().directory(folder.path())).await;
    first.project("project").await.expect("a project");
    let url = first.satellite_url();
    first.stop().await;
    // What cannot be is refused before anything is deleted.
    let refused = refusal(small().directory(folder.path()).anew().nodes(1)).await;
    assert!(matches!(refused, NetworkError::TooFewNodes { .. }), "{refused}");
    let same = start(Options::new().directory(folder.path())).await;
    assert_eq!(same.satellite_url(), url);
    same.stop().await;
    damage(&folder.path().join(NETWORK_FILE));
    let other = start(small().directory(folder.path()).anew().nodes(3)).await;
    assert_ne!(other.satellite_url(), url);
    assert_eq!(other.nodes().len(), 3);
    other.project("project").await.expect("the name is free again");
}

#[tokio::test]
async fn taken_port_of_the_satellite_names_address_and_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = start(small().directory(folder.path())).await;
    let url = network.satellite_url();
    network.stop().await;
    let address = url.split_once('@').expect("a node URL").1;
    let _other = std::net::TcpListener::bind(address).expect("the port is free");
    let refused = refusal(small().directory(folder.path())).await;
    assert!(matches!(refused, NetworkError::Port { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains(address) && text.contains(NETWORK_FILE), "{text}");
    // Another address helps.
    let listen = "127.0.0.1:0".parse().expect("an address");
    let moved = start(small().directory(folder.path()).listen(listen)).await;
    assert_ne!(moved.satellite_url(), url);
}

#[tokio::test]
async fn taken_port_of_a_node_moves_the_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = start(small().directory(folder.path())).await;
    let before = places(&network);
    network.stop().await;
    let _other = std::net::TcpListener::bind(before[1].1).expect("the port is free");
    let network = start(small().directory(folder.path())).await;
    let after = places(&network);
    assert_eq!((before[0], before[1].0), (after[0], after[1].0));
    assert_ne!(before[1].1, after[1].1);
}

#[tokio::test]
async fn damaged_folder_names_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    start(small().directory(folder.path())).await.stop().await;
    for (file, found) in [
        ("node-01/identity/identity.cert", "storage node 1"),
        ("satellite/identity/identity.key", "identity of the satellite"),
        (NETWORK_FILE, NETWORK_FILE),
    ] {
        damage(&folder.path().join(file));
        let refused = refusal(small().directory(folder.path())).await.to_string();
        assert!(refused.contains(found), "{file}: {refused}");
    }
}

fn damage(file: &Path) {
    std::fs::write(file, "not what it was").expect("written");
}

#[tokio::test]
async fn impossible_sizes_are_refused() {
    let refused = refusal(small().nodes(2)).await;
    assert!(matches!(refused, NetworkError::TooFewNodes { optimal: 3, nodes: 2, .. }), "{refused}");
    for count in [0, uplink_testnet::MAX_NODES + 1] {
        let refused = refusal(small().nodes(count)).await;
        assert!(matches!(refused, NetworkError::NodeCount(found) if found == count), "{refused}");
    }
    let anywhere = "0.0.0.0:0".parse().expect("an address");
    let refused = refusal(small().listen(anywhere)).await;
    assert!(matches!(refused, NetworkError::NotLoopback(_)), "{refused}");
}

#[tokio::test]
async fn lost_folder_of_a_service_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = start(small().directory(folder.path())).await;
    let ids: Vec<NodeId> = first.nodes().iter().map(|node| node.id()).collect();
    first.stop().await;
    let lost: [(&str, &str); 4] = [
        ("node-02", "storage node 2 is gone"),
        ("node-02/data/node-id", "node-02/data holds nothing of it"),
        ("satellite", "the satellite is gone"),
        ("satellite/satellite.db", "satellite's database"),
    ];
    for (path, named) in lost {
        let (there, away) = (folder.path().join(path), folder.path().join("away"));
        std::fs::rename(&there, &away).expect("moved away");
        let error = refusal(small().directory(folder.path())).await.to_string();
        assert!(error.contains(named), "{path}: {error}");
        assert!(!there.exists(), "{path} is not made anew");
        std::fs::rename(&away, &there).expect("brought back");
    }
    let again = start(small().directory(folder.path())).await;
    assert!(again.nodes().iter().map(|node| node.id()).eq(ids));
    again.stop().await;
    std::fs::remove_dir_all(folder.path().join("node-01")).expect("removed");
    let begun = start(small().directory(folder.path()).anew()).await;
    begun.stop().await;
}

#[tokio::test]
async fn node_with_the_folder_of_another_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    start(small().directory(folder.path())).await.stop().await;
    let at = |name: &str| folder.path().join(name);
    std::fs::rename(at("node-00"), at("spare")).expect("moved");
    std::fs::rename(at("node-01"), at("node-00")).expect("moved");
    std::fs::rename(at("spare"), at("node-01")).expect("moved");
    let error = refusal(small().directory(folder.path())).await;
    assert!(matches!(error, NetworkError::OtherIdentity { .. }), "{error}");
}
