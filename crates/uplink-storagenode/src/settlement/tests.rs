use std::{
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    time::UNIX_EPOCH,
};

use super::*;

const SATELLITE: NodeId = NodeId::new([5; 32]);
/// The hour of all orders here.
const HOUR: i64 = 490_000;
const CREATED: i64 = HOUR * SECONDS_PER_HOUR + 1800;

struct Kept {
    data: tempfile::TempDir,
    now: Arc<AtomicI64>,
    settlement: Settlement,
}

impl Kept {
    fn new() -> Self {
        let (data, now) = (tempfile::tempdir().unwrap(), Arc::new(AtomicI64::new(CREATED)));
        let settlement = Settlement::new(data.path(), clock(&now));
        Self { data, now, settlement }
    }

    fn restart(&mut self) {
        self.settlement = Settlement::new(self.data.path(), clock(&self.now));
    }

    fn keep(&self, number: u8) {
        self.settlement.begin(CREATED);
        self.end(number);
    }

    fn end(&self, number: u8) {
        let pair = Some((vec![8, number].into(), vec![16, number].into()));
        self.settlement.end(SATELLITE, CREATED, pair);
        self.settlement.write().unwrap();
    }

    /// Writes at a number of seconds after the hour began.
    fn write_after(&self, seconds: i64) {
        self.now.store(HOUR * SECONDS_PER_HOUR + seconds, Relaxed);
        self.settlement.write().unwrap();
    }

    fn path(&self, extension: &str) -> PathBuf {
        let directory = self.data.path().join("orders").join(SATELLITE.to_string());
        directory.join(format!("{HOUR}.{extension}"))
    }

    /// The last byte of each order in a file.
    fn orders(&self, extension: &str) -> Vec<u8> {
        let mut records = log::Records::open(&self.path(extension)).unwrap();
        let mut orders = Vec::new();
        while let Some(record) = records.next().unwrap() {
            orders.push(record.order.unwrap().wire()[1]);
        }
        orders
    }
}

fn clock(now: &Arc<AtomicI64>) -> Clock {
    let now = Arc::clone(now);
    Clock::new(move || UNIX_EPOCH + Duration::from_secs(now.load(Relaxed).unsigned_abs()))
}

#[test]
fn orders_are_kept_in_the_log_of_their_hour() {
    let kept = Kept::new();
    kept.keep(1);
    kept.keep(2);
    kept.settlement.begin(CREATED);
    kept.settlement.end(SATELLITE, CREATED, None);
    assert_eq!(kept.orders(OPEN), [1, 2]);
}

#[test]
fn a_torn_record_is_cut_off_by_the_next_writer_and_not_sent() {
    let mut kept = Kept::new();
    kept.keep(1);
    let whole = fs::read(kept.path(OPEN)).unwrap();
    for torn in 1..whole.len() {
        let mut bytes = whole.clone();
        bytes.extend_from_slice(&whole[..torn]);
        fs::write(kept.path(OPEN), &bytes).unwrap();
        assert_eq!(kept.orders(OPEN), [1], "torn after {torn} bytes");
        kept.restart();
        kept.keep(3);
        assert_eq!(kept.orders(OPEN), [1, 3], "torn after {torn} bytes");
    }
}

#[test]
fn an_absurd_length_is_no_record() {
    let kept = Kept::new();
    kept.keep(1);
    let mut bytes = fs::read(kept.path(OPEN)).unwrap();
    bytes.extend_from_slice(&u32::MAX.to_be_bytes());
    bytes.extend_from_slice(&[7; 100]);
    fs::write(kept.path(OPEN), bytes).unwrap();
    assert_eq!(kept.orders(OPEN), [1]);
}

#[test]
fn an_hour_is_closed_two_hours_after_it_began_and_not_before() {
    let kept = Kept::new();
    kept.keep(1);
    kept.write_after(2 * SECONDS_PER_HOUR - 1);
    assert_eq!(kept.orders(OPEN), [1]);
    assert!(kept.settlement.closed(SATELLITE).unwrap().is_empty());
    kept.write_after(2 * SECONDS_PER_HOUR);
    assert_eq!(kept.settlement.closed(SATELLITE).unwrap(), [kept.path(CLOSED)]);
    assert_eq!(kept.orders(CLOSED), [1]);
    assert!(!kept.path(OPEN).exists());
    // What comes now would make another sum of the same hour.
    kept.keep(2);
    kept.write_after(4 * SECONDS_PER_HOUR);
    assert_eq!(kept.orders(CLOSED), [1]);
    assert!(!kept.path(OPEN).exists());
}

#[test]
fn orders_that_cannot_be_written_are_kept_until_they_can_and_then_closed() {
    let kept = Kept::new();
    let directory = kept.data.path().join("orders");
    // Nothing can be written below a file.
    fs::write(&directory, b"").unwrap();
    for number in [1, 2] {
        kept.settlement.begin(CREATED);
        let pair = Some((vec![8, number].into(), vec![16, number].into()));
        kept.settlement.end(SATELLITE, CREATED, pair);
        kept.settlement.write().unwrap_err();
    }
    kept.now.fetch_add(3 * SECONDS_PER_HOUR, Relaxed);
    kept.settlement.write().unwrap_err();
    fs::remove_file(&directory).unwrap();
    kept.write_after(3 * SECONDS_PER_HOUR);
    assert_eq!(kept.orders(CLOSED), [1, 2]);
}

#[test]
fn a_request_under_way_keeps_its_hour_open() {
    let kept = Kept::new();
    kept.keep(1);
    kept.settlement.begin(CREATED);
    kept.write_after(3 * SECONDS_PER_HOUR);
    assert_eq!(kept.orders(OPEN), [1]);
    kept.end(2);
    assert_eq!(kept.orders(CLOSED), [1, 2]);
}

#[test]
fn hours_that_were_over_before_a_restart_are_closed_after_it() {
    let mut kept = Kept::new();
    kept.keep(1);
    kept.now.store((HOUR + 5) * SECONDS_PER_HOUR, Relaxed);
    kept.restart();
    kept.settlement.write().unwrap();
    assert_eq!(kept.orders(CLOSED), [1]);
}

#[test]
fn a_closed_hour_is_never_replaced_by_a_log_of_the_same_hour() {
    let mut kept = Kept::new();
    kept.keep(1);
    kept.write_after(2 * SECONDS_PER_HOUR);
    // The clock goes back, and the process forgets what it closed.
    kept.write_after(1800);
    kept.restart();
    kept.keep(2);
    kept.write_after(2 * SECONDS_PER_HOUR);
    assert_eq!((kept.orders(CLOSED), kept.orders(OPEN)), (vec![1], vec![2]));
    settled(&kept.path(CLOSED), true).unwrap();
    kept.write_after(3 * SECONDS_PER_HOUR);
    assert_eq!(kept.orders(CLOSED), [2]);
    settled(&kept.path(CLOSED), false).unwrap();
    assert_eq!(kept.orders(REJECTED), [2]);
    assert!(kept.settlement.closed(SATELLITE).unwrap().is_empty());
}
