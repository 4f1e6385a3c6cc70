//! When an upload may take memory for its next segment.
//!
//! Every segment of an upload is held in memory, encrypted, until its pieces are stored. A segment is
//! *open* while its writer may add to it, and *in flight* once it is complete. A segment in flight
//! frees its memory by itself. An open one does so only after its writer has written more, and that
//! writer may be waiting for the very upload that asks for memory: a program that writes to several
//! uploads in turn from one task would wait forever.
//!
//! When nothing is in flight and no open segment has made progress for [`STALL`], only writers could
//! free memory, and none of them runs. The budget is then exceeded by one segment, or the request is
//! refused if the budget is strict.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Time without progress of an open segment after which writers count as waiting for each other.
pub const STALL: Duration = Duration::from_millis(100);

/// The memory of all uploads that share a budget.
#[derive(Clone, Debug)]
pub struct MemoryPolicy {
    capacity: u64,
    strict: bool,
    segments: BTreeMap<u64, Segment>,
    /// Segments that wait for memory, in the order in which they asked.
    waiting: VecDeque<Waiting>,
    /// Since when nothing is in flight and no open segment has made progress, while a segment waits.
    stalled_since: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    bytes: u64,
    open: bool,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    segment: u64,
    bytes: u64,
}

/// The outcome of a request for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryDecision {
    /// Refused: only writers of open segments could free memory, and the budget is strict.
    Exceeded(u64),
    /// Granted within the budget.
    Granted(u64),
    /// Granted beyond the budget: only writers of open segments could free memory.
    GrantedOver(u64),
}

impl MemoryPolicy {
    /// Returns a budget of `capacity` bytes, all of them free. A `strict` budget is never exceeded.
    #[must_use]
    pub const fn new(capacity: u64, strict: bool) -> Self {
        Self {
            capacity,
            strict,
            segments: BTreeMap::new(),
            waiting: VecDeque::new(),
            stalled_since: None,
        }
    }

    /// Requests the memory of a new segment, which is open once granted. More than the capacity counts
    /// as the capacity, so that one segment always fits.
    pub fn request(&mut self, segment: u64, bytes: u64, now: Duration) -> Vec<MemoryDecision> {
        self.waiting.push_back(Waiting { segment, bytes: bytes.min(self.capacity) });
        self.decide(now)
    }

    /// Cancels a request, or frees the memory of a segment.
    pub fn free(&mut self, segment: u64, now: Duration) -> Vec<MemoryDecision> {
        self.segments.remove(&segment);
        self.waiting.retain(|waiting| waiting.segment != segment);
        self.decide(now)
    }

    /// Records progress of an open segment: its writer wrote, or a part of it was sent.
    pub fn progress(&mut self, now: Duration) {
        if self.stalled_since.is_some() {
            self.stalled_since = Some(now);
        }
    }

    /// Records that a segment is complete, hence in flight, and needs only `bytes`.
    pub fn complete(&mut self, segment: u64, bytes: u64, now: Duration) -> Vec<MemoryDecision> {
        if let Some(held) = self.segments.get_mut(&segment) {
            *held = Segment { bytes: bytes.min(held.bytes), open: false };
        }
        self.decide(now)
    }

    /// Decides again because time has passed.
    pub fn tick(&mut self, now: Duration) -> Vec<MemoryDecision> {
        self.decide(now)
    }

