//! Resolution of local paths: a directory entry, or an open descriptor.
//!
//! `/dev/stdout`, `/dev/fd/3` and `/proc/self/fd/3` name open descriptors; so do the paths of the
//! shell's `>(command)` and `<(command)`. On Linux they are links of procfs. Following one leads to
//! the name that the file was opened by, which may be a different file now. Opening one opens the
//! file again, at its beginning and without its append mode. Only a duplicate of the descriptor
//! shares both.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The file that a path resolves to.
#[derive(Debug)]
pub(crate) enum ResolvedPath {
    /// A directory entry, which may not exist. It is not a symbolic link.
    Entry(PathBuf),
    /// A duplicate of an open descriptor of this process.
    Descriptor(File),
    /// A procfs link to a file that another process has open. It can only be opened.
    Unnamed(PathBuf),
}

/// Maximum number of symbolic links to follow, as on Linux.
const MAX_LINKS: usize = 40;

impl ResolvedPath {
    /// Resolves a path and follows symbolic links.
    ///
    /// # Errors
    /// Fails if the directory of the path is missing or unreadable, there are too many links, or a
    /// descriptor cannot be duplicated.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let Some(name) = path.file_name() else { return Ok(Self::Entry(path)) };
            let directory = fs::canonicalize(parent.unwrap_or_else(|| Path::new(".")))?;
            if let Some(number) = descriptor_number(&directory, name) {
                return duplicate(number, &path);
            }
            let Ok(target) = fs::read_link(&path) else { return Ok(Self::Entry(path)) };
            if is_procfs(&directory) {
                return Ok(Self::Unnamed(path));
            }
            path = directory.join(target);
        }
        Err(io::Error::other("too many levels of symbolic links"))
    }

    /// Returns whether a path names standard output.
    pub(crate) fn is_stdout(path: &Path) -> bool {
        // As in `new`, without duplicating descriptors.
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let Some(parent) = path.parent() else { return false };
            let Some(name) = path.file_name() else { return false };
            let Ok(directory) = fs::canonicalize(parent) else { return false };
            if let Some(number) = descriptor_number(&directory, name) {
                return number == 1;
            }
            let Ok(target) = fs::read_link(&path) else { return false };
            path = directory.join(target);
        }
        false
    }
}

/// Returns the number of the descriptor of this process that a directory entry names.
fn descriptor_number(directory: &Path, name: &std::ffi::OsStr) -> Option<i32> {
    if directory != Path::new("/dev/fd") && !is_own_descriptor_directory(directory) {
        return None;
    }
    name.to_str()?.parse().ok().filter(|number| *number >= 0)
}

/// Returns whether a directory is `/proc/self/fd`, or `/proc/self/task/…/fd` of a thread.
fn is_own_descriptor_directory(directory: &Path) -> bool {
    let Ok(process) = fs::canonicalize("/proc/self") else { return false };
    directory.starts_with(process)
        && is_procfs(directory)
        && directory.file_name().is_some_and(|name| name == "fd")
}

#[cfg(target_os = "linux")]
fn is_procfs(directory: &Path) -> bool {
    let found = File::open(directory).and_then(|file| Ok(rustix::fs::fstatfs(file)?));
    found.is_ok_and(|found| found.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

#[cfg(not(target_os = "linux"))]
fn is_procfs(_directory: &Path) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn duplicate(number: i32, path: &Path) -> io::Result<ResolvedPath> {
    use std::os::fd::AsFd as _;

    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    let standard_stream = match number {
        0 => Some(io::stdin().as_fd().try_clone_to_owned()?),
        1 => Some(io::stdout().as_fd().try_clone_to_owned()?),
        2 => Some(io::stderr().as_fd().try_clone_to_owned()?),
        _ => None,
    };
    if let Some(descriptor) = standard_stream {
        return Ok(ResolvedPath::Descriptor(descriptor.into()));
    }
    let duplicated = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|process| pidfd_getfd(process, number, PidfdGetfdFlags::empty()));
    match duplicated {
        Ok(descriptor) => Ok(ResolvedPath::Descriptor(descriptor.into())),
        Err(rustix::io::Errno::BADF) => Err(rustix::io::Errno::BADF.into()),
        // Old kernels and some sandboxes lack these calls. Pipes and devices can be reopened.
        Err(_) => Ok(ResolvedPath::Unnamed(path.to_owned())),
    }
}

/// Other systems duplicate the descriptor when its path is opened.
#[cfg(not(target_os = "linux"))]
fn duplicate(_number: i32, path: &Path) -> io::Result<ResolvedPath> {
    let opened = File::options().write(true).open(path).or_else(|_| File::open(path));
    Ok(ResolvedPath::Descriptor(opened?))
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn open_descriptor(path: impl AsRef<Path>) -> File {
        match ResolvedPath::new(path.as_ref()).unwrap() {
            ResolvedPath::Descriptor(file) => file,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn links_are_followed_to_their_target() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        symlink("second", root.join("first")).unwrap();
        symlink(root.join("file"), root.join("second")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for name in ["file", "second", "first"] {
            let ResolvedPath::Entry(path) = ResolvedPath::new(&root.join(name)).unwrap() else {
                panic!("{name}")
            };
            assert_eq!(path, root.join("file"), "{name}");
        }
        ResolvedPath::new(&root.join("loop")).unwrap_err();
        assert_eq!(
            ResolvedPath::new(&root.join("no/file")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn paths_of_descriptors_share_position_and_append_mode() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log");
        fs::write(&path, "before ").unwrap();
        let mut log = File::options().append(true).open(&path).unwrap();
        let number = log.as_raw_fd();
        symlink(format!("/dev/fd/{number}"), root.path().join("link")).unwrap();
        for name in ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"] {
            write!(open_descriptor(format!("{name}/{number}")), "{name} ").unwrap();
        }
        open_descriptor(root.path().join("link")).write_all(b"link ").unwrap();
        log.write_all(b"after").unwrap();
        let expected = "before /dev/fd /proc/self/fd /proc/thread-self/fd link after";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        let mut source = File::open(&path).unwrap();
        source.seek(io::SeekFrom::Start(7)).unwrap();
        let mut rest = String::new();
        let number = source.as_raw_fd();
        open_descriptor(format!("/dev/fd/{number}")).read_to_string(&mut rest).unwrap();
        assert_eq!(rest, expected[7..]);
    }

    #[test]
    fn closed_descriptor_is_an_error() {
        let error = ResolvedPath::new(Path::new("/dev/fd/1000000")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(9));
    }

    #[test]
    fn standard_output_is_recognized_by_all_its_paths() {
        for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            assert!(ResolvedPath::is_stdout(Path::new(name)), "{name}");
        }
        for name in ["/dev/stdin", "/dev/fd/3", "/dev/null", "stdout", "/", "1"] {
            assert!(!ResolvedPath::is_stdout(Path::new(name)), "{name}");
        }
    }
}
