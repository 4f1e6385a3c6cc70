//! The file of stored access grants.
//!
//! `$XDG_CONFIG_HOME/uplink/access.json`, or below `~/.config` without that variable:
//!
//! ```json
//! {"current":"work","accesses":{"dev":"1…","work":"1…"}}
//! ```
//!
//! Grants are secrets: the file and its directory are readable only by their owner. The file is
//! replaced atomically, so a crash leaves the old or the new content. A lock file in the same
//! directory serializes writers.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uplink::{Access, Secret};

use crate::failure::{Exit, Failure, Outcome};
use crate::grant_text;
use crate::local::resolve::ResolvedPath;

/// The stored access grants of this user.
#[derive(Clone, Debug)]
pub(crate) struct AccessStore {
    /// `None` where the environment names no directory for it.
    file: Option<PathBuf>,
}

/// Contents of the file. `Debug` hides the grants.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    /// Name of the access that commands use by default.
    pub(crate) current: Option<String>,
    /// Serialized access grants by name.
    pub(crate) accesses: BTreeMap<String, String>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.accesses.keys().collect();
        f.debug_struct("Contents")
            .field("current", &self.current)
            .field("names", &names)
            .finish_non_exhaustive()
    }
}

impl AccessStore {
    /// Determines the path of the file, which may not exist. Without one, commands with a grant of
    /// their own still work.
    pub(crate) fn locate() -> Self {
        let file = |directory: PathBuf| directory.join("uplink").join("access.json");
        Self { file: config_directory().map(file) }
    }

    /// Returns whether a grant is stored under a name.
    pub(crate) fn holds(&self, name: &AccessName, access: &Access) -> Outcome<bool> {
        let contents = self.read()?;
        let stored = contents.accesses.get(name.as_str()).map(|text| Access::parse(text));
        Ok(stored.is_some_and(|stored| stored.is_ok_and(|stored| stored == *access)))
    }

    fn file(&self) -> Outcome<&Path> {
        self.file.as_deref().ok_or_else(|| {
            Failure::new(
                Exit::Other,
                "cannot locate the stored accesses: neither XDG_CONFIG_HOME nor HOME is set",
            )
        })
    }

    /// Reads the file. A missing file is empty.
    pub(crate) fn read(&self) -> Outcome<Contents> {
        let path = self.file()?;
        let bytes = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
            opened => opened.and_then(|file| {
                let mut bytes = Vec::new();
                file.take(MAX_FILE_SIZE).read_to_end(&mut bytes).map(|_| Secret::new(bytes))
            }),
        };
        let bytes = bytes.map_err(|error| failure("cannot read", path, &error))?;
        // The parser's message may quote a grant.
        serde_json::from_slice(bytes.expose()).map_err(|error| {
            let line = error.line();
            let column = error.column();
            let text = format!(
                "{} is corrupt at line {line}, column {column}; repair or remove it",
                path.display()
            );
            Failure::new(Exit::Other, text)
        })
    }

    /// Changes the file while holding its lock. If `change` fails, nothing is written.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Contents) -> Outcome<T>) -> Outcome<T> {
        let path = self.file()?;
        let directory = path.parent().unwrap_or_else(|| Path::new("."));
        create_private(directory)
            .map_err(|error| failure("cannot create directory of", path, &error))?;
        let _lock = lock(path).map_err(|error| failure("cannot lock", path, &error))?;
        let mut contents = self.read()?;
        let result = change(&mut contents)?;
        write(path, &contents).map_err(|error| failure("cannot write", path, &error))?;
        Ok(result)
    }

    /// Stores a grant under a name, replacing any other. It becomes current if it is the first one
    /// or `make_current` is set.
    pub(crate) fn put(&self, name: &AccessName, access: &Access, make_current: bool) -> Outcome {
        let text = access.serialize()?;
        self.update(|contents| {
            if make_current || contents.accesses.is_empty() {
                contents.current = Some(name.0.clone());
            }
            contents.accesses.insert(name.0.clone(), text);
            Ok(())
        })
    }

    /// Returns the serialized grant for a selection: a name, a grant itself, or `None` for the
    /// current one.
    pub(crate) fn serialized(&self, selection: Option<&str>) -> Outcome<Secret<String>> {
        let selection = selection.map(str::trim).filter(|text| !text.is_empty());
        if let Some(grant) = selection.filter(|text| text.len() > AccessName::MAX_LENGTH) {
            return Ok(Secret::new(grant.to_owned()));
        }
        let mut contents = self.read()?;
        let Some(name) = selection.map(str::to_owned).or_else(|| contents.current.take()) else {
            return Err(Failure::usage(
                "no access grant: select one with --access or UPLINK_ACCESS, or store one with \
                 `uplink access import` or `uplink access request`",
            ));
        };
        match contents.accesses.remove(&name) {
            Some(text) => Ok(Secret::new(text)),
            None if grant_text::is_file(&name) => {
                Err(not_found(&name).followed_by(grant_text::IMPORT_FILE))
            }
            None => Err(not_found(&name)),
        }
    }

    /// Returns the grant for a selection, as [`serialized`](Self::serialized).
    pub(crate) fn access(&self, selection: Option<&str>) -> Outcome<Access> {
        grant_text::parse(self.serialized(selection)?.expose())
    }
}

