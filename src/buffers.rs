//! Buffers that are used again and again.
//!
//! Megabytes per second of fresh memory cost more than what is done in it: the system zeroes every
//! page that it gives. A buffer becomes [`Bytes`] without a copy and comes back when the last part
//! of those is dropped, wherever that is.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

/// Buffers of one size. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Buffers(Arc<Shelf>);

struct Shelf {
    size: usize,
    /// Buffers kept at most while nobody uses them.
    most: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

/// A buffer in use. What was in it before is unspecified.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// Where it goes when it is dropped, if anybody may still want it then.
    home: Weak<Shelf>,
}

impl Buffers {
    /// Buffers of `size` bytes, of which `most` are kept for the next user.
    pub(crate) fn new(size: usize, most: usize) -> Self {
        Self(Arc::new(Shelf { size, most, free: Mutex::default() }))
    }

    pub(crate) fn take(&self) -> Buffer {
        let kept = self.0.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = kept.unwrap_or_else(|| vec![0; self.0.size]);
        Buffer { bytes, home: Arc::downgrade(&self.0) }
    }
}

impl Buffer {
    /// The first `length` bytes; more than there are means all.
    pub(crate) fn freeze(self, length: usize) -> Bytes {
        let mut bytes = Bytes::from_owner(self);
        bytes.truncate(length);
        bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else { return };
        let mut free = home.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < home.most {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("size", &self.size).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_comes_back_when_the_last_part_of_it_is_dropped_and_no_more_are_kept_than_wanted() {
        let buffers = Buffers::new(8, 1);
        let kept = || buffers.0.free.lock().unwrap().len();
        let (mut first, second) = (buffers.take(), buffers.take());
        first.as_mut().copy_from_slice(b"used now");
        let whole = first.freeze(6);
        let part = whole.slice(2..4);
        assert_eq!(whole, &b"used n"[..]);
        drop(whole);
        assert_eq!((kept(), &part[..]), (0, &b"ed"[..]));
        drop(part);
        assert_eq!(kept(), 1);
        drop(second);
        assert_eq!(kept(), 1);
        assert_eq!(buffers.take().as_ref().len(), 8);
        assert_eq!(kept(), 1);
    }
}
