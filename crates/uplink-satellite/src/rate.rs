//! Rate limits: a number of events per second, with bursts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use uplink_rpc::status::{Code, Failure};

use crate::time::Time;

/// Rate limits of this process. Several processes of one satellite count independently.
#[derive(Debug)]
pub(crate) struct Rates {
    requests: Rate,
    uploads: Rate,
}

/// One rate limit, applied to each key separately.
#[derive(Debug)]
struct Rate {
    /// Microseconds between events; 0 for no limit.
    interval: i64,
    /// Events allowed at once after a pause.
    burst: i64,
    /// For each key, the time at which its burst is fully available again.
    busy_until: Mutex<HashMap<[u8; 32], Time>>,
}

/// Burst of uploads to one key.
const UPLOAD_BURST: i64 = 3;
/// Maximum number of tracked keys. Beyond it, idle keys are evicted, then all.
const MAX_KEYS: usize = 100_000;

impl Rates {
    /// Limits the requests of a project and the uploads to an object key, per second; 0 for no limit.
    pub(crate) fn new(requests: u32, uploads: u32) -> Self {
        Self {
            requests: Rate::new(requests, i64::from(requests)),
            uploads: Rate::new(uploads, UPLOAD_BURST),
        }
    }

    /// Counts a request of a project, or rejects it.
    pub(crate) fn request(&self, project: &[u8; 16], now: Time) -> Result<(), Failure> {
        self.requests.take(&[project], now)
    }

    /// Counts an upload, or rejects it.
    pub(crate) fn upload(
        &self,
        (project, bucket, key): (&[u8; 16], &[u8], &[u8]),
        now: Time,
    ) -> Result<(), Failure> {
        self.uploads.take(&[project, bucket, b"/", key], now)
    }
}

impl Rate {
    fn new(per_second: u32, burst: i64) -> Self {
        let interval = 1_000_000i64.checked_div(i64::from(per_second)).unwrap_or(0);
        let interval = if per_second == 0 { 0 } else { interval.max(1) };
        Self { interval, burst, busy_until: Mutex::default() }
    }

    fn take(&self, parts: &[&[u8]], now: Time) -> Result<(), Failure> {
        if self.interval == 0 {
            return Ok(());
        }
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        let key: [u8; 32] = hash.finalize().into();
        let mut busy = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
        // A time beyond a full burst is from before the clock was set back.
        let latest = now.0.saturating_add(self.interval.saturating_mul(self.burst));
        let until = busy.get(&key).copied().filter(|until| until.0 <= latest);
        let until = until.unwrap_or(now).max(now);
        let ahead = until.0.saturating_sub(now.0);
        if ahead > self.interval.saturating_mul(self.burst.saturating_sub(1)) {
            return Err(too_many());
        }
        if busy.len() >= MAX_KEYS {
            busy.retain(|_, until| *until > now);
            if busy.len() >= MAX_KEYS {
                busy.clear();
            }
        }
        busy.insert(key, Time(until.0.saturating_add(self.interval)));
        Ok(())
    }
}

/// Clients recognize this text.
fn too_many() -> Failure {
    Failure::new(Code::RESOURCE_EXHAUSTED, "Too Many Requests")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: [u8; 16] = [1; 16];

    #[test]
    fn burst_is_allowed_then_rate_applies() {
        let rates = Rates::new(4, 0);
        let request = |micros| rates.request(&PROJECT, Time(micros));
        for _ in 0..4 {
            assert_eq!(request(0), Ok(()));
        }
        assert_eq!(request(0), Err(too_many()));
        assert_eq!(request(249_999), Err(too_many()));
        assert_eq!(request(250_000), Ok(()));
        assert_eq!(request(250_000), Err(too_many()));
        assert_eq!(rates.request(&[2; 16], Time(250_000)), Ok(()));
        // After a pause, the burst is available again, and no more.
        let later = 100_000_000;
        assert_eq!((0..6).filter(|_| request(later).is_ok()).count(), 4);
    }

    #[test]
    fn clock_set_back_does_not_block_requests() {
        let rates = Rates::new(4, 0);
        for _ in 0..4 {
            assert_eq!(rates.request(&PROJECT, Time(3_600_000_000)), Ok(()));
        }
        assert_eq!((0..6).filter(|_| rates.request(&PROJECT, Time(0)).is_ok()).count(), 4);
    }

    #[test]
    fn zero_rate_allows_everything() {
        let rates = Rates::new(0, 1);
        assert!((0..1_000).all(|_| rates.request(&PROJECT, Time(0)).is_ok()));
        let upload = |key: &[u8]| rates.upload((&PROJECT, b"bucket", key), Time(0)).is_ok();
        assert_eq!((0..5).filter(|_| upload(b"one")).count(), 3);
        assert!(upload(b"two"));
    }

    #[test]
    fn keys_are_evicted_at_capacity() {
        let rate = Rate::new(1, 1);
        for number in 0..=MAX_KEYS {
            rate.take(&[&number.to_be_bytes()], Time(0)).unwrap();
        }
        assert!(rate.busy_until.lock().unwrap().len() <= MAX_KEYS);
        rate.take(&[b"late"], Time(2_000_000)).unwrap();
    }
}
