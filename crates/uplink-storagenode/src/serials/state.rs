//! State file that tells whether all written serial numbers reached the disk.
//!
//! The writes of a killed process survive in the page cache and are synced later. Only a crash of
//! the whole system loses them. So the file holds the boot id under which it was written, or
//! `closed` after a clean shutdown.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Returns whether the files of `directory` are complete: no written record was lost.
pub(super) fn is_complete(directory: &Path, boot: Option<&str>) -> io::Result<bool> {
    match fs::read_to_string(directory.join(NAME)) {
        Ok(text) => {
            let written = text.trim_end();
            Ok(written == CLOSED || boot.is_some_and(|boot| written == open(boot)))
        }
        // The first start, or the file was lost together with the records.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Marks the files as being written.
pub(super) fn begin(directory: &Path, boot: Option<&str>) -> io::Result<()> {
    write(directory, &open(boot.unwrap_or("unknown")))
}

/// Marks the files as complete: everything is synced.
pub(super) fn end(directory: &Path) -> io::Result<()> {
    write(directory, CLOSED)
}

/// Returns the boot id of the running system, where available.
pub(super) fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = id.trim().to_owned();
    (!id.is_empty()).then_some(id)
}

fn open(boot: &str) -> String {
    format!("open {boot}")
}

fn write(directory: &Path, text: &str) -> io::Result<()> {
    let path = directory.join(NAME);
    let temporary = directory.join(TEMPORARY_NAME);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&temporary).and_then(|mut file| {
        writeln!(file, "{text}")?;
        file.sync_all()
    });
    match written {
        // A node with a full disk still serves. Overwriting in place needs no space.
        Err(error) if super::is_full(&error) => {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            writeln!(file, "{text}")?;
            file.set_len(text.len() as u64 + 1)?;
            return file.sync_all();
        }
        written => written?,
    }
    fs::rename(&temporary, &path)?;
    File::open(directory)?.sync_all()
}

const NAME: &str = "state";
const TEMPORARY_NAME: &str = "state.new";
const CLOSED: &str = "closed";
