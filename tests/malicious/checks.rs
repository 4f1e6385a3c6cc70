//! Checks of what a client returns.

use std::ops::Range;

use uplink::{Download, Error, Object, Transport};

use super::world::Known;

/// A [`Transport`] that implements `Hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TransportKind {
    Grpc,
    Drpc,
}

/// What is wrong, if anything is.
pub(crate) type Checked = Result<Option<String>, Error>;

impl TransportKind {
    pub(crate) fn get(self) -> Transport {
        match self {
            Self::Grpc => Transport::Negotiated,
            Self::Drpc => Transport::Drpc,
        }
    }
}

pub(crate) fn wrong_unless(right: bool, wrong: impl FnOnce() -> String) -> Option<String> {
    (!right).then(wrong)
}

/// Reads to the end and compares each byte on arrival. A complete earlier version is accepted: a
/// rollback of the whole object cannot be detected.
pub(crate) async fn check_bytes(
    download: &mut Download,
    object: &Known,
    range: Range<usize>,
) -> Checked {
    let mut possible: Vec<&[u8]> =
        object.contents.iter().map(|content| &content[range.clone()]).collect();
    let mut offset = 0;
    while let Some(bytes) = download.chunk().await? {
        let end = offset + bytes.len();
        possible.retain(|content| content.get(offset..end) == Some(&bytes[..]));
        if possible.is_empty() {
            return Ok(Some(format!("wrong bytes in {offset}..{end} of {range:?}")));
        }
        offset = end;
    }
    let length = range.len();
    Ok(wrong_unless(offset == length, || format!("{offset} bytes of {length} with success")))
}

/// Checks the authenticated properties of an object: its key, size and custom metadata.
pub(crate) fn check_object(known: &Known, found: &Object) -> Option<String> {
    let size = known.contents[0].len() as u64;
    if found.key.to_text() != known.key {
        return Some(format!("key {:?}", found.key.to_text()));
    }
    if found.size != size {
        return Some(format!("size {} instead of {size}", found.size));
    }
    let custom = known.custom.contains(&found.custom_metadata);
    wrong_unless(custom, || format!("custom metadata {:?}", found.custom_metadata))
}

/// Returns the client's error from the error of a tokio trait.
pub(crate) fn into_uplink_error(error: std::io::Error) -> Error {
    error
        .into_inner()
        .and_then(|error| error.downcast().ok())
        .map_or_else(|| panic!("not an error of the client"), |error: Box<Error>| *error)
}
