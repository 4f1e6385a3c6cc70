//! Every check of a request, one row each: a valid request with one invalid value is rejected with
//! the status code of the public network, and nothing is stored or served.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use uplink_core::order::{PieceAction, PieceHash, PieceHashAlgorithm};
use uplink_rpc::r#gen::piecestore::{PieceDownloadRequest, PieceUploadRequest};
use uplink_rpc::raw;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::time::{timestamp, zero};
use uplink_rpc::tls::Identity;

use crate::world::{CAPACITY, Draft, World, chunk, done, noise};

const SIZE: usize = 1000;
const BLAKE3: PieceHashAlgorithm = PieceHashAlgorithm::Blake3;
const HOUR: u64 = 3600;

/// Description, expected status code, and a function that makes the invalid request from a valid
/// limit for `SIZE` bytes.
type Row<M> = (&'static str, Code, fn(&World, Draft) -> Vec<M>);

type Make = fn(&World, Draft) -> Vec<PieceUploadRequest>;

/// Returns an upload with a limit that is changed and then signed by the satellite.
fn resigned(
    world: &World,
    mut draft: Draft,
    change: impl Fn(&mut Draft),
) -> Vec<PieceUploadRequest> {
    change(&mut draft);
    draft.sign(&world.satellite);
    draft.messages(&noise(SIZE, 1), BLAKE3)
}

/// Returns an upload with a limit whose creation time is offset by some seconds.
fn created_at(world: &World, mut draft: Draft, seconds: i64) -> Vec<PieceUploadRequest> {
    let offset = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { world.now() - offset } else { world.now() + offset };
    draft.limit.order_creation = Some(timestamp(time));
    draft.sign(&world.satellite);
    draft.messages(&noise(SIZE, 1), BLAKE3)
}

/// Returns an upload with `order` as its first order.
fn with_order(draft: &Draft, order: impl Into<raw::Order>) -> Vec<PieceUploadRequest> {
    let mut messages = draft.messages(&noise(SIZE, 1), BLAKE3);
    messages[1].order = Some(order.into());
    messages
}

/// Returns an upload with chunks of these offsets and lengths.
fn with_chunks(draft: &Draft, chunks: &[(i64, usize)]) -> Vec<PieceUploadRequest> {
    let data = noise(SIZE, 1);
    let mut messages = draft.messages(&data, BLAKE3);
    let parts = chunks.iter().map(|&(offset, length)| chunk(offset, &noise(length, 1)));
    messages.splice(2..3, parts);
    messages
}

/// Returns an upload with a piece hash that is changed and then signed.
fn with_hash(draft: &Draft, change: impl Fn(&mut PieceHash)) -> Vec<PieceUploadRequest> {
    let data = noise(SIZE, 1);
    let mut hash = draft.hash(&data, BLAKE3);
    change(&mut hash);
    hash.sign_as_uplink(&draft.key).unwrap();
    let mut messages = draft.messages(&data, BLAKE3);
    messages[3] = done(hash);
    messages
}

fn with_suffix(raw: &Bytes, suffix: &[u8]) -> Bytes {
    [raw, suffix].concat().into()
}

const UPLOADS: &[Row<PieceUploadRequest>] = &[
    ("no limit", Code::INVALID_ARGUMENT, |_, draft| {
        draft.messages(&noise(SIZE, 1), BLAKE3).split_off(1)
    }),
    ("nothing at all", Code::INVALID_ARGUMENT, |_, _| Vec::new()),
    ("limit is not a message", Code::INVALID_ARGUMENT, |_, draft| {
        let mut messages = draft.messages(&noise(SIZE, 1), BLAKE3);
        messages[0].limit = Some(raw::OrderLimit::from_wire(vec![0x0A, 5, 1].into()));
        messages
    }),
    ("limit larger than a header", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.encrypted_metadata = vec![1; 9000])
    }),
    ("action GET", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.action = PieceAction::Get.into())
    }),
    ("action DELETE", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.action = PieceAction::Delete.into())
    }),
    ("unknown action", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.action = 99)
    }),
    ("negative limit", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.limit = -1)
    }),
    ("another storage node", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.storage_node_id = vec![1; 32])
    }),
    ("piece expired 49 hours ago", Code::INVALID_ARGUMENT, |world, draft| {
        let time = timestamp(world.now() - Duration::from_secs(49 * HOUR));
        resigned(world, draft, |draft| draft.limit.piece_expiration = Some(time))
    }),
    ("limit expired 49 hours ago", Code::INVALID_ARGUMENT, |world, draft| {
        let time = timestamp(world.now() - Duration::from_secs(49 * HOUR));
        resigned(world, draft, |draft| draft.limit.order_expiration = Some(time))
    }),
    ("limit without expiration", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.order_expiration = None)
    }),
    ("limit with zero expiration", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.order_expiration = Some(zero()))
    }),
    ("created 61 minutes ago", Code::INVALID_ARGUMENT, |world, draft| {
        created_at(world, draft, -3660)
    }),
    ("created in 61 minutes", Code::INVALID_ARGUMENT, |world, draft| {
        created_at(world, draft, 3660)
    }),
    ("no creation time", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.order_creation = None)
    }),
    ("zero satellite id", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.satellite_id = vec![0; 32])
    }),
    ("short satellite id", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.satellite_id.truncate(31))
    }),
    ("zero piece id", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.piece_id = vec![0; 32])
    }),
    ("no piece id", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.piece_id.clear())
    }),
    ("zero uplink key", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.uplink_public_key = vec![0; 32])
    }),
    ("no uplink key", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.uplink_public_key.clear())
    }),
    ("short serial number", Code::INVALID_ARGUMENT, |world, draft| {
        resigned(world, draft, |draft| draft.limit.serial_number.truncate(15))
    }),
    ("no signature", Code::INVALID_ARGUMENT, |_, mut draft| {
        draft.limit.satellite_signature.clear();
        draft.messages(&noise(SIZE, 1), BLAKE3)
    }),
    ("untrusted satellite", Code::PERMISSION_DENIED, |_, mut draft| {
        let other = Identity::generate().unwrap();
        draft.limit.satellite_id = other.node_id().as_bytes().to_vec();
        draft.sign(&other);
        draft.messages(&noise(SIZE, 1), BLAKE3)
    }),
    ("signature of another satellite", Code::UNAUTHENTICATED, |_, mut draft| {
        draft.sign(&Identity::generate().unwrap());
        draft.messages(&noise(SIZE, 1), BLAKE3)
    }),
    ("unknown field added to the limit", Code::UNAUTHENTICATED, |_, draft| {
        let mut messages = draft.messages(&noise(SIZE, 1), BLAKE3);
        let limit = messages[0].limit.take().unwrap();
        let wire = with_suffix(limit.wire(), &[0xC0, 0x3E, 1]);
        messages[0].limit = Some(raw::OrderLimit::from_wire(wire));
        messages
    }),
    ("more than the capacity", Code::ABORTED, |world, draft| {
        resigned(world, draft, |draft| draft.limit.limit = i64::try_from(CAPACITY).unwrap())
    }),
    ("a second limit", Code::INVALID_ARGUMENT, |_, draft| {
        let mut messages = draft.messages(&noise(SIZE, 1), BLAKE3);
        messages[2].limit = messages[0].limit.clone();
        messages
    }),
    ("unknown hash algorithm", Code::INVALID_ARGUMENT, |_, draft| {
        let mut messages = draft.messages(&noise(SIZE, 1), BLAKE3);
        messages[0].hash_algorithm = 7;
        messages
    }),
    ("order of another serial", Code::INVALID_ARGUMENT, |_, draft| {
        let other = Draft { serial: vec![1; 16], ..draft.clone() };
        with_order(&draft, other.order(SIZE as i64))
    }),
    ("negative order", Code::INVALID_ARGUMENT, |_, draft| with_order(&draft, draft.order(-1))),
    ("order beyond the limit", Code::INVALID_ARGUMENT, |_, draft| {
        with_order(&draft, draft.order(SIZE as i64 + 1))
    }),
    ("decreasing order", Code::INVALID_ARGUMENT, |_, draft| {
        let mut messages = draft.messages(&noise(SIZE, 1), BLAKE3);
        messages[2].order = Some(draft.order(SIZE as i64 - 1).into());
        messages
    }),
    ("order with a bad signature", Code::UNAUTHENTICATED, |_, draft| {
        let mut order = draft.order(SIZE as i64);
        order.uplink_signature[5] ^= 1;
        with_order(&draft, order)
    }),
    ("order with an unknown field", Code::UNAUTHENTICATED, |_, draft| {
        let order = raw::Order::from(draft.order(SIZE as i64));
        with_order(&draft, raw::Order::from_wire(with_suffix(order.wire(), &[0xC0, 0x3E, 1])))
    }),
    ("no order", Code::INVALID_ARGUMENT, |_, draft| {
        let mut messages = draft.messages(&noise(SIZE, 1), BLAKE3);
        messages.remove(1);
        messages
    }),
    ("one byte more than ordered", Code::INVALID_ARGUMENT, |_, draft| {
        with_order(&draft, draft.order(SIZE as i64 - 1))
    }),
    ("gap between chunks", Code::INVALID_ARGUMENT, |_, draft| {
        with_chunks(&draft, &[(0, 500), (501, 499)])
    }),
    ("overlapping chunks", Code::INVALID_ARGUMENT, |_, draft| {
        with_chunks(&draft, &[(0, 500), (499, 501)])
    }),
    ("negative offset", Code::INVALID_ARGUMENT, |_, draft| with_chunks(&draft, &[(-1, SIZE)])),
    ("one byte more than hashed", Code::INVALID_ARGUMENT, |world, mut draft| {
        draft.limit.limit += 1;
        draft.sign(&world.satellite);
        let mut messages = with_chunks(&draft, &[(0, SIZE + 1)]);
        messages[1].order = Some(draft.order(SIZE as i64 + 1).into());
        messages
    }),
    ("fewer bytes than hashed", Code::INVALID_ARGUMENT, |_, draft| {
        with_chunks(&draft, &[(0, SIZE - 1)])
    }),
    ("negative size in the hash", Code::INVALID_ARGUMENT, |_, draft| {
        with_hash(&draft, |hash| hash.piece_size = -1)
    }),
    ("no hash", Code::INVALID_ARGUMENT, |_, draft| {
        let mut messages = draft.messages(&noise(SIZE, 1), BLAKE3);
        messages.pop();
        messages
    }),
    ("hash of other bytes", Code::INTERNAL, |_, draft| {
        with_hash(&draft, |hash| hash.hash = noise(32, 3))
    }),
    ("truncated hash", Code::INTERNAL, |_, draft| with_hash(&draft, |hash| hash.hash.truncate(31))),
    ("hash in another algorithm", Code::INTERNAL, |_, draft| {
        with_hash(&draft, |hash| hash.hash_algorithm = PieceHashAlgorithm::Sha256.into())
    }),
    ("hash of another piece", Code::INTERNAL, |_, draft| {
        with_hash(&draft, |hash| hash.piece_id = vec![7; 32])
    }),
    ("hash signed a day too early", Code::INTERNAL, |world, draft| {
        let time = timestamp(world.now() - Duration::from_secs(25 * HOUR));
        with_hash(&draft, |hash| hash.timestamp = Some(time))
    }),
    ("hash with a bad signature", Code::INTERNAL, |_, draft| {
        let mut hash = draft.hash(&noise(SIZE, 1), BLAKE3);
        hash.signature[5] ^= 1;
        let mut messages = draft.messages(&noise(SIZE, 1), BLAKE3);
        messages[3] = done(hash);
        messages
    }),
    ("hash without a signature", Code::INTERNAL, |_, draft| {
        let mut hash = draft.hash(&noise(SIZE, 1), BLAKE3);
        hash.signature.clear();
        let mut messages = draft.messages(&noise(SIZE, 1), BLAKE3);
        messages[3] = done(hash);
        messages
    }),
];

