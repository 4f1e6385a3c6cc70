//! One segment → any k pieces → plain bytes.
//!
//! Each open piece has a task that reads its shares. Whatever k of them have delivered of the next
//! stripes is decoded, the encryption blocks complete by then are authenticated and opened, and
//! their plain bytes go out, while the rest is still on its way. Which pieces are opened, and when
//! another, is decided by `policy::hedge`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use uplink_core::encryption::content::ContentCipher;
use uplink_core::encryption::nonce::segment_start_nonce;
use uplink_core::encryption::{EncryptionParameters, Nonce};
use uplink_core::erasure::{Decoder, Scheme};
use uplink_core::layout::SegmentRead;
use uplink_core::order::PiecePrivateKey;
use uplink_core::policy::hedge::{self, Hedge, HedgeAction, HedgeEvent};
use uplink_rpc::piece::download::PieceDownload;
use uplink_rpc::piece::{PieceError, Target};

use super::window_stripes;
use crate::error::{Error, ErrorKind, Result};
use crate::project::Project;
use crate::runtime;
use crate::satellite::convert::{Content, Offer, RemoteSegment, SegmentDownload};

/// Bytes of one piece that may be ahead of decoding.
const AHEAD: u64 = 512 << 10;
/// Deliveries of pieces that may wait to be looked at.
const EVENTS: usize = 64;

/// Takes plain bytes in order; an error means that nobody wants them any more.
pub(crate) type Output = mpsc::Sender<Result<Bytes>>;

/// Asks the satellite for all holders of a segment; used once, on shortage.
pub(crate) type AskForAll<'a> =
    std::pin::Pin<Box<dyn Future<Output = Result<SegmentDownload>> + Send + 'a>>;

/// Reads `range` of a segment's plain bytes into `output`.
///
/// Dropping the future cancels all transfers.
///
/// # Errors
/// [`ErrorKind::NotEnoughNodes`] when fewer than k pieces can be read, naming both numbers;
/// [`ErrorKind::Decryption`] when what was decoded does not authenticate.
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
    let plan =
        SegmentRead::new(segment.plain_size, parameters.block_size, &remote.scheme, range.clone())?;
    let opener = Opener {
        cipher,
        start,
        block_size: parameters.block_size as usize,
        next_block: plan.blocks.start,
        end_block: plan.blocks.end,
        skip_sealed: plan.skip_encrypted,
        skip_plain: plan.skip_plain,
        left: range.end - range.start,
        sealed: BytesMut::new(),
    };
    Run::new(project, remote, plan.shares, opener).run(ask_for_all, output).await
}

/// What a piece's task reports.
enum Delivery {
    Shares(u16, Bytes),
    Failed(u16, PieceError),
}

struct Run<'a> {
    project: &'a Project,
    scheme: Scheme,
    offers: HashMap<u16, (Offer, PiecePrivateKey)>,
    /// Bytes of every piece that are wanted.
    shares: Range<u64>,
    /// Bytes of them that are decoded.
    done: u64,
    pieces: BTreeMap<u16, Shares>,
    coder: Option<Coder>,
    hedge: Hedge,
    actions: Vec<HedgeAction>,
    transfers: JoinSet<()>,
    deliveries: mpsc::Receiver<Delivery>,
    deliver: mpsc::Sender<Delivery>,
    decoded: watch::Sender<u64>,
    began: Instant,
    /// Time in which nobody took our output: no fault of the nodes.
    held_up: Duration,
    last_failure: Option<PieceError>,
}

impl<'a> Run<'a> {
    fn new(
        project: &'a Project,
        remote: RemoteSegment,
        shares: Range<u64>,
        opener: Opener,
    ) -> Self {
        let required = remote.scheme.required();
        let offered: Vec<u16> = remote.offers.iter().map(|offer| offer.piece).collect();
        let length = shares.end - shares.start;
        let (hedge, actions) =
            Hedge::start(required, hedge::extra(required), offered, length, Duration::ZERO);
        let (deliver, deliveries) = mpsc::channel(EVENTS);
        let mut run = Self {
            project,
            scheme: remote.scheme,
            offers: HashMap::new(),
            shares,
            done: 0,
            pieces: BTreeMap::new(),
            coder: Some(Coder { decoder: None, opener }),
            hedge,
            actions,
            transfers: JoinSet::new(),
            deliveries,
            deliver,
            decoded: watch::Sender::new(0),
            began: Instant::now(),
            held_up: Duration::ZERO,
            last_failure: None,
        };
        run.offer(remote.offers, &remote.piece_key);
        run
    }

