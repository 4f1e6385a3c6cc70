//! Plain bytes → encrypted segments.
//!
//! A segment is sealed block by block as its bytes arrive, and the sealed bytes are gathered into
//! windows of whole stripes. [`Held`] keeps these windows, the only copy of the segment, until its
//! upload is over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use uplink_core::encryption::content::{ContentCipher, append_padding};
use uplink_core::encryption::nonce::segment_start_nonce;
use uplink_core::encryption::{EncryptionParameters, Key, Nonce};
use uplink_core::erasure::Scheme;
use uplink_core::id::SegmentPosition;
use uplink_core::layout;

use super::stripes_window;
use crate::buffers::{Buffer, Buffers};
use crate::error::Result;
use crate::project::Project;

/// Buffers for the windows of all held segments of a project: in use and kept for the next ones they
/// are what the project may use.
pub(crate) fn windows(project: &Project, scheme: &Scheme) -> Buffers {
    let size = stripes_window(scheme);
    let memory = project.config().memory.max(layout::SEGMENT_SIZE);
    let most = usize::try_from(memory).unwrap_or(usize::MAX) / size.max(1);
    project.buffers().of(size, most)
}

/// Seals one remote segment into a [`Held`].
#[derive(Debug)]
pub(crate) struct Sealer {
    cipher: ContentCipher,
    start: Nonce,
    plain_block: usize,
    stripe_size: u64,
    /// Plain bytes that do not fill a block yet.
    partial: Vec<u8>,
    /// Takes a sealed block that goes beyond the window.
    block: Vec<u8>,
    window: Window,
    blocks: u64,
    plain_size: u64,
}

/// Sealed bytes on their way into the held segment.
#[derive(Debug)]
struct Window {
    buffer: Buffer,
    filled: usize,
    buffers: Buffers,
    held: Arc<Held>,
}

impl Sealer {
    /// Seals into windows taken from `buffers`, which must be [`windows`] of the same scheme.
    pub(crate) fn new(
        parameters: EncryptionParameters,
        key: &Key,
        position: SegmentPosition,
        scheme: &Scheme,
        buffers: Buffers,
        held: &Arc<Held>,
    ) -> Result<Self> {
        let cipher = ContentCipher::new(parameters.suite, key)?;
        let block_size = parameters.block_size as usize;
        let plain_block = cipher.plain_block_size(block_size)?;
        Ok(Self {
            cipher,
            start: segment_start_nonce(position),
            plain_block,
            stripe_size: u64::from(scheme.stripe_size()),
            partial: Vec::with_capacity(plain_block),
            block: vec![0; block_size],
            window: Window { buffer: buffers.take(), filled: 0, buffers, held: Arc::clone(held) },
            blocks: 0,
            plain_size: 0,
        })
    }

    /// Takes the next plain bytes of the segment.
    pub(crate) fn write(&mut self, mut plain: &[u8]) -> Result<()> {
        self.plain_size += plain.len() as u64;
        if !self.partial.is_empty() {
            let missing = self.plain_block - self.partial.len();
            let (head, rest) = plain.split_at(missing.min(plain.len()));
            self.partial.extend_from_slice(head);
            plain = rest;
            if self.partial.len() < self.plain_block {
                return Ok(());
            }
            let full = std::mem::take(&mut self.partial);
            self.seal(&full)?;
            self.partial = full;
            self.partial.clear();
        }
        let whole = plain.len() / self.plain_block * self.plain_block;
        let (blocks, rest) = plain.split_at(whole);
        self.seal(blocks)?;
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Pads and completes the segment. Returns its plain and encrypted size.
    pub(crate) fn finish(mut self) -> Result<(u64, u64)> {
        let mut last = std::mem::take(&mut self.partial);
        append_padding(&mut last, self.plain_size, self.plain_block as u64)?;
        self.seal(&last)?;
        let encrypted_size = self.blocks * self.block.len() as u64;
        let mut padding = Vec::new();
        append_padding(&mut padding, encrypted_size, self.stripe_size)?;
        self.window.append(&padding);
        self.window.finish();
        Ok((self.plain_size, encrypted_size))
    }

    /// Seals whole blocks to the end of the window.
    fn seal(&mut self, plain: &[u8]) -> Result<()> {
        for plain in plain.chunks_exact(self.plain_block) {
            let (start, index, size) = (&self.start, self.blocks, self.block.len());
            if let Some(place) = self.window.place(size) {
                self.cipher.seal_block(start, index, plain, place)?;
                self.window.advance(size);
            } else {
                self.cipher.seal_block(start, index, plain, &mut self.block)?;
                self.window.append(&self.block);
            }
            self.blocks += 1;
        }
        Ok(())
    }
}

impl Window {
    /// The next `size` bytes, if that many are left in this window.
    fn place(&mut self, size: usize) -> Option<&mut [u8]> {
        self.buffer.as_mut().get_mut(self.filled..)?.get_mut(..size)
    }

