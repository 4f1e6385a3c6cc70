//! A segment's key encrypts every block with a nonce of its own: the cipher of this test records each
//! index that it is given. Part of experiment F73 of `docs/RELIABILITY.md`.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use uplink_core::encryption::EncryptionError;
use uplink_core::erasure::Scheme;
use uplink_segment::BlockCipher;
use uplink_segment::memory::Budget;
use uplink_segment::upload::{SealedSegment, Sealer};

/// Small blocks, so that a segment has many.
const PLAIN_BLOCK: usize = 16;
const OVERHEAD: usize = 16;

/// Records the indexes of sealed blocks in the order of the calls, and encrypts nothing.
#[derive(Clone, Debug, Default)]
struct Recorder {
    indexes: Arc<Mutex<Vec<u64>>>,
}

impl BlockCipher for Recorder {
    fn block_size(&self) -> usize {
        PLAIN_BLOCK + OVERHEAD
    }

    fn plain_block_size(&self) -> usize {
        PLAIN_BLOCK
    }

    fn seal_block(
        &self,
        index: u64,
        plain: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), EncryptionError> {
        assert_eq!((plain.len(), sealed.len()), (self.plain_block_size(), self.block_size()));
        self.indexes.lock().unwrap().push(index);
        sealed.fill(0);
        Ok(())
    }

    fn open_blocks(&self, _: u64, _: &[u8], _: &mut [u8]) -> Result<(), EncryptionError> {
        Err(EncryptionError::Decryption)
    }
}

/// Seals `size` bytes, written in parts of these sizes, and returns the indexes of the blocks.
async fn seal(size: usize, parts: &[usize]) -> Vec<u64> {
    let scheme: Scheme = "4/6/8/10-256".parse().unwrap();
    let budget = Budget::new(64 << 20, 10, false);
    let sealed = SealedSegment::new(budget.reserve(2 * size as u64).await.unwrap(), Arc::default());
    let cipher = Recorder::default();
    let mut sealer = Sealer::new(cipher.clone(), &scheme, &budget, &sealed);
    let plain = vec![1; size];
    let mut rest = &plain[..];
    let mut parts = parts.iter().cycle();
    while !rest.is_empty() {
        let (part, further) = rest.split_at((*parts.next().unwrap()).min(rest.len()));
        sealer.write(part).unwrap();
        rest = further;
    }
    let size = sealer.finish().unwrap();
    let indexes = std::mem::take(&mut *cipher.indexes.lock().unwrap());
    assert_eq!(size.encrypted, (indexes.len() * cipher.block_size()) as u64);
    indexes
}

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Returns 64 cases, scaled like `PROPTEST_CASES` is relative to the ten thousand of cheaper
/// properties.
fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = 64 * (default.cases / 10_000).max(1);
    println!("{cases} cases"); // `cargo xtask soak` reads it
    ProptestConfig { cases, ..default }
}

proptest! {
    #![proptest_config(cases())]

    /// At least 150,000 blocks in each case: ten million encryptions in the suite.
    #[test]
    fn every_block_of_a_segment_is_sealed_once_under_its_own_index(
        size in 2_500_000_usize..3_500_000,
        parts in prop::collection::vec(prop_oneof![1_usize..40, 1_usize..300_000], 1..6),
    ) {
        // Parts of a few bytes only would take minutes.
        let parts = [&parts[..], &[200_000]].concat();
        let indexes = in_runtime(seal(size, &parts));
        prop_assert!(indexes.len() > 150_000);
        prop_assert!(indexes.iter().copied().eq(0..indexes.len() as u64));
    }
}