    async fn run(mut self, ask_for_all: AskForAll<'_>, output: &Output) -> Result<()> {
        let (mut ask_for_all, mut asking) = (ask_for_all, false);
        loop {
            asking |= self.act()?;
            while let Some((pieces, size)) = self.ready() {
                self.decode(pieces, size, output).await?;
            }
            if self.done == self.shares.end - self.shares.start {
                return Ok(());
            }
            let tick = self.hedge.next_tick().unwrap_or(Duration::MAX);
            let wait = tick.saturating_sub(self.now()).min(Duration::from_secs(3600));
            let event = tokio::select! {
                biased;
                Some(delivery) = self.deliveries.recv() => self.take(delivery),
                all = &mut ask_for_all, if asking => {
                    asking = false;
                    HedgeEvent::Offered(self.take_offers(all))
                }
                () = tokio::time::sleep(wait) => HedgeEvent::Tick,
            };
            let now = self.now();
            self.actions.extend(self.hedge.on(event, now));
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.held_up)
    }

    /// Carries out what the policy decided. Returns whether to ask for all holders.
    fn act(&mut self) -> Result<bool> {
        let mut ask = false;
        for action in std::mem::take(&mut self.actions) {
            match action {
                HedgeAction::Open { piece, from } => self.open(piece, from),
                HedgeAction::AskForAll => ask = true,
                HedgeAction::GiveUp { found, needed } => {
                    return Err(shortage(found, needed, self.last_failure.take()));
                }
            }
        }
        Ok(ask)
    }

    fn open(&mut self, piece: u16, from: u64) {
        let Some((offer, key)) = self.offers.get(&piece).cloned() else { return };
        self.pieces.insert(piece, Shares { position: from, parts: VecDeque::new() });
        let reader = PieceReader {
            project: self.project.clone(),
            piece,
            position: from,
            range: self.shares.clone(),
            deliver: self.deliver.clone(),
            decoded: self.decoded.subscribe(),
        };
        self.transfers.spawn(reader.run(offer, key));
    }

    fn take(&mut self, delivery: Delivery) -> HedgeEvent {
        match delivery {
            Delivery::Shares(piece, shares) => {
                let position = self.pieces.get_mut(&piece).map_or(0, |held| held.append(shares));
                HedgeEvent::Progress { piece, position }
            }
            Delivery::Failed(piece, error) => {
                tracing::debug!(piece, %error, "a piece cannot be read on");
                self.last_failure = Some(error);
                HedgeEvent::Failed(piece)
            }
        }
    }

    fn take_offers(&mut self, all: Result<SegmentDownload>) -> Vec<u16> {
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
            self.offers.insert(offer.piece, (offer, key.clone()));
        }
    }

    /// The pieces to decode the next stripes from, and how many bytes of each.
    fn ready(&self) -> Option<(Vec<u16>, usize)> {
        let share_size = u64::from(self.scheme.share_size());
        let required = usize::from(self.scheme.required());
        let available = |held: &Shares| held.available(self.done) / share_size * share_size;
        let mut sizes: Vec<u64> = self.pieces.values().map(available).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let most = window_stripes(&self.scheme) * share_size;
        let size = sizes.get(required - 1).copied().unwrap_or(0).min(most);
        if size == 0 {
            return None;
        }
        // Lowest numbers first: data shares are only copied.
        let fit = self.pieces.iter().filter(|(_, held)| available(held) >= size);
        let pieces = fit.map(|(piece, _)| *piece).take(required).collect();
        Some((pieces, usize::try_from(size).ok()?))
    }

    async fn decode(&mut self, pieces: Vec<u16>, size: usize, output: &Output) -> Result<()> {
        let shares = pieces.iter().map(|piece| {
            self.pieces.get(piece).map_or_else(Bytes::new, |held| held.copy(self.done, size))
        });
        let shares: Vec<Bytes> = shares.collect();
        let coder = self.coder.take();
        let mut coder = coder.ok_or_else(|| Error::new(ErrorKind::Internal, "decoding ended"))?;
        let scheme = self.scheme;
        let (coder, plain) = runtime::compute(move || {
            let plain = coder.decode(&scheme, &pieces, &shares);
            (coder, plain)
        })
        .await?;
        self.coder = Some(coder);
        self.done += size as u64;
        for held in self.pieces.values_mut() {
            held.discard_before(self.done);
        }
        self.decoded.send_replace(self.done);
        let handing_out = Instant::now();
        let sent = send(output, plain?).await;
        self.held_up += handing_out.elapsed();
        sent
    }
}

