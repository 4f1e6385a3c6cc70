//! Messages of the piece store around a payload that is not copied.
//!
//! A message in a gRPC stream is a flag byte, its length in four bytes, and its fields. Generated
//! code would write all of it into one buffer; here the payload of a chunk keeps the memory it is
//! in, and what goes before and after it is written beside it. The bytes are those of generated
//! code, which writes fields in the order of their numbers.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, int32, int64, message};

use crate::r#gen::piecestore::{PieceDownloadResponse, PieceUploadRequest};

/// Flag and length before each message.
pub(super) const PREFIX: usize = 5;
/// A payload up to this size costs less to copy than to send as a part of its own.
const JOINED: usize = 1 << 10;

/// A message in up to three parts; parts that are empty do not count.
pub(super) type Parts = [Bytes; 3];

/// Puts one message on the wire.
pub(super) fn upload_request(request: PieceUploadRequest) -> Parts {
    let (mut head, mut tail) = (start(), BytesMut::new());
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

/// Puts one message on the wire.
pub(super) fn download_response(response: PieceDownloadResponse) -> Parts {
    let mut head = start();
    let mut payload = Bytes::new();
    let mut rest = response;
    if let Some(chunk) = rest.chunk.take() {
        payload = begin_chunk(1, chunk.offset, chunk.data, &mut head);
    }
    // Every other field has a higher number.
    finish(head, payload, &rest.encode_to_vec())
}

/// Puts a message without payload on the wire.
pub(super) fn small(message: &impl Message) -> Parts {
    finish(start(), Bytes::new(), &message.encode_to_vec())
}

fn start() -> BytesMut {
    let mut head = BytesMut::with_capacity(64);
    head.put_bytes(0, PREFIX);
    head
}

/// Writes a chunk up to its data, which is what follows.
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

fn finish(mut head: BytesMut, payload: Bytes, tail: &[u8]) -> Parts {
    let fields = head.len().saturating_sub(PREFIX).saturating_add(tail.len());
    let length = fields.saturating_add(payload.len());
    // Nobody has a payload that long; the receiver's limit would refuse it.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    if let Some(place) = head.get_mut(1..PREFIX) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    if payload.len() > JOINED {
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

    /// What generated code and tonic's codec would send.
    fn generated(message: &impl Message) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
        message.encode(&mut bytes).unwrap();
        bytes
    }

    fn signed<T: Message + Default>(size: usize) -> raw::Signed<T> {
        raw::Signed::from_wire((0..size).map(|i| i as u8).collect())
    }

    fn choices<T>(some: Vec<T>) -> Vec<Option<T>> {
        std::iter::once(None).chain(some.into_iter().map(Some)).collect()
    }

    const OFFSETS: [i64; 5] = [0, 1, 65_280, i64::MAX, -1];
    const SIZES: [usize; 6] = [0, 1, JOINED, JOINED + 1, 65_280, 1 << 20];

    fn data(size: usize) -> Bytes {
        (0..size).map(|i| (i / 3) as u8).collect()
    }

    #[test]
    fn upload_requests_of_every_shape_are_the_bytes_of_generated_code() {
        let chunks = OFFSETS.iter().flat_map(|offset| {
            SIZES.map(|size| piece_upload_request::Chunk { offset: *offset, data: data(size) })
        });
        let mut seen = 0;
        for chunk in choices(chunks.collect()) {
            for limit in choices(vec![signed(0), signed(300)]) {
                for order in choices(vec![signed(0), signed(100)]) {
                    for done in choices(vec![signed(0), signed(130)]) {
                        for hash_algorithm in [0, 1, -1] {
                            let (limit, order) = (limit.clone(), order.clone());
                            let (chunk, done) = (chunk.clone(), done.clone());
                            let request =
                                PieceUploadRequest { limit, order, chunk, done, hash_algorithm };
                            let expected = generated(&request);
                            assert!(upload_request(request).concat() == expected);
                            seen += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(seen, 31 * 3 * 3 * 3 * 3);
    }

    #[test]
    fn download_responses_of_every_shape_are_the_bytes_of_generated_code() {
        let chunks = OFFSETS.iter().flat_map(|offset| {
            SIZES.map(|size| piece_download_response::Chunk { offset: *offset, data: data(size) })
        });
        let mut seen = 0;
        for chunk in choices(chunks.collect()) {
            for hash in choices(vec![signed(0), signed(130)]) {
                for limit in choices(vec![signed(0), signed(300)]) {
                    for restored_from_trash in [false, true] {
                        let (chunk, hash, limit) = (chunk.clone(), hash.clone(), limit.clone());
                        let response =
                            PieceDownloadResponse { chunk, hash, limit, restored_from_trash };
                        let expected = generated(&response);
                        assert!(download_response(response).concat() == expected);
                        seen += 1;
                    }
                }
            }
        }
        assert_eq!(seen, 31 * 3 * 3 * 2);
    }

    #[test]
    fn large_payload_is_sent_from_where_it_is() {
        let data = data(65_280);
        let chunk = Some(piece_upload_request::Chunk { offset: 0, data: data.clone() });
        let request = PieceUploadRequest { chunk, ..PieceUploadRequest::default() };
        assert_eq!(upload_request(request)[1].as_ptr(), data.as_ptr());
        let chunk = Some(piece_download_response::Chunk { offset: 0, data: data.clone() });
        let response = PieceDownloadResponse { chunk, ..PieceDownloadResponse::default() };
        assert_eq!(download_response(response)[1].as_ptr(), data.as_ptr());
    }
}
