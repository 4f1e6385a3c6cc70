//! Paths of downloaded objects.
//!
//! Object keys are arbitrary bytes, chosen by everyone with write access to the bucket. A key maps
//! to a path below the target directory only if it cannot lead out of it and no other key maps to
//! the same path.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::failure::{Exit, Failure, Outcome};

/// Converts a key to a relative path. The error says what makes it unsafe, like `contains NUL`.
pub(crate) fn from_key(key: &[u8]) -> Result<PathBuf, &'static str> {
    let mut path = PathBuf::new();
    for component in key.split(|byte| *byte == b'/') {
        check_component(component, cfg!(windows))?;
        path.push(os_string(component)?);
    }
    Ok(path)
}

/// Checks that a component is a file name, and that Windows does not map it to a different one.
fn check_component(name: &[u8], windows: bool) -> Result<(), &'static str> {
    match name {
        b"" => return Err("has an empty component"),
        b"." | b".." => return Err("has a component \".\" or \"..\""),
        _ if name.contains(&0) => return Err("contains NUL"),
        _ => {}
    }
    if !windows {
        return Ok(());
    }
    if name.iter().any(|byte| *byte < b' ' || b"\\:*?\"<>|".contains(byte)) {
        return Err("contains a character that is reserved on Windows");
    }
    if name.ends_with(b".") || name.ends_with(b" ") {
        return Err("has a component that ends with a dot or a space");
    }
    let stem = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    if is_device(stem.trim_ascii_end()) {
        return Err("has a component that is a device name on Windows");
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
    let text = str::from_utf8(bytes).map_err(|_| "is not valid UTF-8")?;
    Ok(OsString::from(text))
}

/// Creates the directories between `root` and a file below it. Symbolic links are not followed,
/// since they may lead out of `root`.
pub(crate) fn create_parents(root: &Path, relative: &Path) -> Outcome {
    let failure = |path: &Path, error: &io::Error| {
        Failure::io(format_args!("cannot create directory {path:?}"), error)
    };
    fs::create_dir_all(root).map_err(|error| failure(root, &error))?;
    let mut path = root.to_owned();
    for component in relative.parent().into_iter().flat_map(Path::components) {
        path.push(component);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(in_the_way(&path)),
            Err(_) => match fs::create_dir(&path) {
                // Created concurrently by another download of this command.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failure(&path, &error));
                }
                _ => {}
            },
        }
    }
    Ok(())
}

/// Fails if a directory between `root` and a file below it cannot be created because something else
/// has its name. Returns whether all of them exist.
pub(crate) fn check_parents(root: &Path, relative: &Path) -> Outcome<bool> {
    match fs::metadata(root) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(in_the_way(root)),
        Err(_) => return Ok(false),
    }
    let mut path = root.to_owned();
    for component in relative.parent().into_iter().flat_map(Path::components) {
        path.push(component);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(in_the_way(&path)),
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

fn in_the_way(path: &Path) -> Failure {
    let text = format!("cannot create directory {path:?}: a file is in the way");
    Failure::new(Exit::Conflict, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_keys_map_to_paths() {
        assert_eq!(from_key(b"a").unwrap(), Path::new("a"));
        assert_eq!(from_key("a/b c/...é".as_bytes()).unwrap(), Path::new("a/b c/...é"));
    }

    #[test]
    fn unsafe_keys_are_rejected() {
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
            assert!(from_key(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn windows_rejects_more_names() {
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
}