fn lock(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(path.with_extension("lock"))?;
    file.lock()?;
    Ok(file)
}

fn write(path: &Path, contents: &Contents) -> io::Result<()> {
    // A symbolic link, for example into a dotfiles directory, is kept.
    let ResolvedPath::Entry(file) = ResolvedPath::new(path)? else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = file.parent().unwrap_or_else(|| Path::new("."));
    // Temporary files are readable only by their owner.
    let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
    let mut text = Secret::new(serde_json::to_vec_pretty(contents)?);
    text.expose_mut().push(b'\n');
    temporary.write_all(text.expose())?;
    temporary.as_file().sync_all()?;
    temporary.persist(&file)?;
    sync_directory(directory)
}

fn failure(action: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Other, format!("{action} {}: {error}", path.display()))
}

/// The name of a stored access: 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter
/// or digit. Access grants are longer, which distinguishes the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessName(String);

impl AccessName {
    /// Maximum number of characters.
    pub(crate) const MAX_LENGTH: usize = grant_text::MIN_LENGTH - 1;

    /// Parses a name.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        let fits = text.len() <= Self::MAX_LENGTH
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if fits {
            return Ok(Self(text.to_owned()));
        }
        // A longer text may be a grant passed as the wrong argument: do not print it.
        let quoted =
            if text.len() > Self::MAX_LENGTH { String::new() } else { format!(" {text:?}") };
        Err(Failure::usage(format!(
            "invalid access name{quoted}: must be 1 to 64 letters, digits, '.', '_' and '-', \
             beginning with a letter or digit"
        )))
    }

    /// Returns the name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Maximum size of the file in bytes. Hundreds of the largest grants fit.
const MAX_FILE_SIZE: u64 = 16 << 20;

/// Returns the failure for a name that is not stored.
pub(crate) fn not_found(name: &str) -> Failure {
    // A longer text may be a grant passed as the wrong argument: do not print it.
    let name = match name.len() {
        ..=AccessName::MAX_LENGTH => format!("named {name:?}"),
        _ => "of this name".to_owned(),
    };
    let text = format!("no access {name}; `uplink access list` lists the stored ones");
    Failure::new(Exit::NotFound, text)
}

fn config_directory() -> Option<PathBuf> {
    let absolute = |variable| {
        std::env::var_os(variable).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute())
    };
    absolute("XDG_CONFIG_HOME")
        .or_else(|| if cfg!(windows) { absolute("APPDATA") } else { None })
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
}

fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
