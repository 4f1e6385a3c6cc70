//! Settings of the program: flags override the environment, which overrides the file.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uplink_server::config::{ConfigError, Key, Layers, Schema, process_environment};
use uplink_server::units::{Size, display, format_duration, parse_duration};
use uplink_storagenode::{Config, Satellite};

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// Address to listen on [default: 0.0.0.0:28967]
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Address at which satellites and clients reach this node [default: the listening address]
    #[arg(long, value_name = "HOST:PORT")]
    pub external_address: Option<String>,
    /// Space for pieces, for example 500GB or 2TiB
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<Size>,
    /// Space of the file system that stays free [default: 0]
    #[arg(long, value_name = "SIZE")]
    pub keep_free: Option<Size>,
    /// Directory of pieces and orders [default: data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Directory of the identity [default: identity]
    #[arg(long, value_name = "DIR")]
    pub identity: Option<PathBuf>,
    /// Trusted satellites
    #[arg(long = "satellite", value_name = "ID@HOST:PORT", value_delimiter = ',')]
    pub satellites: Option<Vec<Trusted>>,
    /// Time between two check-ins, for example 10m [default: 10m]
    #[arg(long, value_name = "TIME")]
    pub check_in_interval: Option<Interval>,
    /// Maximum number of concurrent uploads [default: 500]
    #[arg(long, value_name = "NUMBER")]
    pub max_uploads: Option<usize>,
    /// Time without progress after which a transfer is aborted [default: 10m]
    #[arg(long, value_name = "TIME")]
    pub idle_limit: Option<Interval>,
    /// Pieces younger than this are never garbage; longer than the satellites' segment lifetime
    /// [default: 72h]
    #[arg(long, value_name = "TIME")]
    pub creation_margin: Option<Interval>,
    /// Time for which pieces that no satellite wants are kept before they are deleted
    /// [default: 168h]
    #[arg(long, value_name = "TIME")]
    pub trash_lifetime: Option<Interval>,
}

/// The keys of the file, which are the fields of [`Settings`].
const SCHEMA: Schema = Schema {
    keys: &[
        Key::text("listen", "Address to listen on.").example("\"0.0.0.0:28967\""),
        Key::text("external_address", "Address at which satellites and clients reach this node.")
            .example("\"node.example.org:28967\""),
        Key::text("capacity", "Space for pieces.").example("\"500GB\""),
        Key::text(
            "keep_free",
            "Space of the file system that stays free, regardless of the capacity.",
        )
        .example("\"1GB\""),
        Key::text("data", "Directory of pieces and orders, relative to this file.")
            .example("\"data\""),
        Key::text("identity", "Directory of the identity, relative to this file.")
            .example("\"identity\""),
        Key::list(
            "satellites",
            "Satellites whose order limits are accepted: a list of \"id@host:port\".",
        ),
        Key::text("check_in_interval", "Time between two check-ins.").example("\"10m\""),
        Key::number(
            "max_uploads",
            "Maximum number of concurrent uploads; further ones are rejected.",
        )
        .example("500"),
        Key::text("idle_limit", "Time without progress after which a transfer is aborted.")
            .example("\"10m\""),
        Key::text(
            "creation_margin",
            "Pieces younger than this are never garbage. Must be longer than the satellites'
             segment_lifetime, otherwise pieces of uploads in progress may be lost.",
        )
        .example("\"72h\""),
        Key::text(
            "trash_lifetime",
            "Time for which pieces that no satellite wants are kept before they are deleted.",
        )
        .example("\"168h\""),
    ],
    environment_prefix: "UPLINK_NODE_",
    other_variables: &["UPLINK_NODE_DIRECTORY"],
};

impl Settings {
    /// Adds the settings of the environment to those of the flags.
    pub(crate) fn or_environment(&self) -> Result<Self, SettingsError> {
        self.over(SCHEMA.empty())
    }

    /// Adds the settings of the environment and of a file to those of the flags.
    pub(crate) fn or_file(&self, path: &Path) -> Result<Self, SettingsError> {
        // An unreadable directory is an error of its own, below.
        if matches!(path.try_exists(), Ok(false)) {
            return Err(SettingsError::Missing { path: path.to_owned() });
        }
        self.over(SCHEMA.file(path)?)
    }

    fn over(&self, file: Layers) -> Result<Self, SettingsError> {
        let layers = file.environment(process_environment())?;
        Ok(layers.settings("flag", self)?.parse()?)
    }

    /// Returns the directory of the identity; relative paths start from `home`.
    pub(crate) fn identity(&self, home: &Path) -> PathBuf {
        home.join(self.identity.as_deref().unwrap_or_else(|| Path::new("identity")))
    }

    /// Returns the directory of pieces and orders; relative paths start from `home`.
    pub(crate) fn data(&self, home: &Path) -> PathBuf {
        home.join(self.data.as_deref().unwrap_or_else(|| Path::new("data")))
    }

