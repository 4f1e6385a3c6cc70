//! Whether everything that was written is on the disk.
//!
//! A process that dies leaves what it wrote to the system, which syncs it later; only when the
//! whole system stops is something lost. So the file names the system start during which it was
//! written, or says that the node was stopped in order.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Tells whether nothing can be missing from the files of `directory`.
pub(super) fn is_whole(directory: &Path, boot: Option<&str>) -> io::Result<bool> {
    match fs::read_to_string(directory.join(NAME)) {
        Ok(text) => {
            let written = text.trim_end();
            Ok(written == CLOSED || boot.is_some_and(|boot| written == open(boot)))
        }
        // The first start; or the file was lost, with what is missing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Notes that a process writes.
pub(super) fn begin(directory: &Path, boot: Option<&str>) -> io::Result<()> {
    write(directory, &open(boot.unwrap_or("unknown")))
}

/// Notes that everything is on the disk.
pub(super) fn end(directory: &Path) -> io::Result<()> {
    write(directory, CLOSED)
}

/// The system's name of this start of it, where it has one.
pub(super) fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = id.trim().to_owned();
    (!id.is_empty()).then_some(id)
}

fn open(boot: &str) -> String {
    format!("open {boot}")
}

fn write(directory: &Path, text: &str) -> io::Result<()> {
    let (path, fresh) = (directory.join(NAME), directory.join(FRESH));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&fresh).and_then(|mut file| {
        writeln!(file, "{text}")?;
        file.sync_all()
    });
    match written {
        // A node on a full disk still serves. In place, the file needs no more space.
        Err(error) if super::is_full(&error) => {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            writeln!(file, "{text}")?;
            file.set_len(text.len() as u64 + 1)?;
            return file.sync_all();
        }
        written => written?,
    }
    fs::rename(&fresh, &path)?;
    File::open(directory)?.sync_all()
}

const NAME: &str = "state";
const FRESH: &str = "state.new";
const CLOSED: &str = "closed";
