//! Settings of the program: flags, environment, file and defaults, in that order of precedence.

use std::{
    fmt, fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::Deserialize;
use uplink_storagenode::{Config, Satellite};

/// Everything that can be set. Flags and environment fill one value, the file another.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// Address to listen on [default: 0.0.0.0:28967]
    #[arg(long, env = "UPLINK_NODE_LISTEN", value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Address at which satellites and clients reach this node [default: the address listened on]
    #[arg(long, env = "UPLINK_NODE_EXTERNAL_ADDRESS", value_name = "HOST:PORT")]
    pub external_address: Option<String>,
    /// Space for pieces, for example 500GB or 2TiB
    #[arg(long, env = "UPLINK_NODE_CAPACITY", value_name = "SIZE")]
    pub capacity: Option<Size>,
    /// Space of the file system that is left free [default: 0]
    #[arg(long, env = "UPLINK_NODE_KEEP_FREE", value_name = "SIZE")]
    pub keep_free: Option<Size>,
    /// Directory of pieces and orders [default: data]
    #[arg(long, env = "UPLINK_NODE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Directory of the identity [default: identity]
    #[arg(long, env = "UPLINK_NODE_IDENTITY", value_name = "DIR")]
    pub identity: Option<PathBuf>,
    /// Trusted satellites
    #[arg(
        long = "satellite",
        env = "UPLINK_NODE_SATELLITES",
        value_name = "ID@HOST:PORT",
        value_delimiter = ','
    )]
    pub satellites: Option<Vec<Trusted>>,
    /// Time between two check-ins, for example 10m [default: 10m]
    #[arg(long, env = "UPLINK_NODE_CHECK_IN_INTERVAL", value_name = "TIME")]
    pub check_in_interval: Option<Interval>,
    /// Most uploads at once [default: 500]
    #[arg(long, env = "UPLINK_NODE_MAX_UPLOADS", value_name = "NUMBER")]
    pub max_uploads: Option<usize>,
    /// How long a client may be silent during a transfer [default: 10m]
    #[arg(long, env = "UPLINK_NODE_IDLE_LIMIT", value_name = "TIME")]
    pub idle_limit: Option<Interval>,
    /// Pieces younger than this are never garbage; longer than the satellites' segment lifetime
    /// [default: 72h]
    #[arg(long, env = "UPLINK_NODE_CREATION_MARGIN", value_name = "TIME")]
    pub creation_margin: Option<Interval>,
    /// How long pieces that no satellite wants are kept before they are deleted [default: 168h]
    #[arg(long, env = "UPLINK_NODE_TRASH_LIFETIME", value_name = "TIME")]
    pub trash_lifetime: Option<Interval>,
}

/// The keys of the file, which are the fields of [`Settings`].
const KEYS: [&str; 12] = [
    "listen",
    "external_address",
    "capacity",
    "keep_free",
    "data",
    "identity",
    "satellites",
    "check_in_interval",
    "max_uploads",
    "idle_limit",
    "creation_margin",
    "trash_lifetime",
];