    /// Returns the node's configuration.
    pub(crate) fn config(&self, home: &Path) -> Result<Config, SettingsError> {
        let capacity = self.capacity.ok_or(SettingsError::NotSet("capacity"))?.0;
        let trusted = self.satellites.iter().flatten();
        let satellites: Vec<_> = trusted.map(|Trusted(satellite)| satellite.clone()).collect();
        if satellites.is_empty() {
            return Err(SettingsError::NotSet("satellites"));
        }

        let mut config = Config::new(self.data(home), capacity, satellites);
        config.listen = self.listen.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, PORT).into());
        config.external_address.clone_from(&self.external_address);
        config.keep_free = self.keep_free.map_or(0, |size| size.0);
        config.max_uploads = self.max_uploads.unwrap_or(config.max_uploads);
        let or = |interval: Option<Interval>, default| interval.map_or(default, |set| set.0);
        config.check_in_interval = or(self.check_in_interval, config.check_in_interval);
        config.idle_limit = or(self.idle_limit, config.idle_limit);
        config.creation_margin = or(self.creation_margin, config.creation_margin);
        config.trash_lifetime = or(self.trash_lifetime, config.trash_lifetime);

        if config.external_address.is_none() && config.listen.ip().is_unspecified() {
            return Err(SettingsError::NotSet("external_address"));
        }
        Ok(config)
    }

    /// Formats a file with these settings, in which every key is explained.
    pub(crate) fn to_file(&self) -> Result<String, SettingsError> {
        Ok(SCHEMA.to_toml("A storage node of an uplink network.", self)?)
    }
}

/// The port of storage nodes in the public network.
const PORT: u16 = 28967;

/// A duration from one second to [`MAX_INTERVAL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Interval(pub Duration);

/// Longer intervals are mistakes, and clocks would overflow.
const MAX_INTERVAL: Duration = Duration::from_secs(366 * 24 * 3600);

impl TryFrom<String> for Interval {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Interval> for String {
    fn from(interval: Interval) -> Self {
        interval.to_string()
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let interval = parse_duration(text).map_err(|error| error.to_string())?;
        if (Duration::from_secs(1)..=MAX_INTERVAL).contains(&interval) {
            return Ok(Self(interval));
        }
        let max = format_duration(MAX_INTERVAL);
        Err(format!("invalid duration {text:?}: must be at least 1s and at most {max}"))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration(self.0))
    }
}

/// A satellite in its text form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Trusted(#[serde(with = "display")] pub Satellite);

impl FromStr for Trusted {
    type Err = uplink_storagenode::SatelliteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{path} does not exist; `uplink-storagenode setup` creates it")]
    Missing { path: PathBuf },
    #[error("`{0}` is not set: use its flag, its environment variable or the configuration file")]
    NotSet(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses the settings of a file.
    fn parse(text: &str) -> Result<Settings, String> {
        let layers = SCHEMA.document("config.toml", text);
        layers.and_then(Layers::parse).map_err(|error| error.to_string())
    }

    const SATELLITE: &str = "12EayRS2V1kEsWESU9QMRseFhdxYxKicsiFmxrsLZHeLUtdps3S@127.0.0.1:7777";

    fn full() -> Settings {
        Settings {
            listen: Some("127.0.0.1:1".parse().unwrap()),
            external_address: Some("a \"b\":2".into()),
            capacity: Some(Size(3 << 30)),
            keep_free: Some(Size(1500)),
            data: Some("/d".into()),
            identity: Some("i".into()),
            satellites: Some(vec![SATELLITE.parse().unwrap()]),
            check_in_interval: Some(Interval(Duration::from_secs(10))),
            max_uploads: Some(7),
            idle_limit: Some(Interval(Duration::from_secs(7200))),
            creation_margin: Some(Interval(Duration::from_secs(90))),
            trash_lifetime: Some(Interval(Duration::from_secs(60))),
        }
    }

    #[test]
    fn written_file_reads_back_and_names_every_key() {
        assert_eq!(parse(&full().to_file().unwrap()), Ok(full()));
        let empty = Settings::default().to_file().unwrap();
        assert_eq!(parse(&empty), Ok(Settings::default()));
        for key in SCHEMA.keys.iter().map(Key::name) {
            assert!(empty.contains(&format!("\n#{key} = ")), "{key}");
        }
        let uncommented: String = empty
            .lines()
            .map(|line| {
                line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)
            })
            .fold(String::new(), |text, line| text + line + "\n");
        assert!(parse(&uncommented).is_ok(), "the examples are valid");
    }

    #[test]
    fn flags_override_the_file_key_by_key() {
        let flags = Settings { max_uploads: Some(9), ..Settings::default() };
        let file = SCHEMA.document("config.toml", &full().to_file().unwrap()).unwrap();
        let both: Settings = file.settings("flag", &flags).unwrap().parse().unwrap();
        assert_eq!(both, Settings { max_uploads: Some(9), ..full() });
    }

    #[test]
    fn malformed_files_are_rejected_with_the_reason() {
        for (text, part) in [
            ("capasity = 1", "did you mean \"capacity\"?"),
            ("satelites = []", "did you mean \"satellites\"?"),
            ("capacity = \"5 parsec\"", "invalid size \"5 parsec\""),
            ("capacity = \"99999999TiB\"", "invalid size"),
            ("check_in_interval = \"0s\"", "invalid duration \"0s\""),
            ("check_in_interval = \"367d\"", "at most 366d"),
            ("satellites = [\"127.0.0.1:1\"]", "id is missing"),
            ("listen = \"here\"", "listen"),
            ("max_uploads = [", "line 1"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_and_intervals_are_parsed_and_formatted_with_units() {
        for (text, bytes, written) in [
            ("500GB", 500_000_000_000, "500GB"),
            ("2 TiB", 2 << 40, "2TiB"),
            ("1536", 1536, "1536B"),
            ("10kb", 10_000, "10KB"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, written));
        }
        assert_eq!("90s".parse::<Interval>().unwrap().to_string(), "90s");
        assert_eq!("60m".parse::<Interval>().unwrap().to_string(), "1h");
        assert_eq!("10min".parse::<Interval>(), "10m".parse());
    }
}
