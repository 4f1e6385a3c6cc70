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
//! `policy::correction` says how many pieces to wait for. After that k pieces do again. No piece is
//! dropped: its other shares may be needed. `policy::suspicion` prefers those without corrupt shares.
//! The transfers of all pieces go on to the end of the segment, so that a second corrupt piece costs
//! no further round trip.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use uplink_core::encryption::EncryptionParameters;
use uplink_core::encryption::content::ContentCipher;
use uplink_core::encryption::nonce::segment_start_nonce;
use uplink_core::erasure::Scheme;
use uplink_core::order::PiecePrivateKey;
use uplink_core::policy::correction::{self, Available, Cause, Correction, Verdict};
use uplink_core::policy::hedge::{self, Hedge, HedgeAction, HedgeEvent};
use uplink_core::policy::subsets;
use uplink_core::policy::suspicion::Suspicion;
use uplink_rpc::piece::PieceError;

use self::decode::{Coder, Decoded, Opened};
use self::opener::Opener;
use self::shares::{Delivery, PieceReader, Shares};
use self::suspects::SuspectNodes;
use super::window_stripes;
use crate::error::{Error, ErrorKind, Result};
use crate::project::Project;
use crate::runtime;
use crate::satellite::convert::{Content, Offer, RemoteSegment, SegmentDownload};

mod decode;
mod opener;
mod shares;
pub(crate) mod suspects;

/// Deliveries of pieces that may wait to be looked at.
const EVENTS: usize = 64;
/// Longest wait for an event when nothing is due.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Takes plain bytes in order; an error means that nobody wants them any more.
pub(crate) type Output = mpsc::Sender<Result<Bytes>>;

/// Asks the satellite for all holders of a segment; used once, on shortage or when shares are corrupt.
pub(crate) type AskForAll<'a> =
    std::pin::Pin<Box<dyn Future<Output = Result<SegmentDownload>> + Send + 'a>>;

/// Reads `range` of a segment's plain bytes into `output`.
///
/// Dropping the future cancels all transfers.
///
/// # Errors
/// [`ErrorKind::NotEnoughNodes`] when fewer than k pieces can be read, or too many of these are corrupt
/// and others exist that cannot be reached now; [`ErrorKind::Decryption`] when too many pieces are
/// corrupt and no others exist, or when they agree on bytes that are not authentic. The text names how
/// many pieces are corrupt and how many unreachable.
pub(crate) async fn download(
    project: &Project,
    parameters: EncryptionParameters,
    segment: SegmentDownload,
    range: Range<u64>,
    ask_for_all: AskForAll<'_>,
    output: &Output,
) -> Result<()> {
    let start = segment_start_nonce(segment.position);
    let cipher = ContentCipher::new(parameters.suite, &segment.key)?;
    let remote = match segment.content {
        Content::Inline(sealed) => {
            let plain = Bytes::from(cipher.open_whole(&start, &sealed)?);
            return send(output, slice(&plain, &range)?).await;
        }
        Content::Remote(remote) => remote,
    };
    let (block_size, plain_size) = (parameters.block_size, segment.plain_size);
    let opener = Opener::new(cipher, start, block_size, remote.scheme, plain_size, range)?;
    Run::new(project, remote, opener)?.run(ask_for_all, output).await
}

struct Run<'a> {
    project: &'a Project,
    scheme: Scheme,
    offers: HashMap<u16, (Offer, PiecePrivateKey)>,
    /// Bytes of every piece that are wanted.
    shares: Range<u64>,
    /// Bytes of them that are decoded.
    done: u64,
    /// Bytes of them whose blocks have been opened: nothing before is needed again.
    settled: u64,
    /// Bytes of every piece up to which blocks are recovered one by one: shares before are corrupt.
    recovering: Option<u64>,
    /// Whether the pieces that the present block was last decoded from do not contradict each other.
    agree: bool,
    pieces: BTreeMap<u16, Shares>,
    /// Transfers so far.
    opened: usize,
    /// How far a piece may get ahead of decoding.
    ahead: u64,
    suspicion: Suspicion,
    coder: Option<Coder>,
    correction: Correction,
    hedge: Hedge,
    actions: Vec<HedgeAction>,
    asking: bool,
    /// Whether the satellite has named all holders that it knows to be online.
    all_offered: bool,
    transfers: JoinSet<()>,
    deliveries: mpsc::Receiver<Delivery>,
    deliver: mpsc::Sender<Delivery>,
    decoded: watch::Sender<u64>,
    began: Instant,
    /// Time in which nobody took our output: no fault of the nodes.
    held_up: Duration,
    heard_at: Duration,
    last_failure: Option<PieceError>,
}

