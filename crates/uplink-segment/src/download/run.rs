//! One download: passes events of pieces to the policies, and decodes windows in order.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uplink_core::erasure::Scheme;
use uplink_core::order::PiecePrivateKey;
use uplink_core::policy::correction::{self, Available, Cause, Correction, Verdict};
use uplink_core::policy::hedge::{self, Hedge, HedgeAction, HedgeEvent};
use uplink_core::policy::subsets;
use uplink_core::policy::suspicion::Suspicion;
use uplink_rpc::piece::PieceError;
use uplink_rpc::runtime;

use super::decode::{Decoded, Decoder, Opened};
use super::pieces::{Delivered, Delivery, OpenPieces};
use super::positions::Positions;
use crate::error::{CorruptPieces, SegmentError, Shortage};
use crate::suspects::SuspectNodes;
use crate::window::stripes_per_window;
use crate::{PieceLimit, RemoteSegment, Transfers};

/// Sends plain bytes in order. Closed when the reader is dropped.
pub type Output<E> = mpsc::Sender<Result<Bytes, E>>;

/// Requests all holders of a segment from the satellite; used once, on shortage or corrupt shares.
pub type AllHolders<'a> = Pin<
    Box<
        dyn Future<Output = Result<RemoteSegment, Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + 'a,
    >,
>;

/// Maximum wait for an event when no timer is due.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

pub(super) struct Run<'a> {
    shared: &'a Transfers,
    scheme: Scheme,
    holders: Holders,
    pieces: OpenPieces,
    positions: Positions,
    decoder: Option<Decoder>,
    policies: Policies,
    clock: Clock,
    /// Whether the pieces from which the current block was last decoded are consistent.
    consistent: bool,
    last_failure: Option<PieceError>,
}

/// The known holders of pieces.
struct Holders {
    limits: HashMap<u16, (PieceLimit, PiecePrivateKey)>,
    /// Whether a request for all of them is in flight.
    requesting: bool,
    /// Whether the satellite has returned all holders that it knows to be online.
    complete: bool,
}

/// The policies that decide which pieces to open, wait for and prefer.
struct Policies {
    hedge: Hedge,
    /// Actions of the hedge that are not executed yet.
    actions: Vec<HedgeAction>,
    correction: Correction,
    suspicion: Suspicion,
}

/// The clock of the policies.
struct Clock {
    began: Instant,
    /// Time in which the reader did not consume the output, which does not count against nodes.
    blocked: Duration,
    /// Time of the last delivery of any piece.
    last_delivery: Duration,
}

/// Shares to decode next: the same range of several pieces.
struct Next {
    /// The most suspect ones first during recovery.
    pieces: Vec<u16>,
    size: usize,
    /// Number of suspects among them.
    suspects: usize,
}

impl Clock {
    fn now(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.blocked)
    }
}

impl Holders {
    fn add(&mut self, limits: Vec<PieceLimit>, key: &PiecePrivateKey) {
        for limit in limits {
            // A newer order limit may replace one that is used up.
            self.limits.insert(limit.piece, (limit, key.clone()));
        }
    }
}

impl<'a> Run<'a> {
    pub(super) fn new(
        shared: &'a Transfers,
        mut segment: RemoteSegment,
        decoder: Decoder,
    ) -> Result<Self, SegmentError> {
        let scheme = segment.scheme;
        let wanted = decoder.shares();
        let extra = suspects_last(&mut segment, &shared.suspects);
        let offered: Vec<u16> = segment.limits.iter().map(|limit| limit.piece).collect();
        let share_size = u64::from(scheme.share_size());
        // Decoding needs a whole share of every piece, and a recovery all shares of a block.
        let block = decoder.block_shares()?;
        let pieces =
            OpenPieces::new(shared.clone(), wanted.clone(), block.end - block.start + share_size);
        let positions = Positions::new(wanted);
        let (hedge, actions) =
            Hedge::start(scheme.required(), extra, offered, positions.length(), Duration::ZERO);
        let policies = Policies {
            hedge,
            actions,
            correction: Correction::new(scheme.required()),
            suspicion: Suspicion::new(stripes_per_window(&scheme) * share_size),
        };
        let mut holders = Holders { limits: HashMap::new(), requesting: false, complete: false };
        holders.add(segment.limits, &segment.piece_key);
        let clock =
            Clock { began: Instant::now(), blocked: Duration::ZERO, last_delivery: Duration::ZERO };
        Ok(Self {
            shared,
            scheme,
            holders,
            pieces,
            positions,
            decoder: Some(decoder),
            policies,
            clock,
            consistent: false,
            last_failure: None,
        })
    }

