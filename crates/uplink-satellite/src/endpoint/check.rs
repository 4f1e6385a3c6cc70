//! Validation of request arguments.

use uplink_core::id::SegmentPosition;
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::status::{Code, Failure};
use uplink_server::units::readable_size;

use crate::failure::{RpcResult, invalid};
use crate::metabase::Metadata;

/// Maximum length of an encrypted object key.
pub(super) const MAX_KEY: usize = 4_000;
/// Maximum total bytes of encrypted metadata and ETag of an object.
const MAX_METADATA: usize = 2_048;
/// Bytes of a wrapped key: the key and its tag.
const WRAPPED_KEY: usize = 48;
const NONCE: usize = 24;
/// Maximum encryption block size; equals the limit of readers.
const MAX_BLOCK_SIZE: i64 = 16 << 20;

/// Validates the length of a bucket name. The other rules apply only to new buckets.
pub(super) fn bucket(name: &[u8]) -> RpcResult<()> {
    match name.len() {
        0 => Err(invalid("metainfo: no bucket specified")),
        3..=63 => Ok(()),
        _ => Err(invalid("invalid bucket name: must have 3 to 63 bytes")),
    }
}

/// Validates the name of a new bucket: labels of lower-case letters, digits and inner hyphens,
/// separated by dots, but not an IPv4 address.
pub(super) fn new_bucket(name: &[u8]) -> RpcResult<()> {
    bucket(name)?;
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    for label in name.split(|byte| *byte == b'.') {
        let ends = [label.first(), label.last()];
        if !ends.into_iter().all(|end| end.is_some_and(alphanumeric)) {
            return Err(invalid(
                "invalid bucket name: labels must start and end with a lower-case letter or digit",
            ));
        }
        if !label.iter().all(|byte| alphanumeric(byte) || *byte == b'-') {
            return Err(invalid(
                "invalid bucket name: must consist of lower-case letters, digits, hyphens and dots",
            ));
        }
    }
    let text = std::str::from_utf8(name).unwrap_or_default();
    if text.parse::<std::net::Ipv4Addr>().is_ok() {
        return Err(invalid("invalid bucket name: must not be an IP address"));
    }
    Ok(())
}

pub(super) fn key(key: &[u8]) -> RpcResult<()> {
    match key.len() {
        0 => Err(invalid("metabase: invalid request: ObjectKey missing")),
        1..=MAX_KEY => Ok(()),
        length => Err(invalid(format!(
            "key length is too big, got {length}, maximum allowed is {MAX_KEY}"
        ))),
    }
}

/// Parses a version as clients send it; `None` means the latest.
pub(super) fn version(version: &[u8]) -> RpcResult<Option<[u8; 16]>> {
    if version.is_empty() {
        return Ok(None);
    }
    let version =
        version.try_into().map_err(|_| invalid("invalid object version: must have 16 bytes"))?;
    Ok(Some(version))
}

/// Parses a required position. Both numbers must not be negative.
pub(super) fn position(position: Option<&messages::SegmentPosition>) -> RpcResult<SegmentPosition> {
    let position = position.ok_or_else(|| invalid("segment position is missing"))?;
    let number =
        |number| u32::try_from(number).map_err(|_| invalid("segment position is negative"));
    Ok(SegmentPosition { part: number(position.part_number)?, index: number(position.index)? })
}

/// Validates and packs encryption parameters.
pub(super) fn encryption(
    parameters: Option<&uplink_rpc::r#gen::encryption::EncryptionParameters>,
) -> RpcResult<i64> {
    let parameters = parameters.ok_or_else(|| invalid("encryption parameters are missing"))?;
    let suite = u8::try_from(parameters.cipher_suite)
        .map_err(|_| invalid("invalid cipher suite: must be 0 to 255"))?;
    if !(0..=MAX_BLOCK_SIZE).contains(&parameters.block_size) {
        return Err(invalid("invalid encryption block size: must be 0 to 16 MiB"));
    }
    let block_size = u32::try_from(parameters.block_size).unwrap_or_default();
    Ok(uplink_core::layout::pack_encryption_parameters(suite, block_size))
}

/// Validates the lengths of a segment's wrapped content key and its nonce.
pub(super) fn segment_key(key: &[u8], nonce: &[u8]) -> RpcResult<()> {
    if key.len() != WRAPPED_KEY {
        return Err(invalid("invalid encrypted key of a segment: must have 48 bytes"));
    }
    if nonce.len() != NONCE {
        return Err(invalid("invalid nonce of a segment key: must have 24 bytes"));
    }
    Ok(())
}

/// Validates the limit of a page; 0 means `max`.
pub(super) fn page_limit(limit: i32, max: usize) -> RpcResult<usize> {
    match usize::try_from(limit) {
        Ok(0) => Ok(max),
        Ok(limit) => Ok(limit.min(max)),
        Err(_) => Err(invalid("limit is negative")),
    }
}