#[tokio::test]
async fn invalid_uploads_are_rejected_and_store_nothing() {
    let world = World::start().await;
    for (case, code, request) in UPLOADS {
        let before = world.settled().await;
        let draft = world.limit(PieceAction::Put, SIZE as i64);
        let rejected = world.send(request(&world, draft.clone())).await.unwrap_err();
        assert_eq!(rejected.code, *code, "{case}: {rejected}");
        let after = world.settled().await;
        assert_eq!((after.used, after.pieces), (before.used, before.pieces), "{case}");
        let missing = world.download(&draft, 0, 1).await.unwrap_err();
        assert_eq!(missing.code, Code::NOT_FOUND, "{case}: {missing}");
    }
    let draft = world.limit(PieceAction::Put, SIZE as i64);
    world.upload(&draft, &noise(SIZE, 1)).await.unwrap();
}

#[tokio::test]
async fn uploads_at_the_limits_are_stored() {
    let world = World::start().await;
    let rows: [(&str, Make); 6] = [
        ("piece and limit expired 47 hours ago", |world, draft| {
            let time = Some(timestamp(world.now() - Duration::from_secs(47 * HOUR)));
            resigned(world, draft, |draft| {
                draft.limit.piece_expiration = time;
                draft.limit.order_expiration = time;
            })
        }),
        ("zero piece expiration", |world, draft| {
            resigned(world, draft, |draft| draft.limit.piece_expiration = Some(zero()))
        }),
        ("created in 59 minutes", |world, draft| created_at(world, draft, 59 * 60)),
        ("created 59 minutes ago", |world, draft| created_at(world, draft, -59 * 60)),
        ("repair upload", |world, draft| {
            resigned(world, draft, |draft| draft.limit.action = PieceAction::PutRepair.into())
        }),
        ("long encrypted metadata", |world, draft| {
            resigned(world, draft, |draft| draft.limit.encrypted_metadata = vec![1; 7000])
        }),
    ];
    for (case, make) in rows {
        let draft = world.limit(PieceAction::Put, SIZE as i64);
        let reply = world.send(make(&world, draft.clone())).await;
        assert!(reply.is_ok(), "{case}: {reply:?}");
        assert_eq!(world.download(&draft, 0, SIZE as i64).await.unwrap(), noise(SIZE, 1), "{case}");
    }
}