    /// Returns the bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.segments.values().fold(0, |sum, held| sum.saturating_add(held.bytes))
    }

    fn decide(&mut self, now: Duration) -> Vec<MemoryDecision> {
        let mut decisions = Vec::new();
        while let Some(next) = self.waiting.front().copied() {
            let fits = self.used().saturating_add(next.bytes) <= self.capacity;
            if !fits && !self.is_stalled(now) {
                break;
            }
            self.waiting.pop_front();
            self.stalled_since = None;
            decisions.push(match (fits, self.strict) {
                (false, true) => MemoryDecision::Exceeded(next.segment),
                (false, false) => MemoryDecision::GrantedOver(next.segment),
                (true, _) => MemoryDecision::Granted(next.segment),
            });
            if fits || !self.strict {
                self.segments.insert(next.segment, Segment { bytes: next.bytes, open: true });
            }
        }
        if self.waiting.is_empty() {
            self.stalled_since = None;
        }
        decisions
    }

    /// Returns whether nothing has been in flight and no open segment has made progress for [`STALL`].
    fn is_stalled(&mut self, now: Duration) -> bool {
        if self.segments.values().any(|held| !held.open) {
            self.stalled_since = None;
            return false;
        }
        let since = *self.stalled_since.get_or_insert(now);
        now.saturating_sub(since) >= STALL
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEGMENT: u64 = 64;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn segments_beyond_the_budget_are_granted_in_order() {
        let mut memory = MemoryPolicy::new(2 * SEGMENT, false);
        assert_eq!(memory.request(1, SEGMENT, at(0)), [MemoryDecision::Granted(1)]);
        assert_eq!(memory.request(2, 1000, at(0)), []);
        assert_eq!(memory.request(3, 1, at(0)), [], "not before the one that asked first");
        assert_eq!(memory.complete(1, SEGMENT, at(1)), []);
        assert_eq!(memory.tick(at(10_000)), [], "a segment in flight frees its memory");
        assert_eq!(memory.free(1, at(10_001)), [MemoryDecision::Granted(2)]);
        assert_eq!(memory.used(), 2 * SEGMENT);
        let rest = memory.complete(2, SEGMENT, at(10_002));
        assert_eq!(rest, [MemoryDecision::Granted(3)]);
    }

    #[test]
    fn budget_is_exceeded_by_one_segment_when_all_writers_are_idle() {
        let mut memory = MemoryPolicy::new(SEGMENT, false);
        assert_eq!(memory.request(1, SEGMENT, at(0)), [MemoryDecision::Granted(1)]);
        assert_eq!(memory.request(2, SEGMENT, at(0)), []);
        assert_eq!(memory.request(3, SEGMENT, at(0)), []);
        memory.progress(at(60));
        assert_eq!(memory.tick(at(159)), []);
        assert_eq!(memory.tick(at(160)), [MemoryDecision::GrantedOver(2)]);
        assert_eq!(memory.tick(at(260)), [MemoryDecision::GrantedOver(3)]);
        assert_eq!(memory.tick(at(10_000)), []);
    }

    #[test]
    fn strict_budget_refuses_instead() {
        let mut memory = MemoryPolicy::new(SEGMENT, true);
        assert_eq!(memory.request(1, SEGMENT, at(0)), [MemoryDecision::Granted(1)]);
        assert_eq!(memory.request(2, SEGMENT, at(0)), []);
        assert_eq!(memory.tick(at(100)), [MemoryDecision::Exceeded(2)]);
        assert_eq!(memory.used(), SEGMENT);
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Request(u64),
        Complete(usize, u64),
        Free(usize),
        Wait(u64),
        Write,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (1..200_u64).prop_map(Event::Request),
            (any::<usize>(), 0..200_u64).prop_map(|(which, bytes)| Event::Complete(which, bytes)),
            any::<usize>().prop_map(Event::Free),
            (0..150_u64).prop_map(Event::Wait),
            Just(Event::Write),
        ]
    }

    /// A caller beside the policy: what it holds, and whether a writer could go on.
    #[derive(Default)]
    struct Caller {
        asked: Vec<(u64, u64)>,
        open: Vec<u64>,
        in_flight: Vec<u64>,
        used: BTreeMap<u64, u64>,
        written: Duration,
        waits_since: Duration,
    }

    proptest! {
        /// Segments are granted in order; the budget is exceeded only when nothing is in flight and
        /// nothing was written for a while; and nothing waits longer than that then.
        #[test]
        fn budget_is_exceeded_only_where_every_writer_would_wait(
            events in prop::collection::vec(event(), 1..200), capacity in 1..500_u64,
            strict in any::<bool>(),
        ) {
            let mut memory = MemoryPolicy::new(capacity, strict);
            let mut caller = Caller::default();
            let mut now = Duration::ZERO;
            let mut next = 0;
            for event in events {
                let decisions = match event {
                    Event::Request(bytes) => {
                        next += 1;
                        if caller.asked.is_empty() {
                            caller.waits_since = now;
                        }
                        caller.asked.push((next, bytes.min(capacity)));
                        memory.request(next, bytes, now)
                    }
                    Event::Complete(which, bytes) if !caller.open.is_empty() => {
                        let segment = caller.open.remove(which % caller.open.len());
                        caller.in_flight.push(segment);
                        let held = caller.used.get_mut(&segment).expect("held");
                        *held = bytes.min(*held);
                        memory.complete(segment, bytes, now)
                    }
                    Event::Free(which) if !caller.in_flight.is_empty() => {
                        let segment = caller.in_flight.remove(which % caller.in_flight.len());
                        caller.used.remove(&segment);
                        if caller.in_flight.is_empty() {
                            caller.waits_since = now;
                        }
                        memory.free(segment, now)
                    }
                    Event::Wait(millis) => {
                        now += at(millis);
                        memory.tick(now)
                    }
                    Event::Write if !caller.open.is_empty() => {
                        caller.written = now;
                        memory.progress(now);
                        Vec::new()
                    }
                    _ => Vec::new(),
                };
                for decision in decisions {
                    let (segment, bytes) = caller.asked.remove(0);
                    let used: u64 = caller.used.values().sum();
                    let over = used + bytes > capacity;
                    let idle = now.saturating_sub(caller.written.max(caller.waits_since));
                    if over {
                        prop_assert!(caller.in_flight.is_empty() && idle >= STALL, "{idle:?}");
                    }
                    let granted = match decision {
                        MemoryDecision::Exceeded(id) => {
                            prop_assert!(over && strict && id == segment);
                            false
                        }
                        MemoryDecision::Granted(id) => {
                            prop_assert!(!over && id == segment);
                            true
                        }
                        MemoryDecision::GrantedOver(id) => {
                            prop_assert!(over && !strict && id == segment);
                            true
                        }
                    };
                    if granted {
                        caller.open.push(segment);
                        caller.used.insert(segment, bytes);
                    }
                    caller.waits_since = now;
                }
                prop_assert_eq!(memory.used(), caller.used.values().sum::<u64>());
                if let Some((_, bytes)) = caller.asked.first() {
                    prop_assert!(memory.used() + bytes > capacity, "it waits although it fits");
                    let stalls = caller.in_flight.is_empty();
                    let decides = !memory.clone().tick(now + STALL).is_empty();
                    prop_assert_eq!(decides, stalls, "it waits longer than a stall");
                }
            }
        }
    }
}
