//! Validation of segment commits: a valid commit, and commits with one changed field.

use std::time::{Duration, SystemTime};

use uplink_core::order::PieceHash;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::raw;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::time::timestamp;
use uplink_satellite::Config;

use crate::calls::{ENCRYPTED, PIECE, PLAIN};
use crate::network::{Network, limit_of};

/// Changes one field of a commit.
type Mutation = Box<dyn Fn(&Network, &mut CommitSegmentRequest)>;

fn mutate(change: impl Fn(&Network, &mut CommitSegmentRequest) + 'static) -> Mutation {
    Box::new(change)
}

/// Changes the hash of one result and signs it again.
fn mutate_hash(change: impl Fn(&mut PieceHash) + 'static) -> Mutation {
    mutate(move |network, commit| {
        let result = &mut commit.upload_result[0];
        let mut hash = result.hash.as_ref().unwrap().decode_typed().unwrap();
        change(&mut hash);
        let node = network
            .nodes
            .iter()
            .find(|node| result.node_id == node.identity.node_id().as_bytes()[..]);
        hash.sign_as_node(node.unwrap().identity.signing_key()).unwrap();
        result.hash = Some(hash.into());
    })
}

fn rejected_commits() -> Vec<(&'static str, Mutation)> {
    vec![
        ("no segment id", mutate(|_, commit| commit.segment_id.clear())),
        ("short key", mutate(|_, commit| commit.encrypted_key.truncate(47))),
        ("no key", mutate(|_, commit| commit.encrypted_key.clear())),
        ("short nonce", mutate(|_, commit| commit.encrypted_key_nonce.truncate(23))),
        ("large etag", mutate(|_, commit| commit.encrypted_e_tag = vec![0; 2_049].into())),
        ("negative encrypted size", mutate(|_, commit| commit.size_encrypted_data = -1)),
        ("large encrypted size", mutate(|_, commit| commit.size_encrypted_data = 76_695_937)),
        ("plain size above encrypted", mutate(|_, commit| commit.plain_size = ENCRYPTED + 1)),
        ("negative plain size", mutate(|_, commit| commit.plain_size = -1)),
        ("other encrypted size", mutate(|_, commit| commit.size_encrypted_data = ENCRYPTED + 1024)),
        ("piece size that differs", mutate_hash(|hash| hash.piece_size = PIECE + 1)),
        ("seven results", mutate(|_, commit| commit.upload_result.truncate(7))),
        (
            "eleven results",
            mutate(|_, commit| commit.upload_result.push(commit.upload_result[0].clone())),
        ),
        ("checksum", mutate(|_, commit| commit.encrypted_checksum = vec![1].into())),
    ]
}

fn dropped_results() -> Vec<(&'static str, Mutation)> {
    vec![
        ("negative number", mutate(|_, commit| commit.upload_result[0].piece_num = -1)),
        ("number beyond the limits", mutate(|_, commit| commit.upload_result[0].piece_num = 10)),
        ("number of another piece", mutate(|_, commit| commit.upload_result[0].piece_num = 1)),
        ("no hash", mutate(|_, commit| commit.upload_result[0].hash = None)),
        (
            "another node's id",
            mutate(|_, commit| {
                commit.upload_result[0].node_id = commit.upload_result[1].node_id.clone();
            }),
        ),
        ("short node id", mutate(|_, commit| commit.upload_result[0].node_id.truncate(31))),
        (
            "duplicate result",
            mutate(|_, commit| commit.upload_result[0] = commit.upload_result[1].clone()),
        ),
        ("another piece id", mutate_hash(|hash| hash.piece_id = vec![1; 32])),
        (
            "old hash",
            mutate_hash(|hash| {
                hash.timestamp = Some(timestamp(SystemTime::now() - Duration::from_secs(90_000)));
            }),
        ),
        (
            "hash of the future",
            mutate_hash(|hash| {
                hash.timestamp = Some(timestamp(SystemTime::now() + Duration::from_secs(90_000)));
            }),
        ),
        ("hash without time", mutate_hash(|hash| hash.timestamp = None)),
        (
            "another node's signature",
            mutate(|network, commit| {
                let result = &mut commit.upload_result[0];
                let mut hash = result.hash.as_ref().unwrap().decode_typed().unwrap();
                let node = network
                    .nodes
                    .iter()
                    .find(|node| result.node_id != node.identity.node_id().as_bytes()[..]);
                hash.sign_as_node(node.unwrap().identity.signing_key()).unwrap();
                result.hash = Some(hash.into());
            }),
        ),
        (
            "changed after signing",
            mutate(|_, commit| {
                let result = &mut commit.upload_result[0];
                let mut hash = result.hash.as_ref().unwrap().decode_typed().unwrap();
                hash.hash[0] ^= 1;
                result.hash = Some(hash.into());
            }),
        ),
        (
            "unknown field",
            mutate(|_, commit| {
                let result = &mut commit.upload_result[0];
                let wire = result.hash.as_ref().unwrap().wire();
                let more = [&wire[..], &[0xf8, 0x06, 1]].concat();
                result.hash = Some(raw::PieceHash::from_wire(more.into()));
            }),
        ),
    ]
}

async fn commit(
    network: &Network,
    request: CommitSegmentRequest,
) -> Result<CommitSegmentResponse, Failure> {
    let response = network.client().commit_segment(request).await;
    response.map(tonic::Response::into_inner).map_err(Failure::from)
}

#[tokio::test]
async fn valid_commit_counts_pieces_and_is_idempotent() {
    let network = Network::start(10).await;
    network.create_bucket("bucket").await;
    let (_, segment) = network.begin("bucket", b"key").await;
    let valid = network.commit_of(&segment, PLAIN, ENCRYPTED, PIECE);
    for _ in 0..2 {
        assert_eq!(commit(&network, valid.clone()).await.unwrap().successful_pieces, 10);
    }
    network.stop().await;
}

