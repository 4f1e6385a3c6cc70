//! A data directory that does not belong to the node: at start and while running.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use uplink_core::order::PieceAction;
use uplink_rpc::status::Code;
use uplink_rpc::tls::Identity;
use uplink_storagenode::{Config, MarkerError, StartError, StorageNode};

use crate::world::{World, noise};

const SIZE: usize = 1000;
const MARKER: &str = "node-id";

/// An identity and data directory of a node that ran before.
struct ExistingNode {
    identity: TempDir,
    data: TempDir,
}

impl ExistingNode {
    async fn new() -> Self {
        let existing = Self { identity: TempDir::new().unwrap(), data: TempDir::new().unwrap() };
        Identity::generate().unwrap().save(existing.identity.path()).unwrap();
        existing.start(existing.data.path(), true).await.unwrap().stop(Duration::ZERO).await;
        existing
    }

    async fn start(&self, data: &Path, accept_empty: bool) -> Result<StorageNode, StartError> {
        let mut config = Config::new(data, 1 << 20, Vec::new());
        config.accept_empty_data = accept_empty;
        StorageNode::start(config, Identity::load(self.identity.path()).unwrap()).await
    }
}

#[tokio::test]
async fn empty_directory_of_an_existing_node_is_rejected() {
    let existing = ExistingNode::new().await;
    existing.start(existing.data.path(), false).await.unwrap().stop(Duration::ZERO).await;
    let unmounted = TempDir::new().unwrap();
    let error = existing.start(unmounted.path(), false).await.unwrap_err();
    assert!(matches!(error, StartError::Data(MarkerError::Missing { .. })), "{error}");
    let text = error.to_string();
    for part in
        [&*unmounted.path().to_string_lossy(), "mount the node's disk", "--accept-empty-data"]
    {
        assert!(text.contains(part), "{text}");
    }
    assert!(!unmounted.path().join("pieces").exists(), "no store was created");
    // An earlier version may have created an empty store there.
    fs::create_dir_all(unmounted.path().join("pieces")).unwrap();
    fs::create_dir_all(unmounted.path().join("trash")).unwrap();
    existing.start(unmounted.path(), false).await.unwrap_err();
    existing.start(unmounted.path(), true).await.unwrap().stop(Duration::ZERO).await;
    existing.start(unmounted.path(), false).await.unwrap().stop(Duration::ZERO).await;
}

#[tokio::test]
async fn directory_of_another_node_is_rejected() {
    let existing = ExistingNode::new().await;
    let other = ExistingNode::new().await;
    for accept_empty in [false, true] {
        let error = existing.start(other.data.path(), accept_empty).await.unwrap_err();
        let owner = fs::read_to_string(other.data.path().join(MARKER)).unwrap();
        assert!(matches!(error, StartError::Data(MarkerError::Other { .. })), "{error}");
        assert!(error.to_string().contains(owner.trim()), "{error}");
    }
    fs::write(existing.data.path().join(MARKER), b"\xff garbage").unwrap();
    let error = existing.start(existing.data.path(), true).await.unwrap_err();
    assert!(error.to_string().contains("garbage"), "{error}");
}

#[tokio::test]
async fn store_of_an_earlier_version_gets_a_marker() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE).await;
    let marker = world.directory.path().join(MARKER);
    fs::remove_file(&marker).unwrap();
    let world = world.restart(|config| config.accept_empty_data = false).await;
    assert!(marker.exists());
    assert_eq!(world.download(&piece, 0, SIZE as i64).await.unwrap(), data);
}

#[tokio::test]
async fn disk_unmounted_while_running_is_not_replaced() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE).await;
    let mounted = world.directory.path();
    let moved = mounted.with_extension("moved");
    fs::rename(mounted, &moved).unwrap();
    // An earlier start may have left directories below the mount point.
    for name in ["pieces", "temp", "trash"] {
        fs::create_dir_all(mounted.join(name)).unwrap();
    }
    let put = world.limit(PieceAction::Put, SIZE as i64);
    let rejected = world.upload(&put, &noise(SIZE, 1)).await.unwrap_err();
    assert_eq!(rejected.code, Code::UNAVAILABLE, "{rejected}");
    let missing = world.download(&piece, 0, SIZE as i64).await.unwrap_err();
    assert_eq!(
        missing.code,
        Code::UNAVAILABLE,
        "an unavailable piece is not reported as missing: {missing}"
    );
    let error = world.node.usage().unwrap_err().to_string();
    assert!(error.contains("mount the node's disk"), "{error}");
    assert_eq!(fs::read_dir(mounted.join("temp")).unwrap().count(), 0);
    fs::remove_dir_all(mounted).unwrap();
    fs::rename(&moved, mounted).unwrap();
    assert_eq!(world.download(&piece, 0, SIZE as i64).await.unwrap(), data);
    world.stored(SIZE).await;
}
