//! In-memory file system that injects faults and loses unsynced data on power loss.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Entry, Files, ReadableFile, WritableFile};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Open,
    Write,
    Sync,
    Rename,
    Remove,
    CreateDirectory,
    SyncDirectory,
    List,
}

pub(super) const FULL: i32 = 28;
pub(super) const FAILED: i32 = 5;

/// Clones share one file system.
#[derive(Clone, Debug, Default)]
pub(super) struct Model(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: Vec<File>,
    directories: BTreeMap<PathBuf, Directory>,
    log: Vec<(Operation, PathBuf)>,
    /// The operation that fails, the number of its kind that succeed before, and the error number.
    fault: Option<(Operation, usize, i32)>,
    /// Remaining operations until the power loss, after which all fail.
    until_power_loss: Option<usize>,
    /// Unsynced moves of files between directories, in order.
    moves: Vec<Move>,
}

/// A move between directories, one transaction of the file system's journal: after a power loss the
/// file is in one of the two directories.
#[derive(Debug)]
struct Move {
    number: usize,
    from: PathBuf,
    to: PathBuf,
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    current: Vec<u8>,
}

#[derive(Debug, Default)]
struct Directory {
    durable: BTreeMap<String, Child>,
    current: BTreeMap<String, Child>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Child {
    File(usize),
    Directory,
}

impl Model {
    /// Makes the operation after `successes` of its kind fail, once.
    pub(super) fn fail(&self, operation: Operation, successes: usize, error: i32) {
        self.state().fault = Some((operation, successes, error));
    }

    /// Returns whether the last fault occurred, and clears it.
    pub(super) fn failed(&self) -> bool {
        self.state().fault.take().is_none()
    }

    /// Makes every operation fail after the next `operations`.
    pub(super) fn cut_power_after(&self, operations: usize) {
        self.state().until_power_loss = Some(operations);
    }

    /// Returns the operations since the last call.
    pub(super) fn take_log(&self) -> Vec<(Operation, PathBuf)> {
        std::mem::take(&mut self.state().log)
    }