/// Shares to decode next: the same bytes of some pieces.
struct Next {
    /// In recovery the most suspect ones first.
    pieces: Vec<u16>,
    size: usize,
    /// How many of them are suspects.
    suspects: usize,
}

impl<'a> Run<'a> {
    fn new(project: &'a Project, mut remote: RemoteSegment, opener: Opener) -> Result<Self> {
        let (required, shares) = (remote.scheme.required(), opener.shares());
        let extra = suspects_last(&mut remote, project.suspects());
        let offered: Vec<u16> = remote.offers.iter().map(|offer| offer.piece).collect();
        let length = shares.end - shares.start;
        let share_size = u64::from(remote.scheme.share_size());
        let block = opener.block_shares()?;
        // Decoding needs a whole share of every piece, and a recovery all shares of a block.
        let ahead = shares::AHEAD.max(2 * (block.end - block.start + share_size));
        let (hedge, actions) = Hedge::start(required, extra, offered, length, Duration::ZERO);
        let (deliver, deliveries) = mpsc::channel(EVENTS);
        let mut run = Self {
            project,
            scheme: remote.scheme,
            offers: HashMap::new(),
            shares,
            done: 0,
            settled: 0,
            recovering: None,
            agree: false,
            pieces: BTreeMap::new(),
            opened: 0,
            ahead,
            suspicion: Suspicion::new(window_stripes(&remote.scheme) * share_size),
            coder: Some(Coder::new(remote.scheme, opener)),
            correction: Correction::new(required),
            hedge,
            actions,
            asking: false,
            all_offered: false,
            transfers: JoinSet::new(),
            deliveries,
            deliver,
            decoded: watch::Sender::new(0),
            began: Instant::now(),
            held_up: Duration::ZERO,
            heard_at: Duration::ZERO,
            last_failure: None,
        };
        run.offer(remote.offers, &remote.piece_key);
        Ok(run)
    }

    async fn run(mut self, mut ask_for_all: AskForAll<'_>, output: &Output) -> Result<()> {
        while self.settled < self.shares.end - self.shares.start {
            self.act()?;
            if let Some(next) = self.ready()? {
                self.decode(next, output).await?;
                continue;
            }
            let pause = self.pause();
            let event = tokio::select! {
                biased;
                Some(delivery) = self.deliveries.recv() => self.take(delivery),
                all = &mut ask_for_all, if self.asking => {
                    HedgeEvent::Offered(self.take_offers(all))
                }
                () = tokio::time::sleep(pause) => HedgeEvent::Tick,
            };
            self.tell(event);
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.held_up)
    }

    /// How long to wait for an event.
    fn pause(&self) -> Duration {
        let all_trusted = self.recovering.is_none() && self.suspicion.corrupt_pieces() == 0;
        let longest = if all_trusted { LONGEST_PAUSE } else { correction::PATIENCE };
        let tick = self.hedge.next_tick().unwrap_or(Duration::MAX);
        tick.saturating_sub(self.now()).min(longest)
    }

    fn tell(&mut self, event: HedgeEvent) {
        let now = self.now();
        self.actions.extend(self.hedge.on(event, now));
    }

