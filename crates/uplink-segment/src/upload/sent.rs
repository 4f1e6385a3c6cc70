//! How much of an upload's segments was sent.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// The encrypted bytes, padding included, that as many transfers have taken as their segments need.
///
/// Shared by the segments of one upload.
#[derive(Debug, Default)]
pub struct SentBytes {
    total: AtomicU64,
    changed: Notify,
}

impl SentBytes {
    /// Returns the bytes sent so far. They never decrease.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Waits until more bytes are sent than at the last wait. One task may wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn add(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.changed.notify_one();
    }
}
