//! What a local path given by the user names: an entry of a directory, or an open descriptor.
//!
//! `/dev/stdout`, `/dev/fd/3` and `/proc/self/fd/3` name open descriptors; the shell's `>(command)`
//! and `<(command)` turn into such paths. On Linux they are links of procfs. Following one leads to
//! the name that the open file once had, which is not what the user named; opening one opens the file
//! anew, at its beginning and without its append mode. Only a duplicate of the descriptor shares both.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What a path names.
#[derive(Debug)]
pub(crate) enum Place {
    /// An entry of a directory, which may not exist. It is no symbolic link.
    Entry(PathBuf),
    /// A duplicate of an open descriptor of this process.
    Open(File),
    /// Something without a name in a directory, which can only be opened: what another process has
    /// open.
    Unnamed(PathBuf),
}

/// Symbolic links that are followed, as Linux does.
const MAX_LINKS: usize = 40;

impl Place {
    /// Follows symbolic links to what they name.
    ///
    /// # Errors
    /// The directory of the path is missing or unreadable, there are too many links, or an open
    /// descriptor cannot be duplicated.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let Some(name) = path.file_name() else { return Ok(Self::Entry(path)) };
            let directory = fs::canonicalize(parent.unwrap_or_else(|| Path::new(".")))?;
            if let Some(number) = descriptor(&directory, name) {
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
        // Followed by hand, since nothing is to be opened here.
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return false;
            };
            let Ok(directory) = fs::canonicalize(parent) else { return false };
            if descriptor(&directory, name).is_some() {
                return descriptor(&directory, name) == Some(1);
            }
            let Ok(target) = fs::read_link(&path) else { return false };
            path = directory.join(target);
        }
        false
    }
}

/// Returns the number of the descriptor of this process that an entry of a directory names.
fn descriptor(directory: &Path, name: &std::ffi::OsStr) -> Option<i32> {
    let own = || {
        let own = fs::canonicalize("/proc/self").ok()?;
        (directory.starts_with(own) && is_procfs(directory)).then_some(())
    };
    if directory != Path::new("/dev/fd") {
        // Also below `task`, where the descriptors of each thread are.
        own().filter(|()| directory.file_name().is_some_and(|last| last == "fd"))?;
    }
    name.to_str()?.parse().ok().filter(|number| *number >= 0)
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
fn duplicate(number: i32, path: &Path) -> io::Result<Place> {
    use std::os::fd::AsFd as _;

    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    let standard = match number {
        0 => Some(io::stdin().as_fd().try_clone_to_owned()?),
        1 => Some(io::stdout().as_fd().try_clone_to_owned()?),
        2 => Some(io::stderr().as_fd().try_clone_to_owned()?),
        _ => None,
    };
    if let Some(descriptor) = standard {
        return Ok(Place::Open(descriptor.into()));
    }
    let process = pidfd_open(getpid(), PidfdFlags::empty());
    let descriptor =
        process.and_then(|process| pidfd_getfd(process, number, PidfdGetfdFlags::empty()));
    match descriptor {
        Ok(descriptor) => Ok(Place::Open(descriptor.into())),
        Err(rustix::io::Errno::BADF) => Err(rustix::io::Errno::BADF.into()),
        // Old kernels and some sandboxes lack these calls. Pipes and devices can be opened anew.
        Err(_) => Ok(Place::Unnamed(path.to_owned())),
    }
}

/// Other systems duplicate the descriptor when its name is opened.
#[cfg(not(target_os = "linux"))]
fn duplicate(_number: i32, path: &Path) -> io::Result<Place> {
    let opened = File::options().write(true).open(path).or_else(|_| File::open(path));
    Ok(Place::Open(opened?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn open(path: impl AsRef<Path>) -> File {
        match Place::of(path.as_ref()).unwrap() {
            Place::Open(file) => file,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn links_are_followed_to_the_name_at_their_end() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        symlink("second", root.join("first")).unwrap();
        symlink(root.join("file"), root.join("second")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for name in ["file", "second", "first"] {
            let Place::Entry(path) = Place::of(&root.join(name)).unwrap() else { panic!("{name}") };
            assert_eq!(path, root.join("file"), "{name}");
        }
        Place::of(&root.join("loop")).unwrap_err();
        assert_eq!(Place::of(&root.join("no/file")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn names_of_descriptors_share_position_and_append_mode() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log");
        fs::write(&path, "before ").unwrap();
        let mut log = File::options().append(true).open(&path).unwrap();
        let number = log.as_raw_fd();
        symlink(format!("/dev/fd/{number}"), root.path().join("link")).unwrap();
        for name in ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"] {
            write!(open(format!("{name}/{number}")), "{name} ").unwrap();
        }
        open(root.path().join("link")).write_all(b"link ").unwrap();
        log.write_all(b"after").unwrap();
        let expected = "before /dev/fd /proc/self/fd /proc/thread-self/fd link after";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        let mut source = File::open(&path).unwrap();
        source.seek(io::SeekFrom::Start(7)).unwrap();
        let mut rest = String::new();
        let number = source.as_raw_fd();
        open(format!("/dev/fd/{number}")).read_to_string(&mut rest).unwrap();
        assert_eq!(rest, expected[7..]);
    }

    #[test]
    fn closed_descriptor_is_an_error() {
        let error = Place::of(Path::new("/dev/fd/1000000")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(9));
    }

    #[test]
    fn standard_output_is_known_by_all_its_names() {
        for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            assert!(Place::is_stdout(Path::new(name)), "{name}");
        }
        for name in ["/dev/stdin", "/dev/fd/3", "/dev/null", "stdout", "/", "1"] {
            assert!(!Place::is_stdout(Path::new(name)), "{name}");
        }
    }
}