    /// Carries out what the policy decided.
    fn act(&mut self) -> Result<()> {
        for action in std::mem::take(&mut self.actions) {
            match action {
                HedgeAction::Open { piece, from } => self.open(piece, from),
                HedgeAction::Close(piece) => {
                    self.pieces.remove(&piece);
                }
                HedgeAction::AskForAll => self.asking = true,
                HedgeAction::GiveUp { found, needed } => return Err(self.shortage(found, needed)),
            }
        }
        Ok(())
    }

    fn open(&mut self, piece: u16, from: u64) {
        let Some((offer, key)) = self.offers.get(&piece).cloned() else { return };
        let reader = PieceReader {
            project: self.project.clone(),
            piece,
            transfer: self.opened,
            position: from,
            range: self.shares.clone(),
            ahead: self.ahead,
            deliver: self.deliver.clone(),
            decoded: self.decoded.subscribe(),
        };
        let reader = self.transfers.spawn(reader.run(offer, key));
        self.pieces.insert(piece, Shares::new(self.opened, from, reader));
        self.opened += 1;
    }

    fn take(&mut self, delivery: Delivery) -> HedgeEvent {
        let Delivery { piece, transfer, shares } = delivery;
        let held = self.pieces.get_mut(&piece).filter(|held| held.transfer == transfer);
        // Of a transfer that was closed while this waited.
        let Some(held) = held else { return HedgeEvent::Tick };
        match shares {
            Ok(shares) => {
                let position = held.append(shares);
                self.heard_at = self.now();
                HedgeEvent::Progress { piece, position }
            }
            Err(error) => {
                tracing::debug!(piece, %error, "a piece cannot be read on");
                held.fail();
                self.last_failure = Some(error);
                HedgeEvent::Failed(piece)
            }
        }
    }

    fn take_offers(&mut self, all: Result<SegmentDownload>) -> Vec<u16> {
        self.asking = false;
        let remote = match all.map(|segment| segment.content) {
            Ok(Content::Remote(remote)) if remote.scheme == self.scheme => remote,
            Ok(_) => return Vec::new(),
            Err(error) => {
                tracing::debug!(%error, "the satellite offers no further holders");
                return Vec::new();
            }
        };
        self.all_offered = true;
        let pieces = remote.offers.iter().map(|offer| offer.piece).collect();
        self.offer(remote.offers, &remote.piece_key);
        pieces
    }

    fn offer(&mut self, offers: Vec<Offer>, key: &PiecePrivateKey) {
        for offer in offers {
            // A newer order limit may take the place of one that is used up.
            self.offers.insert(offer.piece, (offer, key.clone()));
        }
    }

    /// The shares to decode next, when enough have come.
    fn ready(&mut self) -> Result<Option<Next>> {
        let block = match self.recovering {
            Some(_) => self.coder()?.block_shares()?,
            None => 0..u64::from(self.scheme.share_size()),
        };
        let needed = block.end - block.start;
        let have = self.pieces.iter().filter(|(_, held)| held.available(self.done) >= needed);
        let mut have: Vec<u16> = have.map(|(piece, _)| *piece).collect();
        let suspects = have.iter().filter(|piece| self.is_suspect(**piece)).count();
        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let available = Available {
            trusted: count(have.len() - suspects),
            all: count(have.len()),
            more: self.more_may_come(needed),
        };
        match self.correction.decide(available, self.now()) {
            Verdict::Decode(_) => {}
            Verdict::GiveUp => return Err(self.unreadable(have.len())),
            Verdict::Wait => return Ok(None),
        }
        if self.recovering.is_some() {
            // Every piece tells more.
            have.sort_by_key(|piece| Reverse(self.suspicion.rank(*piece, self.done)));
            let size = usize::try_from(needed).unwrap_or(usize::MAX);
            return Ok(Some(Next { pieces: have, size, suspects }));
        }
        if have.len() - suspects >= usize::from(self.scheme.required()) {
            have.retain(|piece| !self.is_suspect(*piece));
        }
        Ok(Some(self.window(have)))
    }

