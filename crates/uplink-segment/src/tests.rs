//! Sealing, buffering and coding of one segment, without a network.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use proptest::prelude::*;
use uplink_core::encryption::content::{ContentCipher, SegmentCipher};
use uplink_core::encryption::nonce::segment_start_nonce;
use uplink_core::encryption::{EncryptionParameters, Key};
use uplink_core::erasure::{Decoder, Encoder, Scheme};
use uplink_core::id::SegmentPosition;
use uplink_core::layout;

use crate::memory::Budget;
use crate::upload::ring::{Reader, Ring};
use crate::upload::{SealedSegment, Sealer, Window};
use crate::window::window_size;

pub(super) const PARAMETERS: EncryptionParameters = EncryptionParameters::DEFAULT;
pub(super) const POSITION: SegmentPosition = SegmentPosition { part: 0, index: 3 };

pub(super) fn plain(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 131 + (i >> 8) * 17) as u8).collect()
}

pub(super) fn key() -> Key {
    Key::new([42; 32])
}

pub(super) fn cipher() -> SegmentCipher {
    SegmentCipher::new(PARAMETERS, &key(), POSITION).unwrap()
}

fn budget() -> Budget {
    Budget::new(64 << 20, 10, false)
}

/// Runs a future in a tokio runtime.
pub(super) fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Seals in parts of the given sizes, cyclically.
pub(super) async fn seal(plain: &[u8], parts: &[usize], scheme: &Scheme) -> Arc<SealedSegment> {
    let budget = budget();
    let sealed =
        SealedSegment::new(budget.reserve(plain.len() as u64).await.unwrap(), Arc::default());
    let mut sealer = Sealer::new(cipher(), scheme, &budget, &sealed);
    let mut rest = plain;
    let mut parts = parts.iter().cycle();
    while !rest.is_empty() {
        let (part, further) = rest.split_at((*parts.next().unwrap()).min(rest.len()));
        sealer.write(part).unwrap();
        rest = further;
    }
    let size = sealer.finish().unwrap();
    assert_eq!(size.plain, plain.len() as u64);
    assert_eq!(size.encrypted, layout::encrypted_size(size.plain, PARAMETERS.block_size).unwrap());
    sealed
}

pub(super) fn stripes(sealed: &SealedSegment) -> Vec<u8> {
    let mut stripes = Vec::new();
    for number in 0.. {
        match sealed.window(number) {
            Window::Stripes(window) => stripes.extend_from_slice(&window),
            Window::Beyond => break,
            Window::NotYet => panic!("the segment is complete"),
        }
    }
    stripes
}

pub(super) fn piece(sealed: &SealedSegment, scheme: &Scheme, number: u16) -> Vec<u8> {
    let stripes = stripes(sealed);
    let mut piece = vec![0; stripes.len() / usize::from(scheme.required())];
    Encoder::new(scheme).encode_piece(&stripes, number, &mut piece).unwrap();
    piece
}

/// Returns a number of cases, scaled like `PROPTEST_CASES` is relative to the ten thousand of cheaper
/// properties.
pub(super) fn cases(usual: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = usual.saturating_mul((default.cases / 10_000).max(1));
    println!("{cases} cases"); // `cargo xtask soak` reads it
    ProptestConfig { cases, ..default }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn any_k_pieces_of_a_sealed_segment_open_to_its_plain_bytes(
        size in 0_usize..400_000, parts in prop::collection::vec(1_usize..70_000, 1..4), first in 0_u16..7,
    ) {
        let scheme: Scheme = "4/6/8/10-256".parse().unwrap();
        let plain = plain(size);
        let sealed = in_runtime(seal(&plain, &parts, &scheme));
        let encrypted = layout::encrypted_size(size as u64, PARAMETERS.block_size).unwrap();
        let numbers: Vec<u16> = (first..first + 4).collect();
        let pieces: Vec<_> = numbers.iter().map(|number| piece(&sealed, &scheme, *number)).collect();
        prop_assert_eq!(pieces[0].len() as u64, layout::piece_size(encrypted, &scheme).unwrap());

        let mut decoded = vec![0; pieces[0].len() * 4];
        Decoder::new(&scheme, &numbers).unwrap().decode(&pieces, &mut decoded).unwrap();
        let cipher = ContentCipher::new(PARAMETERS.suite, &key()).unwrap();
        let block = PARAMETERS.block_size as usize;
        let mut opened = vec![0; encrypted as usize / block * cipher.plain_block_size(block).unwrap()];
        let start = segment_start_nonce(POSITION);
        cipher.open_blocks(&start, 0, block, &decoded[..encrypted as usize], &mut opened).unwrap();
        prop_assert_eq!(&opened[..size], &plain[..]);
    }
}

