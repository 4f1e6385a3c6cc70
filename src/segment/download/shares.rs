//! The shares of one piece: from its node, and held until they are done with.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use uplink_core::order::PiecePrivateKey;
use uplink_rpc::piece::download::PieceDownload;
use uplink_rpc::piece::{PieceError, Target};

use crate::project::Project;
use crate::satellite::convert::Offer;

/// Bytes of one piece that may be ahead of decoding.
pub(super) const AHEAD: u64 = 512 << 10;

/// What a piece's task reports.
pub(super) struct Delivery {
    pub(super) piece: u16,
    /// Which transfer of the piece.
    pub(super) transfer: usize,
    pub(super) shares: Result<Bytes, PieceError>,
}

/// The shares of one piece that may still be needed.
pub(super) struct Shares {
    /// Whose deliveries count.
    pub(super) transfer: usize,
    /// Where the next delivery belongs.
    position: u64,
    parts: VecDeque<(u64, Bytes)>,
    reader: AbortHandle,
    failed: bool,
}

impl Shares {
    /// Holds the shares from `position` on that `reader` will deliver.
    pub(super) fn new(transfer: usize, position: u64, reader: AbortHandle) -> Self {
        Self { transfer, position, parts: VecDeque::new(), reader, failed: false }
    }

    /// Takes a delivery and returns how far the piece has come.
    pub(super) fn append(&mut self, shares: Bytes) -> u64 {
        let at = self.position;
        self.position += shares.len() as u64;
        self.parts.push_back((at, shares));
        self.position
    }

    /// Notes that no more will be delivered.
    pub(super) fn fail(&mut self) {
        self.failed = true;
    }

    /// Whether more may be delivered, as far as is known.
    pub(super) fn is_alive(&self) -> bool {
        !self.failed
    }

    /// Bytes held from `position` on.
    pub(super) fn available(&self, position: u64) -> u64 {
        match self.parts.front() {
            Some((first, _)) if *first <= position => self.position.saturating_sub(position),
            _ => 0,
        }
    }

    /// `size` bytes from `position`, in one piece. Copies only across deliveries.
    pub(super) fn copy(&self, position: u64, size: usize) -> Bytes {
        let mut whole = BytesMut::new();
        let (mut at, mut left) = (position, size);
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

    pub(super) fn discard_before(&mut self, position: u64) {
        let passed = |(start, part): &(u64, Bytes)| start + part.len() as u64 <= position;
        while self.parts.front().is_some_and(passed) {
            self.parts.pop_front();
        }
    }
}

/// Nobody wants the piece any more: its transfer ends.
impl Drop for Shares {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The task of one piece.
pub(super) struct PieceReader {
    pub(super) project: Project,
    pub(super) piece: u16,
    pub(super) transfer: usize,
    /// Position within the wanted range.
    pub(super) position: u64,
    /// Bytes of the piece that are wanted.
    pub(super) range: Range<u64>,
    /// How far it may get ahead of decoding.
    pub(super) ahead: u64,
    pub(super) deliver: mpsc::Sender<Delivery>,
    /// How far decoding has come, within the wanted range.
    pub(super) decoded: watch::Receiver<u64>,
}

impl PieceReader {
    pub(super) async fn run(mut self, offer: Offer, key: PiecePrivateKey) {
        if let Err(error) = self.read(offer, key).await {
            let _ = self.deliver(Err(error)).await;
        }
    }

    async fn read(&mut self, offer: Offer, key: PiecePrivateKey) -> Result<(), PieceError> {
        let permit = self.project.budget().transfer().await;
        let _permit = permit.map_err(|error| PieceError::OrderLimit(error.to_string()))?;
        let connection = self.project.satellite().pool().peer(offer.node, &offer.address);
        let deadline = self.project.config().progress_deadline;
        let target = Target::new(connection, offer.limit, key, deadline)?;
        let begin = self.range.start + self.position;
        let mut piece = PieceDownload::open(target, begin, self.range.end - begin).await?;
        while let Some(shares) = piece.next().await? {
            // What has come is delivered whatever its size, or decoding could wait for it for ever.
            let ahead = self.position.saturating_sub(self.ahead);
            self.position += shares.len() as u64;
            // Both fail only when nobody wants the piece any more.
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
        let (piece, transfer) = (self.piece, self.transfer);
        self.deliver.send(Delivery { piece, transfer, shares }).await
    }
}
