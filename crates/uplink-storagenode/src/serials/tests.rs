//! Crashes are simulated by the files on disk and a different boot id.

use std::fs;
use std::sync::atomic::{AtomicI64, Ordering};

use tempfile::TempDir;

use super::*;

const A: NodeId = id(1);
const B: NodeId = id(2);
const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3600;
const BOOT: Option<&str> = Some("one");
const NEXT_BOOT: Option<&str> = Some("two");

/// Returns an id with a valid text form: its last byte is the version.
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

/// Claims and persists a serial number.
fn use_serial(
    serials: &Serials,
    satellite: NodeId,
    number: u8,
    created: i64,
) -> Result<(), SerialError> {
    serials.claim(satellite, serial(number), created)?;
    serials.persist(satellite, created).unwrap();
    Ok(())
}

#[test]
fn serial_is_claimed_once_per_satellite() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    assert_eq!(use_serial(&serials, A, 7, NOW), Ok(()));
    assert_eq!(use_serial(&serials, A, 7, NOW), Err(SerialError::Used));
    assert_eq!(use_serial(&serials, B, 7, NOW), Ok(()));
    assert_eq!(use_serial(&serials, A, 8, NOW), Ok(()));
}

#[test]
fn serials_survive_a_killed_process() {
    let disk = Disk::new();
    let killed = disk.open(BOOT);
    for number in 0..100 {
        use_serial(&killed, A, number, NOW).unwrap();
    }
    let next = disk.open(BOOT);
    for number in 0..100 {
        assert_eq!(use_serial(&next, A, number, NOW), Err(SerialError::Used));
    }
    let created_before = use_serial(&next, A, 100, NOW - HOUR);
    assert_eq!(created_before, Ok(()), "an unused limit from before the kill is valid");
    let third = disk.open(BOOT);
    assert_eq!(use_serial(&third, A, 100, NOW), Err(SerialError::Used));
}

#[test]
fn serials_survive_a_reboot_after_a_clean_shutdown() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    use_serial(&serials, A, 1, NOW).unwrap();
    serials.close().unwrap();
    let next = disk.open(NEXT_BOOT);
    assert_eq!(use_serial(&next, A, 1, NOW), Err(SerialError::Used));
    assert_eq!(use_serial(&next, A, 2, NOW), Ok(()));
}

#[test]
fn only_limits_around_a_power_loss_are_rejected() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    use_serial(&serials, A, 1, NOW).unwrap();
    use_serial(&serials, B, 1, NOW - 1800).unwrap();
    let durable = disk.bytes(A);
    // Used after the last sync and lost.
    use_serial(&serials, A, 2, NOW + 4).unwrap();
    drop(serials);
    let [log] = &disk.logs(A)[..] else { panic!("one log") };
    fs::File::options().write(true).open(log).unwrap().set_len(durable).unwrap();
    for boot in [NEXT_BOOT, NEXT_BOOT, Some("three")] {
        let next = disk.open(boot);
        assert_eq!(use_serial(&next, A, 1, NOW - HOUR), Err(SerialError::Used));
        for created in [NOW - 60, NOW, NOW + 4, NOW + LEAD_SECONDS] {
            assert_eq!(use_serial(&next, A, 2, created), Err(SerialError::Lost), "{created}");
        }
    }
    let next = disk.open(Some("three"));
    assert_eq!(use_serial(&next, A, 3, NOW + LEAD_SECONDS + 1), Ok(()));
    assert_eq!(use_serial(&next, A, 4, NOW - 600), Ok(()));
    assert_eq!(use_serial(&next, B, 5, NOW), Ok(()), "by the clock of each satellite");
}

#[test]
fn limit_above_the_watermark_waits_for_a_sync() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    let record = 32;
    use_serial(&serials, A, 1, NOW).unwrap();
    assert_eq!(disk.bytes(A), 2 * record, "a record and a watermark");
    use_serial(&serials, A, 2, NOW + LEAD_SECONDS).unwrap();
    assert_eq!(disk.bytes(A), 3 * record, "below the watermark");
    use_serial(&serials, A, 3, NOW + LEAD_SECONDS + 1).unwrap();
    assert_eq!(disk.bytes(A), 5 * record, "above the watermark");
    serials.maintain(Instant::now()).unwrap();
    assert_eq!(disk.bytes(A), 5 * record, "nothing to sync");
}

