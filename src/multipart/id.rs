//! Upload ids: the satellite's stream ids as text.

use bytes::Bytes;
use uplink_core::base58;

use crate::error::{Error, ErrorKind, Result};

/// Writes the id that the satellite gave an upload as text.
pub(super) fn upload_id(stream_id: &[u8]) -> Result<String> {
    match stream_id.len() {
        1..=MAX_STREAM_ID => Ok(base58::encode_check(VERSION, stream_id)),
        length => Err(Error::protocol(format!("the id of an upload has {length} bytes"))),
    }
}

pub(super) fn stream_id(upload_id: &str) -> Result<Bytes> {
    match base58::decode_check(upload_id, MAX_UPLOAD_ID) {
        Ok((VERSION, stream_id)) if !stream_id.is_empty() => Ok(stream_id.into()),
        Ok(_) => Err(invalid_upload_id()),
        Err(error) => Err(invalid_upload_id().with_source(error)),
    }
}

pub(super) fn invalid_upload_id() -> Error {
    Error::new(ErrorKind::UploadIdInvalid, "invalid upload id")
}

/// The version byte of an upload id.
const VERSION: u8 = 1;
/// Most bytes of a satellite's stream id. It grows with the key, which has at most 4,000.
const MAX_STREAM_ID: usize = 8 << 10;
/// Most characters of an upload id: what the largest stream id takes in Base58.
const MAX_UPLOAD_ID: usize = 12 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_ids_are_read_back() {
        for stream_id_bytes in [&[0][..], &[7; 200], &[255; MAX_STREAM_ID]] {
            let text = upload_id(stream_id_bytes).unwrap();
            assert_eq!(stream_id(&text).unwrap(), stream_id_bytes);
        }
        for length in [0, MAX_STREAM_ID + 1] {
            assert_eq!(upload_id(&vec![1; length]).unwrap_err().kind(), ErrorKind::Protocol);
        }
    }

    #[test]
    fn malformed_upload_ids_are_refused() {
        let empty = base58::encode_check(VERSION, b"");
        let other_version = base58::encode_check(2, b"stream");
        for bad in ["", "0", "nonsense", &empty, &other_version, &"1".repeat(MAX_UPLOAD_ID + 1)] {
            assert_eq!(stream_id(bad).unwrap_err().kind(), ErrorKind::UploadIdInvalid, "{bad}");
        }
    }
}
