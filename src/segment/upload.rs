//! One remote segment → pieces on nodes → commit parameters.
//!
//! One task per order limit sends one piece. Which piece is sent next, when failed pieces are
//! exchanged for other nodes and when enough are stored is decided by `policy::pieces`; here events
//! go in and actions come out.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use uplink_core::id::NodeId;
use uplink_core::order::{PieceHashAlgorithm, PiecePrivateKey};
use uplink_core::policy::long_tail::LongTail;
use uplink_core::policy::pieces::{PieceDecision, PieceEvent, Pieces};
use uplink_core::policy::retry::Backoff;
use uplink_core::policy::spare::Spares;
use uplink_rpc::r#gen::metainfo::SegmentPieceUploadResult;
use uplink_rpc::piece::upload::{StoredPiece, upload as upload_piece};
use uplink_rpc::piece::{PieceError, Target};

use super::ring::{Reader, Ring};
use super::split::Held;
use crate::error::{Error, ErrorKind, Result};
use crate::project::Project;
use crate::runtime;
use crate::satellite::convert::{BegunSegment, Offer, upload_offers};

/// A segment whose pieces are on nodes.
#[derive(Debug)]
pub(crate) struct StoredSegment {
    pub(crate) segment_id: Bytes,
    /// In ascending order of piece numbers.
    pub(crate) results: Vec<SegmentPieceUploadResult>,
    pub(crate) holders: Vec<(u16, NodeId)>,
}

/// Moves the pieces of a growing segment to nodes until enough are stored.
///
/// Dropping the future cancels all transfers.
///
/// # Errors
/// [`ErrorKind::NotEnoughNodes`] when too few nodes take their pieces, replacements included.
pub(crate) async fn upload(
    project: Project,
    begun: BegunSegment,
    held: Arc<Held>,
) -> Result<StoredSegment> {
    let (total, needed) = (begun.scheme.total(), begun.needed);
    let ring = Ring::new(project.buffers(), held, begun.scheme, needed);
    let pieces = Pieces::new(total, LongTail::new(needed));
    let mut run = Run {
        project,
        begun,
        ring,
        spares: Spares::new(needed, total),
        pieces,
        coder: JoinSet::new(),
        transfers: JoinSet::new(),
        stored: Vec::new(),
    };
    let mut last_failure = None;
    loop {
        run.start_waiting()?;
        let Some(ended) = run.ended().await else {
            return Err(shortage(run.stored.len(), run.begun.needed, last_failure));
        };
        let event = match ended {
            Ok((piece, Ok(stored))) => {
                run.stored.push((piece, stored));
                PieceEvent::Stored(piece)
            }
            // Not the node's fault: another one would get no further.
            Ok((_, Err(PieceError::Source(reason)))) => {
                return Err(Error::new(ErrorKind::Internal, reason));
            }
            Ok((piece, Err(error))) => {
                tracing::debug!(piece, %error, "a piece was not stored");
                last_failure = Some(error);
                PieceEvent::Failed(piece)
            }
            Err(error) => {
                return Err(Error::new(ErrorKind::Internal, format!("a transfer ended: {error}")));
            }
        };
        let mut decision = run.pieces.on(event);
        while let Some(PieceDecision::Exchange(numbers)) = decision {
            decision = run.exchange(&numbers).await;
        }
        match decision {
            Some(PieceDecision::Commit(numbers)) => return run.finish(&numbers),
            Some(PieceDecision::Fail { stored, needed }) => {
                // Those still on their way might have made it, but could not have been enough.
                let have = usize::from(stored) + run.transfers.len();
                return Err(shortage(have, needed, last_failure));
            }
            _ => {}
        }
    }
}

/// A piece, and what became of it.
type Ended = (u16, Result<StoredPiece, PieceError>);

/// How often it is looked whether the transfers hold each other up.
const TICK: Duration = Duration::from_millis(25);

struct Run {
    project: Project,
    begun: BegunSegment,
    ring: Arc<Ring>,
    pieces: Pieces,
    spares: Spares,
    /// One task, which ends with this.
    coder: JoinSet<()>,
    transfers: JoinSet<Ended>,
    stored: Vec<(u16, StoredPiece)>,
}

impl Run {
    /// The next transfer to end. Meanwhile spare pieces are started when the others hold them up.
    async fn ended(&mut self) -> Option<Result<Ended, JoinError>> {
        while self.spares.more() {
            if let Ok(ended) = timeout(TICK, self.transfers.join_next()).await {
                return ended;
            }
            self.spares.passed(TICK, self.ring.held_up(self.stored.len()));
            if let Err(error) = self.start_waiting() {
                tracing::debug!(%error, "a spare piece was not started");
            }
        }
        self.transfers.join_next().await
    }

