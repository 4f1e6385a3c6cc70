//! Configuration: a commented TOML file, overridden by the environment, overridden by flags.
//!
//! Every setting is one key at the top level, listed in a [`Schema`]. An unknown key is an error
//! that suggests the nearest known one, so that a misspelled setting never goes unnoticed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Largest configuration file that is read.
const MAX_FILE_SIZE: u64 = 1 << 20;
/// Characters of an unknown key that an error repeats.
const MAX_KEY_SHOWN: usize = 64;

/// The keys of a server's configuration and the environment variables that override them.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// All keys, in the order in which a new file lists them.
    pub keys: &'static [Key],
    /// Prefix of the variables: with `UPLINK_NODE_`, key `listen` is `UPLINK_NODE_LISTEN`.
    pub environment_prefix: &'static str,
    /// Variables with the prefix that are not keys.
    pub other_variables: &'static [&'static str],
}

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    name: &'static str,
    comment: &'static str,
    form: Form,
    example: &'static str,
}

/// What a variable's text becomes.
#[derive(Clone, Copy, Debug)]
enum Form {
    List,
    Number,
    Text,
}

impl Key {
    /// Creates a key whose value is a text.
    #[must_use]
    pub const fn text(name: &'static str, comment: &'static str) -> Self {
        Self { name, comment, form: Form::Text, example: "\"\"" }
    }

    /// Creates a key whose value is a plain number.
    #[must_use]
    pub const fn number(name: &'static str, comment: &'static str) -> Self {
        Self { name, comment, form: Form::Number, example: "0" }
    }

    /// Creates a key whose value is a list of texts, separated by commas in the environment.
    #[must_use]
    pub const fn list(name: &'static str, comment: &'static str) -> Self {
        Self { name, comment, form: Form::List, example: "[]" }
    }

    /// Sets the TOML value that a new file shows, commented out, when the key is not set.
    #[must_use]
    pub const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    /// Returns the key's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    fn value(&self, text: &str) -> Value {
        match self.form {
            Form::List => Value::Array(text.split(',').map(|item| item.trim().into()).collect()),
            Form::Number => text.parse().map_or_else(|_| text.into(), Value::Integer),
            Form::Text => text.into(),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not TOML, or a value has the wrong form.
    #[error("{place}: {reason}")]
    Malformed {
        /// File, environment variable or flag.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A key does not exist.
    #[error("{place}: unknown key {key:?}: did you mean {nearest:?}?")]
    UnknownKey {
        /// File, environment variable or flag.
        place: String,
        /// The key.
        key: String,
        /// The known key with the smallest edit distance.
        nearest: String,
    },
}

/// Values of a configuration, merged from several places. Later ones win key by key.
#[derive(Clone, Debug)]
pub struct Layers {
    schema: Schema,
    table: Table,
    /// Where each value comes from.
    places: BTreeMap<String, String>,
}

impl Schema {
    /// Starts with the values of a file.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML, or a key is unknown.
    pub fn file(&self, path: &Path) -> Result<Layers, ConfigError> {
        let place = path.display().to_string();
        let file_error = |source| ConfigError::File { path: place.clone(), source };
        let size = std::fs::metadata(path).map_err(file_error)?.len();
        if size > MAX_FILE_SIZE {
            let reason = format!("file too large: {size} bytes, at most {MAX_FILE_SIZE} allowed");
            return Err(ConfigError::Malformed { place, reason });
        }
        let text = std::fs::read_to_string(path).map_err(file_error)?;
        self.document(&place, &text)
    }

    /// Starts with the values of a TOML document. Errors name `place` as its origin.
    ///
    /// # Errors
    /// The document is not TOML, or a key is unknown.
    pub fn document(&self, place: &str, text: &str) -> Result<Layers, ConfigError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let reason = error.to_string().trim_end().to_owned();
            ConfigError::Malformed { place: place.to_owned(), reason }
        })?;
        self.empty().merged(place, table)
    }

    /// Starts without any value.
    #[must_use]
    pub fn empty(&self) -> Layers {
        Layers { schema: *self, table: Table::new(), places: BTreeMap::new() }
    }

    /// Formats a configuration as a file with comments. Keys without a value are commented out.
    ///
    /// # Errors
    /// A value has no form in TOML, as a path that is not UTF-8.
    pub fn to_toml(&self, title: &str, values: &impl Serialize) -> Result<String, ConfigError> {
        let values = table("configuration", values)?;
        let mut file = format!("# {title}\n");
        for key in self.keys {
            file.push('\n');
            for line in key.comment.lines() {
                file.push_str(&format!("# {}\n", line.trim()));
            }
            let line = match values.get(key.name) {
                Some(value) => format!("{} = {value}\n", key.name),
                None => format!("#{} = {}\n", key.name, key.example),
            };
            file.push_str(&line);
        }
        Ok(file)
    }

    fn key(&self, name: &str, place: &str) -> Result<&'static Key, ConfigError> {
        if let Some(key) = self.keys.iter().find(|key| key.name == name) {
            return Ok(key);
        }
        let nearest = self.keys.iter().min_by_key(|key| strsim::levenshtein(key.name, name));
        Err(ConfigError::UnknownKey {
            place: place.to_owned(),
            key: name.chars().take(MAX_KEY_SHOWN).collect(),
            nearest: nearest.map_or("", Key::name).to_owned(),
        })
    }
}

