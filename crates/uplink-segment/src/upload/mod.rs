//! Uploads the pieces of one sealed segment.
//!
//! One task per piece sends it to its node. `policy::pieces` decides which piece is sent next, when
//! order limits of failed pieces are exchanged and when enough pieces are stored; this module feeds it
//! events and executes its actions.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};
use uplink_core::order::{PieceHashAlgorithm, PiecePrivateKey};
use uplink_core::policy::pieces::{LongTail, PieceDecision, PieceEvent, Pieces, Spares};
use uplink_core::policy::retry::Backoff;
use uplink_rpc::piece::PieceError;
use uplink_rpc::piece::upload::{StoredPiece, upload as upload_piece};
use uplink_rpc::runtime::{self, RuntimeError};

use self::ring::{Reader, Ring};
use crate::error::{SegmentError, Shortage};
use crate::{PieceLimit, PlacedPiece, SegmentUpload, Transfers};

pub(crate) mod ring;
mod sealed;

#[cfg(test)]
pub(crate) use self::sealed::Window;
pub use self::sealed::{SealedSegment, SealedSize, Sealer, SentBytes};

/// A segment whose pieces are stored.
#[derive(Debug)]
#[non_exhaustive]
pub struct StoredSegment {
    /// The satellite's id of the segment, to commit it with.
    pub segment_id: Bytes,
    /// The pieces to commit, in ascending order of their numbers.
    pub pieces: Vec<PlacedPiece>,
}

/// Exchanges the order limits of failed pieces for those of other nodes.
pub trait ExchangeLimits: Send + Sync + 'static {
    /// Returns the new id of the segment and its order limits, one per piece number.
    ///
    /// # Errors
    /// The satellite does not exchange them; the upload continues with the pieces it has.
    fn exchange(
        &self,
        segment: &SegmentUpload,
        pieces: &[u16],
    ) -> impl Future<
        Output = Result<(Bytes, Vec<PieceLimit>), Box<dyn std::error::Error + Send + Sync>>,
    > + Send;
}

/// Uploads the pieces of a growing segment until enough are stored.
///
/// Dropping the future cancels all transfers.
///
/// # Errors
/// [`SegmentError::NotEnoughNodes`] when not enough nodes store pieces, replacements included.
pub async fn upload(
    transfers: Transfers,
    segment: SegmentUpload,
    sealed: Arc<SealedSegment>,
    exchange: impl ExchangeLimits,
) -> Result<StoredSegment, SegmentError> {
    let total = segment.scheme.total();
    let target_pieces = segment.target_pieces;
    let ring = Ring::new(transfers.budget(), sealed, segment.scheme, target_pieces);
    let mut run = Run {
        shared: transfers,
        segment,
        ring,
        spares: Spares::new(target_pieces, total),
        pieces: Pieces::new(total, LongTail::new(target_pieces)),
        coder: JoinSet::new(),
        transfers: JoinSet::new(),
        stored: Vec::new(),
        last_failure: None,
    };
    loop {
        run.start_waiting()?;
        let Some(ended) = run.ended().await else { return Err(run.shortage(0)) };
        let mut decision = run.on_ended(ended)?;
        while let Some(PieceDecision::Exchange(numbers)) = decision {
            decision = run.exchange(&exchange, &numbers).await;
        }
        match decision {
            Some(PieceDecision::Commit(numbers)) => return run.finish(&numbers),
            // Those in flight might have succeeded, but would not have been enough.
            Some(PieceDecision::Fail { .. }) => return Err(run.shortage(run.transfers.len())),
            _ => {}
        }
    }
}

/// A piece, and the outcome of its transfer.
type Ended = (u16, Result<StoredPiece, PieceError>);

/// Interval of checks for blocked transfers.
const TICK: Duration = Duration::from_millis(25);

struct Run {
    shared: Transfers,
    segment: SegmentUpload,
    ring: Arc<Ring>,
    pieces: Pieces,
    spares: Spares,
    /// The coder's task, which ends with the upload.
    coder: JoinSet<()>,
    transfers: JoinSet<Ended>,
    stored: Vec<(u16, StoredPiece)>,
    last_failure: Option<PieceError>,
}

impl Run {
    /// Waits for the next transfer to end, and starts spare pieces while others are blocked.
    async fn ended(&mut self) -> Option<Result<Ended, JoinError>> {
        while self.spares.has_more() {
            if let Ok(ended) = timeout(TICK, self.transfers.join_next()).await {
                return ended;
            }
            self.spares.passed(TICK, self.ring.is_blocked(self.stored.len()));
            if let Err(error) = self.start_waiting() {
                tracing::debug!(%error, "spare piece not started");
            }
        }
        self.transfers.join_next().await
    }