const DOWNLOADS: &[Row<PieceDownloadRequest>] = &[
    ("no limit", Code::INVALID_ARGUMENT, |_, draft| {
        vec![PieceDownloadRequest { limit: None, ..draft.range(0, 1, Some(1)) }]
    }),
    ("no range", Code::INVALID_ARGUMENT, |_, draft| {
        vec![PieceDownloadRequest { chunk: None, ..draft.range(0, 1, Some(1)) }]
    }),
    ("nothing at all", Code::INVALID_ARGUMENT, |_, _| Vec::new()),
    ("action PUT", Code::INVALID_ARGUMENT, |world, mut draft| {
        draft.limit.action = PieceAction::Put.into();
        draft.sign(&world.satellite);
        vec![draft.range(0, 1, Some(1))]
    }),
    ("range longer than the limit", Code::INVALID_ARGUMENT, |world, mut draft| {
        draft.limit.limit = 10;
        draft.sign(&world.satellite);
        vec![draft.range(0, 11, Some(10))]
    }),
    ("negative offset", Code::INVALID_ARGUMENT, |_, draft| vec![draft.range(-1, 1, Some(1))]),
    ("negative length", Code::INVALID_ARGUMENT, |_, draft| vec![draft.range(0, -1, Some(1))]),
    ("range beyond the piece", Code::INVALID_ARGUMENT, |_, draft| {
        vec![draft.range(1, SIZE as i64, Some(1))]
    }),
    ("range after the piece", Code::INVALID_ARGUMENT, |_, draft| {
        vec![draft.range(SIZE as i64, 1, Some(1))]
    }),
    ("range at the largest offset", Code::INVALID_ARGUMENT, |_, draft| {
        vec![draft.range(i64::MAX, 1, Some(1))]
    }),
    ("missing piece", Code::NOT_FOUND, |world, mut draft| {
        draft.limit.piece_id = vec![5; 32];
        draft.sign(&world.satellite);
        vec![draft.range(0, 1, Some(1))]
    }),
    ("signature of another satellite", Code::UNAUTHENTICATED, |_, mut draft| {
        draft.sign(&Identity::generate().unwrap());
        vec![draft.range(0, 1, Some(1))]
    }),
    ("order of another serial", Code::INTERNAL, |_, draft| {
        let other = Draft { serial: vec![1; 16], ..draft.clone() };
        let order = Some(other.order(1).into());
        vec![PieceDownloadRequest { order, ..draft.range(0, 1, None) }]
    }),
    ("order with a bad signature", Code::INTERNAL, |_, draft| {
        let mut order = draft.order(1);
        order.uplink_signature[0] ^= 1;
        vec![PieceDownloadRequest { order: Some(order.into()), ..draft.range(0, 1, None) }]
    }),
    ("order beyond the limit", Code::INTERNAL, |_, draft| {
        vec![draft.range(0, 1, Some(SIZE as i64 + 1))]
    }),
    ("negative order", Code::INTERNAL, |_, draft| vec![draft.range(0, 1, Some(-1))]),
    ("message without an order", Code::INTERNAL, |_, draft| {
        vec![draft.range(0, 1, None), PieceDownloadRequest::default()]
    }),
    ("a second request", Code::INTERNAL, |_, draft| {
        vec![draft.range(0, 1, None), draft.range(0, 1, Some(1))]
    }),
];