impl Layers {
    /// Overrides values with those of typed settings. Fields that are `None` override nothing.
    ///
    /// # Errors
    /// A key is unknown, or a value has no form in TOML.
    pub fn settings(self, place: &str, settings: &impl Serialize) -> Result<Self, ConfigError> {
        self.merged(place, table(place, settings)?)
    }

    /// Overrides values with the environment variables of the schema. Others are ignored.
    ///
    /// # Errors
    /// A variable has the schema's prefix and names an unknown key, or is not valid UTF-8. Variables that
    /// Kubernetes and Docker add for a service of the same name are ignored.
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix(self.schema.environment_prefix) else {
                continue;
            };
            if is_of_orchestrator(name) || self.schema.other_variables.contains(&&*variable) {
                continue;
            }
            if text.contains(char::REPLACEMENT_CHARACTER) {
                let reason = "not valid UTF-8".to_owned();
                return Err(ConfigError::Malformed { place: variable, reason });
            }
            self.set(&name.to_lowercase(), &text, &variable)?;
        }
        Ok(self)
    }

    /// Overrides values with pairs of key and text.
    ///
    /// # Errors
    /// A key is unknown.
    pub fn pairs(mut self, place: &str, pairs: &[(String, String)]) -> Result<Self, ConfigError> {
        for (name, text) in pairs {
            self.set(name, text, place)?;
        }
        Ok(self)
    }

    /// Returns the place that set a key last; empty if none did.
    #[must_use]
    pub fn place_of(&self, key: &str) -> &str {
        self.places.get(key).map_or("", String::as_str)
    }

    /// Returns the configuration. Every field of `T` must have a default.
    ///
    /// # Errors
    /// A value has the wrong form. The error names the place that set it.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, ConfigError> {
        let error = match self.table.clone().try_into() {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        for (key, value) in &self.table {
            let alone = Table::from_iter([(key.clone(), value.clone())]);
            if let Err(error) = alone.try_into::<T>() {
                let place = self.place_of(key).to_owned();
                let reason = format!("{key}: {}", error.message());
                return Err(ConfigError::Malformed { place, reason });
            }
        }
        let reason = error.message().to_owned();
        Err(ConfigError::Malformed { place: "configuration".to_owned(), reason })
    }

    fn merged(mut self, place: &str, table: Table) -> Result<Self, ConfigError> {
        for (name, value) in table {
            self.schema.key(&name, place)?;
            self.places.insert(name.clone(), place.to_owned());
            self.table.insert(name, value);
        }
        Ok(self)
    }

    fn set(&mut self, name: &str, text: &str, place: &str) -> Result<(), ConfigError> {
        let value = self.schema.key(name, place)?.value(text);
        self.places.insert(name.to_owned(), place.to_owned());
        self.table.insert(name.to_owned(), value);
        Ok(())
    }
}

fn table(place: &str, values: &impl Serialize) -> Result<Table, ConfigError> {
    Table::try_from(values).map_err(|error| ConfigError::Malformed {
        place: place.to_owned(),
        reason: error.to_string(),
    })
}

/// Returns whether container orchestrators add a variable with this suffix for each service: a service
/// named `uplink-node` must not keep nodes from starting.
fn is_of_orchestrator(suffix: &str) -> bool {
    let names = ["NAME", "PORT", "SERVICE_HOST"];
    let prefixes = ["ENV_", "PORT_", "SERVICE_PORT"];
    names.contains(&suffix) || prefixes.iter().any(|prefix| suffix.starts_with(prefix))
}

/// Returns the environment of the process. Bytes that are not UTF-8 are replaced by U+FFFD.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (lossy(name), lossy(value)))
}

#[cfg(test)]
mod tests;