    /// Takes the next `size` bytes as written.
    fn advance(&mut self, size: usize) {
        self.filled += size;
        if self.filled == self.buffer.as_ref().len() {
            self.hand_over();
        }
    }

    /// Copies bytes into this window and the following ones.
    fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = self.buffer.as_ref().len() - self.filled;
            let (head, rest) = bytes.split_at(left.min(bytes.len()));
            if let Some(place) = self.place(head.len()) {
                place.copy_from_slice(head);
            }
            self.advance(head.len());
            bytes = rest;
        }
    }

    fn finish(mut self) {
        if self.filled > 0 {
            self.hand_over();
        }
        self.held.complete();
    }

    fn hand_over(&mut self) {
        let full = std::mem::replace(&mut self.buffer, self.buffers.take());
        self.held.push(full.freeze(std::mem::take(&mut self.filled)));
    }
}

/// Sealed windows that wait for the coder while sealing keeps near it.
const NEAR: usize = 4;

/// An encrypted segment, padded to whole stripes, growing window by window.
#[derive(Debug, Default)]
pub(crate) struct Held {
    state: Mutex<HeldState>,
    grown: Notify,
    coded: Notify,
}

#[derive(Debug, Default)]
struct HeldState {
    windows: Vec<Bytes>,
    /// Windows that the coder has taken.
    coded: usize,
    complete: bool,
}

/// What is known of one window of a growing segment.
#[derive(Clone, Debug)]
pub(crate) enum Grown {
    /// The segment ends before it.
    Beyond,
    /// It is not sealed yet.
    NotYet,
    /// Its stripes.
    Stripes(Bytes),
}

impl Held {
    /// Returns a window, by number.
    pub(crate) fn window(&self, number: usize) -> Grown {
        let state = self.lock();
        match state.windows.get(number) {
            Some(stripes) => Grown::Stripes(stripes.clone()),
            None if state.complete => Grown::Beyond,
            None => Grown::NotYet,
        }
    }

    /// Waits for a window to code, by number; `None` when the segment ends before it. One task may
    /// wait.
    pub(crate) async fn grown(&self, number: usize) -> Option<Bytes> {
        loop {
            match self.window(number) {
                Grown::Stripes(stripes) => {
                    self.lock().coded = number + 1;
                    self.coded.notify_one();
                    return Some(stripes);
                }
                Grown::Beyond => return None,
                Grown::NotYet => self.grown.notified().await,
            }
        }
    }

    /// Waits until few sealed windows wait for the coder. One task may wait.
    ///
    /// What is coded soon after it was sealed is still in the processor's cache then, and the next
    /// segment does not take memory before this one is nearly on its way.
    pub(crate) async fn near(&self) {
        while self.is_far() {
            self.coded.notified().await;
        }
    }

    /// Whether many sealed windows wait for the coder.
    pub(crate) fn is_far(&self) -> bool {
        let state = self.lock();
        state.windows.len() > state.coded + NEAR
    }

    fn push(&self, window: Bytes) {
        self.lock().windows.push(window);
        self.grown.notify_one();
    }

    fn complete(&self) {
        self.lock().complete = true;
        self.grown.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, HeldState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seals an inline segment: in one piece, without padding.
pub(crate) fn seal_inline(
    parameters: EncryptionParameters,
    key: &Key,
    position: SegmentPosition,
    plain: &[u8],
) -> Result<Vec<u8>> {
    let cipher = ContentCipher::new(parameters.suite, key)?;
    Ok(cipher.seal_whole(&segment_start_nonce(position), plain)?)
}