impl Settings {
    /// Reads a settings file.
    pub(crate) fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = fs::read_to_string(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SettingsError::Missing { path: path.to_owned() },
            _ => SettingsError::Unreadable { path: path.to_owned(), source },
        })?;
        Self::parse(&text).map_err(|reason| SettingsError::Damaged {
            path: path.to_owned(),
            reason: reason.trim_end().to_owned(),
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        if let Some(unknown) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("unknown key `{unknown}`; did you mean `{}`?", nearest(unknown)));
        }
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// These settings where set, else those of `below`.
    pub(crate) fn over(self, below: Self) -> Self {
        Self {
            listen: self.listen.or(below.listen),
            external_address: self.external_address.or(below.external_address),
            capacity: self.capacity.or(below.capacity),
            keep_free: self.keep_free.or(below.keep_free),
            data: self.data.or(below.data),
            identity: self.identity.or(below.identity),
            satellites: self.satellites.or(below.satellites),
            check_in_interval: self.check_in_interval.or(below.check_in_interval),
            max_uploads: self.max_uploads.or(below.max_uploads),
            idle_limit: self.idle_limit.or(below.idle_limit),
            creation_margin: self.creation_margin.or(below.creation_margin),
            trash_lifetime: self.trash_lifetime.or(below.trash_lifetime),
        }
    }

    /// Directory of the identity; relative ones are below `home`.
    pub(crate) fn identity(&self, home: &Path) -> PathBuf {
        home.join(self.identity.as_deref().unwrap_or_else(|| Path::new("identity")))
    }

    /// Directory of pieces and orders; relative ones are below `home`.
    pub(crate) fn data(&self, home: &Path) -> PathBuf {
        home.join(self.data.as_deref().unwrap_or_else(|| Path::new("data")))
    }

    /// The configuration these settings make.
    pub(crate) fn config(&self, home: &Path) -> Result<Config, SettingsError> {
        let capacity = self.capacity.as_ref().ok_or(SettingsError::NotSet("capacity"))?.0;
        let trusted = self.satellites.iter().flatten();
        let satellites: Vec<_> = trusted.map(|Trusted(satellite)| satellite.clone()).collect();
        if satellites.is_empty() {
            return Err(SettingsError::NotSet("satellites"));
        }
        let mut config = Config::new(self.data(home), capacity, satellites);
        config.listen = self.listen.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, PORT).into());
        config.external_address.clone_from(&self.external_address);
        config.keep_free = self.keep_free.as_ref().map_or(0, |size| size.0);
        if let Some(interval) = &self.check_in_interval {
            config.check_in_interval = interval.0;
        }
        if let Some(uploads) = self.max_uploads {
            config.max_uploads = uploads;
        }
        if let Some(limit) = &self.idle_limit {
            config.idle_limit = limit.0;
        }
        if let Some(margin) = &self.creation_margin {
            config.creation_margin = margin.0;
        }
        if let Some(lifetime) = &self.trash_lifetime {
            config.trash_lifetime = lifetime.0;
        }
        if config.external_address.is_none() && config.listen.ip().is_unspecified() {
            return Err(SettingsError::NotSet("external_address"));
        }
        Ok(config)
    }

    /// The file that sets what these settings set, every key explained.
    pub(crate) fn to_file(&self) -> String {
        let mut file = String::from("# A storage node of an uplink network.\n");
        let quoted = |text: &dyn fmt::Display| toml::Value::String(text.to_string()).to_string();
        let mut key = |comment: &str, name: &str, value: Option<String>, example: &str| {
            let line = match value {
                Some(value) => format!("{name} = {value}"),
                None => format!("#{name} = {example}"),
            };
            file.push_str(&format!("\n# {comment}\n{line}\n"));
        };
        let listen = self.listen.map(|listen| quoted(&listen));
        key("Address to listen on.", "listen", listen, "\"0.0.0.0:28967\"");
        let external = self.external_address.as_ref().map(|address| quoted(address));
        let comment = "Address at which satellites and clients reach this node.";
        key(comment, "external_address", external, "\"node.example.org:28967\"");
        let capacity = self.capacity.as_ref().map(|size| quoted(size));
        key("Space for pieces.", "capacity", capacity, "\"500GB\"");
        let keep_free = self.keep_free.as_ref().map(|size| quoted(size));
        let comment = "Space of the file system that is left free, whatever the capacity says.";
        key(comment, "keep_free", keep_free, "\"1GB\"");
        let data = self.data.as_ref().map(|path| quoted(&path.display()));
        let comment = "Directory of pieces and orders, relative to this file.";
        key(comment, "data", data, "\"data\"");
        let identity = self.identity.as_ref().map(|path| quoted(&path.display()));
        key(
            "Directory of the identity, relative to this file.",
            "identity",
            identity,
            "\"identity\"",
        );
        let satellites = self.satellites.as_ref().map(|satellites| {
            let quoted: Vec<_> = satellites.iter().map(|trusted| quoted(&trusted.0)).collect();
            format!("[{}]", quoted.join(", "))
        });
        let comment = "Satellites whose order limits are accepted: a list of \"id@host:port\".";
        key(comment, "satellites", satellites, "[]");
        let interval = self.check_in_interval.as_ref().map(|interval| quoted(interval));
        key("Time between two check-ins.", "check_in_interval", interval, "\"10m\"");
        let uploads = self.max_uploads.map(|uploads| uploads.to_string());
        key("Most uploads at once; further ones are refused.", "max_uploads", uploads, "500");
        let idle = self.idle_limit.as_ref().map(|limit| quoted(limit));
        let comment = "How long a client may be silent during a transfer.";
        key(comment, "idle_limit", idle, "\"10m\"");
        let margin = self.creation_margin.as_ref().map(|margin| quoted(margin));
        let comment = "Pieces younger than this are never garbage. Must be longer than the satellites'\n\
             # segment_lifetime, else pieces of uploads in progress may be lost.";
        key(comment, "creation_margin", margin, "\"72h\"");
        let lifetime = self.trash_lifetime.as_ref().map(|lifetime| quoted(lifetime));
        let comment = "How long pieces that no satellite wants are kept before they are deleted.";
        key(comment, "trash_lifetime", lifetime, "\"168h\"");
        file
    }
}

