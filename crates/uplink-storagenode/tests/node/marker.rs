//! A data directory that is not the node's: at the start, and while the node runs.

use std::{fs, path::Path, time::Duration};

use tempfile::TempDir;
use uplink_core::order::PieceAction;
use uplink_rpc::{status::Code, tls::Identity};
use uplink_storagenode::{Config, MarkerError, StartError, StorageNode};

use crate::world::{World, noise};

const SIZE: usize = 1000;
const MARKER: &str = "node-id";

/// A node that has run before.
struct Known {
    identity: TempDir,
    data: TempDir,
}

impl Known {
    async fn new() -> Self {
        let known = Self { identity: TempDir::new().unwrap(), data: TempDir::new().unwrap() };
        Identity::generate().unwrap().save(known.identity.path()).unwrap();
        known.start(known.data.path(), true).await.unwrap().stop(Duration::ZERO).await;
        known
    }

    async fn start(&self, data: &Path, accept_empty: bool) -> Result<StorageNode, StartError> {
        let mut config = Config::new(data, 1 << 20, Vec::new());
        config.accept_empty_data = accept_empty;
        StorageNode::start(config, Identity::load(self.identity.path()).unwrap()).await
    }
}

#[tokio::test]
async fn empty_directory_of_a_known_node_is_refused() {
    let known = Known::new().await;
    known.start(known.data.path(), false).await.unwrap().stop(Duration::ZERO).await;
    let unmounted = TempDir::new().unwrap();
    let error = known.start(unmounted.path(), false).await.unwrap_err();
    assert!(matches!(error, StartError::Data(MarkerError::Missing { .. })), "{error}");
    let text = error.to_string();
    for part in [&*unmounted.path().to_string_lossy(), "Mount the disk", "--accept-empty-data"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!unmounted.path().join("pieces").exists(), "nothing was begun");
    // An earlier version may have begun there once, without a piece.
    fs::create_dir_all(unmounted.path().join("pieces")).unwrap();
    fs::create_dir_all(unmounted.path().join("trash")).unwrap();
    known.start(unmounted.path(), false).await.unwrap_err();
    known.start(unmounted.path(), true).await.unwrap().stop(Duration::ZERO).await;
    known.start(unmounted.path(), false).await.unwrap().stop(Duration::ZERO).await;
}

#[tokio::test]
async fn directory_of_another_node_is_refused() {
    let (known, other) = (Known::new().await, Known::new().await);
    for accept_empty in [false, true] {
        let error = known.start(other.data.path(), accept_empty).await.unwrap_err();
        let owner = fs::read_to_string(other.data.path().join(MARKER)).unwrap();
        assert!(matches!(error, StartError::Data(MarkerError::Other { .. })), "{error}");
        assert!(error.to_string().contains(owner.trim()), "{error}");
    }
    fs::write(known.data.path().join(MARKER), b"\xff garbage").unwrap();
    let error = known.start(known.data.path(), true).await.unwrap_err();
    assert!(error.to_string().contains("garbage"), "{error}");
}

#[tokio::test]
async fn pieces_of_an_earlier_version_get_their_marker() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE).await;
    let marker = world.directory.path().join(MARKER);
    fs::remove_file(&marker).unwrap();
    let world = world.restart(|config| config.accept_empty_data = false).await;
    assert!(marker.exists());
    assert_eq!(world.download(&piece, 0, SIZE as i64).await.unwrap(), data);
}

#[tokio::test]
async fn disk_that_goes_while_the_node_runs_is_not_replaced() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE).await;
    let (mounted, away) = (world.directory.path(), world.directory.path().with_extension("away"));
    fs::rename(mounted, &away).unwrap();
    // What is below a mount point: an earlier start may have left directories.
    for left in ["pieces", "temp", "trash"] {
        fs::create_dir_all(mounted.join(left)).unwrap();
    }
    let put = world.limit(PieceAction::Put, SIZE as i64);
    let refused = world.upload(&put, &noise(SIZE, 1)).await.unwrap_err();
    assert_eq!(refused.code, Code::UNAVAILABLE, "{refused}");
    let missing = world.download(&piece, 0, SIZE as i64).await.unwrap_err();
    assert_eq!(missing.code, Code::UNAVAILABLE, "a piece out of reach is not lost: {missing}");
    let error = world.node.usage().unwrap_err().to_string();
    assert!(error.contains("Mount the disk"), "{error}");
    assert_eq!(fs::read_dir(mounted.join("temp")).unwrap().count(), 0);
    fs::remove_dir_all(mounted).unwrap();
    fs::rename(&away, mounted).unwrap();
    assert_eq!(world.download(&piece, 0, SIZE as i64).await.unwrap(), data);
    world.stored(SIZE).await;
}
