//! Order limits with an altered field: experiment F20 of `docs/RELIABILITY.md`. Only the satellite can
//! sign a limit, so the node rejects every alteration, and stores and serves nothing for it.
//!
//! A thousand values of each field, or as many as `PROPTEST_CASES` says if that is more.
//! `UPLINK_SEED` repeats a run.

use futures_util::{StreamExt, stream};
use proptest::prelude::ProptestConfig;
use prost_types::Timestamp;
use uplink_core::order::{OrderLimit, PieceAction, PieceHashAlgorithm};
use uplink_rpc::status::Code;

use crate::world::{Draft, Link, World, noise};

const SIZE: usize = 100;
/// Requests in flight.
const CONCURRENT: usize = 16;

/// A linear congruential generator (Knuth's MMIX).
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 20
    }

    fn number(&mut self) -> i64 {
        let interesting = [-1, 0, 1, i64::MIN, i64::MAX, SIZE as i64 + 1, 1 << 31];
        let random = self.next();
        match random % 4 {
            0 => interesting[(random >> 2) as usize % interesting.len()],
            1 => (random >> 2) as i64 % 1000,
            _ => ((self.next() << 30) ^ random) as i64,
        }
    }

    /// Alters bytes: one bit, the length, or all of them.
    fn bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let random = self.next() as usize;
        let mut altered = bytes.to_vec();
        match random % 4 {
            0 if !bytes.is_empty() => altered[random % bytes.len()] ^= 1 << (random / 7 % 8),
            1 if !bytes.is_empty() => altered.truncate(random / 4 % bytes.len()),
            2 => altered.push(random as u8),
            _ => altered = (0..random % 70).map(|_| self.next() as u8).collect(),
        }
        altered
    }

    /// Moves a time by nanoseconds to centuries, or removes it.
    fn time(&mut self, time: Option<Timestamp>) -> Option<Timestamp> {
        let random = self.next();
        let distance = 1i64 << (random / 8 % 34);
        let nanos = (random / 512 % 1_000_000_000) as i32;
        let time = time.unwrap_or_default();
        match random % 8 {
            0 => None,
            1..4 => Some(Timestamp { seconds: time.seconds - distance, ..time }),
            4..7 => Some(Timestamp { seconds: time.seconds + distance, ..time }),
            _ => Some(Timestamp { nanos, ..time }),
        }
    }
}

type Alter = fn(&mut OrderLimit, &mut Random);

/// Every field, the signature included.
const FIELDS: [(&str, Alter); 14] = [
    ("serial number", |limit, random| {
        limit.serial_number = random.bytes(&limit.serial_number);
    }),
    ("satellite id", |limit, random| limit.satellite_id = random.bytes(&limit.satellite_id)),
    ("uplink id", |limit, random| {
        limit.deprecated_uplink_id = random.bytes(&limit.deprecated_uplink_id);
    }),
    ("storage node id", |limit, random| {
        limit.storage_node_id = random.bytes(&limit.storage_node_id);
    }),
    ("piece id", |limit, random| limit.piece_id = random.bytes(&limit.piece_id)),
    ("limit", |limit, random| limit.limit = random.number()),
    ("action", |limit, random| limit.action = random.number() as i32),
    ("piece expiration", |limit, random| {
        limit.piece_expiration = random.time(limit.piece_expiration);
    }),
    ("order expiration", |limit, random| {
        limit.order_expiration = random.time(limit.order_expiration);
    }),
    ("signature", |limit, random| {
        limit.satellite_signature = random.bytes(&limit.satellite_signature);
    }),
    ("order creation", |limit, random| limit.order_creation = random.time(limit.order_creation)),
    ("uplink public key", |limit, random| {
        limit.uplink_public_key = random.bytes(&limit.uplink_public_key);
    }),
    ("metadata key id", |limit, random| {
        limit.encrypted_metadata_key_id = random.bytes(&limit.encrypted_metadata_key_id);
    }),
    ("metadata", |limit, random| {
        limit.encrypted_metadata = random.bytes(&limit.encrypted_metadata);
    }),
];

/// Returns a limit in which one field differs from what the satellite signed.
fn forged(valid: &Draft, alter: Alter, random: &mut Random) -> Draft {
    loop {
        let mut forged = valid.clone();
        alter(&mut forged.limit, random);
        if forged.limit != valid.limit {
            return forged;
        }
    }
}

/// Sends an upload or a download with a forged limit, and checks that it is rejected.
async fn attempt(link: Link, draft: Draft, case: String) {
    let expected = [Code::INVALID_ARGUMENT, Code::UNAUTHENTICATED, Code::PERMISSION_DENIED];
    let code = if draft.limit.action == i32::from(PieceAction::Get) {
        let length = SIZE as i64;
        let (served, end) = link.collect(vec![draft.range(0, length, Some(length))]).await;
        assert!(served.is_empty(), "{case}: {} bytes are served", served.len());
        end.err().map(|failure| failure.code)
    } else {
        let messages = draft.messages(&noise(SIZE, 1), PieceHashAlgorithm::Blake3);
        link.send(messages).await.err().map(|failure| failure.code)
    };
    assert!(code.is_some_and(|code| expected.contains(&code)), "{case}: {code:?}");
}

/// A time with other nanoseconds has the same meaning and is still not what was signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_with_any_altered_field_is_rejected() {
    let world = World::start().await;
    let values = ProptestConfig::default().cases.max(1_000) as usize;
    let seed = std::env::var("UPLINK_SEED").map_or_else(
        |_| u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos()),
        |seed| seed.parse().expect("a number"),
    );
    let (piece, data) = world.stored(SIZE).await;
    let before = world.settled().await;
    let mut random = Random(seed);
    for (field, alter) in FIELDS {
        let drafts = (0..values).map(|index| {
            let valid = match index % 2 {
                0 => world.limit_for(&piece, PieceAction::Get, SIZE as i64),
                _ => world.limit(PieceAction::Put, SIZE as i64),
            };
            (index, forged(&valid, alter, &mut random))
        });
        let drafts: Vec<(usize, Draft)> = drafts.collect();
        let attempts = drafts.into_iter().map(|(index, draft)| {
            attempt(world.link(), draft, format!("{field}, value {index}, seed {seed}"))
        });
        stream::iter(attempts).buffer_unordered(CONCURRENT).collect::<Vec<()>>().await;
    }
    let after = world.settled().await;
    assert_eq!((after.used, after.pieces), (before.used, before.pieces));
    assert_eq!(world.download(&piece, 0, SIZE as i64).await.unwrap(), data);
    println!("{} limits, seed {seed}", FIELDS.len() * values);
}