/// The shares of one piece that are not decoded yet.
struct Shares {
    /// Where the next delivery belongs.
    position: u64,
    parts: VecDeque<(u64, Bytes)>,
}

impl Shares {
    fn append(&mut self, shares: Bytes) -> u64 {
        let at = self.position;
        self.position += shares.len() as u64;
        self.parts.push_back((at, shares));
        self.position
    }

    /// Bytes held from `position` on.
    fn available(&self, position: u64) -> u64 {
        match self.parts.front() {
            Some((first, _)) if *first <= position => self.position.saturating_sub(position),
            _ => 0,
        }
    }

    /// `size` bytes from `position`, in one piece. Copies only across deliveries.
    fn copy(&self, position: u64, size: usize) -> Bytes {
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

/// The task of one piece.
struct PieceReader {
    project: Project,
    piece: u16,
    /// Position within the wanted range.
    position: u64,
    range: Range<u64>,
    deliver: mpsc::Sender<Delivery>,
    decoded: watch::Receiver<u64>,
}

impl PieceReader {
    async fn run(mut self, offer: Offer, key: PiecePrivateKey) {
        if let Err(error) = self.read(offer, key).await {
            let _ = self.deliver.send(Delivery::Failed(self.piece, error)).await;
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
            self.position += shares.len() as u64;
            let ahead = self.position.saturating_sub(AHEAD);
            // Both fail only when nobody wants the piece any more.
            if self.decoded.wait_for(|decoded| *decoded >= ahead).await.is_err()
                || self.deliver.send(Delivery::Shares(self.piece, shares)).await.is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Shares → stripes → blocks → plain bytes; moves to another thread and back.
struct Coder {
    decoder: Option<Decoder>,
    opener: Opener,
}

impl Coder {
    fn decode(&mut self, scheme: &Scheme, pieces: &[u16], shares: &[Bytes]) -> Result<Bytes> {
        let broken = |error| Error::new(ErrorKind::Internal, format!("erasure coding: {error}"));
        let decoder = match self.decoder.take() {
            Some(decoder) if decoder.pieces() == pieces => decoder,
            _ => Decoder::new(scheme, pieces).map_err(broken)?,
        };
        let decoder = self.decoder.insert(decoder);
        let size: usize = shares.iter().map(Bytes::len).sum();
        let mut stripes = vec![0; size];
        decoder.decode(shares, &mut stripes).map_err(broken)?;
        self.opener.open(&stripes)
    }
}

/// Sealed bytes in order → plain bytes of the range.
struct Opener {
    cipher: ContentCipher,
    start: Nonce,
    block_size: usize,
    next_block: u64,
    end_block: u64,
    /// Sealed bytes before the first block, and plain bytes before the range, still to be dropped.
    skip_sealed: u64,
    skip_plain: u64,
    /// Plain bytes of the range still to come.
    left: u64,
    sealed: BytesMut,
}

impl Opener {
    /// Takes the next stripes and opens the blocks that are complete.
    fn open(&mut self, stripes: &[u8]) -> Result<Bytes> {
        let skip = self.skip_sealed.min(stripes.len() as u64);
        self.skip_sealed -= skip;
        self.sealed.extend_from_slice(stripes.get(skip as usize..).unwrap_or_default());
        let complete = (self.sealed.len() / self.block_size) as u64;
        let blocks = complete.min(self.end_block - self.next_block) as usize;
        let mut plain = vec![0; blocks * self.cipher.plain_block_size(self.block_size)?];
        let sealed = self.sealed.get(..blocks * self.block_size).unwrap_or_default();
        self.cipher.open_blocks(
            &self.start,
            self.next_block,
            self.block_size,
            sealed,
            &mut plain,
        )?;
        self.sealed.advance(blocks * self.block_size);
        self.next_block += blocks as u64;
        let mut plain = Bytes::from(plain);
        let skip = self.skip_plain.min(plain.len() as u64);
        self.skip_plain -= skip;
        plain.advance(skip as usize);
        plain.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= plain.len() as u64;
        Ok(plain)
    }
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

fn shortage(found: u16, needed: u16, cause: Option<PieceError>) -> Error {
    let text = format!("too few storage nodes give their pieces: found {found}, need {needed}");
    let Some(cause) = cause else { return Error::new(ErrorKind::NotEnoughNodes, text) };
    Error::new(ErrorKind::NotEnoughNodes, format!("{text}; the last one: {cause}"))
        .with_source(cause)
}
