//! The open pieces: one task each, which reads shares from its node, and the buffered shares.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use uplink_core::order::PiecePrivateKey;
use uplink_rpc::piece::PieceError;
use uplink_rpc::piece::download::PieceDownload;

use crate::{PieceLimit, Transfers};

/// Maximum bytes of one piece ahead of decoding, unless a block needs more.
const AHEAD: u64 = 512 << 10;
/// Maximum deliveries queued.
const DELIVERIES: usize = 64;

/// The open pieces of a download. Dropping it cancels all transfers.
pub(super) struct OpenPieces {
    shared: Transfers,
    /// Requested bytes of every piece.
    requested: Range<u64>,
    /// Maximum bytes of a piece ahead of decoding.
    ahead: u64,
    open: BTreeMap<u16, Shares>,
    /// Transfers started so far.
    opened: usize,
    readers: JoinSet<()>,
    deliveries: mpsc::Receiver<Delivery>,
    deliver: mpsc::Sender<Delivery>,
    decoded: watch::Sender<u64>,
}

/// The outcome of a delivery.
pub(super) enum Delivered {
    /// The piece has been closed.
    Closed,
    /// The transfer of this piece has failed.
    Failed(u16, PieceError),
    /// This piece has delivered bytes up to this position.
    Progress(u16, u64),
}

impl OpenPieces {
    /// Reads the `requested` bytes of pieces, each of which may be at least two times `block` bytes ahead of
    /// decoding.
    pub(super) fn new(shared: Transfers, requested: Range<u64>, block: u64) -> Self {
        let (deliver, deliveries) = mpsc::channel(DELIVERIES);
        Self {
            shared,
            requested,
            ahead: AHEAD.max(2 * block),
            open: BTreeMap::new(),
            opened: 0,
            readers: JoinSet::new(),
            deliveries,
            deliver,
            decoded: watch::Sender::new(0),
        }
    }

    /// Opens a piece at a position.
    pub(super) fn open(&mut self, limit: PieceLimit, key: PiecePrivateKey, position: u64) {
        let piece = limit.piece;
        let reader = PieceReader {
            shared: self.shared.clone(),
            piece,
            transfer: self.opened,
            position,
            range: self.requested.clone(),
            ahead: self.ahead,
            deliver: self.deliver.clone(),
            decoded: self.decoded.subscribe(),
        };
        let reader = self.readers.spawn(reader.run(limit, key));
        self.open.insert(piece, Shares::new(self.opened, position, reader));
        self.opened += 1;
    }

    /// Cancels the transfer of a piece and drops its shares.
    pub(super) fn close(&mut self, piece: u16) {
        self.open.remove(&piece);
    }

    /// Waits for the next delivery.
    pub(super) async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }

    pub(super) fn take(&mut self, delivery: Delivery) -> Delivered {
        let Delivery { piece, transfer, shares } = delivery;
        let buffered = self.open.get_mut(&piece).filter(|buffered| buffered.transfer == transfer);
        let Some(buffered) = buffered else { return Delivered::Closed };
        match shares {
            Ok(shares) => Delivered::Progress(piece, buffered.append(shares)),
            Err(error) => {
                buffered.failed = true;
                Delivered::Failed(piece, error)
            }
        }
    }

    /// Returns the pieces that have delivered `size` bytes from `position` on, in order.
    pub(super) fn with(&self, position: u64, size: u64) -> Vec<u16> {
        let have = self.open.iter().filter(|(_, buffered)| buffered.available(position) >= size);
        have.map(|(piece, _)| *piece).collect()
    }

    /// Returns whether a piece that has not delivered `size` bytes from `position` on may still do so.
    pub(super) fn may_deliver(&self, position: u64, size: u64) -> bool {
        self.open.values().any(|buffered| !buffered.failed && buffered.available(position) < size)
    }

    /// Returns how many bytes a piece has delivered from `position` on.
    pub(super) fn available(&self, piece: u16, position: u64) -> u64 {
        self.open.get(&piece).map_or(0, |buffered| buffered.available(position))
    }

    /// Returns `size` bytes of each piece from `position` on.
    pub(super) fn shares(&self, pieces: &[u16], position: u64, size: usize) -> Vec<Bytes> {
        let shares = |piece| match self.open.get(piece) {
            Some(buffered) => buffered.copy(position, size),
            None => Bytes::new(),
        };
        pieces.iter().map(shares).collect()
    }

    /// Drops the shares before a position.
    pub(super) fn discard_before(&mut self, position: u64) {
        for buffered in self.open.values_mut() {
            buffered.discard_before(position);
        }
    }

    /// Resumes pieces that were far ahead of decoding.
    pub(super) fn decoded_to(&self, position: u64) {
        self.decoded.send_replace(position);
    }
}

