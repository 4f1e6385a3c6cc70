//! The machine's file system with an operation log and injected faults.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use uplink_storagenode::{Disk, Entry, Files, ReadableFile, WritableFile};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    Write,
    Sync,
    CreateDirectory,
    Rename,
    SyncDirectory,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct LoggedFiles {
    disk: Disk,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    log: Vec<(Step, PathBuf)>,
    fault: Option<Step>,
}

impl LoggedFiles {
    /// Returns the operations since the last call.
    pub(crate) fn take_log(&self) -> Vec<(Step, PathBuf)> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }

    /// Makes `step` fail with a full disk from now on; `None` clears the fault.
    pub(crate) fn fill(&self, step: Option<Step>) {
        self.state.lock().unwrap().fault = step;
    }

    fn begin(&self, step: Step, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.fault == Some(step) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.log.push((step, path.to_owned()));
        Ok(())
    }
}

impl Files for LoggedFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        self.begin(Step::Create, path)?;
        let file = self.disk.create(path)?;
        Ok(Box::new(LoggedFile { files: self.clone(), file, path: path.to_owned() }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadableFile>> {
        self.disk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(Step::Rename, to)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.begin(Step::CreateDirectory, path)?;
        self.disk.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.begin(Step::SyncDirectory, path)?;
        self.disk.sync_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_space(path)
    }
}

struct LoggedFile {
    files: LoggedFiles,
    file: Box<dyn WritableFile>,
    path: PathBuf,
}

impl WritableFile for LoggedFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.files.begin(Step::Write, &self.path)?;
        self.file.write_at(offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.files.begin(Step::Sync, &self.path)?;
        self.file.sync()
    }
}
