//! Encoding of the piece store's messages without copying their payload.
//!
//! A message in a gRPC stream is a flag byte, a length of four bytes, and its fields. Generated code
//! would write all of it into one buffer. Here, the payload of a chunk is a part of its own, between
//! the fields before and after it. The bytes equal those of generated code, which writes fields in the
//! order of their numbers.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, int32, int64, message};

use crate::r#gen::piecestore::{PieceDownloadResponse, PieceUploadRequest};

/// Size of the prefix of each message: flag and length.
pub(super) const PREFIX: usize = 5;
/// Payloads up to this size are cheaper to copy than to send as a part of their own.
const MAX_COPIED: usize = 1 << 10;

/// A message in up to three parts. Empty parts are skipped.
pub(super) type MessageParts = [Bytes; 3];

/// Encodes an upload request.
pub(super) fn upload_request(request: PieceUploadRequest) -> MessageParts {
    let mut head = start();
    let mut tail = BytesMut::new();
    if let Some(limit) = &request.limit {
        message::encode(1, limit, &mut head);
    }
    if let Some(order) = &request.order {
        message::encode(2, order, &mut head);
    }
    let mut payload = Bytes::new();
    if let Some(chunk) = request.chunk {
        payload = begin_chunk(3, chunk.offset, chunk.data, &mut head);
    }
    if let Some(done) = &request.done {
        message::encode(4, done, &mut tail);
    }
    if request.hash_algorithm != 0 {
        int32::encode(5, &request.hash_algorithm, &mut tail);
    }
    finish(head, payload, &tail)
}

/// Encodes a download response.
pub(super) fn download_response(response: PieceDownloadResponse) -> MessageParts {
    let mut head = start();
    let mut payload = Bytes::new();
    let mut rest = response;
    if let Some(chunk) = rest.chunk.take() {
        payload = begin_chunk(1, chunk.offset, chunk.data, &mut head);
    }
    // All other fields have higher numbers.
    finish(head, payload, &rest.encode_to_vec())
}

/// Encodes a message without a payload.
pub(super) fn small(message: &impl Message) -> MessageParts {
    finish(start(), Bytes::new(), &message.encode_to_vec())
}

fn start() -> BytesMut {
    let mut head = BytesMut::with_capacity(64);
    head.put_bytes(0, PREFIX);
    head
}

/// Writes a chunk up to its data, and returns the data.
fn begin_chunk(number: u32, offset: i64, data: Bytes, head: &mut BytesMut) -> Bytes {
    let mut fields = BytesMut::new();
    if offset != 0 {
        int64::encode(1, &offset, &mut fields);
    }
    if !data.is_empty() {
        encode_key(2, WireType::LengthDelimited, &mut fields);
        encode_varint(data.len() as u64, &mut fields);
    }
    encode_key(number, WireType::LengthDelimited, head);
    encode_varint(fields.len().saturating_add(data.len()) as u64, head);
    head.extend_from_slice(&fields);
    data
}

fn finish(mut head: BytesMut, payload: Bytes, tail: &[u8]) -> MessageParts {
    let fields = head.len().saturating_sub(PREFIX).saturating_add(tail.len());
    let length = fields.saturating_add(payload.len());
    // A longer message is impossible in practice: the receiver's limit rejects it.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    if let Some(bytes) = head.get_mut(1..PREFIX) {
        bytes.copy_from_slice(&length.to_be_bytes());
    }
    if payload.len() > MAX_COPIED {
        return [head.freeze(), payload, Bytes::copy_from_slice(tail)];
    }
    head.extend_from_slice(&payload);
    head.extend_from_slice(tail);
    [head.freeze(), Bytes::new(), Bytes::new()]
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::r#gen::piecestore::{piece_download_response, piece_upload_request};
    use crate::raw;

    /// Encodes a message with generated code, as tonic's codec does.
    fn generated(message: &impl Message) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut bytes).unwrap();
        bytes
    }

    fn signed<T: Message + Default>(size: usize) -> raw::Signed<T> {
        raw::Signed::from_wire((0..size).map(|i| i as u8).collect())
    }

    fn with_none<T>(some: Vec<T>) -> Vec<Option<T>> {
        std::iter::once(None).chain(some.into_iter().map(Some)).collect()
    }

    const OFFSETS: [i64; 5] = [0, 1, 65_280, i64::MAX, -1];
    const SIZES: [usize; 6] = [0, 1, MAX_COPIED, MAX_COPIED + 1, 65_280, 1 << 20];

    fn data(size: usize) -> Bytes {
        (0..size).map(|i| (i / 3) as u8).collect()
    }

    #[test]
    fn upload_requests_equal_generated_code_in_every_shape() {
        let chunks = OFFSETS.iter().flat_map(|offset| {
            SIZES.map(|size| piece_upload_request::Chunk { offset: *offset, data: data(size) })
        });
        let mut count = 0;
        for chunk in with_none(chunks.collect()) {
            for limit in with_none(vec![signed(0), signed(300)]) {
                for order in with_none(vec![signed(0), signed(100)]) {
                    for done in with_none(vec![signed(0), signed(130)]) {
                        for hash_algorithm in [0, 1, -1] {
                            let limit = limit.clone();
                            let order = order.clone();
                            let chunk = chunk.clone();
                            let done = done.clone();
                            let request =
                                PieceUploadRequest { limit, order, chunk, done, hash_algorithm };
                            let expected = generated(&request);
                            assert!(upload_request(request).concat() == expected);
                            count += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(count, 31 * 3 * 3 * 3 * 3);
    }

    #[test]
    fn download_responses_equal_generated_code_in_every_shape() {
        let chunks = OFFSETS.iter().flat_map(|offset| {
            SIZES.map(|size| piece_download_response::Chunk { offset: *offset, data: data(size) })
        });
        let mut count = 0;
        for chunk in with_none(chunks.collect()) {
            for hash in with_none(vec![signed(0), signed(130)]) {
                for limit in with_none(vec![signed(0), signed(300)]) {
                    for restored_from_trash in [false, true] {
                        let chunk = chunk.clone();
                        let hash = hash.clone();
                        let limit = limit.clone();
                        let response =
                            PieceDownloadResponse { chunk, hash, limit, restored_from_trash };
                        let expected = generated(&response);
                        assert!(download_response(response).concat() == expected);
                        count += 1;
                    }
                }
            }
        }
        assert_eq!(count, 31 * 3 * 3 * 2);
    }

    #[test]
    fn large_payload_is_not_copied() {
        let data = data(65_280);
        let chunk = Some(piece_upload_request::Chunk { offset: 0, data: data.clone() });
        let request = PieceUploadRequest { chunk, ..PieceUploadRequest::default() };
        assert_eq!(upload_request(request)[1].as_ptr(), data.as_ptr());
        let chunk = Some(piece_download_response::Chunk { offset: 0, data: data.clone() });
        let response = PieceDownloadResponse { chunk, ..PieceDownloadResponse::default() };
        assert_eq!(download_response(response)[1].as_ptr(), data.as_ptr());
    }
}
