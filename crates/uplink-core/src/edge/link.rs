//! Links to shared objects: creation and parsing.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::{AccessKeyId, CredentialError};
use crate::secret::Secret;

/// Returns the link to a registered grant, or to a bucket, prefix or object in it.
///
/// `base` is the address of a link service; its path and query are preserved. `raw` requests the bytes
/// of one object instead of a page about it. `access_key_id` is not validated.
pub fn join_share_url(
    base: &str,
    access_key_id: &str,
    bucket: &str,
    key: &[u8],
    raw: bool,
) -> Result<String, JoinError> {
    if access_key_id.is_empty() {
        return Err(JoinError::AccessKeyId);
    }
    if bucket.is_empty() && !key.is_empty() {
        return Err(JoinError::Bucket);
    }
    if raw && key.is_empty() {
        return Err(JoinError::RawKey);
    }
    if raw && key.ends_with(b"/") {
        return Err(JoinError::RawPrefix);
    }
    let base = Base::parse(base).ok_or_else(|| JoinError::Base(base.to_owned()))?;
    let Some(base_path) = base.path else { return Ok(base.whole.to_owned()) };
    let path = path(access_key_id.as_bytes(), bucket, key, raw);
    let base_path = base_path.without_outer_slashes();
    let separator = if base_path.is_empty() { "" } else { "/" };
    let slash = if base.has_host { "/" } else { "" };
    let origin = base.origin;
    let query = base.query;
    let base_path = escape(base_path);
    let path = escape(&path);
    Ok(format!("{origin}{slash}{base_path}{separator}{path}{query}"))
}

/// Why a link cannot be created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The access key id is missing.
    #[error("accessKeyID is required")]
    AccessKeyId,
    /// The base is neither an absolute URI nor an absolute path.
    #[error("invalid base url: {0:?}")]
    Base(String),
    /// A key without a bucket.
    #[error("bucket is required if key is specified")]
    Bucket,
    /// A raw link without a key.
    #[error("key is required for a raw download link")]
    RawKey,
    /// A raw link to a prefix.
    #[error("a raw download link can not be a prefix")]
    RawPrefix,
}

/// A parsed link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedLink {
    /// An access key id, or the text of a whole access grant. A secret that grants access.
    pub access: Secret<String>,
    /// Name of the bucket.
    pub bucket: String,
    /// Key of the object, or a prefix; empty for the bucket.
    pub key: Vec<u8>,
    /// Whether the link is to the object's bytes, not to a page about it.
    pub raw: bool,
    /// The query's `download` flag: send the object as a file.
    pub download: Option<bool>,
    /// The query's `map` flag: show the locations of the pieces.
    pub map: Option<bool>,
    /// The query's `view` flag: show the object in the browser.
    pub view: Option<bool>,
    /// The query's `wrap` flag: show the object inside a page.
    pub wrap: Option<bool>,
}

impl SharedLink {
    /// Parses a link, with or without the service's address before its path. A path without the prefix
    /// `s/` or `raw/` is treated as a link to a page.
    pub fn parse(url: &str) -> Result<Self, LinkError> {
        let (path, query) = path_and_query(url)?;
        let path = Path(decode(path).into_owned());
        let rest = path.without_leading_slashes();
        let (raw, rest) = strip_kind(rest).unwrap_or((false, rest));
        let mut parts = rest.splitn(3, |byte| *byte == b'/');
        let access = parts.next().unwrap_or_default();
        let bucket = parts.next().unwrap_or_default();
        let key = parts.next().unwrap_or_default();
        if access.is_empty() {
            return Err(LinkError::Access);
        }
        if bucket.is_empty() {
            return Err(LinkError::Bucket);
        }
        Ok(Self {
            access: Secret::new(text(access)?),
            bucket: text(bucket)?,
            key: key.to_vec(),
            raw,
            download: flag(query, "download"),
            map: flag(query, "map"),
            view: flag(query, "view"),
            wrap: flag(query, "wrap"),
        })
    }

    /// Returns the access key id. On error, the link may contain a whole grant instead: see
    /// [`AccessGrant::parse`](crate::access_grant::AccessGrant::parse).
    pub fn access_key_id(&self) -> Result<AccessKeyId, CredentialError> {
        AccessKeyId::parse(self.access.expose())
    }

    /// Returns the escaped path of the link, with a leading `/`.
    #[must_use]
    pub fn path(&self) -> String {
        let path = path(self.access.expose().as_bytes(), &self.bucket, &self.key, self.raw);
        format!("/{}", escape(&path))
    }
}

/// Returns the access key id of a link to a shared object, or of a presigned request to an S3 gateway,
/// which contains it in the query (signature version 2 or 4).
pub fn access_key_of(url: &str) -> Result<String, LinkError> {
    let (path, query) = path_and_query(url)?;
    let path = Path(decode(path).into_owned());
    let found = match strip_kind(path.without_leading_slashes()) {
        Some((_, rest)) => text(rest.split(|byte| *byte == b'/').next().unwrap_or_default())?,
        None => signer(query).unwrap_or_default(),
    };
    if found.is_empty() { Err(LinkError::Access) } else { Ok(found) }
}

