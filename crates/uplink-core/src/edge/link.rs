//! Links: joined by those who share, taken apart by the service that serves them.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::{AccessKeyId, CredentialError};
use crate::secret::Secret;

/// Makes the link to a registered grant, or to a bucket, prefix or object in it.
///
/// `base` is the address of a link service, possibly with a path and query of its own, which stay.
/// `raw` asks for the bytes of one object instead of a page about it. `access_key_id` is put in as
/// it is given.
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
    let between = if base_path.is_empty() { "" } else { "/" };
    let slash = if base.has_host { "/" } else { "" };
    let (base_path, path) = (escape(base_path), escape(&path));
    let (origin, query) = (base.origin, base.query);
    Ok(format!("{origin}{slash}{base_path}{between}{path}{query}"))
}

/// Why a link cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// There is no access key id.
    #[error("accessKeyID is required")]
    AccessKeyId,
    /// The base is neither an absolute URI nor an absolute path.
    #[error("invalid base url: {0:?}")]
    Base(String),
    /// There is a key and no bucket.
    #[error("bucket is required if key is specified")]
    Bucket,
    /// A raw link without a key.
    #[error("key is required for a raw download link")]
    RawKey,
    /// A raw link to a prefix.
    #[error("a raw download link can not be a prefix")]
    RawPrefix,
}

/// A link taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedLink {
    /// An access key id, or the text of a whole access grant: whoever has it can read.
    pub access: Secret<String>,
    /// Name of the bucket.
    pub bucket: String,
    /// Key of the object, or a prefix; empty for the bucket.
    pub key: Vec<u8>,
    /// Whether the bytes are asked for, and not a page about the object.
    pub raw: bool,
    /// What the query says of `download`: send the object as a file.
    pub download: Option<bool>,
    /// What the query says of `map`: show where the pieces are.
    pub map: Option<bool>,
    /// What the query says of `view`: show the object in the browser.
    pub view: Option<bool>,
    /// What the query says of `wrap`: put a page around the object.
    pub wrap: Option<bool>,
}

impl SharedLink {
    /// Reads a link, with or without the service's address before its path. A path that begins with
    /// neither `s/` nor `raw/` is taken as one of a page.
    pub fn parse(url: &str) -> Result<Self, LinkError> {
        let (path, query) = path_and_query(url)?;
        let path = Path(decode(path).into_owned());
        let rest = path.without_leading_slashes();
        let (raw, rest) = strip_kind(rest).unwrap_or((false, rest));
        let mut parts = rest.splitn(3, |byte| *byte == b'/');
        let mut next = || parts.next().unwrap_or_default();
        let (access, bucket, key) = (next(), next(), next());
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

    /// Returns the access key id, or the error with which the link's first part is none: then it may
    /// be a whole grant, which [`AccessGrant::parse`](crate::access_grant::AccessGrant::parse) reads.
    pub fn access_key_id(&self) -> Result<AccessKeyId, CredentialError> {
        AccessKeyId::parse(self.access.expose())
    }

    /// Writes the path of the link, escaped, beginning with `/`.
    #[must_use]
    pub fn path(&self) -> String {
        let path = path(self.access.expose().as_bytes(), &self.bucket, &self.key, self.raw);
        format!("/{}", escape(&path))
    }
}

/// Finds the access key id in a link to a shared object, or in a presigned request to an S3 gateway,
/// which holds it in its query (signature version 2 or 4).
pub fn access_key_of(url: &str) -> Result<String, LinkError> {
    let (path, query) = path_and_query(url)?;
    let path = Path(decode(path).into_owned());
    let found = match strip_kind(path.without_leading_slashes()) {
        Some((_, rest)) => text(rest.split(|byte| *byte == b'/').next().unwrap_or_default())?,
        None => signer(query).unwrap_or_default(),
    };
    if found.is_empty() { Err(LinkError::Access) } else { Ok(found) }
}

/// Why a URL is no link to a shared object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is neither an access key id nor a grant.
    #[error("the link holds no access key id")]
    Access,
    /// There is no bucket.
    #[error("the link holds no bucket")]
    Bucket,
    /// Access or bucket are not text.
    #[error("the link is not UTF-8 text")]
    Text,
    /// The URL is longer than any link.
    #[error("the link has {0} bytes")]
    TooLong(usize),
}

/// Longest link that is read: a grant, a bucket and a key escaped whole.
const MAX_LINK: usize = 128 << 10;

/// All but what stays as it is in the path of a link.
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

/// The path of a link in plain, without a leading `/`.
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
    /// Scheme, and `//` with user and host if they are there.
    origin: &'a str,
    has_host: bool,
    /// In plain; `None` for a URI that has no path, as `mailto:` has none.
    path: Option<Path>,
    /// With its question mark.
    query: &'a str,
}

/// A path in plain.
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
        // Without a scheme two slashes are part of a path.
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

/// Length of a scheme with its colon; 0 if the text begins with none.
fn scheme_length(text: &str) -> usize {
    let Some((scheme, _)) = text.split_once(':') else { return 0 };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if is_scheme { scheme.len().saturating_add(1) } else { 0 }
}

fn is_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"-._~!$&'()*+,;=:@[]%".contains(&byte)
}

/// Whether two hexadecimal digits follow every percent sign.
fn is_escaped(path: &str) -> bool {
    path.split('%').skip(1).all(|after| {
        let digits = after.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Cuts a URL, which may lack scheme and host, into its path and its query.
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

/// Whether a path asks for bytes, and what follows that.
fn strip_kind(path: &[u8]) -> Option<(bool, &[u8])> {
    let page = path.strip_prefix(b"s/").map(|rest| (false, rest));
    page.or_else(|| path.strip_prefix(b"raw/").map(|rest| (true, rest)))
}

/// Who signed a presigned request: all of one value, or what stands before the first `/` of another
/// (`ID/date/region/service/aws4_request`).
fn signer(query: &str) -> Option<String> {
    value(query, "AWSAccessKeyId").or_else(|| {
        let credential = value(query, "X-Amz-Credential")?;
        credential.split('/').next().map(str::to_owned)
    })
}

/// The first value of a key of a query, decoded.
fn value(query: &str, key: &str) -> Option<String> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|pair| pair.0 == key)?;
    text(&decode(&value.replace('+', " "))).ok()
}

/// Any value but those that say no is yes; `None` if the key is not there.
fn flag(query: &str, key: &str) -> Option<bool> {
    let value = value(query, key)?.to_ascii_lowercase();
    Some(!matches!(value.as_str(), "no" | "false" | "0" | "off"))
}
