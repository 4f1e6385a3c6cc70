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
//! When a block does not open, some node has lied. The same line then goes back to where bytes are
//! settled and takes the shares of more pieces, as many as `policy::correction` says: more than k
//! pieces show which of them are wrong. Once the bytes in doubt are settled, those pieces are
//! dropped and k pieces do again; the transfers of the others go on to the end of the segment, so
//! that a second liar costs no further round trip.

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
use uplink_core::policy::correction::{self, Correction, Verdict};
use uplink_core::policy::hedge::{self, Hedge, HedgeAction, HedgeEvent};
use uplink_rpc::piece::PieceError;

use self::liars::Liars;
use self::open::{Coder, Opened, Opener};
use self::shares::{Delivery, PieceReader, Shares};
use super::window_stripes;
use crate::error::{Error, ErrorKind, Result};
use crate::project::Project;
use crate::runtime;
use crate::satellite::convert::{Content, Offer, RemoteSegment, SegmentDownload};

pub(crate) mod liars;
mod open;
mod shares;

/// Deliveries of pieces that may wait to be looked at.
const EVENTS: usize = 64;
/// Longest wait for an event when nothing is due.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Takes plain bytes in order; an error means that nobody wants them any more.
pub(crate) type Output = mpsc::Sender<Result<Bytes>>;

/// Asks the satellite for all holders of a segment; used once, on shortage or when a node has lied.
pub(crate) type AskForAll<'a> =
    std::pin::Pin<Box<dyn Future<Output = Result<SegmentDownload>> + Send + 'a>>;

/// Reads `range` of a segment's plain bytes into `output`.
///
/// Dropping the future cancels all transfers.
///
/// # Errors
/// [`ErrorKind::NotEnoughNodes`] when fewer than k pieces can be read, naming both numbers;
/// [`ErrorKind::Decryption`] when more pieces are wrong than can be told from right ones, naming
/// both numbers, or when what all of them restore is not authentic.
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
    Run::new(project, remote, opener).run(ask_for_all, output).await
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
    doubt: Option<Doubt>,
    pieces: BTreeMap<u16, Shares>,
    /// Transfers so far.
    opened: usize,
    /// Pieces that were dropped because their shares were wrong.
    wrong: usize,
    coder: Option<Coder>,
    correction: Correction,
    hedge: Hedge,
    actions: Vec<HedgeAction>,
    asking: bool,
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

/// Some node has lied.
struct Doubt {
    /// Bytes of every piece that must be settled to end the doubt.
    until: u64,
    /// Wrong pieces, each with where the window ends that shows it.
    wrong: BTreeMap<u16, u64>,
    /// What was found last.
    flaw: Error,
}