#[tokio::test]
async fn invalid_downloads_are_rejected_and_serve_nothing() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE).await;
    for (case, code, request) in DOWNLOADS {
        let draft = world.limit_for(&piece, PieceAction::Get, SIZE as i64);
        let (served, end) = world.collect(request(&world, draft)).await;
        let rejected: Failure = end.unwrap_err();
        assert_eq!(rejected.code, *code, "{case}: {rejected}");
        assert!(served.is_empty(), "{case}");
    }
    assert_eq!(world.download(&piece, 0, SIZE as i64).await.unwrap(), data);
}

#[tokio::test]
async fn limit_altered_in_any_byte_is_rejected() {
    let world = World::start().await;
    let mut draft = world.limit(PieceAction::Put, SIZE as i64);
    draft.limit.piece_expiration = draft.limit.order_expiration;
    draft.limit.encrypted_metadata_key_id = vec![1; 8];
    draft.limit.encrypted_metadata = vec![2; 20];
    draft.limit.deprecated_satellite_address = Some(vec![0x12, 3, b'a', b':', b'1']);
    draft.sign(&world.satellite);
    let valid = draft.messages(&noise(SIZE, 1), BLAKE3);
    let wire = valid[0].limit.as_ref().unwrap().wire().clone();
    for (index, bit) in (0..wire.len()).flat_map(|index| [(index, index % 8), (index, 7)]) {
        let mut altered = wire.to_vec();
        altered[index] ^= 1 << bit;
        let altered = raw::OrderLimit::from_wire(altered.into());
        // Excess high bits of a varint are ignored, so the value is unchanged.
        if altered.decode_typed().is_ok_and(|limit| limit == draft.limit) {
            continue;
        }
        let mut messages = valid.clone();
        messages[0].limit = Some(altered);
        let reply = world.send(messages).await;
        let Err(rejected) = reply else {
            panic!("byte {index} bit {bit} of {}", hex::encode(&wire))
        };
        let expected = [Code::INVALID_ARGUMENT, Code::UNAUTHENTICATED, Code::PERMISSION_DENIED];
        assert!(expected.contains(&rejected.code), "byte {index} bit {bit}: {rejected}");
    }
    assert_eq!(world.settled().await.used, 0);
    world.send(valid).await.unwrap();
}

