//! Plain bytes → encrypted segments.
//!
//! A segment is sealed block by block as its bytes arrive, and the sealed bytes are gathered into
//! windows of whole stripes. [`Held`] keeps these windows, the only copy of the segment, until its
//! upload is over.

use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use uplink_core::encryption::content::{ContentCipher, append_padding};
use uplink_core::encryption::nonce::segment_start_nonce;
use uplink_core::encryption::{EncryptionParameters, Key, Nonce};
use uplink_core::erasure::Scheme;
use uplink_core::id::SegmentPosition;

use super::window_stripes;
use crate::error::{Error, Result};

/// Seals one remote segment into a [`Held`].
#[derive(Debug)]
pub(crate) struct Sealer<'a> {
    cipher: ContentCipher,
    start: Nonce,
    block_size: usize,
    plain_block: usize,
    stripe_size: u64,
    window_size: usize,
    /// Plain bytes that do not fill a block yet.
    partial: Vec<u8>,
    /// Sealed bytes that do not fill a window yet.
    window: BytesMut,
    blocks: u64,
    plain_size: u64,
    held: &'a Held,
}

impl<'a> Sealer<'a> {
    pub(crate) fn new(
        parameters: EncryptionParameters,
        key: &Key,
        position: SegmentPosition,
        scheme: &Scheme,
        held: &'a Held,
    ) -> Result<Self> {
        let cipher = ContentCipher::new(parameters.suite, key)?;
        let block_size = parameters.block_size as usize;
        let plain_block = cipher.plain_block_size(block_size)?;
        let stripe_size = u64::from(scheme.stripe_size());
        let window_size = window_stripes(scheme) * stripe_size;
        let window_size = usize::try_from(window_size)
            .map_err(|_| Error::protocol("a stripe is larger than memory"))?;
        Ok(Self {
            cipher,
            start: segment_start_nonce(position),
            block_size,
            plain_block,
            stripe_size,
            window_size,
            partial: Vec::with_capacity(plain_block),
            window: BytesMut::new(),
            blocks: 0,
            plain_size: 0,
            held,
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
        let encrypted_size = self.blocks * self.block_size as u64;
        let mut tail = self.window.to_vec();
        append_padding(&mut tail, encrypted_size, self.stripe_size)?;
        self.window = BytesMut::from(tail.as_slice());
        self.hand_over(true);
        self.held.complete();
        Ok((self.plain_size, encrypted_size))
    }

    /// Seals whole blocks to the end of the window.
    fn seal(&mut self, plain: &[u8]) -> Result<()> {
        for block in plain.chunks_exact(self.plain_block) {
            if self.window.capacity() == 0 {
                self.window.reserve(self.window_size + self.block_size);
            }
            let begin = self.window.len();
            self.window.resize(begin + self.block_size, 0);
            let out = self.window.get_mut(begin..).unwrap_or_default();
            self.cipher.seal_block(&self.start, self.blocks, block, out)?;
            self.blocks += 1;
            self.hand_over(false);
        }
        Ok(())
    }

    /// Moves full windows, and at the end what is left, to the held segment.
    fn hand_over(&mut self, all: bool) {
        while self.window.len() >= self.window_size || (all && !self.window.is_empty()) {
            let size = self.window_size.min(self.window.len());
            let rest = self.window.split_off(size);
            let full = std::mem::replace(&mut self.window, BytesMut::new());
            self.window.reserve(self.window_size + self.block_size);
            self.window.extend_from_slice(&rest);
            self.held.push(full.freeze());
        }
    }
}

/// An encrypted segment, padded to whole stripes, growing window by window.
#[derive(Debug, Default)]
pub(crate) struct Held {
    state: Mutex<HeldState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct HeldState {
    windows: Vec<Bytes>,
    complete: bool,
}

/// What is known of one window of a growing segment.
#[derive(Clone, Debug)]
pub(crate) enum Window {
    /// The segment ends before it.
    Beyond,
    /// It is not sealed yet.
    NotYet,
    /// Its stripes.
    Stripes(Bytes),
}

impl Held {
    /// Returns a window, by number.
    pub(crate) fn window(&self, number: usize) -> Window {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.windows.get(number) {
            Some(stripes) => Window::Stripes(stripes.clone()),
            None if state.complete => Window::Beyond,
            None => Window::NotYet,
        }
    }

    /// Wakes whoever waits for the segment to grow. Create the future before asking for a window.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    fn push(&self, window: Bytes) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).windows.push(window);
        self.changed.notify_waiters();
    }

    fn complete(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).complete = true;
        self.changed.notify_waiters();
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
