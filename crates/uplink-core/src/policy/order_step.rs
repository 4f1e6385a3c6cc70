//! How many bytes the next order grants.
//!
//! Orders pay a node for transferred bytes, so a client grants at most one step ahead. The first
//! step is 256 KiB; each further one is 1.5 times as large, up to 550 KiB. Amounts are cumulative.

/// Bytes granted by the first order.
pub const FIRST_STEP: u64 = 256 << 10;

/// Maximum bytes granted by one order.
pub const MAX_STEP: u64 = 550 << 10;

const fn next_step(step: u64) -> u64 {
    let grown = step.saturating_mul(3) / 2;
    if grown < MAX_STEP { grown } else { MAX_STEP }
}

/// The orders of one piece upload.
#[derive(Clone, Debug)]
pub struct UploadOrders {
    limit: u64,
    sent: u64,
    ordered: u64,
    step: u64,
}

impl UploadOrders {
    /// Starts an upload under an order limit of `limit` bytes.
    pub const fn new(limit: u64) -> Self {
        Self { limit, sent: 0, ordered: 0, step: FIRST_STEP }
    }

    /// Records that the next `length` bytes are about to be sent.
    ///
    /// Returns the amount of the order to send with them, if one is due.
    ///
    /// # Errors
    ///
    /// When the bytes exceed the order limit; the state is unchanged then.
    pub fn send(&mut self, length: u64) -> Result<Option<u64>, LimitExceeded> {
        let end = self.sent.saturating_add(length);
        if end > self.limit {
            return Err(LimitExceeded { size: end, limit: self.limit });
        }
        let offset = std::mem::replace(&mut self.sent, end);
        if end <= self.ordered {
            return Ok(None);
        }
        self.ordered = offset.saturating_add(self.step).max(end).min(self.limit);
        self.step = next_step(self.step);
        Ok(Some(self.ordered))
    }
}

/// The orders of one piece download.
#[derive(Clone, Debug)]
pub struct DownloadOrders {
    size: u64,
    received: u64,
    ordered: u64,
    step: u64,
}

impl DownloadOrders {
    /// Starts a download of `size` bytes.
    pub const fn new(size: u64) -> Self {
        Self { size, received: 0, ordered: 0, step: FIRST_STEP }
    }

    /// Records that the node has delivered `length` bytes.
    pub const fn received(&mut self, length: u64) {
        self.received = self.received.saturating_add(length);
    }

    /// Returns the amount of the order to send now, if one is due.
    ///
    /// Call until it returns `None`, at the start and after each delivery. Not an iterator, because
    /// further orders become due later.
    pub fn next_order(&mut self) -> Option<u64> {
        // Nodes may send more than ordered; the next step counts from the bytes received.
        let base = self.ordered.max(self.received);
        if self.ordered >= self.size || base - self.received >= self.step {
            return None;
        }
        self.ordered = base.saturating_add(self.step).min(self.size);
        self.step = next_step(self.step);
        Some(self.ordered)
    }
}

/// The bytes to send exceed the order limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("piece of {size} bytes exceeds its order limit of {limit}")]
#[non_exhaustive]
pub struct LimitExceeded {
    /// Bytes of the piece so far.
    pub size: u64,
    /// The order limit.
    pub limit: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn upload_beyond_the_limit_is_rejected() {
        let mut orders = UploadOrders::new(100);
        assert_eq!(orders.send(60), Ok(Some(100)));
        assert_eq!(orders.send(41), Err(LimitExceeded { size: 101, limit: 100 }));
        assert_eq!(orders.send(40), Ok(None));
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        /// The ordered amount covers the sent bytes, grows with every order, never exceeds the limit
        /// and is ahead by at most a step or the bytes at hand. Bytes beyond the limit are rejected
        /// and leave the state unchanged.
        #[test]
        fn upload_orders_cover_sent_bytes_and_grow_within_the_limit(
            limit in prop_oneof![0..20_000_000_u64, any::<u64>()],
            lengths in proptest::collection::vec(lengths(), 0..30),
        ) {
            let mut orders = UploadOrders::new(limit);
            let mut sent = 0_u64;
            let mut ordered = 0;
            for length in lengths {
                let before = format!("{orders:?}");
                match orders.send(length) {
                    Ok(due) => {
                        if let Some(amount) = due {
                            prop_assert!(amount > ordered);
                            prop_assert!(amount <= sent.saturating_add(length.max(MAX_STEP)));
                            ordered = amount;
                        }
                        sent += length;
                        prop_assert!(sent <= ordered && ordered <= limit);
                    }
                    Err(LimitExceeded { size, limit: reported }) => {
                        prop_assert_eq!((size, reported), (sent.saturating_add(length), limit));
                        prop_assert!(size > limit);
                        prop_assert_eq!(format!("{orders:?}"), before);
                    }
                }
            }
        }

        /// For any deliveries, even beyond the granted amount: orders grow, never exceed the size,
        /// are at most a step ahead of the granted or received bytes, and at most three are due at
        /// a time. The node never waits for one: the orders are a step ahead or complete.
        #[test]
        fn download_orders_stay_a_step_ahead_and_grow_within_the_size(
            size in prop_oneof![0..20_000_000_u64, any::<u64>()],
            deliveries in proptest::collection::vec(lengths(), 0..30),
        ) {
            let mut orders = DownloadOrders::new(size);
            let mut received = 0_u64;
            let mut ordered = 0;
            for delivery in deliveries {
                let mut due = 0;
                while let Some(amount) = orders.next_order() {
                    prop_assert!(ordered < amount && amount <= size);
                    prop_assert!(amount <= received.max(ordered).saturating_add(MAX_STEP));
                    ordered = amount;
                    due += 1;
                }
                prop_assert!(due <= 3);
                prop_assert!(ordered == size || ordered >= received.saturating_add(FIRST_STEP));
                received = received.saturating_add(delivery);
                orders.received(delivery);
            }
        }
    }

    /// Mostly realistic message sizes, sometimes arbitrary ones.
    fn lengths() -> impl Strategy<Value = u64> {
        prop_oneof![8 => 0..2_000_000_u64, 1 => Just(0), 1 => any::<u64>()]
    }
}
