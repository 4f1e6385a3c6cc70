//! Locations: `sj://bucket/key`, a local path, or `-` for standard input and output.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use crate::failure::{Failure, Outcome};

/// The source or target of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A file or directory.
    Local(PathBuf),
    /// A bucket, object or prefix.
    Remote(Url),
    /// Standard input or standard output.
    Stdio,
}

impl Location {
    /// Parses a location. A local file named `-` is written `./-`.
    pub(crate) fn parse(text: &OsStr) -> Outcome<Self> {
        let bytes = text.as_encoded_bytes();
        match bytes {
            b"" => Err(Failure::usage("empty path or URL")),
            b"-" => Ok(Self::Stdio),
            _ if bytes.starts_with(SCHEME) => Url::parse(text).map(Self::Remote),
            _ => Ok(Self::Local(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{path:?}"),
            Self::Remote(url) => url.fmt(f),
            Self::Stdio => f.write_str("-"),
        }
    }
}

/// A bucket, and an object key or prefix in it; empty for the bucket itself.
///
/// Keys are bytes. Any key can be given on systems where arguments are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Bucket name, not empty.
    pub(crate) bucket: String,
    /// Key or prefix, may be empty.
    pub(crate) key: Vec<u8>,
}

impl Url {
    /// Parses `sj://bucket` or `sj://bucket/key`. Keys are not percent-decoded.
    pub(crate) fn parse(text: &OsStr) -> Outcome<Self> {
        let malformed = |why: &str| {
            let shown = text.to_string_lossy();
            Failure::usage(format!("invalid URL {shown:?}: {why}, must be like sj://bucket/key"))
        };
        let rest = text.as_encoded_bytes().strip_prefix(SCHEME);
        let rest = rest.ok_or_else(|| malformed("does not begin with sj://"))?;
        let slash = rest.iter().position(|byte| *byte == b'/');
        let (bucket, key) = rest.split_at(slash.unwrap_or(rest.len()));
        if bucket.is_empty() {
            return Err(malformed("missing bucket name"));
        }
        let bucket =
            str::from_utf8(bucket).map_err(|_| malformed("bucket name is not valid UTF-8"))?;
        let key = key.strip_prefix(b"/").unwrap_or_default().to_vec();
        Ok(Self { bucket: bucket.to_owned(), key })
    }

    /// Parses the URL of a bucket.
    pub(crate) fn parse_bucket(text: &OsStr) -> Outcome<Self> {
        let url = Self::parse(text)?;
        if url.key.is_empty() {
            return Ok(url);
        }
        Err(Failure::usage(format!("invalid URL \"{url}\": expected a bucket, found an object")))
    }

    /// Parses the URL of an object.
    pub(crate) fn parse_object(text: &OsStr) -> Outcome<Self> {
        let url = Self::parse(text)?;
        if !url.key.is_empty() {
            return Ok(url);
        }
        Err(Failure::usage(format!("invalid URL \"{url}\": expected an object, found a bucket")))
    }

    /// Returns the URL of another key in the same bucket.
    pub(crate) fn with_key(&self, key: impl Into<Vec<u8>>) -> Self {
        Self { bucket: self.bucket.clone(), key: key.into() }
    }

    /// Returns the URL of `name` below a prefix. A key that is not a prefix stays as it is.
    pub(crate) fn with_name(&self, name: &[u8]) -> Self {
        if self.is_prefix() { self.with_key([&self.key, name].concat()) } else { self.clone() }
    }

    /// Returns the part of a key after this prefix.
    pub(crate) fn relative<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        key.strip_prefix(self.key.as_slice()).unwrap_or(key)
    }

    /// Fails if a target is below this prefix: a walk would find what it has written, or replace what
    /// it has not read.
    pub(crate) fn require_outside(&self, target: &Self) -> Outcome {
        if self.bucket == target.bucket && target.key.starts_with(&self.key) {
            return Err(Failure::usage(format!("target {target} is inside source {self}")));
        }
        Ok(())
    }

    /// Returns the URL as a prefix: the whole bucket, or everything below the key.
    pub(crate) fn as_prefix(&self) -> Self {
        let mut prefix = self.clone();
        if !prefix.is_prefix() {
            prefix.key.push(b'/');
        }
        prefix
    }

    /// Returns whether this is a prefix: a whole bucket, or a key that ends with `/`.
    pub(crate) fn is_prefix(&self) -> bool {
        self.key.is_empty() || self.key.ends_with(b"/")
    }

    /// Returns the last component of the key; empty for a prefix.
    pub(crate) fn file_name(&self) -> &[u8] {
        self.key.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sj://{}", self.bucket)?;
        if self.key.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", String::from_utf8_lossy(&self.key))
        }
    }
}

const SCHEME: &[u8] = b"sj://";

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(bucket: &str, key: &str) -> Location {
        Location::Remote(Url { bucket: bucket.to_owned(), key: key.as_bytes().to_vec() })
    }

    #[test]
    fn local_remote_and_stdio_are_distinguished() {
        let parse = |text: &str| Location::parse(OsStr::new(text)).unwrap();
        assert_eq!(parse("-"), Location::Stdio);
        assert_eq!(parse("./-"), Location::Local("./-".into()));
        assert_eq!(parse("a b"), Location::Local("a b".into()));
        assert_eq!(parse("sj://b"), remote("b", ""));
        assert_eq!(parse("sj://b/"), remote("b", ""));
        assert_eq!(parse("sj://b/a/ c%20//"), remote("b", "a/ c%20//"));
        assert_eq!(parse("sj://b//x"), remote("b", "/x"));
    }

    #[test]
    fn malformed_locations_are_usage_errors() {
        for bad in ["", "sj://", "sj:///key"] {
            let failure = Location::parse(OsStr::new(bad)).unwrap_err();
            assert_eq!(failure.exit(), crate::failure::Exit::Usage, "{bad}");
        }
        assert!(Url::parse(OsStr::new("file.txt")).is_err());
        assert!(Url::parse_bucket(OsStr::new("sj://b/k")).is_err());
        assert!(Url::parse_object(OsStr::new("sj://b/")).is_err());
    }

    #[test]
    fn prefixes_end_with_a_slash() {
        let url = |text: &str| Url::parse(OsStr::new(text)).unwrap();
        assert_eq!(url("sj://b").as_prefix(), url("sj://b/"));
        assert_eq!(url("sj://b/a").as_prefix(), url("sj://b/a/"));
        assert_eq!(url("sj://b/a/").as_prefix(), url("sj://b/a/"));
        assert_eq!(url("sj://b/a/c.txt").file_name(), b"c.txt");
        assert_eq!(url("sj://b/a/").file_name(), b"");
    }
}