#[test]
fn regular_sync_advances_the_watermark() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    use_serial(&serials, A, 1, NOW).unwrap();
    use_serial(&serials, A, 2, NOW + 10).unwrap();
    serials.maintain(Instant::now()).unwrap();
    let before = disk.bytes(A);
    use_serial(&serials, A, 3, NOW + 10 + LEAD_SECONDS).unwrap();
    assert_eq!(disk.bytes(A), before + 32, "a record without a watermark");
}

#[test]
fn torn_and_corrupt_records_are_skipped() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    for number in 1..=3 {
        use_serial(&serials, A, number, NOW).unwrap();
    }
    drop(serials);
    let [log] = &disk.logs(A)[..] else { panic!("one log") };
    let mut bytes = fs::read(log).unwrap();
    // Serial number 1, its watermark, 2, 3: corrupt 2 and append half a record.
    bytes[2 * 32 + 15] ^= 1;
    bytes.extend_from_slice(&[1; 16]);
    fs::write(log, bytes).unwrap();
    let next = disk.open(BOOT);
    assert_eq!(use_serial(&next, A, 1, NOW), Err(SerialError::Used));
    assert_eq!(use_serial(&next, A, 3, NOW), Err(SerialError::Used));
    assert_eq!(use_serial(&next, A, 4, NOW), Ok(()));
    assert_eq!(use_serial(&disk.open(BOOT), A, 4, NOW), Err(SerialError::Used));
}

#[test]
fn serial_is_evicted_when_unused_and_old_by_both_clocks() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    use_serial(&serials, A, 1, NOW).unwrap();
    let start = Instant::now();
    let hours = |number: u64| start + Duration::from_secs(number * 3600 + 60);
    serials.maintain(hours(1)).unwrap();
    // The wall clock steps ahead: the serial number was used recently.
    disk.wall.store(NOW + 24 * HOUR, Ordering::Relaxed);
    serials.maintain(hours(1)).unwrap();
    assert_eq!(use_serial(&serials, A, 1, NOW), Err(SerialError::Used));
    // The wall clock stands still: the limit looks recent.
    disk.wall.store(NOW, Ordering::Relaxed);
    serials.maintain(hours(9)).unwrap();
    assert_eq!(use_serial(&serials, A, 1, NOW), Err(SerialError::Used));
    assert_eq!(disk.logs(A).len(), 1);
    disk.wall.store(NOW + 3 * HOUR, Ordering::Relaxed);
    serials.maintain(hours(9)).unwrap();
    assert_eq!(disk.logs(A).len(), 0);
    assert_eq!(use_serial(&serials, A, 1, NOW + 3 * HOUR), Ok(()));
}

#[test]
fn start_removes_only_files_older_than_the_retention() {
    let disk = Disk::new();
    for (number, created) in [(1, NOW), (2, NOW + HOUR)] {
        use_serial(&disk.open(BOOT), A, number, created).unwrap();
    }
    assert_eq!(disk.logs(A).len(), 2);
    disk.wall.store(NOW + RETENTION_ON_DISK_SECONDS + 60, Ordering::Relaxed);
    let serials = disk.open(BOOT);
    assert_eq!(disk.logs(A).len(), 1);
    assert_eq!(use_serial(&serials, A, 2, NOW + HOUR), Err(SerialError::Used));
}

#[test]
fn concurrently_claimed_serials_are_all_written() {
    let disk = Disk::new();
    let serials = disk.open(BOOT);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let serials = &serials;
            scope.spawn(move || {
                for number in 0..50 {
                    use_serial(serials, A, thread * 50 + number, NOW).unwrap();
                }
            });
        }
    });
    let next = disk.open(BOOT);
    for number in 0..200 {
        assert_eq!(use_serial(&next, A, number, NOW), Err(SerialError::Used), "{number}");
    }
}
