//! Bounds the bytes that a transfer has handed to its connection and the socket has not accepted.
//!
//! The transport would buffer a megabyte per stream. For a hundred streams, that exceeds a processor's
//! cache, and a slow link cannot send it within the progress timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;

use super::CHUNK_SIZE;

/// Number of unsent bytes from which no more are accepted until half of them are sent.
const LIMIT: usize = 4 * CHUNK_SIZE;

/// Counts the bytes that the connection holds and the socket has not accepted.
#[derive(Default)]
pub(super) struct Unsent {
    bytes: AtomicUsize,
    full: AtomicBool,
    sender: AtomicWaker,
}

/// Bytes that count as unsent until they are dropped.
struct Tracked {
    bytes: Bytes,
    unsent: Arc<Unsent>,
}

impl Unsent {
    /// Counts `bytes` as unsent until the last clone of the returned buffer is dropped.
    pub(super) fn track(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let before = self.bytes.fetch_add(bytes.len(), Ordering::AcqRel);
        if before.saturating_add(bytes.len()) >= LIMIT {
            self.full.store(true, Ordering::Release);
        }
        Bytes::from_owner(Tracked { bytes, unsent: Arc::clone(self) })
    }

    /// Waits until more bytes may be handed to the connection.
    pub(super) fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        if !self.full.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.sender.register(context.waker());
        // Checked after registering: bytes sent before did not wake this task.
        if self.bytes.load(Ordering::Acquire) > LIMIT / 2 {
            return Poll::Pending;
        }
        self.full.store(false, Ordering::Release);
        Poll::Ready(())
    }
}

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let before = self.unsent.bytes.fetch_sub(self.bytes.len(), Ordering::AcqRel);
        let left = before.saturating_sub(self.bytes.len());
        // Unconditional: checking `full` first could miss a sender that is about to wait.
        if left <= LIMIT / 2 {
            self.unsent.sender.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::{ArcWake, noop_waker_ref, waker};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl ArcWake for Woken {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn full_queue_accepts_bytes_again_once_half_is_sent() {
        let unsent = Arc::<Unsent>::default();
        let woken = Arc::<Woken>::default();
        let waker = waker(Arc::clone(&woken));
        let context = &Context::from_waker(&waker);
        let mut sent: Vec<Bytes> = Vec::new();
        while unsent.poll_room(context).is_ready() {
            sent.push(unsent.track(Bytes::from(vec![0; CHUNK_SIZE])));
        }
        assert_eq!(sent.len() * CHUNK_SIZE, LIMIT);
        let copy = sent[0].slice(5..);
        drop(sent.drain(..2));
        assert!(!woken.0.load(Ordering::Relaxed), "a slice of one chunk is still in use");
        assert!(unsent.poll_room(&Context::from_waker(noop_waker_ref())).is_pending());
        assert!(unsent.poll_room(context).is_pending());
        drop(copy);
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(unsent.poll_room(context).is_ready());
    }
}