#[tokio::test]
async fn order_or_hash_altered_in_any_byte_is_rejected() {
    let world = World::start().await;
    let upload = |world: &World| {
        let draft = world.limit(PieceAction::Put, SIZE as i64);
        draft.messages(&noise(SIZE, 1), BLAKE3)
    };
    let flip = |wire: &Bytes, index: usize| {
        let mut wire = wire.to_vec();
        wire[index] ^= 1 << (index % 8);
        Bytes::from(wire)
    };
    let mut altered = Vec::new();
    for index in 0..upload(&world)[1].order.as_ref().unwrap().wire().len() {
        let mut messages = upload(&world);
        let order = messages[1].order.take().unwrap();
        messages[1].order = Some(raw::Order::from_wire(flip(order.wire(), index)));
        altered.push((format!("byte {index} of the order"), messages));
    }
    for index in 0..upload(&world)[3].done.as_ref().unwrap().wire().len() {
        let mut messages = upload(&world);
        let hash = messages[3].done.take().unwrap();
        let Some(wire) = (index < hash.wire().len()).then(|| flip(hash.wire(), index)) else {
            break;
        };
        let changed = raw::PieceHash::from_wire(wire);
        // Excess high bits of a varint are ignored, so the value is unchanged.
        if changed.decode_typed().ok() != hash.decode_typed().ok() {
            messages[3].done = Some(changed);
            altered.push((format!("byte {index} of the hash"), messages));
        }
    }
    assert!(altered.len() > 200);
    for (case, messages) in altered {
        let reply = world.send(messages).await;
        let Err(rejected) = reply else { panic!("{case} is accepted") };
        let expected = [Code::INVALID_ARGUMENT, Code::UNAUTHENTICATED, Code::INTERNAL];
        assert!(expected.contains(&rejected.code), "{case}: {rejected}");
    }
    assert_eq!(world.settled().await.used, 0);
}