    /// As long a window as the required number of pieces have delivered.
    fn window(&self, mut have: Vec<u16>) -> Next {
        let required = usize::from(self.scheme.required());
        let share_size = u64::from(self.scheme.share_size());
        let available = |piece: &u16| {
            let held = self.pieces.get(piece);
            held.map_or(0, |held| held.available(self.done) / share_size * share_size)
        };
        let mut sizes: Vec<u64> = have.iter().map(available).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let size = sizes.get(required.saturating_sub(1)).copied().unwrap_or_default();
        let size = size.min(window_stripes(&self.scheme) * share_size);
        have.retain(|piece| available(piece) >= size);
        // Lowest numbers first: data shares are only copied.
        have.sort_by_key(|piece| self.suspicion.rank(*piece, self.done));
        have.truncate(required);
        have.sort_unstable();
        Next { pieces: have, size: usize::try_from(size).unwrap_or(usize::MAX), suspects: 0 }
    }

    fn is_suspect(&self, piece: u16) -> bool {
        self.suspicion.is_suspect(piece, self.done)
    }

    fn coder(&self) -> Result<&Coder> {
        self.coder.as_ref().ok_or_else(|| Error::new(ErrorKind::Internal, "decoding ended"))
    }

    /// Whether pieces that have not delivered the `needed` bytes may still do so.
    fn more_may_come(&self, needed: u64) -> bool {
        let silence = self.now().saturating_sub(self.heard_at);
        let behind = |held: &Shares| held.is_alive() && held.available(self.done) < needed;
        let asked = self.asking || self.pieces.values().any(behind);
        asked && silence < self.project.config().progress_deadline
    }

    async fn decode(&mut self, next: Next, output: &Output) -> Result<()> {
        let Next { pieces, size, suspects } = next;
        let shares = pieces.iter().map(|piece| {
            self.pieces.get(piece).map_or_else(Bytes::new, |held| held.copy(self.done, size))
        });
        let shares: Vec<Bytes> = shares.collect();
        let (used, recover) = (pieces.len(), self.recovering.is_some());
        let coder = self.coder.take();
        let mut coder = coder.ok_or_else(|| Error::new(ErrorKind::Internal, "decoding ended"))?;
        let quick = !recover && Coder::is_quick(&shares);
        let decoding = runtime::compute_unless(quick, move || {
            let decoded = match recover {
                true => coder.recover(&pieces, &shares, suspects),
                false => coder.decode(&pieces, &shares),
            };
            (coder, decoded)
        });
        let (coder, decoded) = decoding.await?;
        self.coder = Some(coder);
        let end = self.done + size as u64;
        let plain = match decoded? {
            Decoded::Opened(opened) => self.settle(end, opened),
            unauthentic => {
                self.agree = matches!(unauthentic, Decoded::Forged);
                self.go_back(used, end)?;
                Bytes::new()
            }
        };
        self.decoded.send_replace(self.done);
        let handing_out = Instant::now();
        let sent = send(output, plain).await;
        self.held_up += handing_out.elapsed();
        sent
    }

    /// Goes on to `end`; in recovery to the next block, or back to windows after the last one.
    fn settle(&mut self, end: u64, opened: Opened) -> Bytes {
        let settled = opened.settled.min(self.shares.end).saturating_sub(self.shares.start);
        if !opened.plain.is_empty() {
            self.correction.progressed(self.now());
        }
        self.settled = settled;
        self.done = if self.recovering.is_some() { settled } else { end };
        self.recovering = self.recovering.filter(|until| settled < *until);
        for held in self.pieces.values_mut() {
            held.discard_before(settled);
        }
        for (piece, shares) in opened.corrupt {
            self.suspect(piece, shares);
        }
        self.tell(HedgeEvent::Settled(settled));
        opened.plain
    }

    fn suspect(&mut self, piece: u16, shares: u32) {
        let known = self.suspicion.found(piece, shares, self.settled);
        let Some((offer, _)) = self.offers.get(&piece) else { return };
        self.project.suspects().add(offer.node, shares);
        if known == shares {
            tracing::warn!(piece, node = %offer.node, shares, "a storage node returned corrupt shares");
        }
    }

