//! Whether what a client hands out is right.

use std::ops::Range;

use uplink::{Download, Error, Object, Transport};

use super::world::Known;

/// [`Transport`], which has no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport2 {
    Grpc,
    Drpc,
}

/// What is wrong, if something is.
pub(crate) type Judged = Result<Option<String>, Error>;

impl Transport2 {
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

/// Reads to the end, each byte compared when it comes. An earlier version as a whole is no lie that
/// can be noticed.
pub(crate) async fn check_bytes(
    download: &mut Download,
    object: &Known,
    range: Range<usize>,
) -> Judged {
    let mut possible: Vec<&[u8]> =
        object.contents.iter().map(|content| &content[range.clone()]).collect();
    let mut offset = 0;
    while let Some(bytes) = download.next().await? {
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

/// What is authenticated of an object: its key, its size, its custom metadata.
pub(crate) fn check_object(known: &Known, found: &Object) -> Option<String> {
    let size = known.contents[0].len() as u64;
    if found.key_text() != known.key {
        return Some(format!("key {:?}", found.key_text()));
    }
    if found.size != size {
        return Some(format!("size {} instead of {size}", found.size));
    }
    let custom = known.custom.contains(&found.custom);
    wrong_unless(custom, || format!("custom metadata {:?}", found.custom))
}

/// The client's error in what tokio's traits return.
pub(crate) fn uplink_error(error: std::io::Error) -> Error {
    error.into_inner().and_then(|error| error.downcast().ok()).map_or_else(
        || panic!("an error of the client is not one of its own"),
        |error: Box<Error>| *error,
    )
}
