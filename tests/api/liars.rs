//! Storage nodes that return other bytes than those they were given.

use std::time::Duration;

use uplink::{DownloadOptions, Error, ErrorKind, Project, Uploaded};
use uplink_testnet::{Node, Options, Scheme};

use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

/// Pieces required in most networks here.
const REQUIRED: usize = 4;

/// Reads with a client that knows nothing of the nodes yet.
async fn get(world: &World, options: DownloadOptions) -> Result<Vec<u8>, Error> {
    let project = Project::open(&world.access).expect("a project");
    project.download_object(BUCKET, "key", options).await?.read_to_vec().await
}

/// The nodes that hold pieces of an object's only segment.
fn holders<'a>(world: &'a World, uploaded: &Uploaded) -> Vec<&'a Node> {
    assert_eq!(uploaded.placement.len(), 1);
    let holders = uploaded.placement[0].holders.iter();
    let node = |id: &str| world.network.node_by_id(id.parse().expect("a node id"));
    holders.map(|(_, id)| node(id).expect("a node")).collect()
}

/// Makes some of the holders lie from a byte of their pieces on.
fn make_lie(holders: &[&Node], from: u64) {
    for node in holders {
        assert_eq!(node.damage_pieces(from).expect("damaged"), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_exact_with_one_liar_whoever_it_is() {
    let world = World::start().await;
    let plain = bytes(1, 700_001);
    let uploaded = world.put("key", &plain).await;
    for liar in holders(&world, &uploaded) {
        make_lie(&[liar], 0);
        assert!(get(&world, DownloadOptions::new()).await.expect("read") == plain);
        make_lie(&[liar], 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_exact_with_as_many_liars_as_can_be_told_from_the_others() {
    let config = config().segment_size(SMALL_SEGMENT);
    for (scheme, least) in [("4/6/8/10-256", 2), ("2/3/11/12-256", 4)] {
        let scheme: Scheme = scheme.parse().expect("a scheme");
        let world = World::start_with(Options::new().scheme(scheme), &config).await;
        let plain = bytes(2, 900_000);
        let holders = &holders(&world, &world.put("key", &plain).await);
        let bound = (holders.len() - usize::from(scheme.required())) / 2;
        assert!(bound >= least);
        make_lie(&holders[..bound], 0);
        for _ in 0..4 {
            assert!(get(&world, DownloadOptions::new()).await.expect("read") == plain);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_with_too_many_liars_name_how_many_are_corrupt() {
    let world = World::start().await;
    let plain = bytes(3, 300_000);
    let holders = &holders(&world, &world.put("key", &plain).await);
    let bound = (holders.len() - REQUIRED) / 2;
    make_lie(&holders[..=bound], 0);
    // One more than can be corrected: left out by trial.
    for _ in 0..4 {
        assert!(get(&world, DownloadOptions::new()).await.expect("read") == plain);
    }
    // With three honest holders no four agree.
    make_lie(&holders[bound + 1..holders.len() - (REQUIRED - 1)], 0);
    for _ in 0..2 {
        let error = get(&world, DownloadOptions::new()).await.expect_err("nothing is authentic");
        assert_eq!(error.kind(), ErrorKind::Decryption, "{error}");
        assert!(error.to_string().contains("corrupt beyond repair"), "{error}");
        let corrupt =
            format!("at least {} of {} pieces read are corrupt", bound + 2, holders.len());
        assert!(error.to_string().contains(&corrupt), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn liars_with_too_few_others_online_are_noticed_and_not_believed() {
    let world = World::start().await;
    let plain = bytes(4, 200_000);
    let uploaded = world.put("key", &plain).await;
    world.stop_holders(&uploaded, REQUIRED + 1).await;
    let holders = &holders(&world, &uploaded)[..=REQUIRED];
    make_lie(&holders[..2], 0);
    let error = get(&world, DownloadOptions::new()).await.expect_err("three honest are left");
    assert_eq!(error.kind(), ErrorKind::NotEnoughNodes, "{error}");
    assert!(error.to_string().contains("at least 2 of 5 pieces read are corrupt"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_exact_when_nodes_lie_from_the_middle_of_their_pieces_on() {
    let world = World::start_with(Options::new(), &config()).await;
    let plain = bytes(5, 6 << 20);
    let uploaded = world.put("key", &plain).await;
    let holders = &holders(&world, &uploaded);
    // Two liars that begin in different windows, far from each other.
    make_lie(&holders[..1], 700_001);
    make_lie(&holders[1..2], 1_200_000);
    for _ in 0..3 {
        assert!(get(&world, DownloadOptions::new()).await.expect("read") == plain);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_are_exact_in_spite_of_liars() {
    let world = World::start().await;
    let size = 800_000;
    let plain = bytes(6, size);
    let holders = &holders(&world, &world.put("key", &plain).await);
    make_lie(&holders[..2], 0);
    for (start, length) in [
        (0, 1),
        (1, 7408),
        (7407, 2),
        (7408, 7408),
        (123_456, 300_000),
        (size - 1, 1),
        (9999, size),
    ] {
        let read = get(&world, DownloadOptions::new().range(start, length)).await;
        let end = (start + length).min(size) as usize;
        assert!(read.expect("read") == plain[start as usize..end], "{length} bytes from {start}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_end_when_too_few_transfers_may_run_to_find_the_liars() {
    let world = World::start_with(Options::new(), &config()).await;
    let holders = &holders(&world, &world.put("key", &bytes(8, 6 << 20)).await);
    make_lie(&holders[..holders.len() - (REQUIRED - 1)], 0);
    // The four transfers that may run wait for the fifth, which waits for them to end.
    let deadline = Duration::from_secs(2);
    let config = config().transfers(REQUIRED).progress_deadline(deadline);
    let project = Project::open_with(&world.access, &config).expect("a project");
    let reading = async {
        let download = project.download_object(BUCKET, "key", DownloadOptions::new()).await?;
        { download }.read_to_vec().await
    };
    let read = tokio::time::timeout(Duration::from_secs(60), reading).await.expect("it ends");
    let error = read.expect_err("nothing is authentic");
    assert_eq!(error.kind(), ErrorKind::NotEnoughNodes, "{error}");
    assert!(error.to_string().contains("at least 1 of 4 pieces read are corrupt"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_found_in_one_segment_is_hardly_read_from_in_the_next_ones() {
    const SEGMENTS: u64 = 24;
    let world = World::start().await;
    let plain = bytes(7, SEGMENTS * SMALL_SEGMENT);
    let uploaded = world.put("key", &plain).await;
    assert_eq!(uploaded.placement.len() as u64, SEGMENTS);
    let liar = &world.network.nodes()[4];
    assert!(liar.damage_pieces(0).expect("damaged") > 0);
    assert!(get(&world, DownloadOptions::new()).await.expect("read") == plain);
    let mut honest = 0;
    for node in world.network.nodes().iter().filter(|node| node.index() != liar.index()) {
        honest += node.served().await;
    }
    let (mean, lied) = (honest / 9, liar.served().await);
    assert!(lied < mean, "{lied} bytes of the liar, {mean} of each of the others");
}