    pub(super) async fn run<E: Send>(
        mut self,
        mut all_holders: AllHolders<'_>,
        output: &Output<E>,
    ) -> Result<(), SegmentError> {
        while !self.positions.is_complete() {
            self.act()?;
            if let Some(next) = self.ready()? {
                self.decode(next, output).await?;
                continue;
            }
            let pause = self.pause();
            let event = tokio::select! {
                biased;
                Some(delivery) = self.pieces.next() => self.on_delivery(delivery),
                all = &mut all_holders, if self.holders.requesting => {
                    HedgeEvent::Offered(self.on_holders(all))
                }
                () = tokio::time::sleep(pause) => HedgeEvent::Tick,
            };
            self.advance_hedge(event);
        }
        Ok(())
    }

    /// Returns the timeout of the wait for the next event.
    fn pause(&self) -> Duration {
        let all_trusted =
            !self.positions.is_recovering() && self.policies.suspicion.corrupt_pieces() == 0;
        let longest = if all_trusted { LONGEST_PAUSE } else { correction::PIECE_TIMEOUT };
        let tick = self.policies.hedge.next_tick().unwrap_or(Duration::MAX);
        tick.saturating_sub(self.clock.now()).min(longest)
    }

    fn advance_hedge(&mut self, event: HedgeEvent) {
        let actions = self.policies.hedge.on(event, self.clock.now());
        self.policies.actions.extend(actions);
    }

    /// Executes the actions of the hedge.
    fn act(&mut self) -> Result<(), SegmentError> {
        for action in std::mem::take(&mut self.policies.actions) {
            match action {
                HedgeAction::Open { piece, from } => {
                    if let Some((limit, key)) = self.holders.limits.get(&piece).cloned() {
                        self.pieces.open(limit, key, from);
                    }
                }
                HedgeAction::Close(piece) => self.pieces.close(piece),
                HedgeAction::RequestHolders => self.holders.requesting = true,
                HedgeAction::Abort { found, required } => {
                    return Err(self.shortage(found, required));
                }
            }
        }
        Ok(())
    }

    fn on_delivery(&mut self, delivery: Delivery) -> HedgeEvent {
        match self.pieces.take(delivery) {
            Delivered::Closed => HedgeEvent::Tick,
            Delivered::Failed(piece, error) => {
                tracing::debug!(piece, %error, "transfer of a piece failed");
                self.last_failure = Some(error);
                HedgeEvent::Failed(piece)
            }
            Delivered::Progress(piece, position) => {
                self.clock.last_delivery = self.clock.now();
                HedgeEvent::Progress { piece, position }
            }
        }
    }

    fn on_holders<E: std::fmt::Display>(&mut self, all: Result<RemoteSegment, E>) -> Vec<u16> {
        self.holders.requesting = false;
        let segment = match all {
            Ok(segment) if segment.scheme == self.scheme => segment,
            Ok(_) => return Vec::new(),
            Err(error) => {
                tracing::debug!(%error, "no further holders available");
                return Vec::new();
            }
        };
        self.holders.complete = true;
        let pieces = segment.limits.iter().map(|limit| limit.piece).collect();
        self.holders.add(segment.limits, &segment.piece_key);
        pieces
    }

