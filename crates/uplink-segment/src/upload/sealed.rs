//! The one encrypted copy of a segment, in windows of whole stripes, while it is uploaded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::sent::SentBytes;
use crate::memory::Reservation;
use crate::memory::pool::{Buffer, BufferPool};

/// Maximum sealed windows ahead of the coder.
const MAX_LEAD: usize = 4;

/// An encrypted segment, padded to whole stripes, that grows window by window.
///
/// It owns the memory reserved for it until writer and upload drop it.
#[derive(Debug)]
pub struct SealedSegment {
    state: Mutex<State>,
    /// Notified when a window is added or the segment is complete.
    added: Notify,
    /// Notified when the coder takes a window.
    coded: Notify,
    sent: Arc<SentBytes>,
}

#[derive(Debug)]
struct State {
    windows: Vec<Bytes>,
    /// Windows that the coder has consumed.
    coded: usize,
    complete: bool,
    reservation: Reservation,
}

/// The state of one window of a growing segment.
#[derive(Clone, Debug)]
pub(crate) enum Window {
    /// The segment ends before it.
    Beyond,
    /// It is not sealed yet.
    NotYet,
    /// Its stripes.
    Stripes(Bytes),
}

impl SealedSegment {
    /// Creates an empty segment that owns `reservation`, and counts in `sent` what is sent of it.
    #[must_use]
    pub fn new(reservation: Reservation, sent: Arc<SentBytes>) -> Arc<Self> {
        let state = State { windows: Vec::new(), coded: 0, complete: false, reservation };
        let state = Mutex::new(state);
        Arc::new(Self { state, added: Notify::new(), coded: Notify::new(), sent })
    }

    /// Waits until few sealed windows are ahead of the coder. One task may wait.
    ///
    /// A window that is coded soon after it was sealed is still in the processor's cache, and the next
    /// segment does not reserve memory before this one is nearly sent.
    pub async fn wait_for_coder(&self) {
        while self.is_ahead() {
            self.coded.notified().await;
        }
    }

    /// Returns whether many sealed windows are ahead of the coder.
    pub fn is_ahead(&self) -> bool {
        let state = self.lock();
        state.windows.len() > state.coded + MAX_LEAD
    }

    /// Returns the window at an index.
    pub(crate) fn window(&self, index: usize) -> Window {
        let state = self.lock();
        match state.windows.get(index) {
            Some(stripes) => Window::Stripes(stripes.clone()),
            None if state.complete => Window::Beyond,
            None => Window::NotYet,
        }
    }

    /// Waits for the window at an index, to code it; `None` when the segment ends before it. One task may
    /// wait.
    pub(crate) async fn wait_for_window(&self, index: usize) -> Option<Bytes> {
        loop {
            match self.window(index) {
                Window::Stripes(stripes) => {
                    let mut state = self.lock();
                    state.coded = index + 1;
                    state.reservation.progress();
                    drop(state);
                    self.coded.notify_one();
                    return Some(stripes);
                }
                Window::Beyond => return None,
                Window::NotYet => self.added.notified().await,
            }
        }
    }

    /// Records that the writer of the segment is running.
    pub(super) fn record_write(&self) {
        self.lock().reservation.progress();
    }

    /// Records that as many transfers as the segment needs have taken the window at an index.
    pub(super) fn record_sent(&self, index: usize) {
        let size = self.lock().windows.get(index).map_or(0, Bytes::len);
        self.sent.add(size as u64);
    }

    fn push(&self, window: Bytes) {
        self.lock().windows.push(window);
        self.added.notify_one();
    }

    /// Completes the segment, and frees the memory that its `encrypted` bytes do not need.
    fn complete(&self, encrypted: u64) {
        let mut state = self.lock();
        state.complete = true;
        state.reservation.complete(encrypted);
        drop(state);
        self.added.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes sealed bytes into the windows of a segment.
#[derive(Debug)]
pub(super) struct WindowWriter {
    buffer: Buffer,
    filled: usize,
    pool: BufferPool,
    segment: Arc<SealedSegment>,
}

impl WindowWriter {
    pub(super) fn new(pool: BufferPool, segment: Arc<SealedSegment>) -> Self {
        Self { buffer: pool.take(), filled: 0, pool, segment }
    }

    /// Records that the writer of the segment is running.
    pub(super) fn record_write(&self) {
        self.segment.record_write();
    }

    /// Returns the next `size` bytes, if that many are left in this window.
    pub(super) fn space(&mut self, size: usize) -> Option<&mut [u8]> {
        self.buffer.as_mut().get_mut(self.filled..)?.get_mut(..size)
    }

    /// Marks the next `size` bytes as written.
    pub(super) fn advance(&mut self, size: usize) {
        self.filled += size;
        if self.filled == self.buffer.as_ref().len() {
            self.push();
        }
    }

    /// Copies bytes into this window and the following ones.
    pub(super) fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = self.buffer.as_ref().len() - self.filled;
            let (head, rest) = bytes.split_at(left.min(bytes.len()));
            if let Some(space) = self.space(head.len()) {
                space.copy_from_slice(head);
            }
            self.advance(head.len());
            bytes = rest;
        }
    }

    /// Adds the last window and completes the segment at `encrypted` bytes.
    pub(super) fn finish(mut self, encrypted: u64) {
        if self.filled > 0 {
            self.push();
        }
        self.segment.complete(encrypted);
    }

    fn push(&mut self) {
        let full = std::mem::replace(&mut self.buffer, self.pool.take());
        self.segment.push(full.freeze(std::mem::take(&mut self.filled)));
    }
}
