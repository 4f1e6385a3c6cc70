//! Downloads one segment: any k pieces are decoded to plain bytes.
//!
//! Each open piece has a task that reads its shares. As soon as k of them have delivered shares of the
//! next stripes these are decoded, complete encryption blocks are authenticated and decrypted, and
//! their plain bytes are returned, while the rest is in flight. `policy::hedge` decides which pieces
//! are opened, and when another one. `positions.rs` has a picture of how far each piece is delivered,
//! decoded and settled.
//!
//! When a block does not authenticate, some shares are corrupt. The download then returns to the settled
//! position and *recovers* block by block, to the end of the window that failed, from all delivered
//! pieces: `decode/recover.rs` corrects their shares or tries subsets of them, and
//! `policy::correction` decides how many pieces to wait for. After that k pieces are enough again. No
//! piece is dropped: its other shares may be needed. `policy::suspicion` prefers pieces without corrupt
//! shares. The transfers of all pieces continue to the end of the requested range, so that a second corrupt
//! piece costs no further round trip.

use std::ops::Range;

use self::decode::{BlockDecryptor, Decoder};
use self::run::Run;
use crate::error::SegmentError;
use crate::{BlockCipher, RemoteSegment, Transfers};

mod decode;
mod pieces;
mod positions;
mod run;

pub use self::run::{AllHolders, Output};

/// The plain bytes of a segment to read.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "its caller creates it")]
pub struct Read<C> {
    /// Decrypts the blocks of the segment.
    pub cipher: C,
    /// Plain bytes of the whole segment.
    pub plain_size: u64,
    /// The range of them to read.
    pub range: Range<u64>,
}

/// Reads a part of a segment's plain bytes into `output`.
///
/// Dropping the future cancels all transfers.
///
/// # Errors
/// [`SegmentError::NotEnoughNodes`] when fewer than k pieces can be read, or too many of these are
/// corrupt and others are unreachable; [`SegmentError::Corrupt`] when too many pieces
/// are corrupt and no others exist; [`SegmentError::Forged`] when they are consistent and the bytes
/// do not authenticate; [`SegmentError::Cancelled`] when the reader was dropped.
pub async fn download<E: Send>(
    transfers: &Transfers,
    segment: RemoteSegment,
    read: Read<impl BlockCipher>,
    all_holders: AllHolders<'_>,
    output: &Output<E>,
) -> Result<(), SegmentError> {
    let decryptor = BlockDecryptor::new(read.cipher, segment.scheme, read.plain_size, read.range)?;
    let decoder = Decoder::new(segment.scheme, decryptor);
    Run::new(transfers, segment, decoder)?.run(all_holders, output).await
}
