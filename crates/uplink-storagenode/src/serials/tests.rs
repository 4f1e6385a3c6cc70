//! Crashes are played by what is on the disk, and by another name of the system's start.

use std::{fs, sync::atomic::AtomicI64, sync::atomic::Ordering};

use tempfile::TempDir;

use super::*;

const A: NodeId = id(1);
const B: NodeId = id(2);
const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3600;
const BOOT: Option<&str> = Some("one");
const NEXT_BOOT: Option<&str> = Some("two");

/// An id whose text can be read: the last byte is the version.
const fn id(number: u8) -> NodeId {
    let mut bytes = [number; 32];
    bytes[31] = 0;
    NodeId::new(bytes)
}

struct Disk {
    directory: TempDir,
    wall: Arc<AtomicI64>,
}

impl Disk {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap(), wall: Arc::new(AtomicI64::new(NOW)) }
    }

    fn open(&self, boot: Option<&str>) -> Serials {
        let wall = Arc::clone(&self.wall);
        let clock = Clock::new(move || {
            let seconds = wall.load(Ordering::Relaxed).unsigned_abs();
            std::time::UNIX_EPOCH + Duration::from_secs(seconds)
        });
        Serials::open_on(self.directory.path(), clock, boot).unwrap()
    }

    fn logs(&self, satellite: NodeId) -> Vec<PathBuf> {
        let directory = self.directory.path().join("serials").join(satellite.to_string());
        let mut logs: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        logs.sort();
        logs
    }

    fn bytes(&self, satellite: NodeId) -> u64 {
        self.logs(satellite).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
    }
}

fn serial(number: u8) -> SerialNumber {
    SerialNumber::new([number; 16])
}

/// Takes and writes a serial number.
fn use_up(
    serials: &Serials,
    satellite: NodeId,
    number: u8,
    created: i64,
) -> Result<(), SerialRefusal> {
    serials.take(satellite, serial(number), created)?;
    serials.remember(satellite, created).unwrap();
    Ok(())
}

#[test]
fn serial_is_taken_once_per_satellite() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    assert_eq!(use_up(&serials, A, 7, NOW), Ok(()));
    assert_eq!(use_up(&serials, A, 7, NOW), Err(SerialRefusal::Used));
    assert_eq!(use_up(&serials, B, 7, NOW), Ok(()));
    assert_eq!(use_up(&serials, A, 8, NOW), Ok(()));
}

#[test]
fn killed_process_forgets_no_serial() {
    let disk = Disk::new();
    let killed = disk.open(BOOT);
    for number in 0..100 {
        use_up(&killed, A, number, NOW).unwrap();
    }
    let next = disk.open(BOOT);
    for number in 0..100 {
        assert_eq!(use_up(&next, A, number, NOW), Err(SerialRefusal::Used));
    }
    let made_before = use_up(&next, A, 100, NOW - HOUR);
    assert_eq!(made_before, Ok(()), "an unused limit of before the kill is good");
    let third = disk.open(BOOT);
    assert_eq!(use_up(&third, A, 100, NOW), Err(SerialRefusal::Used));
}

#[test]
fn stop_in_order_survives_a_restart_of_the_machine() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    use_up(&serials, A, 1, NOW).unwrap();
    serials.close().unwrap();
    let next = disk.open(NEXT_BOOT);
    assert_eq!(use_up(&next, A, 1, NOW), Err(SerialRefusal::Used));
    assert_eq!(use_up(&next, A, 2, NOW), Ok(()));
}

#[test]
fn limits_around_a_power_loss_are_refused_and_no_others() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    use_up(&serials, A, 1, NOW).unwrap();
    use_up(&serials, B, 1, NOW - 1800).unwrap();
    let durable = disk.bytes(A);
    // Used after the last sync, and lost.
    use_up(&serials, A, 2, NOW + 4).unwrap();
    drop(serials);
    let [log] = &disk.logs(A)[..] else { panic!("one log") };
    fs::File::options().write(true).open(log).unwrap().set_len(durable).unwrap();
    for boot in [NEXT_BOOT, NEXT_BOOT, Some("three")] {
        let next = disk.open(boot);
        assert_eq!(use_up(&next, A, 1, NOW - HOUR), Err(SerialRefusal::Used));
        for created in [NOW - 60, NOW, NOW + 4, NOW + LEAD_SECONDS] {
            assert_eq!(use_up(&next, A, 2, created), Err(SerialRefusal::Lost), "{created}");
        }
    }
    let next = disk.open(Some("three"));
    assert_eq!(use_up(&next, A, 3, NOW + LEAD_SECONDS + 1), Ok(()));
    assert_eq!(use_up(&next, A, 4, NOW - 600), Ok(()));
    assert_eq!(use_up(&next, B, 5, NOW), Ok(()), "by the clock of each satellite");
}