    /// Starts as many transfers as the policy requests.
    fn start_waiting(&mut self) -> Result<(), SegmentError> {
        while self.transfers.len() + self.stored.len() < self.spares.max_active().into() {
            let Some(piece) = self.pieces.next_piece() else { break };
            let limit = self.segment.limits.get(usize::from(piece)).cloned();
            let limit = limit.ok_or(SegmentError::OrderLimits("missing for a piece"))?;
            let reader = self.ring.reader(piece);
            let sending = Sending {
                shared: self.shared.clone(),
                ring: Arc::downgrade(&self.ring),
                limit,
                key: self.segment.piece_key.clone(),
            };
            self.transfers.spawn(async move { (piece, sending.run(reader).await) });
        }
        if self.coder.is_empty() {
            // Started after the first readers exist, so that it codes for them.
            self.coder.spawn(Arc::clone(&self.ring).code());
        }
        Ok(())
    }

    /// Handles the outcome of a transfer.
    fn on_ended(
        &mut self,
        ended: Result<Ended, JoinError>,
    ) -> Result<Option<PieceDecision>, SegmentError> {
        let event = match ended.map_err(RuntimeError::from)? {
            (piece, Ok(stored)) => {
                self.stored.push((piece, stored));
                PieceEvent::Stored(piece)
            }
            // Not the node's fault: another node would fail too.
            (_, Err(PieceError::Source)) => {
                let failure = self.ring.take_failure();
                return Err(failure.unwrap_or(SegmentError::Internal("coding stopped")));
            }
            (piece, Err(error)) => {
                tracing::debug!(piece, %error, "piece not stored");
                self.last_failure = Some(error);
                PieceEvent::Failed(piece)
            }
        };
        Ok(self.pieces.on(event))
    }

    /// Requests other nodes from the satellite; transfers in flight continue.
    async fn exchange(
        &mut self,
        exchange: &impl ExchangeLimits,
        numbers: &[u16],
    ) -> Option<PieceDecision> {
        let event = match exchange.exchange(&self.segment, numbers).await {
            Ok((segment_id, limits)) => {
                self.segment.segment_id = segment_id;
                self.segment.limits = limits;
                PieceEvent::Exchanged
            }
            Err(error) => {
                tracing::debug!(%error, "order limits of failed pieces not exchanged");
                PieceEvent::NotExchanged
            }
        };
        self.pieces.on(event)
    }

    fn finish(mut self, numbers: &[u16]) -> Result<StoredSegment, SegmentError> {
        tracing::debug!(monotonic_counter.stored_pieces = numbers.len() as u64, "segment stored");
        self.stored.retain(|(piece, _)| numbers.contains(piece));
        self.stored.sort_by_key(|(piece, _)| *piece);
        let sizes: Vec<u64> = self.stored.iter().map(|(_, stored)| stored.size).collect();
        if sizes.windows(2).any(|pair| matches!(pair, [a, b] if a != b)) {
            return Err(SegmentError::Internal("pieces of a segment differ in size"));
        }
        let limits = &self.segment.limits;
        let placed = self.stored.into_iter().filter_map(|(number, stored)| {
            let limit = limits.get(usize::from(number))?;
            Some(PlacedPiece { number, node: limit.node, hash: stored.hash })
        });
        let pieces = placed.collect();
        Ok(StoredSegment { segment_id: self.segment.segment_id, pieces })
    }

    /// Returns the error of too few stored pieces, with `in_flight` others not failed yet.
    fn shortage(&mut self, in_flight: usize) -> SegmentError {
        let total = self.segment.scheme.total();
        let stored = self.stored.len();
        let failed = usize::from(total).saturating_sub(stored + in_flight);
        let target_pieces = self.segment.target_pieces;
        let shortage = Shortage::Upload { total, failed, target_pieces, stored };
        SegmentError::NotEnoughNodes { shortage, last: self.last_failure.take() }
    }
}

/// The transfer of one piece to its node.
struct Sending {
    shared: Transfers,
    /// Weak, so that transfers end with the upload.
    ring: Weak<Ring>,
    limit: PieceLimit,
    key: PiecePrivateKey,
}

impl Sending {
    /// Sends the piece, with retries while the node is overloaded: it has not used the order limit then,
    /// and the satellite may have no other node. The progress timeout limits the pauses.
    async fn run(&self, mut reader: Reader) -> Result<StoredPiece, PieceError> {
        let timeout = self.shared.progress_timeout;
        let started = Instant::now();
        let mut backoff = Backoff::new();
        loop {
            let error = match self.send(reader).await {
                Err(error) if error.is_overloaded() => error,
                outcome => return outcome,
            };
            let left = timeout.saturating_sub(started.elapsed());
            let Some(pause) = backoff.failed_within(runtime::jitter(), left) else {
                return Err(error);
            };
            let piece = self.limit.piece;
            tracing::debug!(piece, %error, "node is overloaded, retrying");
            tokio::time::sleep(pause).await;
            let Some(ring) = self.ring.upgrade() else { return Err(error) };
            reader = ring.reader(piece);
        }
    }

    async fn send(&self, reader: Reader) -> Result<StoredPiece, PieceError> {
        let _permit = self.shared.budget().transfer_permit().await;
        let target = self.shared.target(self.limit.clone(), self.key.clone())?;
        upload_piece(target, PieceHashAlgorithm::Blake3, reader).await
    }
}
