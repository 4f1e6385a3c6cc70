use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::UNIX_EPOCH;

use super::*;

const SATELLITE: NodeId = NodeId::new([5; 32]);
/// The hour of all orders in these tests.
const HOUR: i64 = 490_000;
const CREATED: i64 = HOUR * SECONDS_PER_HOUR + 1800;

struct Fixture {
    data: tempfile::TempDir,
    now: Arc<AtomicI64>,
    settlement: Settlement,
}

impl Fixture {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(CREATED));
        let settlement = Settlement::new(data.path(), clock(&now));
        Self { data, now, settlement }
    }

    fn restart(&mut self) {
        self.settlement = Settlement::new(self.data.path(), clock(&self.now));
    }

    fn add_order(&self, number: u8) {
        self.settlement.begin(CREATED);
        self.end_request(number);
    }

    fn end_request(&self, number: u8) {
        let pair = Some((vec![8, number].into(), vec![16, number].into()));
        self.settlement.end(SATELLITE, CREATED, pair);
        self.settlement.write().unwrap();
    }

    /// Flushes `seconds` after the start of the hour.
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
fn orders_are_written_to_the_log_of_their_hour() {
    let fixture = Fixture::new();
    fixture.add_order(1);
    fixture.add_order(2);
    fixture.settlement.begin(CREATED);
    fixture.settlement.end(SATELLITE, CREATED, None);
    assert_eq!(fixture.orders(OPEN), [1, 2]);
}

#[test]
fn torn_record_is_truncated_by_the_next_writer_and_not_sent() {
    let mut fixture = Fixture::new();
    fixture.add_order(1);
    let whole = fs::read(fixture.path(OPEN)).unwrap();
    for torn in 1..whole.len() {
        let mut bytes = whole.clone();
        bytes.extend_from_slice(&whole[..torn]);
        fs::write(fixture.path(OPEN), &bytes).unwrap();
        assert_eq!(fixture.orders(OPEN), [1], "torn after {torn} bytes");
        fixture.restart();
        fixture.add_order(3);
        assert_eq!(fixture.orders(OPEN), [1, 3], "torn after {torn} bytes");
    }
}

#[test]
fn record_with_excessive_length_is_ignored() {
    let fixture = Fixture::new();
    fixture.add_order(1);
    let mut bytes = fs::read(fixture.path(OPEN)).unwrap();
    bytes.extend_from_slice(&u32::MAX.to_be_bytes());
    bytes.extend_from_slice(&[7; 100]);
    fs::write(fixture.path(OPEN), bytes).unwrap();
    assert_eq!(fixture.orders(OPEN), [1]);
}

#[test]
fn hour_is_closed_two_hours_after_its_start() {
    let fixture = Fixture::new();
    fixture.add_order(1);
    fixture.write_after(2 * SECONDS_PER_HOUR - 1);
    assert_eq!(fixture.orders(OPEN), [1]);
    assert!(fixture.settlement.closed(SATELLITE).unwrap().is_empty());
    fixture.write_after(2 * SECONDS_PER_HOUR);
    assert_eq!(fixture.settlement.closed(SATELLITE).unwrap(), [fixture.path(CLOSED)]);
    assert_eq!(fixture.orders(CLOSED), [1]);
    assert!(!fixture.path(OPEN).exists());
    // A late order would change the total of a closed hour.
    fixture.add_order(2);
    fixture.write_after(4 * SECONDS_PER_HOUR);
    assert_eq!(fixture.orders(CLOSED), [1]);
    assert!(!fixture.path(OPEN).exists());
}

#[test]
fn unwritten_orders_stay_pending_until_the_disk_recovers() {
    let fixture = Fixture::new();
    let directory = fixture.data.path().join("orders");
    // A file in place of the directory makes every write fail.
    fs::write(&directory, b"").unwrap();
    for number in [1, 2] {
        fixture.settlement.begin(CREATED);
        let pair = Some((vec![8, number].into(), vec![16, number].into()));
        fixture.settlement.end(SATELLITE, CREATED, pair);
        fixture.settlement.write().unwrap_err();
    }
    fixture.now.fetch_add(3 * SECONDS_PER_HOUR, Relaxed);
    fixture.settlement.write().unwrap_err();
    fs::remove_file(&directory).unwrap();
    fixture.write_after(3 * SECONDS_PER_HOUR);
    assert_eq!(fixture.orders(CLOSED), [1, 2]);
}

#[test]
fn request_in_flight_keeps_its_hour_open() {
    let fixture = Fixture::new();
    fixture.add_order(1);
    fixture.settlement.begin(CREATED);
    fixture.write_after(3 * SECONDS_PER_HOUR);
    assert_eq!(fixture.orders(OPEN), [1]);
    fixture.end_request(2);
    assert_eq!(fixture.orders(CLOSED), [1, 2]);
}

#[test]
fn hour_that_ended_before_a_restart_is_closed_after_it() {
    let mut fixture = Fixture::new();
    fixture.add_order(1);
    fixture.now.store((HOUR + 5) * SECONDS_PER_HOUR, Relaxed);
    fixture.restart();
    fixture.settlement.write().unwrap();
    assert_eq!(fixture.orders(CLOSED), [1]);
}

#[test]
fn closed_hour_is_not_replaced_by_a_log_of_the_same_hour() {
    let mut fixture = Fixture::new();
    fixture.add_order(1);
    fixture.write_after(2 * SECONDS_PER_HOUR);
    // The clock steps back, and the restarted process does not know what it closed.
    fixture.write_after(1800);
    fixture.restart();
    fixture.add_order(2);
    fixture.write_after(2 * SECONDS_PER_HOUR);
    assert_eq!((fixture.orders(CLOSED), fixture.orders(OPEN)), (vec![1], vec![2]));
    settled(&fixture.path(CLOSED), true).unwrap();
    fixture.write_after(3 * SECONDS_PER_HOUR);
    assert_eq!(fixture.orders(CLOSED), [2]);
    settled(&fixture.path(CLOSED), false).unwrap();
    assert_eq!(fixture.orders(REJECTED), [2]);
    assert!(fixture.settlement.closed(SATELLITE).unwrap().is_empty());
}
