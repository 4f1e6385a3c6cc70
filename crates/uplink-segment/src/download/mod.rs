//! One segment → any k pieces → plain bytes.
//!
//! Each open piece has a task that reads its shares. Whatever k of them have delivered of the next
//! stripes is decoded, the encryption blocks complete by then are authenticated and opened, and
//! their plain bytes go out, while the rest is still on its way. Which pieces are opened, and when
//! another, is decided by `policy::hedge`.
//!
//! ```text
//!   0 ──────────── settled ────────────── done ─────────────── what pieces have delivered
//!      handed out           decoded, its           not decoded
//!                           block incomplete
//! ```
//!
//! When a block does not open, some shares are corrupt. The same line then goes back to where bytes
//! are settled and *recovers* block by block, to the end of the window that failed, from all pieces
//! that have come: `decode/recover.rs` corrects their shares or tries subsets of them, and
//! `policy::correction` says how many pieces to wait for. After that k pieces are enough again. No piece is
//! dropped: its other shares may be needed. `policy::suspicion` prefers those without corrupt shares.
//! The transfers of all pieces go on to the end of the segment, so that a second corrupt piece costs
//! no further round trip.

use std::ops::Range;

use self::decode::Decoder;
use self::opener::Opener;
use self::run::Run;
use crate::error::SegmentError;
use crate::{BlockCipher, RemoteSegment, Transfers};

mod decode;
mod opener;
mod pieces;
mod progress;
mod run;

pub use self::run::{AskForAll, Output};

/// The plain bytes of a segment to read.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "its caller makes it")]
pub struct Read<C> {
    /// Opens the blocks of the segment.
    pub cipher: C,
    /// Plain bytes of the whole segment.
    pub plain_size: u64,
    /// The part of them to read.
    pub range: Range<u64>,
}

/// Reads a part of a segment's plain bytes into `output`.
///
/// Dropping the future cancels all transfers.
///
/// # Errors
/// [`SegmentError::NotEnoughNodes`] when fewer than k pieces can be read, or too many of these are
/// corrupt and others exist that cannot be reached now; [`SegmentError::Corrupt`] when too many pieces
/// are corrupt and no others exist; [`SegmentError::Forged`] when they agree on bytes that are not
/// authentic; [`SegmentError::Cancelled`] when the reader is gone.
pub async fn download<E: Send>(
    transfers: &Transfers,
    segment: RemoteSegment,
    read: Read<impl BlockCipher>,
    ask_for_all: AskForAll<'_>,
    output: &Output<E>,
) -> Result<(), SegmentError> {
    let opener = Opener::new(read.cipher, segment.scheme, read.plain_size, read.range)?;
    let decoder = Decoder::new(segment.scheme, opener);
    Run::new(transfers, segment, decoder)?.run(ask_for_all, output).await
}
