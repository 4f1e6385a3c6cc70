//! Local files: what downloads become and uploads are read from.
//!
//! Object keys are chosen by everyone with write access to the bucket, and are any bytes. A key becomes
//! a path below the target directory only if it cannot lead out of it and no other key becomes the
//! same path.

mod part;
pub(crate) mod place;
pub(crate) mod source;
mod target;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use self::target::Target;
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

/// Makes opening fail at a symbolic link.
#[cfg(unix)]
fn not_through_links(options: &mut fs::OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
}

#[cfg(not(unix))]
fn not_through_links(_options: &mut fs::OpenOptions) {}

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
}