impl<'a> Run<'a> {
    fn new(project: &'a Project, mut remote: RemoteSegment, opener: Opener) -> Self {
        let (required, shares) = (remote.scheme.required(), opener.shares());
        let extra = trusted_first(&mut remote, project.liars());
        let offered: Vec<u16> = remote.offers.iter().map(|offer| offer.piece).collect();
        let length = shares.end - shares.start;
        let (hedge, actions) = Hedge::start(required, extra, offered, length, Duration::ZERO);
        let (deliver, deliveries) = mpsc::channel(EVENTS);
        let mut run = Self {
            project,
            scheme: remote.scheme,
            offers: HashMap::new(),
            shares,
            done: 0,
            settled: 0,
            doubt: None,
            pieces: BTreeMap::new(),
            opened: 0,
            wrong: 0,
            coder: Some(Coder::new(remote.scheme, opener)),
            correction: Correction::new(required),
            hedge,
            actions,
            asking: false,
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
        run
    }

    async fn run(mut self, mut ask_for_all: AskForAll<'_>, output: &Output) -> Result<()> {
        while self.settled < self.shares.end - self.shares.start {
            self.act()?;
            if let Some((pieces, size)) = self.ready()? {
                self.decode(pieces, size, output).await?;
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
        let most = if self.doubt.is_some() { correction::PATIENCE } else { LONGEST_PAUSE };
        let tick = self.hedge.next_tick().unwrap_or(Duration::MAX);
        tick.saturating_sub(self.now()).min(most)
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
            // Decoding needs a whole share of every piece.
            ahead: shares::AHEAD.max(2 * u64::from(self.scheme.share_size())),
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

    /// The pieces to decode the next stripes from, and how many bytes of each.
    fn ready(&mut self) -> Result<Option<(Vec<u16>, usize)>> {
        let share_size = u64::from(self.scheme.share_size());
        let available = |held: &Shares| held.available(self.done) / share_size * share_size;
        let mut sizes: Vec<u64> = self.pieces.values().map(available).collect();
        sizes.retain(|size| *size > 0);
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let have = u16::try_from(sizes.len()).unwrap_or(u16::MAX);
        let count = match self.correction.decide(have, self.more_may_come(), self.now()) {
            Verdict::Decode(count) => usize::from(count),
            Verdict::GiveUp => return Err(self.beyond_repair()),
            Verdict::Wait => return Ok(None),
        };
        let most = window_stripes(&self.scheme) * share_size;
        let size = count.checked_sub(1).and_then(|last| sizes.get(last)).copied();
        let size = size.unwrap_or(0).min(most);
        // Lowest numbers first: data shares are only copied. In doubt, every piece tells more.
        let fit = self.pieces.iter().filter(|(_, held)| available(held) >= size);
        let count = if self.doubt.is_some() { usize::MAX } else { count };
        let pieces = fit.map(|(piece, _)| *piece).take(count).collect();
        Ok(usize::try_from(size).ok().filter(|size| *size > 0).map(|size| (pieces, size)))
    }

    /// Whether pieces that have not delivered the next shares may still do so.
    fn more_may_come(&self) -> bool {
        let silence = self.now().saturating_sub(self.heard_at);
        let share_size = u64::from(self.scheme.share_size());
        let behind = |held: &Shares| held.is_alive() && held.available(self.done) < share_size;
        let asked = self.asking || self.pieces.values().any(behind);
        asked && silence < self.project.config().progress_deadline
    }

    async fn decode(&mut self, pieces: Vec<u16>, size: usize, output: &Output) -> Result<()> {
        let shares = pieces.iter().map(|piece| {
            self.pieces.get(piece).map_or_else(Bytes::new, |held| held.copy(self.done, size))
        });
        let shares: Vec<Bytes> = shares.collect();
        let used = shares.len();
        let coder = self.coder.take();
        let mut coder = coder.ok_or_else(|| Error::new(ErrorKind::Internal, "decoding ended"))?;
        let decoding = runtime::compute_unless(coder.is_quick(&shares), move || {
            let opened = coder.decode(&pieces, &shares);
            (coder, opened)
        });
        let (coder, opened) = decoding.await?;
        self.coder = Some(coder);
        let end = self.done + size as u64;
        let plain = match opened {
            Ok(opened) => self.settle(end, opened),
            Err(flaw) if flaw.kind() == ErrorKind::Decryption => {
                self.go_back(used, end, flaw)?;
                Bytes::new()
            }
            Err(error) => return Err(error),
        };
        self.decoded.send_replace(self.done);
        let handing_out = Instant::now();
        let sent = send(output, plain).await;
        self.held_up += handing_out.elapsed();
        sent
    }

    /// Goes on to `end`, and ends the doubt if what was in doubt has turned out to be authentic.
    fn settle(&mut self, end: u64, opened: Opened) -> Bytes {
        let settled = opened.settled.min(self.shares.end).saturating_sub(self.shares.start);
        if settled > self.settled {
            self.correction.progressed();
        }
        (self.done, self.settled) = (end, settled);
        for held in self.pieces.values_mut() {
            held.discard_before(settled);
        }
        self.tell(HedgeEvent::Settled(settled));
        if let Some(mut doubt) = self.doubt.take() {
            for piece in opened.wrong {
                doubt.wrong.entry(piece).or_insert(end);
            }
            if settled < doubt.until {
                self.doubt = Some(doubt);
            } else {
                self.correction.settled();
                let certain = doubt.wrong.into_iter().filter(|(_, end)| *end <= settled);
                certain.for_each(|(piece, _)| self.drop_wrong(piece));
            }
        }
        opened.plain
    }

    fn drop_wrong(&mut self, piece: u16) {
        if let Some((offer, _)) = self.offers.get(&piece) {
            tracing::warn!(piece, node = %offer.node, "a storage node returned wrong shares");
            self.project.liars().add(offer.node);
        }
        self.pieces.remove(&piece);
        self.wrong += 1;
        self.tell(HedgeEvent::Wrong(piece));
    }

    /// Goes back to where bytes are settled, to decode again up to `end` from more pieces.
    fn go_back(&mut self, used: usize, end: u64, flaw: Error) -> Result<()> {
        tracing::debug!(used, %flaw, "some piece is wrong");
        let until = self.doubt.take().map_or(end, |doubt| doubt.until.max(end));
        self.doubt = Some(Doubt { until, wrong: BTreeMap::new(), flaw });
        self.done = self.settled;
        let used = u16::try_from(used).unwrap_or(u16::MAX);
        if !self.correction.failed(used, self.now()) {
            return Err(self.beyond_repair());
        }
        self.tell(HedgeEvent::Corrupt);
        Ok(())
    }

    fn beyond_repair(&mut self) -> Error {
        let text = "the pieces of a segment are wrong beyond repair";
        match self.doubt.take() {
            Some(Doubt { flaw, .. }) => {
                Error::new(ErrorKind::Decryption, format!("{text}: {flaw}")).with_source(flaw)
            }
            None => Error::new(ErrorKind::Decryption, text),
        }
    }

    fn shortage(&mut self, found: u16, needed: u16) -> Error {
        let mut text =
            format!("too few storage nodes give their pieces: found {found}, need {needed}");
        if self.wrong > 0 {
            text += &format!("; {} gave wrong ones", self.wrong);
        }
        let Some(cause) = self.last_failure.take() else {
            return Error::new(ErrorKind::NotEnoughNodes, text);
        };
        Error::new(ErrorKind::NotEnoughNodes, format!("{text}; the last one: {cause}"))
            .with_source(cause)
    }
}

/// Puts nodes that have lied before at the end. Returns how many pieces more than required to open
/// at once: none of theirs, if the others are enough.
fn trusted_first(remote: &mut RemoteSegment, liars: &Liars) -> u16 {
    remote.offers.sort_by_key(|offer| liars.contains(offer.node));
    let required = remote.scheme.required();
    let trusted = remote.offers.partition_point(|offer| !liars.contains(offer.node));
    if trusted == remote.offers.len() {
        return hedge::extra(required);
    }
    let spare = trusted.saturating_sub(required.into());
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
