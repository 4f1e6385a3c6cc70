//! Local files that downloads become.
//!
//! Object keys are chosen by whoever may write into the bucket, and are any bytes. A key becomes a
//! path below the target directory only if it cannot lead out of it and no other key becomes the
//! same path. A file gets its name when all of it is there.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use crate::failure::{Exit, Failure, Outcome};

/// Makes a relative path of a key, or says why that would not be safe.
pub(crate) fn relative_path(key: &[u8]) -> Result<PathBuf, &'static str> {
    let mut path = PathBuf::new();
    for component in key.split(|byte| *byte == b'/') {
        check_component(component, cfg!(windows))?;
        path.push(os_string(component)?);
    }
    Ok(path)
}

/// Accepts what is one file name, on Windows one that its old rules do not turn into another.
fn check_component(name: &[u8], windows: bool) -> Result<(), &'static str> {
    match name {
        b"" => return Err("has an empty component"),
        b"." | b".." => return Err("has a component that leads elsewhere"),
        _ if name.contains(&0) => return Err("contains NUL"),
        _ => {}
    }
    if !windows {
        return Ok(());
    }
    if name.iter().any(|byte| *byte < b' ' || b"\\:*?\"<>|".contains(byte)) {
        return Err("contains a character that Windows gives another meaning");
    }
    if name.ends_with(b".") || name.ends_with(b" ") {
        return Err("has a component that ends with a dot or a space");
    }
    let stem = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    if is_device(stem.trim_ascii_end()) {
        return Err("has a component that names a device of Windows");
    }
    Ok(())
}

fn is_device(stem: &[u8]) -> bool {
    let stem = String::from_utf8_lossy(stem).to_ascii_uppercase();
    let numbered = |name: &str| {
        let number = stem.strip_prefix(name);
        number.is_some_and(|number| {
            matches!(
                number,
                "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"
            )
        })
    };
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str())
        || numbered("COM")
        || numbered("LPT")
}

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> Result<OsString, &'static str> {
    Ok(std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec()))
}

#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> Result<OsString, &'static str> {
    let text = str::from_utf8(bytes).map_err(|_| "is no UTF-8, as names of files must be here")?;
    Ok(OsString::from(text))
}

/// Makes the directories between `root` and a file below it. Links on the way are not followed:
/// they may lead out of `root`.
pub(crate) fn create_parents(root: &Path, relative: &Path) -> Outcome {
    let failure = |path: &Path, error: &io::Error| {
        Failure::io(format_args!("cannot make the directory {path:?}"), error)
    };
    fs::create_dir_all(root).map_err(|error| failure(root, &error))?;
    let mut path = root.to_owned();
    for component in relative.parent().into_iter().flat_map(Path::components) {
        path.push(component);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                let text = format!("cannot make the directory {path:?}: it is there, and is none");
                return Err(Failure::new(Exit::Conflict, text));
            }
            Err(_) => match fs::create_dir(&path) {
                // Another download of the same command may have been faster.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failure(&path, &error));
                }
                _ => {}
            },
        }
    }
    Ok(())
}

/// A local file being written.
///
/// Bytes go to a temporary file beside it, which [`finish`](Self::finish) gives its name; dropping
/// this removes it. What is there and is no plain file, like a device or a named pipe, is written to
/// as it is.
#[derive(Debug)]
pub(crate) struct Target {
    file: File,
    path: PathBuf,
    temporary: Option<TempPath>,
}

impl Target {
    /// Begins to write a file that takes the place of what is at `path`; with `follow` that of what a
    /// link there leads to.
    pub(crate) fn create(path: &Path, follow: bool) -> Outcome<Self> {
        let failure = |error: &io::Error| cannot_write(path, error);
        let mut path = path.to_owned();
        if follow && path.is_symlink() {
            path = fs::canonicalize(&path).map_err(|error| failure(&error))?;
        }
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                let text = format!("cannot write {path:?}: it is a directory");
                return Err(Failure::new(Exit::Conflict, text));
            }
            Ok(metadata) if !metadata.is_file() && follow => {
                let file = File::from_std(
                    fs::File::options().write(true).open(&path).map_err(|error| failure(&error))?,
                );
                return Ok(Self { file, path, temporary: None });
            }
            _ => {}
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let temporary = temporary_in(directory.unwrap_or_else(|| Path::new(".")));
        let (file, temporary) = temporary.map_err(|error| failure(&error))?.into_parts();
        Ok(Self { file: File::from_std(file), path, temporary: Some(temporary) })
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Outcome {
        let written = self.file.write_all(bytes).await;
        written.map_err(|error| cannot_write(&self.path, &error))
    }

    /// Makes sure that all is on disk, and gives the file its name.
    pub(crate) async fn finish(mut self) -> Outcome {
        let failure = |error: &io::Error| cannot_write(&self.path, error);
        self.file.flush().await.map_err(|error| failure(&error))?;
        let Some(temporary) = self.temporary else { return Ok(()) };
        self.file.sync_all().await.map_err(|error| failure(&error))?;
        temporary.persist(&self.path).map_err(|error| failure(&error.error))
    }
}

fn temporary_in(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".uplink-").suffix(".part");
    #[cfg(unix)]
    // As for any new file, the user's mask takes away from this.
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(directory)
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::io(format_args!("cannot write {path:?}"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_paths_below_the_target() {
        assert_eq!(relative_path(b"a").unwrap(), Path::new("a"));
        assert_eq!(relative_path("a/b c/...é".as_bytes()).unwrap(), Path::new("a/b c/...é"));
    }

    #[test]
    fn keys_that_lead_elsewhere_are_refused() {
        for bad in [
            "..",
            "../a",
            "a/../b",
            "a/..",
            ".",
            "./a",
            "a/.",
            "/etc/passwd",
            "",
            "a//b",
            "a/",
            "a\0b",
        ] {
            assert!(relative_path(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn windows_has_more_names_that_lead_elsewhere() {
        for bad in [
            "C:",
            "a:b",
            "a\\b",
            "..\\a",
            "NUL",
            "nul",
            "com1",
            "LPT9.txt",
            "aux .x",
            "con.tar.gz",
            "COM¹",
            "a.",
            "a ",
            "a\u{1}",
            "CONIN$",
            "a?b",
        ] {
            assert!(check_component(bad.as_bytes(), true).is_err(), "{bad:?}");
            assert!(check_component(bad.as_bytes(), false).is_ok(), "{bad:?}");
        }
        for good in ["console", "com", "com10", "lpt", "nul-1", ".x", "a.b", "日本"] {
            assert!(check_component(good.as_bytes(), true).is_ok(), "{good:?}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn links_inside_the_target_are_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
        let failure = create_parents(root.path(), Path::new("link/deep/file")).unwrap_err();
        assert_eq!(failure.exit(), Exit::Conflict);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_gets_its_name_at_the_end() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, "old").unwrap();
        let mut target = Target::create(&path, true).unwrap();
        target.write(b"new").await.unwrap();
        drop(target);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        let mut target = Target::create(&path, true).unwrap();
        target.write(b"new").await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        target.finish().await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    #[cfg(unix)]
    async fn devices_are_written_to_and_links_kept() {
        let mut target = Target::create(Path::new("/dev/null"), true).unwrap();
        assert!(target.temporary.is_none());
        target.write(b"gone").await.unwrap();
        target.finish().await.unwrap();
        let root = tempfile::tempdir().unwrap();
        let (file, link) = (root.path().join("file"), root.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut target = Target::create(&link, true).unwrap();
        target.write(b"new").await.unwrap();
        target.finish().await.unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
    }
}
