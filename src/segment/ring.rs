//! A few coded windows of a segment, from which the transfers of its pieces read.
//!
//! Coding all wanted pieces of a window in one pass is many times faster than piece by piece, so
//! the transfer that first needs a window codes it for all. The ring goes on when as many transfers
//! as the upload still needs have taken its oldest window. Those left behind, and replacements that
//! start later, code their own row from the held segment.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use uplink_core::erasure::{EncodeError, Encoder, Scheme};

use super::split::{Held, Window};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime;

/// Coded windows kept.
const WINDOWS: usize = 4;

/// The coded windows of one segment.
#[derive(Debug)]
pub(crate) struct Ring {
    held: Arc<Held>,
    encoder: Encoder,
    scheme: Scheme,
    /// Transfers that must have taken a window before it is let go.
    needed: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the oldest window kept.
    oldest: usize,
    /// One buffer per piece, for each window kept.
    windows: VecDeque<Arc<Vec<Bytes>>>,
    /// Whether a transfer is coding the next window.
    coding: bool,
    /// The next window of each transfer that is running or has ended well.
    next: HashMap<u16, usize>,
}

/// What a transfer does to get its next window.
enum Step {
    Take(Bytes),
    CodeForAll(Bytes),
    CodeOwn(Bytes),
    End,
    Wait,
}

impl Ring {
    pub(crate) fn new(held: Arc<Held>, scheme: Scheme, needed: u16) -> Arc<Self> {
        Arc::new(Self {
            held,
            encoder: Encoder::new(&scheme),
            scheme,
            needed: needed.into(),
            state: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Begins reading a piece from its first byte.
    pub(crate) fn reader(self: &Arc<Self>, piece: u16) -> Reader {
        self.lock().next.insert(piece, 0);
        Reader { ring: Arc::clone(self), piece, window: 0, ended: false }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides how `piece` gets window `number`, without waiting.
    fn step(&self, piece: u16, number: usize) -> Step {
        let mut state = self.lock();
        if let Some(place) = number.checked_sub(state.oldest)
            && let Some(window) = state.windows.get(place)
        {
            let shares = window.get(usize::from(piece)).cloned().unwrap_or_default();
            return Step::Take(shares);
        }
        let stripes = match self.held.window(number) {
            Window::Beyond => return Step::End,
            Window::NotYet => return Step::Wait,
            Window::Stripes(stripes) => stripes,
        };
        if number < state.oldest {
            return Step::CodeOwn(stripes);
        }
        let next = state.oldest + state.windows.len();
        if number == next && state.windows.len() < WINDOWS && !state.coding {
            state.coding = true;
            return Step::CodeForAll(stripes);
        }
        Step::Wait
    }

    /// Notes that `piece` has taken everything before window `next`.
    fn taken(&self, piece: u16, next: usize) {
        let mut state = self.lock();
        if let Some(noted) = state.next.get_mut(&piece) {
            *noted = next;
        }
        self.advance(&mut state);
    }

    fn advance(&self, state: &mut State) {
        while !state.windows.is_empty() {
            let oldest = state.oldest;
            if state.next.values().filter(|next| **next > oldest).count() < self.needed {
                break;
            }
            state.windows.pop_front();
            state.oldest += 1;
        }
        self.changed.notify_waiters();
    }

    async fn code_for_all(self: &Arc<Self>, stripes: Bytes) -> Result<()> {
        let coding = Coding(self);
        let (encoder, scheme) = (self.encoder.clone(), self.scheme);
        let coded = runtime::compute(move || code(encoder, &scheme, &stripes, None)).await?;
        let coded = coded.map_err(broken)?;
        self.lock().windows.push_back(Arc::new(coded));
        drop(coding);
        Ok(())
    }

    async fn code_own(&self, piece: u16, stripes: Bytes) -> Result<Bytes> {
        let (encoder, scheme) = (self.encoder.clone(), self.scheme);
        let coded = runtime::compute(move || code(encoder, &scheme, &stripes, Some(piece))).await?;
        Ok(coded.map_err(broken)?.pop().unwrap_or_default())
    }
}

/// Ends the turn of the transfer that codes, also when it is cancelled meanwhile.
struct Coding<'a>(&'a Ring);

impl Drop for Coding<'_> {
    fn drop(&mut self) {
        self.0.lock().coding = false;
        self.0.changed.notify_waiters();
    }
}

/// One piece, window by window. Dropping it before the end tells the ring not to wait for it.
#[derive(Debug)]
pub(crate) struct Reader {
    ring: Arc<Ring>,
    piece: u16,
    window: usize,
    ended: bool,
}

impl Reader {
    /// Returns the next shares of the piece, or `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        let ring = Arc::clone(&self.ring);
        loop {
            let (mut grown, mut moved) =
                (std::pin::pin!(ring.held.changed()), std::pin::pin!(ring.changed.notified()));
            grown.as_mut().enable();
            moved.as_mut().enable();
            let shares = match ring.step(self.piece, self.window) {
                Step::Take(shares) => shares,
                Step::CodeOwn(stripes) => ring.code_own(self.piece, stripes).await?,
                Step::CodeForAll(stripes) => {
                    ring.code_for_all(stripes).await?;
                    continue;
                }
                Step::End => {
                    self.ended = true;
                    return Ok(None);
                }
                Step::Wait => {
                    tokio::select! {
                        () = grown => {}
                        () = moved => {}
                    }
                    continue;
                }
            };
            self.window += 1;
            ring.taken(self.piece, self.window);
            return Ok(Some(shares));
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !self.ended {
            self.ring.lock().next.remove(&self.piece);
            self.ring.changed.notify_waiters();
        }
    }
}

/// Codes a window for one piece or for all.
fn code(
    encoder: Encoder,
    scheme: &Scheme,
    stripes: &[u8],
    piece: Option<u16>,
) -> Result<Vec<Bytes>, EncodeError> {
    let run = stripes.len() / usize::from(scheme.required());
    let wanted: Vec<u16> = piece.map_or_else(|| (0..scheme.total()).collect(), |piece| vec![piece]);
    let mut coded: Vec<Vec<u8>> = wanted.iter().map(|_| vec![0; run]).collect();
    encoder.encode(stripes, &wanted, &mut coded)?;
    Ok(coded.into_iter().map(Bytes::from).collect())
}

fn broken(error: EncodeError) -> Error {
    Error::new(ErrorKind::Internal, format!("erasure coding: {error}"))
}
