//! Batches whose bytes may be compressed: how stock clients send nearly everything.
//!
//! Whoever can open a connection can send one, and its caller is known only once it is read. So
//! what it may grow to is bounded first, by what an uncompressed batch may have.

use std::io::Read;

use bytes::Bytes;
use prost::Message;
use uplink_rpc::client::MESSAGE_LIMIT;
use uplink_rpc::codec::{self, Refusal};
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::compressed_batch_request::CompressionType;
use uplink_rpc::server::Peer;
use uplink_rpc::status::{Code, Failure};

use super::{Answer, State};

/// Largest window of a compressed batch, as a power of two: what RFC 8878 asks decoders to support.
const MAX_WINDOW_LOG: u32 = 23;

impl State {
    /// Executes a batch. The answer is never compressed, which every client must accept.
    pub(super) async fn compressed_batch(
        &self,
        peer: Option<&Peer>,
        request: messages::CompressedBatchRequest,
    ) -> Answer<messages::CompressedBatchResponse> {
        let batch = opened(request)?;
        let response = self.batch(peer, batch).await?;
        Ok(messages::CompressedBatchResponse {
            selected: CompressionType::None.into(),
            data: response.encode_to_vec().into(),
        })
    }
}

fn opened(request: messages::CompressedBatchRequest) -> Answer<messages::BatchRequest> {
    let data = match CompressionType::try_from(request.selected) {
        Ok(CompressionType::None) => request.data,
        Ok(CompressionType::Zstd) => decompressed(&request.data)?,
        Err(_) => return Err(unreadable("unsupported compression type")),
    };
    codec::decode(data).map_err(|refusal| match refusal {
        Refusal::TooLarge { .. } => unreadable(&refusal.to_string()),
        _ => unreadable("data is not a batch request"),
    })
}

fn decompressed(data: &[u8]) -> Answer<Bytes> {
    let broken = |_| unreadable("data is not what zstd makes");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(data).map_err(broken)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(broken)?;
    let mut batch = Vec::new();
    let limit = u64::try_from(MESSAGE_LIMIT).unwrap_or(u64::MAX);
    decoder.take(limit.saturating_add(1)).read_to_end(&mut batch).map_err(broken)?;
    if batch.len() > MESSAGE_LIMIT {
        let text = format!("a batch must not have more than {MESSAGE_LIMIT} bytes");
        return Err(unreadable(&text));
    }
    Ok(batch.into())
}

/// The public network gives such requests no code of their own.
fn unreadable(text: &str) -> Failure {
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
    fn data_up_to_the_limit_opens_and_a_bomb_does_not() {
        for size in [0, 1, MESSAGE_LIMIT - 1, MESSAGE_LIMIT] {
            let data = vec![7; size];
            assert_eq!(decompressed(&zstd_of(&data)), Ok(Bytes::from(data)), "{size}");
        }
        for size in [MESSAGE_LIMIT + 1, 64 * MESSAGE_LIMIT] {
            let bomb = zstd_of(&vec![7; size]);
            assert!(bomb.len() < MESSAGE_LIMIT / 100);
            let refused = decompressed(&bomb).unwrap_err();
            assert!(refused.message.contains("must not have more than 4194304"), "{refused}");
        }
    }

    #[test]
    fn wide_windows_are_refused_before_memory_is_taken_for_them() {
        // A frame of a window descriptor for 2⁴¹ bytes and one empty last block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 31 << 3, 0x01, 0x00, 0x00];
        assert!(decompressed(&frame).is_err());
        let narrow = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
        assert_eq!(decompressed(&narrow), Ok(Bytes::new()));
    }

    #[test]
    fn batch_of_millions_of_empty_items_is_refused() {
        let items: Vec<u8> = [0x0a, 0].repeat(MESSAGE_LIMIT / 2);
        for (selected, data) in [(0, items.clone()), (1, zstd_of(&items))] {
            let supported = Vec::new();
            let request =
                messages::CompressedBatchRequest { supported, selected, data: data.into() };
            let refused = opened(request).unwrap_err();
            assert!(refused.message.contains("takes more than"), "{refused}");
        }
    }

    #[test]
    fn broken_frames_are_refused() {
        let frame = zstd_of(b"some bytes, some bytes, some bytes");
        for length in 1..frame.len() {
            assert!(decompressed(&frame[..length]).is_err(), "{length}");
        }
        assert!(decompressed(b"no frame").is_err());
    }

    proptest! {
        #[test]
        fn bytes_of_strangers_never_panic(data in vec(any::<u8>(), 0..300), selected in -1..3i32) {
            let frame = [&[0x28, 0xb5, 0x2f, 0xfd][..], &data].concat();
            for data in [data, frame] {
                let data = Bytes::from(data);
                let supported = Vec::new();
                let _ = opened(messages::CompressedBatchRequest { supported, selected, data });
            }
        }
    }
}
