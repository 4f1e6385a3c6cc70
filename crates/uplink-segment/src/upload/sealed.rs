//! Encrypts a segment in blocks, and holds the one encrypted copy, in windows of whole stripes, while it
//! is uploaded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use uplink_core::encryption::content::append_padding;
use uplink_core::erasure::Scheme;

use crate::BlockCipher;
use crate::error::SegmentError;
use crate::memory::pool::{Buffer, BufferPool};
use crate::memory::{Budget, Reservation};

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

    /// Waits until few sealed windows are ahead of the encoder. One task may wait.
    ///
    /// A window that is coded soon after it was sealed is still in the processor's cache, and the next
    /// segment does not reserve memory before this one is nearly sent.
    pub async fn wait_for_coder(&self) {
        while self.is_ahead() {
            self.coded.notified().await;
        }
    }

    /// Returns whether many sealed windows are ahead of the encoder.
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
    fn record_write(&self) {
        self.lock().reservation.progress();
    }

    /// Records that as many transfers as the segment needs have taken the window at an index; some of it
    /// may be unsent.
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

/// Seals the plain bytes of one segment, block by block as they arrive.
#[derive(Debug)]
pub struct Sealer {
    cipher: Box<dyn BlockCipher>,
    stripe_size: u64,
    /// Plain bytes of an incomplete block.
    partial: Vec<u8>,
    /// Buffer for a sealed block that extends beyond the window.
    block: Vec<u8>,
    window: WindowWriter,
    blocks: u64,
    plain_size: u64,
}

/// Sizes of a sealed segment, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedSize {
    /// Plain bytes, without padding.
    pub plain: u64,
    /// All sealed blocks, without the padding to whole stripes.
    pub encrypted: u64,
}

impl Sealer {
    /// Seals into `segment`, whose pieces are coded with `scheme`. Must be called inside a tokio
    /// runtime.
    #[must_use]
    pub fn new(
        cipher: impl BlockCipher,
        scheme: &Scheme,
        budget: &Budget,
        segment: &Arc<SealedSegment>,
    ) -> Self {
        Self {
            stripe_size: u64::from(scheme.stripe_size()),
            partial: Vec::with_capacity(cipher.plain_block_size()),
            block: vec![0; cipher.block_size()],
            window: WindowWriter::new(budget.windows(scheme), Arc::clone(segment)),
            blocks: 0,
            plain_size: 0,
            cipher: Box::new(cipher),
        }
    }

    /// Writes the next plain bytes of the segment.
    ///
    /// # Errors
    /// [`SegmentError::Encryption`]. The segment cannot be completed afterwards.
    pub fn write(&mut self, mut plain: &[u8]) -> Result<(), SegmentError> {
        self.window.record_write();
        let plain_block = self.cipher.plain_block_size();
        self.plain_size += plain.len() as u64;
        if !self.partial.is_empty() {
            let missing = plain_block - self.partial.len();
            let (head, rest) = plain.split_at(missing.min(plain.len()));
            self.partial.extend_from_slice(head);
            plain = rest;
            if self.partial.len() < plain_block {
                return Ok(());
            }
            let full = std::mem::take(&mut self.partial);
            self.seal(&full)?;
            self.partial = full;
            self.partial.clear();
        }
        let whole = plain.len() / plain_block * plain_block;
        let (blocks, rest) = plain.split_at(whole);
        self.seal(blocks)?;
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Pads and completes the segment.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn finish(mut self) -> Result<SealedSize, SegmentError> {
        let mut last = std::mem::take(&mut self.partial);
        append_padding(&mut last, self.plain_size, self.cipher.plain_block_size() as u64)?;
        self.seal(&last)?;
        let encrypted = self.blocks * self.block.len() as u64;
        let mut padding = Vec::new();
        append_padding(&mut padding, encrypted, self.stripe_size)?;
        self.window.append(&padding);
        self.window.finish(encrypted);
        Ok(SealedSize { plain: self.plain_size, encrypted })
    }

    /// Seals whole blocks to the end of the window.
    fn seal(&mut self, plain: &[u8]) -> Result<(), SegmentError> {
        let size = self.block.len();
        for plain in plain.chunks_exact(self.cipher.plain_block_size()) {
            if let Some(space) = self.window.space(size) {
                self.cipher.seal_block(self.blocks, plain, space)?;
                self.window.advance(size);
            } else {
                self.cipher.seal_block(self.blocks, plain, &mut self.block)?;
                self.window.append(&self.block);
            }
            self.blocks += 1;
        }
        Ok(())
    }
}

/// Writes sealed bytes into the windows of a segment.
#[derive(Debug)]
struct WindowWriter {
    buffer: Buffer,
    filled: usize,
    pool: BufferPool,
    segment: Arc<SealedSegment>,
}

impl WindowWriter {
    fn new(pool: BufferPool, segment: Arc<SealedSegment>) -> Self {
        Self { buffer: pool.take(), filled: 0, pool, segment }
    }

    /// Records that the writer of the segment is running.
    fn record_write(&self) {
        self.segment.record_write();
    }

    /// Returns the next `size` bytes, if that many are left in this window.
    fn space(&mut self, size: usize) -> Option<&mut [u8]> {
        self.buffer.as_mut().get_mut(self.filled..)?.get_mut(..size)
    }

    /// Marks the next `size` bytes as written.
    fn advance(&mut self, size: usize) {
        self.filled += size;
        if self.filled == self.buffer.as_ref().len() {
            self.push();
        }
    }

    /// Copies bytes into this window and the following ones.
    fn append(&mut self, mut bytes: &[u8]) {
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
    fn finish(mut self, encrypted: u64) {
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

/// The encrypted bytes, padding included, that as many transfers have taken as their segments need.
///
/// It counts what transfers took from the ring of coded windows and handed to their connections, which
/// may still hold up to 256 KiB of each piece unsent. Shared by the segments of one upload.
#[derive(Debug, Default)]
pub struct SentBytes {
    total: AtomicU64,
    changed: Notify,
}

impl SentBytes {
    /// Returns the bytes taken so far. They never decrease.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Waits until more bytes are taken than at the last wait. One task may wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn add(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.changed.notify_one();
    }
}