/// Why a URL is not a link to a shared object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The access key id or grant is missing.
    #[error("invalid link: missing access key id")]
    Access,
    /// The bucket is missing.
    #[error("invalid link: missing bucket")]
    Bucket,
    /// Access or bucket are not valid UTF-8.
    #[error("invalid link: not valid UTF-8")]
    Text,
    /// The URL exceeds the maximum length of a link.
    #[error("link too long: {0} bytes, limit {MAX_LINK}")]
    TooLong(usize),
}

/// Maximum length of a link: room for a grant, a bucket and a fully escaped key.
const MAX_LINK: usize = 128 << 10;

/// The characters that are escaped in the path of a link.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

fn escape(path: &[u8]) -> impl std::fmt::Display + '_ {
    percent_encode(path, ESCAPED)
}

fn decode(part: &str) -> Cow<'_, [u8]> {
    percent_decode(part.as_bytes()).into()
}

fn text(bytes: &[u8]) -> Result<String, LinkError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| LinkError::Text)
}

/// Returns the unescaped path of a link, without a leading `/`.
fn path(access: &[u8], bucket: &str, key: &[u8], raw: bool) -> Vec<u8> {
    let mut path = if raw { b"raw/".to_vec() } else { b"s/".to_vec() };
    path.extend_from_slice(access);
    for part in [bucket.as_bytes(), key] {
        if !part.is_empty() {
            path.push(b'/');
            path.extend_from_slice(part);
        }
    }
    path
}

/// The address of a link service.
struct Base<'a> {
    whole: &'a str,
    /// Scheme, and `//` with user and host if present.
    origin: &'a str,
    has_host: bool,
    /// Unescaped; `None` for a URI without a path, such as `mailto:`.
    path: Option<Path>,
    /// Including the question mark.
    query: &'a str,
}

/// An unescaped path.
struct Path(Vec<u8>);

impl Path {
    fn without_leading_slashes(&self) -> &[u8] {
        let mut path = self.0.as_slice();
        while let Some(rest) = path.strip_prefix(b"/") {
            path = rest;
        }
        path
    }

    fn without_outer_slashes(&self) -> &[u8] {
        let mut path = self.without_leading_slashes();
        while let Some(rest) = path.strip_suffix(b"/") {
            path = rest;
        }
        path
    }
}

impl<'a> Base<'a> {
    fn parse(whole: &'a str) -> Option<Self> {
        if whole.bytes().any(|byte| byte.is_ascii_control()) {
            return None;
        }
        let query_at = whole.find('?').unwrap_or(whole.len());
        let (before, query) = whole.split_at(query_at);
        let scheme = scheme_length(before);
        let (scheme, rest) = before.split_at(scheme);
        if !rest.starts_with('/') {
            let is_opaque = !scheme.is_empty();
            return is_opaque.then_some(Self {
                whole,
                origin: whole,
                has_host: false,
                path: None,
                query,
            });
        }
        // Without a scheme, two slashes are part of the path.
        let authority = rest.strip_prefix("//").filter(|_| !scheme.is_empty());
        let (authority, path) = match authority {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let origin = before.strip_suffix(path)?;
        if !authority.bytes().all(is_authority) || !is_escaped(path) {
            return None;
        }
        let path = Some(Path(decode(path).into_owned()));
        Some(Self { whole, origin, has_host: !host.is_empty(), path, query })
    }
}

/// Returns the length of the scheme with its colon; 0 without a scheme.
fn scheme_length(text: &str) -> usize {
    let Some((scheme, _)) = text.split_once(':') else { return 0 };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if is_scheme { scheme.len().saturating_add(1) } else { 0 }
}

fn is_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"-._~!$&'()*+,;=:@[]%".contains(&byte)
}

/// Returns whether every percent sign is followed by two hexadecimal digits.
fn is_escaped(path: &str) -> bool {
    path.split('%').skip(1).all(|after| {
        let digits = after.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Splits a URL, possibly without scheme and host, into path and query.
fn path_and_query(url: &str) -> Result<(&str, &str), LinkError> {
    if url.len() > MAX_LINK {
        return Err(LinkError::TooLong(url.len()));
    }
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let path = match before.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => before,
    };
    Ok((path, query))
}

/// Strips the kind prefix of a path. Returns whether it requests bytes, and the rest.
fn strip_kind(path: &[u8]) -> Option<(bool, &[u8])> {
    let page = path.strip_prefix(b"s/").map(|rest| (false, rest));
    page.or_else(|| path.strip_prefix(b"raw/").map(|rest| (true, rest)))
}

/// Returns the access key id of a presigned request: the whole `AWSAccessKeyId`, or the first part of
/// `X-Amz-Credential` (`ID/date/region/service/aws4_request`).
fn signer(query: &str) -> Option<String> {
    value(query, "AWSAccessKeyId").or_else(|| {
        let credential = value(query, "X-Amz-Credential")?;
        credential.split('/').next().map(str::to_owned)
    })
}

/// Returns the first value of a query key, decoded.
fn value(query: &str, key: &str) -> Option<String> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|pair| pair.0 == key)?;
    text(&decode(&value.replace('+', " "))).ok()
}

/// Returns a flag: any value other than no, false, 0 and off is true; `None` if the key is missing.
fn flag(query: &str, key: &str) -> Option<bool> {
    let value = value(query, key)?.to_ascii_lowercase();
    Some(!matches!(value.as_str(), "no" | "false" | "0" | "off"))
}