/// The port of storage nodes in the public network.
const PORT: u16 = 28967;

/// The known key that takes the fewest edits from `unknown`.
fn nearest(unknown: &str) -> &'static str {
    KEYS.into_iter().min_by_key(|known| edits(unknown, known)).unwrap_or_default()
}

/// Insertions, removals and replacements between two texts.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

/// A number of bytes, written with a unit: `500GB` is decimal, `500GiB` binary.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub(crate) struct Size(pub u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl TryFrom<NumberOrText> for Size {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        match value {
            NumberOrText::Number(bytes) => Ok(Self(bytes)),
            NumberOrText::Text(text) => text.parse(),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no size: expected a number and B, KB, MB, GB, TB or KiB, MiB, GiB, TiB"
            )
        };
        let (number, unit) = split_unit(text);
        let unit = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let (_, factor) = unit.ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(*factor).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut units = UNITS.iter().rev();
        let fitting = units.find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match fitting {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// A time span: a whole number of `s`, `m` or `h`, at least one second.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Interval(pub Duration);

impl TryFrom<String> for Interval {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        let seconds = match unit {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3600),
            _ => None,
        };
        let number: Option<u64> = number.parse().ok().filter(|number| *number > 0);
        let total = number.zip(seconds).and_then(|(number, unit)| number.checked_mul(unit));
        let total = total.filter(|seconds| *seconds <= MAX_INTERVAL_SECONDS);
        total
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or_else(|| format!("`{text}` is no time: expected a number and s, m or h"))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            hours if hours.is_multiple_of(3600) => write!(f, "{}h", hours / 3600),
            minutes if minutes.is_multiple_of(60) => write!(f, "{}m", minutes / 60),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

/// Longer times are mistakes, and clocks would overflow.
const MAX_INTERVAL_SECONDS: u64 = 366 * 24 * 3600;

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// A satellite in its text form.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Trusted(pub Satellite);

impl TryFrom<String> for Trusted {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Trusted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|error: uplink_storagenode::SatelliteError| error.to_string())
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("{path}: {reason}")]
    Damaged { path: PathBuf, reason: String },
    #[error("{path} does not exist; `uplink-storagenode setup` writes it")]
    Missing { path: PathBuf },
    #[error("`{0}` is not set, neither by flag nor in the environment nor in the file")]
    NotSet(&'static str),
    #[error("{path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_written_file_reads_back_and_names_every_key() {
        assert_eq!(Settings::parse(&full().to_file()), Ok(full()));
        let empty = Settings::default().to_file();
        assert_eq!(Settings::parse(&empty), Ok(Settings::default()));
        for key in KEYS {
            assert!(empty.contains(&format!("\n#{key} = ")), "{key}");
        }
        let uncommented: String = empty
            .lines()
            .map(|line| {
                line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)
            })
            .fold(String::new(), |text, line| text + line + "\n");
        assert!(Settings::parse(&uncommented).is_ok(), "the examples are valid");
    }

    #[test]
    fn upper_settings_win_key_by_key() {
        let upper = Settings { max_uploads: Some(9), ..Settings::default() };
        let both = upper.over(full());
        assert_eq!(both, Settings { max_uploads: Some(9), ..full() });
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("capasity = 1", "did you mean `capacity`?"),
            ("satelites = []", "did you mean `satellites`?"),
            ("capacity = \"5 parsec\"", "`5 parsec` is no size"),
            ("capacity = \"99999999TiB\"", "is no size"),
            ("check_in_interval = \"0s\"", "is no time"),
            ("satellites = [\"127.0.0.1:1\"]", "id is missing"),
            ("listen = \"here\"", "listen"),
            ("max_uploads = [", "line 1"),
        ] {
            let error = Settings::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_and_times_are_read_and_written_with_units() {
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
    }
}
