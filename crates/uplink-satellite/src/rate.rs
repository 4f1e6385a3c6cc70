//! How often something may happen: a number of times each second, and some at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use uplink_rpc::status::{Code, Failure};

use crate::time::Time;

/// Rates of this process: several processes of one satellite count by themselves.
#[derive(Debug)]
pub(crate) struct Rates {
    requests: Rate,
    uploads: Rate,
}

/// One rate, for every key by itself.
#[derive(Debug)]
struct Rate {
    /// Microseconds that one event takes; 0: there is no limit.
    interval: i64,
    /// Events at once after a pause.
    burst: i64,
    /// For each key, when it will have been idle long enough.
    busy_until: Mutex<HashMap<[u8; 32], Time>>,
}

/// Uploads to one key at once.
const UPLOAD_BURST: i64 = 3;
/// Most keys that are kept count of. When they are more, idle ones are forgotten, then all.
const MAX_KEYS: usize = 100_000;

impl Rates {
    /// Requests of a project and uploads to an object key that are allowed in a second; 0 for any
    /// number.
    pub(crate) fn new(requests: u32, uploads: u32) -> Self {
        Self {
            requests: Rate::new(requests, i64::from(requests)),
            uploads: Rate::new(uploads, UPLOAD_BURST),
        }
    }

    /// Counts a request of a project, or refuses it.
    pub(crate) fn request(&self, project: &[u8; 16], now: Time) -> Result<(), Failure> {
        self.requests.take(&[project], now)
    }

    /// Counts an upload, or refuses it.
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
        // Farther ahead than any rate leads: the clock was set back.
        let farthest = now.0.saturating_add(self.interval.saturating_mul(self.burst));
        let until = busy.get(&key).copied().filter(|until| until.0 <= farthest);
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

/// Clients know this text.
fn too_many() -> Failure {
    Failure::new(Code::RESOURCE_EXHAUSTED, "Too Many Requests")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: [u8; 16] = [1; 16];

    #[test]
    fn bursts_are_allowed_and_then_the_rate_holds() {
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
        // After a pause as many as at the beginning, not more.
        let later = 100_000_000;
        assert_eq!((0..6).filter(|_| request(later).is_ok()).count(), 4);
    }

    #[test]
    fn clock_set_back_does_not_refuse_until_it_catches_up() {
        let rates = Rates::new(4, 0);
        for _ in 0..4 {
            assert_eq!(rates.request(&PROJECT, Time(3_600_000_000)), Ok(()));
        }
        assert_eq!((0..6).filter(|_| rates.request(&PROJECT, Time(0)).is_ok()).count(), 4);
    }

    #[test]
    fn without_a_rate_everything_is_allowed() {
        let rates = Rates::new(0, 1);
        assert!((0..1_000).all(|_| rates.request(&PROJECT, Time(0)).is_ok()));
        let upload = |key: &[u8]| rates.upload((&PROJECT, b"bucket", key), Time(0)).is_ok();
        assert_eq!((0..5).filter(|_| upload(b"one")).count(), 3);
        assert!(upload(b"two"));
    }

    #[test]
    fn keys_are_forgotten_before_they_are_too_many() {
        let rate = Rate::new(1, 1);
        for number in 0..=MAX_KEYS {
            rate.take(&[&number.to_be_bytes()], Time(0)).unwrap();
        }
        assert!(rate.busy_until.lock().unwrap().len() <= MAX_KEYS);
        rate.take(&[b"late"], Time(2_000_000)).unwrap();
    }
}