    fn start_waiting(&mut self) -> Result<()> {
        while self.transfers.len() + self.stored.len() < self.spares.at_once().into() {
            let Some(piece) = self.pieces.next_piece() else { break };
            let offer = self.begun.offers.get(usize::from(piece)).cloned();
            let offer = offer.ok_or_else(|| Error::protocol("a piece has no order limit"))?;
            let key = self.begun.piece_key.clone();
            let reader = self.ring.reader(piece);
            let sending = Sending {
                project: self.project.clone(),
                ring: Arc::downgrade(&self.ring),
                piece,
                offer,
                key,
            };
            self.transfers.spawn(async move { (piece, sending.run(reader).await) });
        }
        if self.coder.is_empty() {
            // After the first readers are there, so that it codes for them.
            self.coder.spawn(Arc::clone(&self.ring).code());
        }
        Ok(())
    }

    /// Asks the satellite for other nodes; the transfers on their way go on meanwhile.
    async fn exchange(&mut self, numbers: &[u16]) -> Option<PieceDecision> {
        let asked = self.exchange_limits(numbers).await;
        let event = match asked {
            Ok(()) => PieceEvent::Exchanged,
            Err(error) => {
                tracing::debug!(%error, "failed pieces were not exchanged");
                PieceEvent::NotExchanged
            }
        };
        self.pieces.on(event)
    }

    async fn exchange_limits(&mut self, numbers: &[u16]) -> Result<()> {
        let satellite = self.project.satellite();
        let pieces = numbers.iter().map(|number| i32::from(*number)).collect();
        let reply = satellite.retry_pieces(self.begun.segment_id.clone(), pieces).await?;
        let key = satellite.signing_key()?;
        self.begun.offers = upload_offers(reply.addressed_limits, &self.begun.scheme, &key)?;
        self.begun.segment_id = reply.segment_id;
        Ok(())
    }

    fn finish(mut self, numbers: &[u16]) -> Result<StoredSegment> {
        self.stored.retain(|(piece, _)| numbers.contains(piece));
        self.stored.sort_by_key(|(piece, _)| *piece);
        let sizes: Vec<u64> = self.stored.iter().map(|(_, stored)| stored.size).collect();
        if sizes.windows(2).any(|pair| matches!(pair, [a, b] if a != b)) {
            return Err(Error::new(ErrorKind::Internal, "pieces of a segment differ in size"));
        }
        let offers = &self.begun.offers;
        let holders = self.stored.iter().filter_map(|(piece, _)| {
            offers.get(usize::from(*piece)).map(|offer| (*piece, offer.node))
        });
        let holders: Vec<(u16, NodeId)> = holders.collect();
        let results = self.stored.into_iter().zip(&holders).map(|((piece, stored), (_, node))| {
            SegmentPieceUploadResult {
                piece_num: piece.into(),
                node_id: Bytes::copy_from_slice(node.as_bytes()),
                hash: Some(stored.hash),
            }
        });
        let results = results.collect();
        Ok(StoredSegment { segment_id: self.begun.segment_id, results, holders })
    }
}

/// One piece and where it goes.
struct Sending {
    project: Project,
    /// Weak: transfers end with the upload.
    ring: Weak<Ring>,
    piece: u16,
    offer: Offer,
    key: PiecePrivateKey,
}

impl Sending {
    /// Sends the piece, again while the node is overloaded: it has not used the order limit then, and
    /// the satellite may have no other node. Pauses are bounded by the deadline for progress.
    async fn run(&self, mut reader: Reader) -> Result<StoredPiece, PieceError> {
        let deadline = self.project.config().progress_deadline;
        let (started, mut backoff) = (Instant::now(), Backoff::new());
        loop {
            let error = match self.send(reader).await {
                Err(error) if error.is_overloaded() => error,
                outcome => return outcome,
            };
            let jitter = runtime::jitter().unwrap_or_default();
            let left = deadline.saturating_sub(started.elapsed());
            let Some(pause) = backoff.failed_within(jitter, left) else { return Err(error) };
            tracing::debug!(piece = self.piece, %error, "a piece waits for its node");
            tokio::time::sleep(pause).await;
            let Some(ring) = self.ring.upgrade() else { return Err(error) };
            reader = ring.reader(self.piece);
        }
    }

    async fn send(&self, reader: Reader) -> Result<StoredPiece, PieceError> {
        let permit = self.project.budget().transfer().await;
        let _permit = permit.map_err(|error| PieceError::OrderLimit(error.to_string()))?;
        let offer = &self.offer;
        let connection = self.project.satellite().pool().peer(offer.node, &offer.address);
        let deadline = self.project.config().progress_deadline;
        let target = Target::new(connection, offer.limit.clone(), self.key.clone(), deadline)?;
        upload_piece(target, PieceHashAlgorithm::Blake3, reader).await
    }
}

fn shortage(have: usize, needed: u16, cause: Option<PieceError>) -> Error {
    let text = format!("too few storage nodes take their pieces: have {have}, need {needed}");
    match cause {
        Some(cause) => {
            Error::new(ErrorKind::NotEnoughNodes, format!("{text}; the last one: {cause}"))
                .with_source(cause)
        }
        None => Error::new(ErrorKind::NotEnoughNodes, text),
    }
}
