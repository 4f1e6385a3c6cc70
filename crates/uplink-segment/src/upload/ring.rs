//! A ring of coded windows of a segment, from which the transfers of its pieces read.
//!
//! Coding all wanted pieces of a window in one pass is many times faster than piece by piece, so one
//! task ([`Ring::code`]) does it for all transfers. The ring advances when as many transfers as the
//! segment needs, stored pieces included, have consumed its oldest window. Stragglers, and replacements
//! that start later, code their own row from the sealed segment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::Notify;
use uplink_core::erasure::{Encoder, Scheme};
use uplink_rpc::piece::PieceError;
use uplink_rpc::runtime;

use super::sealed::{SealedSegment, Window};
use crate::error::SegmentError;
use crate::memory::Budget;
use crate::memory::pool::{Buffer, BufferPool};

/// Coded windows in the ring.
const WINDOWS: usize = 4;
/// Rings whose buffers are kept for reuse.
const KEPT: usize = 4;
/// Byte products that are cheap enough to compute inline, in less than a millisecond, with and without
/// vector instructions.
const INLINE_WORK: usize = 64 << 20;
const INLINE_WORK_PORTABLE: usize = 4 << 20;

/// The coded windows of one segment.
#[derive(Debug)]
pub(crate) struct Ring {
    segment: Arc<SealedSegment>,
    scheme: Scheme,
    /// Transfers that must have consumed a window before it is evicted.
    target_pieces: usize,
    encoder: Encoder,
    buffers: BufferPool,
    state: Mutex<State>,
    /// Wakes the coder when a window is evicted.
    evicted: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Index of the oldest window in the ring.
    oldest: usize,
    windows: VecDeque<Coded>,
    /// Whether the coder waits for the writer to seal the next window.
    awaits_window: bool,
    end: Option<End>,
    /// Why coding failed, until the upload takes it.
    failure: Option<SegmentError>,
    /// Transfers that are running or have succeeded, in the order in which they started. A failed one
    /// may be removed after its replacement has started.
    transfers: BTreeMap<usize, Transfer>,
    /// Transfers started so far.
    started: usize,
}

/// The reason why no further window will be coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Complete,
    Failed,
}

#[derive(Debug)]
struct Transfer {
    piece: u16,
    /// Wakes the transfer if it waits for its next window.
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Coded {
    shares: BTreeMap<u16, Bytes>,
    /// Transfers that have consumed this window.
    consumed: usize,
}

impl Ring {
    /// Creates a ring with buffers of `budget`. Must be called inside a tokio runtime.
    pub(crate) fn new(
        budget: &Budget,
        segment: Arc<SealedSegment>,
        scheme: Scheme,
        target_pieces: u16,
    ) -> Arc<Self> {
        let kept = KEPT * WINDOWS * usize::from(scheme.total());
        Arc::new(Self {
            segment,
            scheme,
            target_pieces: target_pieces.into(),
            encoder: Encoder::new(&scheme),
            buffers: budget.piece_windows(&scheme, kept),
            state: Mutex::default(),
            evicted: Notify::new(),
        })
    }

    /// Returns a reader of a piece, at its first byte.
    pub(crate) fn reader(self: &Arc<Self>, piece: u16) -> Reader {
        let mut state = self.lock();
        let transfer = state.started;
        state.started += 1;
        state.transfers.insert(transfer, Transfer { piece, waker: None });
        let ring = Arc::downgrade(self);
        Reader { ring, piece, transfer, window: 0, ended: false, failed: false }
    }

    /// Codes the segment, window by window, as it grows and as the transfers advance. Readers make no
    /// progress unless this runs; dropping it makes them fail.
    pub(crate) fn code(self: Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        // Outside the future, so that it is dropped even with one that was never polled.
        let end = EndOnDrop(self);
        async move {
            if let Err(error) = end.0.code_all().await {
                end.0.fail(error);
            }
        }
    }

    async fn code_all(&self) -> Result<(), SegmentError> {
        for index in 0.. {
            self.lock().awaits_window = true;
            let Some(stripes) = self.segment.wait_for_window(index).await else { break };
            self.lock().awaits_window = false;
            while self.lock().windows.len() >= WINDOWS {
                self.evicted.notified().await;
            }
            let wanted: BTreeSet<u16> =
                self.lock().transfers.values().map(|transfer| transfer.piece).collect();
            let wanted = Vec::from_iter(wanted);
            let shares = self.code_for_all(stripes, &wanted).await?;
            self.push(wanted.into_iter().zip(shares).collect());
        }
        self.end(End::Complete);
        Ok(())
    }

    /// Returns whether half of the required transfers, `stored` ones included, are blocked by slower
    /// ones.
    pub(crate) fn is_blocked(&self, stored: usize) -> bool {
        let state = self.lock();
        let waiting = state.transfers.values().filter(|transfer| transfer.waker.is_some()).count();
        !state.awaits_window && waiting + stored >= self.target_pieces.div_ceil(2)
    }

    async fn code_for_all(
        &self,
        stripes: Bytes,
        wanted: &[u16],
    ) -> Result<Vec<Bytes>, SegmentError> {
        let buffers = wanted.iter().map(|_| self.buffers.take()).collect();
        let required = self.scheme.required();
        let portable = self.encoder.kernel().is_portable();
        let inline = if portable { INLINE_WORK_PORTABLE } else { INLINE_WORK };
        let quick = stripes.len() * wanted.len() <= inline;
        let encoder = self.encoder.clone();
        let wanted = wanted.to_vec();
        let coding = move || encode(&encoder, required, &stripes, &wanted, buffers);
        runtime::compute_unless(quick, coding).await?
    }

