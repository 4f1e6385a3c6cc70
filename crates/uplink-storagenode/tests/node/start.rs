//! Start, stop and kill.

use std::time::Duration;

use tempfile::TempDir;
use uplink_core::order::PieceAction;
use uplink_rpc::tls::Identity;
use uplink_storagenode::{Config, StartError, StorageNode};

use crate::world::{World, noise};

fn config(directory: &TempDir) -> Config {
    Config::new(directory.path(), 1 << 20, Vec::new())
}

async fn start(config: Config) -> Result<StorageNode, StartError> {
    StorageNode::start(config, Identity::generate().unwrap()).await
}

#[tokio::test]
async fn missing_data_directory_is_named_in_the_error() {
    let directory = TempDir::new().unwrap();
    let mut config = config(&directory);
    config.data = directory.path().join("gone");
    let error = start(config).await.unwrap_err().to_string();
    assert!(error.contains("gone does not exist"), "{error}");
}

#[tokio::test]
async fn second_node_on_a_directory_waits_for_the_first_to_stop() {
    let directory = TempDir::new().unwrap();
    let identity = TempDir::new().unwrap();
    Identity::generate().unwrap().save(identity.path()).unwrap();
    let start = || StorageNode::start(config(&directory), Identity::load(identity.path()).unwrap());
    let first = start().await.unwrap();
    let error = start().await.unwrap_err();
    assert!(matches!(error, StartError::DirectoryInUse { .. }), "{error}");
    first.stop(Duration::ZERO).await;
    let second = start().await.unwrap();
    second.kill();
    start().await.unwrap();
}

#[tokio::test]
async fn port_in_use_is_named_and_released_by_stop() {
    let one = TempDir::new().unwrap();
    let two = TempDir::new().unwrap();
    let first = start(config(&one)).await.unwrap();
    let mut same_port = config(&two);
    same_port.listen = first.address();
    let identity = TempDir::new().unwrap();
    Identity::generate().unwrap().save(identity.path()).unwrap();
    let load = || Identity::load(identity.path()).unwrap();
    let error = StorageNode::start(same_port.clone(), load()).await.unwrap_err().to_string();
    assert!(error.contains(&first.address().to_string()), "{error}");
    first.stop(Duration::from_secs(1)).await;
    StorageNode::start(same_port, load()).await.unwrap();
}

#[tokio::test]
async fn killed_node_closes_its_connections_immediately() {
    let world = World::start().await;
    world.stored(1000).await;
    let link = world.link();
    let draft = world.limit(PieceAction::Put, 1000);
    let World { node, satellite_port: _port, directory: _directory, .. } = world;
    node.kill();
    let messages = draft.messages(&noise(1000, 1), uplink_core::order::PieceHashAlgorithm::Blake3);
    let call = tokio::time::timeout(Duration::from_secs(5), link.send(messages));
    assert!(call.await.expect("fails immediately").is_err());
}