#[test]
fn limit_beyond_the_mark_waits_for_a_sync() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    let record = 32;
    use_up(&serials, A, 1, NOW).unwrap();
    assert_eq!(disk.bytes(A), 2 * record, "a record and a mark");
    use_up(&serials, A, 2, NOW + LEAD_SECONDS).unwrap();
    assert_eq!(disk.bytes(A), 3 * record, "covered by the mark");
    use_up(&serials, A, 3, NOW + LEAD_SECONDS + 1).unwrap();
    assert_eq!(disk.bytes(A), 5 * record, "not covered");
    serials.tend(Instant::now()).unwrap();
    assert_eq!(disk.bytes(A), 5 * record, "nothing to sync");
}

#[test]
fn regular_sync_covers_what_comes_next() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    use_up(&serials, A, 1, NOW).unwrap();
    use_up(&serials, A, 2, NOW + 10).unwrap();
    serials.tend(Instant::now()).unwrap();
    let before = disk.bytes(A);
    use_up(&serials, A, 3, NOW + 10 + LEAD_SECONDS).unwrap();
    assert_eq!(disk.bytes(A), before + 32, "a record without a mark");
}

#[test]
fn torn_and_damaged_records_do_not_hide_others() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    for number in 1..=3 {
        use_up(&serials, A, number, NOW).unwrap();
    }
    drop(serials);
    let [log] = &disk.logs(A)[..] else { panic!("one log") };
    let mut bytes = fs::read(log).unwrap();
    // Serial number 1, its mark, 2, 3: the second is damaged, half a record follows.
    bytes[2 * 32 + 15] ^= 1;
    bytes.extend_from_slice(&[1; 16]);
    fs::write(log, bytes).unwrap();
    let next = disk.open(BOOT);
    assert_eq!(use_up(&next, A, 1, NOW), Err(SerialRefusal::Used));
    assert_eq!(use_up(&next, A, 3, NOW), Err(SerialRefusal::Used));
    assert_eq!(use_up(&next, A, 4, NOW), Ok(()));
    assert_eq!(use_up(&disk.open(BOOT), A, 4, NOW), Err(SerialRefusal::Used));
}

#[test]
fn serial_is_forgotten_when_unused_and_old_by_both_clocks() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    use_up(&serials, A, 1, NOW).unwrap();
    let start = Instant::now();
    let hours = |number: u64| start + Duration::from_secs(number * 3600 + 60);
    serials.tend(hours(1)).unwrap();
    // The wall clock jumps ahead: the serial number was used lately.
    disk.wall.store(NOW + 24 * HOUR, Ordering::Relaxed);
    serials.tend(hours(1)).unwrap();
    assert_eq!(use_up(&serials, A, 1, NOW), Err(SerialRefusal::Used));
    // The wall clock stands still: the limit looks young.
    disk.wall.store(NOW, Ordering::Relaxed);
    serials.tend(hours(9)).unwrap();
    assert_eq!(use_up(&serials, A, 1, NOW), Err(SerialRefusal::Used));
    assert_eq!(disk.logs(A).len(), 1);
    disk.wall.store(NOW + 3 * HOUR, Ordering::Relaxed);
    serials.tend(hours(9)).unwrap();
    assert_eq!(disk.logs(A).len(), 0);
    assert_eq!(use_up(&serials, A, 1, NOW + 3 * HOUR), Ok(()));
}

#[test]
fn start_drops_files_older_than_a_day_and_keeps_younger() {
    let disk = Disk::new();
    for (number, created) in [(1, NOW), (2, NOW + HOUR)] {
        use_up(&disk.open(BOOT), A, number, created).unwrap();
    }
    assert_eq!(disk.logs(A).len(), 2);
    disk.wall.store(NOW + KEEP_ON_DISK_SECONDS + 60, Ordering::Relaxed);
    let serials = disk.open(BOOT);
    assert_eq!(disk.logs(A).len(), 1);
    assert_eq!(use_up(&serials, A, 2, NOW + HOUR), Err(SerialRefusal::Used));
}

#[test]
fn serials_taken_at_once_are_each_written() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let serials = &serials;
            scope.spawn(move || {
                for number in 0..50 {
                    use_up(serials, A, thread * 50 + number, NOW).unwrap();
                }
            });
        }
    });
    let next = disk.open(BOOT);
    for number in 0..200 {
        assert_eq!(use_up(&next, A, number, NOW), Err(SerialRefusal::Used), "{number}");
    }
}