async fn read(ring: &Arc<Ring>, number: u16) -> Vec<u8> {
    let mut reader = ring.reader(number);
    let mut piece = Vec::new();
    while let Some(shares) = reader.next().await {
        piece.extend_from_slice(&shares.unwrap());
    }
    piece
}

#[tokio::test]
async fn late_replacement_reads_the_same_piece_as_others() {
    let scheme: Scheme = "2/3/3/5-256".parse().unwrap();
    let sealed = seal(&plain(2_000_000), &[50_000], &scheme).await;
    let ring = Ring::new(&budget(), Arc::clone(&sealed), scheme, 3);
    let coder = tokio::spawn(Arc::clone(&ring).code());
    let (a, b, c) = tokio::join!(read(&ring, 0), read(&ring, 3), read(&ring, 4));
    for (number, read) in [(0, a), (3, b), (4, c), (1, read(&ring, 1).await)] {
        assert!(read == piece(&sealed, &scheme, number), "piece {number}");
    }
    coder.await.unwrap();
}

#[tokio::test]
async fn transfer_fails_when_coding_stops_before_the_end() {
    let scheme: Scheme = "2/3/3/5-256".parse().unwrap();
    let sealed = SealedSegment::new(budget().reserve(1).await.unwrap(), Arc::default());
    let ring = Ring::new(&budget(), sealed, scheme, 3);
    let mut reader = ring.reader(1);
    let coder = tokio::spawn(Arc::clone(&ring).code());
    let waiting = tokio::spawn(async move { reader.next().await });
    coder.abort();
    let next =
        tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it is notified");
    assert!(matches!(next.unwrap(), Some(Err(_))));
}

/// A connection may keep a reader for as long as its node stalls.
#[tokio::test]
async fn reader_that_outlives_its_ring_fails_and_frees_the_segment() {
    let scheme: Scheme = "2/3/3/5-256".parse().unwrap();
    let sealed = seal(&plain(4_000_000), &[50_000], &scheme).await;
    let (ring, segment) =
        (Ring::new(&budget(), Arc::clone(&sealed), scheme, 3), Arc::downgrade(&sealed));
    let mut reader = ring.reader(1);
    drop((ring, sealed));
    assert!(segment.upgrade().is_none());
    assert!(matches!(reader.next().await, Some(Err(_))));
    assert!(reader.next().await.is_none());
}

#[tokio::test]
async fn ring_waits_only_for_as_many_transfers_as_needed() {
    let scheme: Scheme = "2/3/3/5-256".parse().unwrap();
    let sealed = seal(&plain(4_000_000), &[50_000], &scheme).await;
    let ring = Ring::new(&budget(), Arc::clone(&sealed), scheme, 3);
    // Three are required and one of them stalls: the other two get only what is in the ring.
    tokio::spawn(Arc::clone(&ring).code());
    let stalled = ring.reader(2);
    let mut first = ring.reader(0);
    let mut second = ring.reader(1);
    for _ in 0..4 {
        assert!(first.next().await.is_some(), "the segment is longer than the ring");
        assert!(second.next().await.is_some(), "the segment is longer than the ring");
    }
    let further = tokio::time::timeout(Duration::from_millis(300), first.next()).await;
    assert!(further.is_err(), "the ring ran ahead of a required transfer");
    // Two others reach the required number: no transfer waits for the stalled one.
    let rest = |mut reader: Reader| async move {
        while let Some(shares) = reader.next().await {
            shares.expect("shares");
        }
    };
    let whole = async { tokio::join!(rest(first), rest(second), read(&ring, 3), read(&ring, 4)) };
    tokio::time::timeout(Duration::from_secs(30), whole).await.expect("the ring advances");
    drop(stalled);
}

#[tokio::test]
async fn sealing_has_caught_up_when_few_windows_wait_for_the_coder() {
    let scheme: Scheme = "2/3/3/5-256".parse().unwrap();
    let sealed = seal(&plain(2_000_000), &[50_000], &scheme).await;
    let windows = stripes(&sealed).len().div_ceil(window_size(&scheme));
    assert!(windows > 8, "{windows} windows");
    let caught_up = tokio::spawn({
        let sealed = Arc::clone(&sealed);
        async move { sealed.wait_for_coder().await }
    });
    for number in 0..windows {
        assert_eq!(sealed.is_ahead(), windows - number > 4, "{number} of {windows} windows coded");
        sealed.wait_for_window(number).await.expect("a window");
    }
    tokio::time::timeout(Duration::from_secs(30), caught_up)
        .await
        .expect("it is notified")
        .unwrap();
}
