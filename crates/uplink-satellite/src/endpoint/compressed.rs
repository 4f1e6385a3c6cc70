//! Batches that may be compressed; stock clients send nearly all calls this way.
//!
//! The caller is authenticated only after decompression, so any peer can send a batch. The size of
//! the decompressed batch is therefore limited to that of an uncompressed one.

use std::io::Read;

use bytes::Bytes;
use prost::Message;
use uplink_rpc::codec::{self, MESSAGE_LIMIT, Refusal};
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::compressed_batch_request::CompressionType;
use uplink_rpc::server::Peer;
use uplink_rpc::status::{Code, Failure};

use super::State;
use crate::failure::RpcResult;

/// Maximum window of a compressed batch, as a power of two; RFC 8878 asks decoders to support it.
const MAX_WINDOW_LOG: u32 = 23;

impl State {
    /// Executes a batch. The response is never compressed; every client must accept that.
    pub(super) async fn compressed_batch(
        &self,
        peer: Option<&Peer>,
        request: messages::CompressedBatchRequest,
    ) -> RpcResult<messages::CompressedBatchResponse> {
        let batch = decode_batch(request)?;
        let response = self.batch(peer, batch).await?;
        Ok(messages::CompressedBatchResponse {
            selected: CompressionType::None.into(),
            data: response.encode_to_vec().into(),
        })
    }
}

fn decode_batch(request: messages::CompressedBatchRequest) -> RpcResult<messages::BatchRequest> {
    let data = match CompressionType::try_from(request.selected) {
        Ok(CompressionType::None) => request.data,
        Ok(CompressionType::Zstd) => decompress(&request.data)?,
        Err(_) => return Err(invalid_batch("unsupported compression type")),
    };
    codec::decode(data).map_err(|refusal| match refusal {
        Refusal::TooLarge { .. } => invalid_batch(&refusal.to_string()),
        _ => invalid_batch("invalid batch request"),
    })
}

fn decompress(data: &[u8]) -> RpcResult<Bytes> {
    let corrupt = |_| invalid_batch("invalid zstd data");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(data).map_err(corrupt)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(corrupt)?;
    let mut batch = Vec::new();
    let limit = u64::try_from(MESSAGE_LIMIT).unwrap_or(u64::MAX);
    decoder.take(limit.saturating_add(1)).read_to_end(&mut batch).map_err(corrupt)?;
    if batch.len() > MESSAGE_LIMIT {
        let text = format!("batch is too large: maximum is {MESSAGE_LIMIT} bytes");
        return Err(invalid_batch(&text));
    }
    Ok(batch.into())
}

/// The public network also uses the code UNKNOWN for such requests.
fn invalid_batch(text: &str) -> Failure {
    Failure::new(Code::UNKNOWN, text)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn zstd_of(data: &[u8]) -> Vec<u8> {
        zstd::encode_all(data, 0).unwrap()
    }

    #[test]
    fn data_up_to_limit_decompresses_and_bomb_is_rejected() {
        for size in [0, 1, MESSAGE_LIMIT - 1, MESSAGE_LIMIT] {
            let data = vec![7; size];
            assert_eq!(decompress(&zstd_of(&data)), Ok(Bytes::from(data)), "{size}");
        }
        for size in [MESSAGE_LIMIT + 1, 64 * MESSAGE_LIMIT] {
            let bomb = zstd_of(&vec![7; size]);
            assert!(bomb.len() < MESSAGE_LIMIT / 100);
            let rejected = decompress(&bomb).unwrap_err();
            assert!(rejected.message.contains("maximum is 4194304"), "{rejected}");
        }
    }

    #[test]
    fn wide_window_is_rejected_before_allocation() {
        // A frame with a window descriptor for 2⁴¹ bytes and one empty last block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 31 << 3, 0x01, 0x00, 0x00];
        assert!(decompress(&frame).is_err());
        let narrow = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
        assert_eq!(decompress(&narrow), Ok(Bytes::new()));
    }

    #[test]
    fn batch_of_millions_of_empty_items_is_rejected() {
        let items: Vec<u8> = [0x0a, 0].repeat(MESSAGE_LIMIT / 2);
        for (selected, data) in [(0, items.clone()), (1, zstd_of(&items))] {
            let supported = Vec::new();
            let request =
                messages::CompressedBatchRequest { supported, selected, data: data.into() };
            let rejected = decode_batch(request).unwrap_err();
            assert!(rejected.message.contains("takes more than"), "{rejected}");
        }
    }

    #[test]
    fn corrupt_frame_is_rejected() {
        let frame = zstd_of(b"some bytes, some bytes, some bytes");
        for length in 1..frame.len() {
            assert!(decompress(&frame[..length]).is_err(), "{length}");
        }
        assert!(decompress(b"no frame").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(data in vec(any::<u8>(), 0..300), selected in -1..3i32) {
            let frame = [&[0x28, 0xb5, 0x2f, 0xfd][..], &data].concat();
            for data in [data, frame] {
                let data = Bytes::from(data);
                let supported = Vec::new();
                let _ = decode_batch(messages::CompressedBatchRequest { supported, selected, data });
            }
        }
    }
}