    /// Returns the shares to decode next, if enough have arrived.
    fn ready(&mut self) -> Result<Option<Next>, SegmentError> {
        let piece_bytes = match self.positions.is_recovering() {
            true => self.decoder()?.block_shares().map(|block| block.end - block.start)?,
            false => u64::from(self.scheme.share_size()),
        };
        let mut have = self.pieces.with(self.positions.decoded(), piece_bytes);
        let suspects = have.iter().filter(|piece| self.is_suspect(**piece)).count();
        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let available = Available {
            trusted: count(have.len() - suspects),
            all: count(have.len()),
            more: self.more_may_come(piece_bytes),
        };
        match self.policies.correction.decide(available, self.clock.now()) {
            Verdict::Decode(_) => {}
            Verdict::Abort => return Err(self.unreadable(have.len())),
            Verdict::Wait => return Ok(None),
        }
        if self.positions.is_recovering() {
            // Every further piece improves the recovery.
            have.sort_by_key(|piece| Reverse(self.rank(*piece)));
            let size = usize::try_from(piece_bytes).unwrap_or(usize::MAX);
            return Ok(Some(Next { pieces: have, size, suspects }));
        }
        if have.len() - suspects >= usize::from(self.scheme.required()) {
            have.retain(|piece| !self.is_suspect(*piece));
        }
        Ok(Some(self.window(have)))
    }

    /// Returns the longest window that the required number of pieces have delivered.
    fn window(&self, mut have: Vec<u16>) -> Next {
        let required = usize::from(self.scheme.required());
        let share_size = u64::from(self.scheme.share_size());
        let available = |piece: &u16| {
            let bytes = self.pieces.available(*piece, self.positions.decoded());
            bytes / share_size * share_size
        };
        let mut sizes: Vec<u64> = have.iter().map(available).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let size = sizes.get(required.saturating_sub(1)).copied().unwrap_or_default();
        let size = size.min(stripes_per_window(&self.scheme) * share_size);
        have.retain(|piece| available(piece) >= size);
        // Least suspect first, then lowest numbers: data shares are only copied.
        have.sort_by_key(|piece| self.rank(*piece));
        have.truncate(required);
        have.sort_unstable();
        Next { pieces: have, size: usize::try_from(size).unwrap_or(usize::MAX), suspects: 0 }
    }

    fn is_suspect(&self, piece: u16) -> bool {
        self.policies.suspicion.is_suspect(piece, self.positions.decoded())
    }

    fn rank(&self, piece: u16) -> u32 {
        self.policies.suspicion.rank(piece, self.positions.decoded())
    }

    fn decoder(&self) -> Result<&Decoder, SegmentError> {
        self.decoder.as_ref().ok_or(SegmentError::Internal("decoding has ended"))
    }

    /// Returns whether pieces that have not delivered `piece_bytes` may still do so.
    fn more_may_come(&self, piece_bytes: u64) -> bool {
        let silence = self.clock.now().saturating_sub(self.clock.last_delivery);
        let outstanding = self.holders.requesting
            || self.pieces.may_deliver(self.positions.decoded(), piece_bytes);
        outstanding && silence < self.shared.progress_timeout
    }

    async fn decode<E: Send>(
        &mut self,
        next: Next,
        output: &Output<E>,
    ) -> Result<(), SegmentError> {
        let Next { pieces, size, suspects } = next;
        let shares = self.pieces.shares(&pieces, self.positions.decoded(), size);
        let used = pieces.len();
        let recover = self.positions.is_recovering();
        let decoder = self.decoder.take();
        let mut decoder = decoder.ok_or(SegmentError::Internal("decoding has ended"))?;
        let quick = !recover && Decoder::is_quick(&shares);
        let decoding = runtime::compute_unless(quick, move || {
            let decoded = match recover {
                true => decoder.recover(&pieces, &shares, suspects),
                false => decoder.decode(&pieces, &shares),
            };
            (decoder, decoded)
        });
        let (decoder, decoded) = decoding.await?;
        self.decoder = Some(decoder);
        let end = self.positions.decoded() + size as u64;
        let plain = match decoded? {
            Decoded::Opened(opened) => self.settle(end, opened),
            unauthentic => {
                self.consistent = matches!(unauthentic, Decoded::Forged);
                self.rewind(used, end)?;
                Bytes::new()
            }
        };
        self.pieces.decoded_to(self.positions.decoded());
        let sending = Instant::now();
        let sent = send(output, plain).await;
        self.clock.blocked += sending.elapsed();
        sent
    }