/// A report of a piece's task.
pub(super) struct Delivery {
    piece: u16,
    /// The transfer of the piece that reports.
    transfer: usize,
    shares: Result<Bytes, PieceError>,
}

/// The shares of one piece that may still be needed.
struct Shares {
    /// The transfer whose deliveries are accepted.
    transfer: usize,
    /// Position of the next delivery.
    position: u64,
    parts: VecDeque<(u64, Bytes)>,
    reader: AbortHandle,
    /// No more will be delivered.
    failed: bool,
}

impl Shares {
    /// Buffers the shares from `position` on that `reader` will deliver.
    fn new(transfer: usize, position: u64, reader: AbortHandle) -> Self {
        Self { transfer, position, parts: VecDeque::new(), reader, failed: false }
    }

    /// Adds a delivery and returns the position up to which the piece has delivered.
    fn append(&mut self, shares: Bytes) -> u64 {
        let at = self.position;
        self.position += shares.len() as u64;
        self.parts.push_back((at, shares));
        self.position
    }

    /// Returns the number of bytes buffered from `position` on.
    fn available(&self, position: u64) -> u64 {
        match self.parts.front() {
            Some((first, _)) if *first <= position => self.position.saturating_sub(position),
            _ => 0,
        }
    }

    /// Returns `size` contiguous bytes from `position`. Copies only across deliveries.
    fn copy(&self, position: u64, size: usize) -> Bytes {
        let mut whole = BytesMut::new();
        let mut at = position;
        let mut left = size;
        for (start, part) in &self.parts {
            let skip = usize::try_from(at.saturating_sub(*start)).unwrap_or(usize::MAX);
            if skip >= part.len() {
                continue;
            }
            let taken = part.slice(skip..part.len().min(skip.saturating_add(left)));
            if taken.len() == size {
                return taken;
            }
            at += taken.len() as u64;
            left -= taken.len();
            whole.reserve(left + taken.len());
            whole.extend_from_slice(&taken);
            if left == 0 {
                break;
            }
        }
        whole.freeze()
    }

    fn discard_before(&mut self, position: u64) {
        let passed = |(start, part): &(u64, Bytes)| start + part.len() as u64 <= position;
        while self.parts.front().is_some_and(passed) {
            self.parts.pop_front();
        }
    }
}

/// Cancels the transfer of a closed piece.
impl Drop for Shares {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The task of one piece.
struct PieceReader {
    shared: Transfers,
    piece: u16,
    transfer: usize,
    /// Position within the requested range.
    position: u64,
    /// Requested bytes of the piece.
    range: Range<u64>,
    /// Maximum bytes ahead of decoding.
    ahead: u64,
    deliver: mpsc::Sender<Delivery>,
    /// Progress of decoding, within the requested range.
    decoded: watch::Receiver<u64>,
}

impl PieceReader {
    async fn run(mut self, limit: PieceLimit, key: PiecePrivateKey) {
        if let Err(error) = self.read(limit, key).await {
            let _ = self.deliver(Err(error)).await;
        }
    }

    async fn read(&mut self, limit: PieceLimit, key: PiecePrivateKey) -> Result<(), PieceError> {
        let _permit = self.shared.budget().transfer_permit().await;
        let target = self.shared.target(limit, key)?;
        let begin = self.range.start + self.position;
        let mut piece = PieceDownload::open(target, begin, self.range.end - begin).await?;
        while let Some(shares) = piece.next().await? {
            // Deliver whatever arrived: decoding may need it, and would otherwise deadlock.
            let ahead = self.position.saturating_sub(self.ahead);
            self.position += shares.len() as u64;
            // Both fail only after the piece was closed.
            if self.decoded.wait_for(|decoded| *decoded >= ahead).await.is_err()
                || self.deliver(Ok(shares)).await.is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn deliver(
        &self,
        shares: Result<Bytes, PieceError>,
    ) -> Result<(), mpsc::error::SendError<Delivery>> {
        let piece = self.piece;
        let transfer = self.transfer;
        self.deliver.send(Delivery { piece, transfer, shares }).await
    }
}