    /// Goes back to where bytes are settled, to recover blocks up to `end` from more pieces.
    fn go_back(&mut self, used: usize, end: u64) -> Result<()> {
        tracing::debug!(used, "some shares are corrupt");
        self.recovering = Some(self.recovering.map_or(end, |until| until.max(end)));
        self.done = self.settled;
        let pieces = u16::try_from(used).unwrap_or(u16::MAX);
        if !self.correction.failed(pieces, self.now()) {
            return Err(self.unreadable(used));
        }
        self.tell(HedgeEvent::Corrupt);
        Ok(())
    }

    /// Why a block cannot be read from `read` pieces.
    fn unreadable(&mut self, read: usize) -> Error {
        if self.agree {
            let text = format!("the {read} pieces read agree on bytes that are not authentic");
            return Error::new(ErrorKind::Decryption, text);
        }
        // A segment has at least the optimal number of pieces when it is committed. The satellite
        // offers only those of nodes that it knows to be online.
        let pieces = self.offers.len().max(self.scheme.optimal().into());
        let unreachable = pieces.saturating_sub(read);
        let required = usize::from(self.scheme.required());
        let corrupt = subsets::tolerance(read, required) + 1;
        let counts = format!(
            "at least {corrupt} of {read} pieces read are corrupt, {unreachable} are unreachable, \
             {required} correct ones are required"
        );
        match Cause::of(unreachable, self.all_offered) {
            Cause::Corrupt => {
                let text = format!("the pieces of a segment are corrupt beyond repair: {counts}");
                Error::new(ErrorKind::Decryption, text)
            }
            Cause::Unreachable => {
                let text = format!("too few storage nodes give correct pieces: {counts}");
                self.with_last_failure(ErrorKind::NotEnoughNodes, text)
            }
        }
    }

    fn shortage(&mut self, found: u16, needed: u16) -> Error {
        let mut text =
            format!("too few storage nodes give their pieces: found {found}, need {needed}");
        let corrupt = self.suspicion.corrupt_pieces();
        if corrupt > 0 {
            text += &format!("; {corrupt} gave corrupt shares");
        }
        self.with_last_failure(ErrorKind::NotEnoughNodes, text)
    }

    fn with_last_failure(&mut self, kind: ErrorKind, text: String) -> Error {
        match self.last_failure.take() {
            Some(cause) => {
                Error::new(kind, format!("{text}; the last one: {cause}")).with_source(cause)
            }
            None => Error::new(kind, text),
        }
    }
}

/// Puts nodes with corrupt shares at the end. Returns how many pieces more than required to open at
/// once: none of unreliable nodes, if the others are enough.
fn suspects_last(remote: &mut RemoteSegment, suspects: &SuspectNodes) -> u16 {
    remote.offers.sort_by_cached_key(|offer| suspects.corrupt_shares(offer.node));
    let required = remote.scheme.required();
    let reliable = remote.offers.partition_point(|offer| !suspects.is_unreliable(offer.node));
    if reliable == remote.offers.len() {
        return hedge::extra(required);
    }
    let spare = reliable.saturating_sub(required.into());
    hedge::extra(required).min(u16::try_from(spare).unwrap_or(u16::MAX))
}

async fn send(output: &Output, plain: Bytes) -> Result<()> {
    if plain.is_empty() {
        return Ok(());
    }
    let gone = |_| Error::new(ErrorKind::Internal, "the download was dropped");
    output.send(Ok(plain)).await.map_err(gone)
}

fn slice(plain: &Bytes, range: &Range<u64>) -> Result<Bytes> {
    let place = |at: u64| usize::try_from(at).ok().filter(|at| *at <= plain.len());
    match (place(range.start), place(range.end)) {
        (Some(start), Some(end)) if start <= end => Ok(plain.slice(start..end)),
        _ => Err(Error::protocol("an inline segment is shorter than its listed size")),
    }
}
