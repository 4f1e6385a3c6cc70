//! Metadata of a call: key-value pairs, the headers of a gRPC request.
//!
//! The format is a sequence of entries `0A length entry`. Each entry is `0A length key 12 length
//! value`: both fields are required, in this order.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::ProtocolError;
use super::frame::{read_varint, write_varint};

const ENTRY: u8 = 0x0a;
const KEY: u8 = 0x0a;
const VALUE: u8 = 0x12;

/// A key and its value.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// Encodes pairs in the given order.
pub fn write<'a>(pairs: impl IntoIterator<Item = Pair<'a>>) -> Bytes {
    let mut written = BytesMut::new();
    for (key, value) in pairs {
        let mut entry = Vec::new();
        for (tag, field) in [(KEY, key), (VALUE, value)] {
            entry.put_u8(tag);
            write_varint(field.len() as u64, &mut entry);
            entry.extend_from_slice(field);
        }
        written.put_u8(ENTRY);
        write_varint(entry.len() as u64, &mut written);
        written.extend_from_slice(&entry);
    }
    written.freeze()
}

/// Maximum number of pairs of one call. Peers of the network send five.
pub const MAX_PAIRS: usize = 1024;

/// Decodes pairs in the received order.
///
/// # Errors
/// The bytes are malformed or hold more than [`MAX_PAIRS`]. The connection must be closed.
pub fn read(mut bytes: &[u8]) -> Result<Vec<Pair<'_>>, ProtocolError> {
    let mut pairs = Vec::new();
    while !bytes.is_empty() {
        let mut entry = field(ENTRY, &mut bytes)?;
        let pair = (field(KEY, &mut entry)?, field(VALUE, &mut entry)?);
        if !entry.is_empty() || pairs.len() >= MAX_PAIRS {
            return Err(ProtocolError::Metadata);
        }
        pairs.push(pair);
    }
    Ok(pairs)
}

fn field<'a>(tag: u8, from: &mut &'a [u8]) -> Result<&'a [u8], ProtocolError> {
    let (first, rest) = from.split_first().ok_or(ProtocolError::Metadata)?;
    let number = read_varint(rest).map_err(|_| ProtocolError::Metadata)?;
    let (length, size) = number.filter(|_| *first == tag).ok_or(ProtocolError::Metadata)?;
    let rest = rest.get(size..).unwrap_or_default();
    let length = usize::try_from(length).map_err(|_| ProtocolError::Metadata)?;
    let (field, rest) = rest.split_at_checked(length).ok_or(ProtocolError::Metadata)?;
    *from = rest;
    Ok(field)
}

/// Encodes the headers of a request; returns no bytes if all of them belong to the transport.
pub(super) fn of_headers(headers: &HeaderMap) -> Bytes {
    let sent = headers.iter().filter(|(name, _)| !is_grpc(name));
    write(sent.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())))
}

/// Converts metadata to headers. Skips pairs that are invalid as headers or belong to gRPC itself.
pub(super) fn to_headers(pairs: &[Pair<'_>]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (key, value) in pairs {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(key), HeaderValue::from_bytes(value))
            && !is_grpc(&name)
        {
            // Drops pairs beyond the map's capacity, which exceeds what any service uses.
            let _ = headers.try_append(name, value);
        }
    }
    headers
}

/// Returns whether a header belongs to the transport.
fn is_grpc(name: &HeaderName) -> bool {
    let transport = [http::header::TE, http::header::CONTENT_TYPE, http::header::USER_AGENT];
    transport.contains(name) || name.as_str().starts_with("grpc-")
}
