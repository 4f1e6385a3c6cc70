//! Object keys.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

/// The key of an object: its name within a bucket, one or more bytes of any value.
///
/// Dereferences to the bytes. Prints as text, with bytes that are not UTF-8 replaced.
///
/// ```
/// use uplink::ObjectKey;
///
/// let key = ObjectKey::from("trips/cat.jpg");
/// assert_eq!(key, "trips/cat.jpg");
/// assert_eq!(key.to_string(), "trips/cat.jpg");
/// assert!(key.starts_with(b"trips/"));
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Vec<u8>);

impl ObjectKey {
    /// Returns the key as text, or `None` if it is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Returns the key as text, with bytes that are not UTF-8 replaced.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Returns the bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Deref for ObjectKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for ObjectKey {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_text().fmt(f)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl From<Vec<u8>> for ObjectKey {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for ObjectKey {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<String> for ObjectKey {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&str> for ObjectKey {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<ObjectKey> for Vec<u8> {
    fn from(key: ObjectKey) -> Self {
        key.0
    }
}

impl PartialEq<[u8]> for ObjectKey {
    fn eq(&self, other: &[u8]) -> bool {
        self.0 == other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for ObjectKey {
    fn eq(&self, other: &&[u8; N]) -> bool {
        self.0 == *other
    }
}

impl PartialEq<&[u8]> for ObjectKey {
    fn eq(&self, other: &&[u8]) -> bool {
        self.0 == *other
    }
}

impl PartialEq<str> for ObjectKey {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for ObjectKey {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_prints_as_text_and_escapes_bytes_that_are_not_utf8() {
        let key = ObjectKey::from(&b"trips/\xff.jpg"[..]);
        assert_eq!(key.as_str(), None);
        assert_eq!(key.to_string(), "trips/\u{fffd}.jpg");
        assert_eq!(format!("{key:?}"), r#""trips/\xff.jpg""#);
        assert_eq!(format!("{:>5}", ObjectKey::from("cat")), "  cat");
    }
}