#[tokio::test]
async fn serial_number_is_accepted_once() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE).await;
    let again = world.upload(&piece, &data).await.unwrap_err();
    assert_eq!(again.code, Code::UNAUTHENTICATED, "{again}");
    let get = world.limit_for(&piece, PieceAction::Get, SIZE as i64);
    let request = vec![get.range(0, 1, Some(1))];
    assert_eq!(world.collect(request.clone()).await, (data[..1].to_vec(), Ok(())));
    let (served, end) = world.collect(request).await;
    assert_eq!((served, end.unwrap_err().code), (Vec::new(), Code::UNAUTHENTICATED));
}

#[tokio::test]
async fn serial_number_of_a_failed_upload_stays_used() {
    let world = World::start().await;
    let draft = world.limit(PieceAction::Put, SIZE as i64);
    world.send(vec![draft.opening(BLAKE3)]).await.unwrap_err();
    let rejected = world.upload(&draft, &noise(SIZE, 1)).await.unwrap_err();
    assert_eq!(rejected.code, Code::UNAUTHENTICATED);
}

#[tokio::test]
async fn restarted_node_rejects_used_limits_and_accepts_unused() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE).await;
    let unused = world.limit_for(&piece, PieceAction::Get, SIZE as i64);
    let world = world.restart(|_| {}).await;
    let replayed = world.upload(&piece, &data).await.unwrap_err();
    assert_eq!(replayed.code, Code::UNAUTHENTICATED, "{replayed}");
    let (served, end) = world.collect(vec![unused.range(0, 1, Some(1))]).await;
    assert_eq!((served, end), (data[..1].to_vec(), Ok(())));
    assert_eq!(world.download(&piece, 0, SIZE as i64).await.unwrap(), data);
}

#[tokio::test]
async fn clock_steps_within_an_hour_have_no_effect() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE).await;
    for step in [-1, 1, -30, 30, -3500, 3500] {
        // Only the node's clock is stepped.
        let get = world.limit_for(&piece, PieceAction::Get, SIZE as i64);
        let put = world.limit(PieceAction::Put, SIZE as i64);
        world.clock.store(step, Ordering::Relaxed);
        let (served, end) = world.collect(vec![get.range(0, SIZE as i64, Some(SIZE as i64))]).await;
        assert_eq!((served, end), (data.clone(), Ok(())), "{step} s");
        world.upload(&put, &data).await.unwrap();
        let replayed = world.upload(&put, &data).await.unwrap_err();
        assert_eq!(replayed.code, Code::UNAUTHENTICATED, "{step} s: {replayed}");
        world.clock.store(0, Ordering::Relaxed);
        let replayed = world.upload(&put, &data).await.unwrap_err();
        assert_eq!(replayed.code, Code::UNAUTHENTICATED, "{step} s: {replayed}");
    }
}

#[tokio::test]
async fn clock_step_of_a_day_recovers_when_clocks_agree() {
    let world = World::start_with(|_| {}).await;
    for clock in [86_400, 0, -86_400, 0] {
        let put = world.limit(PieceAction::Put, SIZE as i64);
        world.clock.store(clock, Ordering::Relaxed);
        let rejected = world.upload(&put, &noise(SIZE, 1)).await.unwrap_err();
        assert!(rejected.message.contains("clock"), "{clock} s: {rejected}");
        // Satellite and node agree again.
        world.stored(SIZE).await;
    }
}

#[tokio::test]
async fn upload_beyond_the_capacity_is_rejected() {
    let space = 10_000;
    let world = World::start_with(|config| config.capacity = space + 512).await;
    let too_large = world.limit(PieceAction::Put, space as i64 + 1);
    let error = world.upload(&too_large, &noise(10, 1)).await.unwrap_err();
    assert_eq!(error.code, Code::ABORTED, "{error}");
    world.stored(space as usize).await;
    let full = world.upload(&world.limit(PieceAction::Put, 0), &[]).await.unwrap_err();
    assert_eq!(full.code, Code::ABORTED);
    assert_eq!(world.node.usage().unwrap().free, 0);
}