    /// Restores the power. `random` decides which unsynced changes survive: per name, and per block
    /// of file contents.
    pub(super) fn restore(&self, random: &mut impl FnMut(usize) -> usize) {
        let mut state = self.state();
        state.until_power_loss = None;
        for file in &mut state.files {
            if file.current != file.durable {
                file.durable = torn(&file.durable, &file.current, random);
                file.current.clone_from(&file.durable);
            }
        }
        let moves = std::mem::take(&mut state.moves);
        // The journal is ordered: a prefix of the moves survives.
        for moved in &moves[..random(moves.len() + 1)] {
            state.journal(moved);
        }
        let moved = |path: &Path| moves.iter().any(|it| it.from == path || it.to == path);
        for (path, directory) in &mut state.directories {
            let mut names: Vec<_> = directory.durable.keys().cloned().collect();
            names.extend(directory.current.keys().cloned());
            for name in names {
                if !moved(&path.join(&name)) {
                    let old = directory.durable.get(&name);
                    let new = directory.current.get(&name);
                    let survivor = if random(2) == 0 { old } else { new };
                    match survivor.copied() {
                        Some(child) => directory.durable.insert(name.clone(), child),
                        None => directory.durable.remove(&name),
                    };
                }
                match durable_child(directory, &name) {
                    Some(child) => directory.current.insert(name, child),
                    None => directory.current.remove(&name),
                };
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

fn durable_child(directory: &Directory, name: &str) -> Option<Child> {
    directory.durable.get(name).copied()
}

fn torn(old: &[u8], new: &[u8], random: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    const BLOCK: usize = 512;
    let length = [old.len(), new.len(), random(new.len() + 1)][random(3)];
    let mut mixed = vec![0; length];
    for (index, block) in mixed.chunks_mut(BLOCK).enumerate() {
        let source = if random(2) == 0 { old } else { new };
        let source = source.get(index * BLOCK..).unwrap_or_default();
        let length = source.len().min(block.len());
        block[..length].copy_from_slice(&source[..length]);
    }
    mixed
}

impl State {
    fn begin(&mut self, operation: Operation, path: &Path) -> io::Result<()> {
        if let Some(remaining) = &mut self.until_power_loss {
            *remaining =
                remaining.checked_sub(1).ok_or_else(|| io::Error::from_raw_os_error(FAILED))?;
        }
        if let Some((kind, successes, error)) = &mut self.fault
            && *kind == operation
        {
            match successes.checked_sub(1) {
                Some(remaining) => *successes = remaining,
                None => {
                    let error = *error;
                    self.fault = None;
                    return Err(io::Error::from_raw_os_error(error));
                }
            }
        }
        self.log.push((operation, path.to_owned()));
        Ok(())
    }

    /// Returns the parent directory of `path`, and the name in it.
    fn parent(&mut self, path: &Path) -> io::Result<(&mut Directory, String)> {
        let parent = path.parent().unwrap();
        let name = path.file_name().unwrap();
        let name = name.to_str().unwrap().to_owned();
        Ok((self.directory(parent)?, name))
    }

    fn directory(&mut self, path: &Path) -> io::Result<&mut Directory> {
        if !self.reachable(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(self.directories.entry(path.to_owned()).or_default())
    }

    fn reachable(&self, path: &Path) -> bool {
        let Some(parent) = path.parent() else { return true };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        let child = self.directories.get(parent).and_then(|parent| parent.current.get(name));
        child == Some(&Child::Directory) && self.reachable(parent)
    }

    /// Makes a move durable in both directories.
    fn journal(&mut self, moved: &Move) {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let from = self.directories.get_mut(moved.from.parent().unwrap()).unwrap();
        if from.durable.get(&name(&moved.from)) == Some(&Child::File(moved.number)) {
            from.durable.remove(&name(&moved.from));
        }
        let to = self.directories.get_mut(moved.to.parent().unwrap()).unwrap();
        to.durable.insert(name(&moved.to), Child::File(moved.number));
    }

    fn file(&mut self, path: &Path) -> io::Result<usize> {
        let (parent, name) = self.parent(path)?;
        match parent.current.get(&name) {
            Some(Child::File(number)) => Ok(*number),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Files for Model {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WritableFile>> {
        let mut state = self.state();
        state.begin(Operation::Create, path)?;
        let number = state.files.len();
        state.files.push(File::default());
        let (parent, name) = state.parent(path)?;
        assert_eq!(parent.current.insert(name, Child::File(number)), None, "exists already");
        Ok(Box::new(Handle { model: self.clone(), number, path: path.to_owned() }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadableFile>> {
        let mut state = self.state();
        state.begin(Operation::Open, path)?;
        let number = state.file(path)?;
        Ok(Box::new(Handle { model: self.clone(), number, path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::Rename, to)?;
        let number = state.file(from)?;
        let (parent, name) = state.parent(to)?;
        parent.current.insert(name, Child::File(number));
        let (parent, name) = state.parent(from)?;
        parent.current.remove(&name);
        if from.parent() != to.parent() {
            let from = from.to_owned();
            let to = to.to_owned();
            state.moves.push(Move { number, from, to });
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::Remove, path)?;
        state.file(path)?;
        let (parent, name) = state.parent(path)?;
        parent.current.remove(&name);
        Ok(())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::CreateDirectory, path)?;
        let mut ancestors: Vec<_> =
            path.ancestors().filter(|path| path.parent().is_some()).collect();
        ancestors.reverse();
        for directory in ancestors {
            if !state.reachable(directory) {
                let (parent, name) = state.parent(directory)?;
                parent.current.insert(name, Child::Directory);
                state.directories.insert(directory.to_owned(), Directory::default());
            }
        }
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::SyncDirectory, path)?;
        state.directory(path)?;
        let touches = |it: &Move| [&it.from, &it.to].iter().any(|it| it.parent() == Some(path));
        let end = state.moves.iter().rposition(touches).map_or(0, |last| last + 1);
        let moves: Vec<_> = state.moves.drain(..end).collect();
        for moved in &moves {
            state.journal(moved);
        }
        let directory = state.directory(path)?;
        directory.durable.clone_from(&directory.current);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.state();
        state.begin(Operation::List, path)?;
        let children = state.directory(path)?.current.clone();
        let entries = children.into_iter().map(|(name, child)| match child {
            Child::Directory => Entry { name, directory: true, size: 0 },
            Child::File(number) => {
                Entry { name, directory: false, size: state.files[number].current.len() as u64 }
            }
        });
        Ok(entries.collect())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(1 << 40)
    }
}

struct Handle {
    model: Model,
    number: usize,
    path: PathBuf,
}

impl WritableFile for Handle {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.model.state();
        let outcome = state.begin(Operation::Write, &self.path);
        // A failed write has written half of its bytes.
        let bytes = if outcome.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let file = &mut state.files[self.number].current;
        let start = offset as usize;
        let end = start + bytes.len();
        file.resize(file.len().max(end), 0);
        file[start..end].copy_from_slice(bytes);
        outcome
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.model.state();
        state.begin(Operation::Sync, &self.path)?;
        let file = &mut state.files[self.number];
        file.durable.clone_from(&file.current);
        Ok(())
    }
}

impl ReadableFile for Handle {
    fn size(&self) -> io::Result<u64> {
        Ok(self.model.state().files[self.number].current.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.model.state();
        let from = state.files[self.number].current.get(offset as usize..).unwrap_or_default();
        let bytes = from.get(..buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}
