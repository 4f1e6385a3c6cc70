//! The file of stored access grants.
//!
//! `$XDG_CONFIG_HOME/uplink/access.json`, or below `~/.config` without that variable:
//!
//! ```json
//! {"current":"work","accesses":{"dev":"1…","work":"1…"}}
//! ```
//!
//! Grants are secrets: the file is readable by its owner only, and so is its directory. It is
//! replaced as a whole, so that a crash leaves the old or the new one; a lock file beside it keeps
//! two writing commands apart.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uplink::Access;
use uplink_core::secret::Secret;

use crate::failure::{Exit, Failure, Outcome};
use crate::local::place::Place;

/// The stored access grants of this user.
#[derive(Clone, Debug)]
pub(crate) struct AccessStore {
    file: PathBuf,
}

/// What the file holds. Texts of grants do not show in `Debug`.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    /// Name of the access that commands use when told nothing else.
    pub(crate) current: Option<String>,
    /// Texts of access grants by name.
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
    /// Finds the file's place; it need not exist.
    pub(crate) fn open() -> Outcome<Self> {
        let directory = config_directory().ok_or_else(|| {
            Failure::new(
                Exit::Other,
                "neither XDG_CONFIG_HOME nor HOME says where to keep accesses",
            )
        })?;
        Ok(Self { file: directory.join("uplink").join("access.json") })
    }

    /// Reads the file; without one there is nothing stored.
    pub(crate) fn read(&self) -> Outcome<Contents> {
        let bytes = match File::open(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
            opened => opened.and_then(|file| {
                let mut bytes = Vec::new();
                file.take(MAX_FILE_SIZE).read_to_end(&mut bytes).map(|_| Secret::new(bytes))
            }),
        };
        let bytes = bytes.map_err(|error| self.failure("cannot read", &error))?;
        // The parser's own words may quote the file and with it a grant.
        serde_json::from_slice(bytes.expose()).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let text = format!(
                "the file of stored accesses {} is damaged at line {line}, column {column}; repair \
                 or remove it",
                self.file.display()
            );
            Failure::new(Exit::Other, text)
        })
    }

    /// Changes the file under its lock. If `change` fails nothing is written.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Contents) -> Outcome<T>) -> Outcome<T> {
        let directory = self.file.parent().unwrap_or_else(|| Path::new("."));
        create_private(directory)
            .map_err(|error| self.failure("cannot create the directory of", &error))?;
        let lock = self.file.with_extension("lock");
        let lock = File::options().create(true).append(true).open(lock);
        let lock = lock.and_then(|file| file.lock().map(|()| file));
        let _lock = lock.map_err(|error| self.failure("cannot lock", &error))?;
        let mut contents = self.read()?;
        let result = change(&mut contents)?;
        self.write(&contents).map_err(|error| self.failure("cannot write", &error))?;
        Ok(result)
    }

    /// Stores a grant under a name, replacing what was there. The first one becomes current, and so
    /// does this one if `make_current` says so.
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

    /// Returns the text of the grant that is meant by a name, by a grant itself, or by nothing:
    /// then it is the current one.
    pub(crate) fn text(&self, selection: Option<&str>) -> Outcome<Secret<String>> {
        let selection = selection.map(str::trim).filter(|text| !text.is_empty());
        if let Some(grant) = selection.filter(|text| text.len() > AccessName::MAX_LENGTH) {
            return Ok(Secret::new(grant.to_owned()));
        }
        let mut contents = self.read()?;
        let Some(name) = selection.map(str::to_owned).or_else(|| contents.current.take()) else {
            return Err(Failure::usage(
                "no access grant: name one with --access or UPLINK_ACCESS, or store one with \
                 `uplink access import` or `uplink access request`",
            ));
        };
        match contents.accesses.remove(&name) {
            Some(text) => Ok(Secret::new(text)),
            None => Err(missing(&name)),
        }
    }

    /// Reads the grant that [`text`](Self::text) finds.
    pub(crate) fn access(&self, selection: Option<&str>) -> Outcome<Access> {
        Ok(Access::parse(self.text(selection)?.expose())?)
    }

    fn write(&self, contents: &Contents) -> io::Result<()> {
        // Where the file is a link, like one into a directory of settings, the link stays.
        let file = match Place::of(&self.file)? {
            Place::Entry(file) => file,
            Place::Open(_) | Place::Unnamed(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let directory = file.parent().unwrap_or_else(|| Path::new("."));
        // Files made this way are readable by their owner only.
        let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
        let mut text = Secret::new(serde_json::to_vec_pretty(contents)?);
        text.expose_mut().push(b'\n');
        temporary.write_all(text.expose())?;
        temporary.as_file().sync_all()?;
        temporary.persist(&file)?;
        sync_directory(directory)
    }

    fn failure(&self, what: &str, error: &io::Error) -> Failure {
        let text = format!("{what} the file of stored accesses {}: {error}", self.file.display());
        Failure::new(Exit::Other, text)
    }
}

/// The name of a stored access: 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter
/// or digit. Access grants are longer, so that the two cannot be mistaken for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessName(String);

impl AccessName {
    /// Most characters of a name.
    pub(crate) const MAX_LENGTH: usize = 64;

    /// Accepts a name.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        let fits = text.len() <= Self::MAX_LENGTH
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if fits {
            return Ok(Self(text.to_owned()));
        }
        // Whoever mixed up the arguments has passed a grant here.
        let shown = if text.len() > Self::MAX_LENGTH {
            "this text".to_owned()
        } else {
            format!("{text:?}")
        };
        Err(Failure::usage(format!(
            "{shown} is no name for an access: use up to 64 letters, digits, dots, hyphens and \
             underscores, beginning with a letter or digit"
        )))
    }

    /// Lends the name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Bytes of the file that are read; hundreds of the largest grants fit.
const MAX_FILE_SIZE: u64 = 16 << 20;

/// Says that no access of this name is stored.
pub(crate) fn missing(name: &str) -> Failure {
    let text =
        format!("no access named {name:?} is stored; `uplink access list` shows those that are");
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
