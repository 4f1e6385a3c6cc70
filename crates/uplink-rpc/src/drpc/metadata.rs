//! Metadata of a call: pairs of key and value, the headers of a gRPC request.
//!
//! A sequence of entries `0A length entry`, each entry `0A length key 12 length value`; both are
//! always there, in this order.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::ProtocolError;
use super::frame::{read_varint, write_varint};

const ENTRY: u8 = 0x0a;
const KEY: u8 = 0x0a;
const VALUE: u8 = 0x12;

/// A key and its value.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// Writes pairs in the order given.
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

/// Pairs of one call, at most. Peers of the network send five.
pub const MAX_PAIRS: usize = 1024;

/// Reads pairs in the order they came in.
///
/// # Errors
/// The bytes are not what [`write()`] makes, or hold more than [`MAX_PAIRS`]: the connection is over.
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

/// The headers of a request as metadata; empty if there is nothing to say.
pub(super) fn of_headers(headers: &HeaderMap) -> Bytes {
    let told = headers.iter().filter(|(name, _)| !is_grpc(name));
    write(told.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())))
}

/// Metadata as headers. What cannot be a header is left out, and so is what belongs to gRPC itself.
pub(super) fn to_headers(pairs: &[Pair<'_>]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (key, value) in pairs {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(key), HeaderValue::from_bytes(value))
            && !is_grpc(&name)
        {
            // Full of headers: no service of the network has a use for more.
            let _ = headers.try_append(name, value);
        }
    }
    headers
}

/// Whether a header is about the transport.
fn is_grpc(name: &HeaderName) -> bool {
    let transport = [http::header::TE, http::header::CONTENT_TYPE, http::header::USER_AGENT];
    transport.contains(name) || name.as_str().starts_with("grpc-")
}