    fn push(&self, shares: BTreeMap<u16, Bytes>) {
        let mut state = self.lock();
        state.windows.push_back(Coded { shares, consumed: 0 });
        state.wake();
    }

    /// Stops coding with an error, which the upload reports.
    fn fail(&self, error: SegmentError) {
        self.lock().failure.get_or_insert(error);
        self.end(End::Failed);
    }

    /// Takes the error with which coding failed.
    pub(crate) fn take_failure(&self) -> Option<SegmentError> {
        self.lock().failure.take()
    }

    fn end(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        state.awaits_window = false;
        state.wake();
    }

    /// Records that a transfer has consumed a window.
    fn record_consumed(&self, state: &mut State, window: usize) {
        let Some(index) = window.checked_sub(state.oldest) else { return };
        if let Some(coded) = state.windows.get_mut(index) {
            coded.consumed += 1;
        }
        while state.windows.front().is_some_and(|oldest| oldest.consumed >= self.target_pieces) {
            state.windows.pop_front();
            self.segment.record_sent(state.oldest);
            state.oldest += 1;
            self.evicted.notify_one();
        }
    }

    /// Codes one window of one piece.
    fn code_own(&self, piece: u16, window: usize) -> Result<Bytes, SegmentError> {
        let Window::Stripes(stripes) = self.segment.window(window) else {
            return Err(SegmentError::Internal("a coded window is missing"));
        };
        let required = self.scheme.required();
        let buffer = self.buffers.take();
        let shares = encode(&self.encoder, required, &stripes, &[piece], vec![buffer])?.pop();
        Ok(shares.unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        let waiting = self.transfers.values_mut().filter_map(|transfer| transfer.waker.take());
        waiting.for_each(Waker::wake);
    }
}

/// Fails the transfers when coding stops before the end.
struct EndOnDrop(Arc<Ring>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end(End::Failed);
    }
}

/// Reads one piece, window by window. After it is dropped the ring does not wait for it.
///
/// It does not own the ring: a connection may keep a reader alive for as long as its node stalls, and
/// must not keep the segment in memory.
#[derive(Debug)]
pub(crate) struct Reader {
    ring: Weak<Ring>,
    piece: u16,
    /// Id of the transfer in the ring.
    transfer: usize,
    /// Index of the next window.
    window: usize,
    ended: bool,
    failed: bool,
}

/// How a transfer gets its next window.
enum Step {
    CodeOwn,
    End,
    Fail,
    Take(Bytes),
}

impl Reader {
    fn poll_step(&self, ring: &Ring, context: &Context<'_>) -> Poll<Step> {
        let mut state = ring.lock();
        let Some(index) = self.window.checked_sub(state.oldest) else {
            return Poll::Ready(Step::CodeOwn);
        };
        if let Some(window) = state.windows.get(index) {
            let Some(shares) = window.shares.get(&self.piece).cloned() else {
                return Poll::Ready(Step::CodeOwn);
            };
            ring.record_consumed(&mut state, self.window);
            return Poll::Ready(Step::Take(shares));
        }
        match state.end {
            Some(End::Complete) => return Poll::Ready(Step::End),
            Some(End::Failed) => return Poll::Ready(Step::Fail),
            None => {}
        }
        if let Some(transfer) = state.transfers.get_mut(&self.transfer) {
            transfer.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    fn code_own(&self, ring: &Ring) -> Result<Bytes, PieceError> {
        match ring.code_own(self.piece, self.window) {
            Ok(shares) => {
                ring.record_consumed(&mut ring.lock(), self.window);
                Ok(shares)
            }
            Err(error) => {
                ring.fail(error);
                Err(PieceError::Source)
            }
        }
    }
}

impl Stream for Reader {
    type Item = Result<Bytes, PieceError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, PieceError>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let Some(ring) = self.ring.upgrade() else {
            self.failed = true;
            return Poll::Ready(Some(Err(PieceError::Source)));
        };
        let shares = match ready!(self.poll_step(&ring, context)) {
            Step::Take(shares) => Ok(shares),
            Step::CodeOwn => self.code_own(&ring),
            Step::Fail => Err(PieceError::Source),
            Step::End => {
                self.ended = true;
                return Poll::Ready(None);
            }
        };
        self.window += usize::from(shares.is_ok());
        self.failed = shares.is_err();
        Poll::Ready(Some(shares))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(ring) = self.ring.upgrade().filter(|_| !self.ended) else { return };
        let mut state = ring.lock();
        state.transfers.remove(&self.transfer);
        let behind = self.window.saturating_sub(state.oldest);
        for window in state.windows.iter_mut().take(behind) {
            window.consumed -= 1;
        }
    }
}

/// Codes a window of the `wanted` pieces.
fn encode(
    encoder: &Encoder,
    required: u16,
    stripes: &[u8],
    wanted: &[u16],
    mut buffers: Vec<Buffer>,
) -> Result<Vec<Bytes>, SegmentError> {
    let run = stripes.len() / usize::from(required);
    let outputs = buffers.iter_mut().map(|buffer| buffer.as_mut().get_mut(..run));
    let mut outputs: Vec<&mut [u8]> = outputs.map(Option::unwrap_or_default).collect();
    encoder.encode(stripes, wanted, &mut outputs)?;
    Ok(buffers.into_iter().map(|buffer| buffer.freeze(run)).collect())
}