pub(super) fn etag(etag: &[u8]) -> RpcResult<Option<Vec<u8>>> {
    if etag.len() > MAX_METADATA {
        return Err(too_large(etag.len()));
    }
    Ok(non_empty(etag))
}

/// Validates metadata of an object; `None` if data and ETag are empty, whatever the key and nonce.
pub(super) fn metadata(
    data: &[u8],
    key: &[u8],
    nonce: &[u8],
    etag: &[u8],
) -> RpcResult<Option<Metadata>> {
    let size = data.len().saturating_add(etag.len());
    if size > MAX_METADATA {
        return Err(too_large(size));
    }
    if size == 0 {
        check_lengths(key, nonce)?;
        return Ok(None);
    }
    let Some((key, nonce)) = metadata_key(key, nonce)? else {
        return Err(invalid("encrypted metadata has no key and nonce"));
    };
    Ok(Some(Metadata {
        data: non_empty(data),
        nonce: Some(nonce),
        key: Some(key),
        etag: non_empty(etag),
    }))
}

/// Validates the wrapped key of metadata and its nonce: both or none. Some clients send an all-zero
/// nonce for none.
pub(super) fn metadata_key(key: &[u8], nonce: &[u8]) -> RpcResult<Option<(Vec<u8>, Vec<u8>)>> {
    check_lengths(key, nonce)?;
    let nonce_is_empty = nonce.iter().all(|byte| *byte == 0);
    match (key.is_empty(), nonce_is_empty) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some((key.to_vec(), nonce.to_vec()))),
        _ => Err(invalid("metadata key and nonce must be given together")),
    }
}

fn check_lengths(key: &[u8], nonce: &[u8]) -> RpcResult<()> {
    if !matches!(key.len(), 0 | WRAPPED_KEY) {
        return Err(invalid("invalid encrypted metadata key: must have 48 bytes"));
    }
    if !matches!(nonce.len(), 0 | NONCE) {
        return Err(invalid("invalid nonce of the metadata key: must have 24 bytes"));
    }
    Ok(())
}

/// Rejects encrypted checksums: they are not stored, and dropping them silently would mislead clients.
pub(super) fn no_checksum(algorithm: i32, encrypted: &[u8]) -> RpcResult<()> {
    if algorithm == 0 && encrypted.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Code(10_027), "checksums are not supported"))
}

fn non_empty(bytes: &[u8]) -> Option<Vec<u8>> {
    (!bytes.is_empty()).then(|| bytes.to_vec())
}

fn too_large(size: usize) -> Failure {
    let readable = |size| readable_size(i64::try_from(size).unwrap_or(i64::MAX));
    invalid(format!(
        "Encrypted metadata is too large, got {}, maximum allowed is {}",
        readable(size),
        readable(MAX_METADATA)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_bucket_names_follow_the_rules() {
        let long = "a".repeat(63);
        for name in ["abc", "0-0", "a.b.c", "1.2.3", "1.2.3.256", "01.2.3.4", &long] {
            assert_eq!(new_bucket(name.as_bytes()), Ok(()), "{name}");
        }
        let longer = "a".repeat(64);
        for name in [
            "", "ab", &longer, "abC", "a_b", "-ab", "ab-", "a..b", ".ab", "ab.", "a-.b", "a.-b",
            "1.2.3.4", "a b", "äbc",
        ] {
            assert!(new_bucket(name.as_bytes()).is_err(), "{name}");
        }
        assert_eq!(bucket(b"Old_Bucket"), Ok(()));
    }

    #[test]
    fn metadata_needs_key_and_nonce_unless_empty() {
        let key = [1; 48];
        let nonce = [2; 24];
        assert_eq!(metadata(b"", b"", b"", b""), Ok(None));
        assert_eq!(metadata(b"", &key, &nonce, b""), Ok(None));
        assert!(metadata(b"data", &key, &nonce, b"").unwrap().is_some());
        assert!(metadata(b"", &key, &nonce, b"etag").unwrap().is_some());
        assert!(metadata(&[0; 2_048], &key, &nonce, b"").is_ok());
        assert!(metadata(&[0; 2_048], &key, &nonce, b"e").is_err());
        assert!(metadata(b"data", b"", &nonce, b"").is_err());
        assert!(metadata(b"data", &key, b"", b"").is_err());
        assert!(metadata(b"data", &key, &[0; 24], b"").is_err());
        assert_eq!(metadata(b"", b"", &[0; 24], b""), Ok(None));
        assert!(metadata(b"", &key[1..], b"", b"").is_err());
        assert!(metadata(b"", b"", &nonce[1..], b"").is_err());
    }
}