#[tokio::test]
async fn commit_with_one_changed_field_is_rejected() {
    let network = Network::start(10).await;
    network.create_bucket("bucket").await;
    let (_, segment) = network.begin("bucket", b"key").await;
    for (name, mutate) in rejected_commits() {
        let mut request = network.commit_of(&segment, PLAIN, ENCRYPTED, PIECE);
        mutate(&network, &mut request);
        let expected = if name == "checksum" { Code(10_027) } else { Code::INVALID_ARGUMENT };
        assert_eq!(commit(&network, request).await.map_err(|f| f.code), Err(expected), "{name}");
    }
    network.stop().await;
}

#[tokio::test]
async fn invalid_result_is_dropped_if_enough_remain() {
    let network = Network::start(10).await;
    network.create_bucket("bucket").await;
    let (_, segment) = network.begin("bucket", b"key").await;
    for (name, mutate) in dropped_results() {
        let mut request = network.commit_of(&segment, PLAIN, ENCRYPTED, PIECE);
        mutate(&network, &mut request);
        let answer = commit(&network, request.clone()).await.unwrap();
        assert_eq!(answer.successful_pieces, 9, "{name}");
        // With eight results, all must be valid.
        request.upload_result.truncate(8);
        let rejected = commit(&network, request).await.unwrap_err();
        assert_eq!(rejected.code, Code::INVALID_ARGUMENT, "{name}");
        let text = "not enough valid pieces: have 7, need 8";
        let clock = match name {
            "old hash" => ": 1 signed by clocks up to 90000 s behind the satellite's",
            "hash of the future" => ": 1 signed by clocks up to 89999 s ahead of the satellite's",
            _ => "",
        };
        assert_eq!(rejected.message, format!("{text}{clock}"), "{name}");
    }
    network.stop().await;
}

#[tokio::test]
async fn expired_commit_or_one_of_aborted_upload_is_rejected() {
    let mut config = Config::dev();
    config.segment_lifetime = Duration::from_secs(60);
    let offset = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let seconds = std::sync::Arc::clone(&offset);
    let network = Network::start_with(10, config, move || {
        let offset = seconds.load(std::sync::atomic::Ordering::SeqCst);
        SystemTime::now() + Duration::from_secs(offset)
    })
    .await;
    network.create_bucket("bucket").await;
    let (object, segment) = network.begin("bucket", b"key").await;
    let request = network.commit_of(&segment, PLAIN, ENCRYPTED, PIECE);
    let abort = BeginDeleteObjectRequest {
        bucket: "bucket".into(),
        encrypted_object_key: "key".into(),
        status: 1,
        stream_id: object.stream_id,
        header: network.header(),
        ..Default::default()
    };
    network.client().begin_delete_object(abort).await.unwrap();
    let gone = commit(&network, request.clone()).await.unwrap_err();
    assert_eq!(gone, Failure::new(Code::NOT_FOUND, "pending object missing"));
    offset.store(61, std::sync::atomic::Ordering::SeqCst);
    let late = commit(&network, request).await.unwrap_err();
    assert_eq!(late, Failure::new(Code::INVALID_ARGUMENT, "segment id expired"));
    network.stop().await;
}

#[tokio::test]
async fn retried_pieces_move_to_spare_nodes_with_same_terms() {
    let network = Network::start(12).await;
    network.create_bucket("bucket").await;
    let (_, segment) = network.begin("bucket", b"key").await;
    let retry = |numbers: Vec<i32>| RetryBeginSegmentPiecesRequest {
        segment_id: segment.segment_id.clone(),
        retry_piece_numbers: numbers,
        header: network.header(),
    };
    let response = network.client().retry_begin_segment_pieces(retry(vec![2, 5])).await.unwrap();
    let response = response.into_inner();
    assert_eq!(response.addressed_limits.len(), 10);
    for (number, (old, new)) in
        segment.addressed_limits.iter().zip(&response.addressed_limits).enumerate()
    {
        let old = limit_of(old);
        let new = limit_of(new);
        let moved = matches!(number, 2 | 5);
        assert_eq!(old.storage_node_id != new.storage_node_id, moved);
        assert_eq!(old.piece_id != new.piece_id, moved);
        assert_eq!(old.serial_number, new.serial_number);
        assert_eq!(old.uplink_public_key, new.uplink_public_key);
        assert_eq!(old.encrypted_metadata, new.encrypted_metadata);
        assert_eq!(
            (old.limit, old.order_creation, old.order_expiration),
            (new.limit, new.order_creation, new.order_expiration)
        );
    }
    let retried = BeginSegmentResponse {
        segment_id: response.segment_id,
        addressed_limits: response.addressed_limits,
        ..segment.clone()
    };
    let request = network.commit_of(&retried, PLAIN, ENCRYPTED, PIECE);
    assert_eq!(commit(&network, request).await.unwrap().successful_pieces, 10);

    for numbers in [vec![], vec![10], vec![-1], vec![2, 2]] {
        let rejected = network.client().retry_begin_segment_pieces(retry(numbers)).await;
        assert_eq!(Failure::from(rejected.unwrap_err()).code, Code::INVALID_ARGUMENT);
    }
    let rejected = network.client().retry_begin_segment_pieces(retry(vec![0, 1, 2])).await;
    let text = "not enough storage nodes: have 2, need 3";
    assert_eq!(Failure::from(rejected.unwrap_err()), Failure::new(Code::FAILED_PRECONDITION, text));
    network.stop().await;
}