    /// Advances after an authentic window.
    fn settle(&mut self, end: u64, opened: Opened) -> Bytes {
        if !opened.plain.is_empty() {
            self.policies.correction.progressed(self.clock.now());
        }
        self.positions.settle(end, opened.next_block_at);
        self.pieces.discard_before(self.positions.settled());
        for (piece, shares) in opened.corrupt {
            self.suspect(piece, shares);
        }
        self.advance_hedge(HedgeEvent::Settled(self.positions.settled()));
        opened.plain
    }

    fn suspect(&mut self, piece: u16, shares: u32) {
        let known = self.policies.suspicion.found(piece, shares, self.positions.settled());
        let Some((limit, _)) = self.holders.limits.get(&piece) else { return };
        let node = limit.node;
        self.shared.suspects.add(node, shares);
        if known == shares {
            tracing::warn!(piece, %node, shares, "a storage node returned corrupt shares");
        }
    }

    /// Starts recovering blocks up to `end` from more pieces.
    fn rewind(&mut self, used: usize, end: u64) -> Result<(), SegmentError> {
        tracing::debug!(used, "corrupt shares, recovering");
        self.positions.rewind(end);
        let pieces = u16::try_from(used).unwrap_or(u16::MAX);
        if !self.policies.correction.failed(pieces, self.clock.now()) {
            return Err(self.unreadable(used));
        }
        self.advance_hedge(HedgeEvent::Corrupt);
        Ok(())
    }

    /// Returns the error of a block that cannot be decoded from `read` pieces.
    fn unreadable(&mut self, read: usize) -> SegmentError {
        if self.consistent {
            return SegmentError::Forged { pieces: read };
        }
        // A committed segment has at least the optimal number of pieces. The satellite returns only the
        // holders that it knows to be online.
        let pieces = self.holders.limits.len().max(self.scheme.optimal().into());
        let unreachable = pieces.saturating_sub(read);
        let required = usize::from(self.scheme.required());
        let corrupt = subsets::tolerance(read, required) + 1;
        let counts = CorruptPieces { read, corrupt, unreachable, required };
        match Cause::of(unreachable, self.holders.complete) {
            Cause::Corrupt => SegmentError::Corrupt(counts),
            Cause::Unreachable => self.not_enough(Shortage::Correct(counts)),
        }
    }

    fn shortage(&mut self, found: u16, required: u16) -> SegmentError {
        let corrupt = self.policies.suspicion.corrupt_pieces();
        self.not_enough(Shortage::Download { found, required, corrupt })
    }

    fn not_enough(&mut self, shortage: Shortage) -> SegmentError {
        SegmentError::NotEnoughNodes { shortage, last: self.last_failure.take() }
    }
}

/// Moves suspect nodes to the end. Returns how many pieces more than required to open at once: none of
/// suspect nodes, if the others are enough.
fn suspects_last(segment: &mut RemoteSegment, suspects: &SuspectNodes) -> u16 {
    segment.limits.sort_by_cached_key(|limit| suspects.corrupt_shares(limit.node));
    let required = segment.scheme.required();
    let reliable = segment.limits.partition_point(|limit| !suspects.is_unreliable(limit.node));
    if reliable == segment.limits.len() {
        return hedge::extra(required);
    }
    let spare = reliable.saturating_sub(required.into());
    hedge::extra(required).min(u16::try_from(spare).unwrap_or(u16::MAX))
}

async fn send<E: Send>(output: &Output<E>, plain: Bytes) -> Result<(), SegmentError> {
    if plain.is_empty() {
        return Ok(());
    }
    output.send(Ok(plain)).await.map_err(|_| SegmentError::Cancelled)
}
