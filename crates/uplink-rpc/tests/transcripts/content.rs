//! Content: inline segments, and pieces encoded again from the plaintext.

use std::collections::HashMap;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use uplink_core::encryption::content::append_padding;
use uplink_core::encryption::key::unwrap_key;
use uplink_core::encryption::path::content_key;
use uplink_core::encryption::{
    CipherSuite, ContentCipher, EncryptionParameters, EncryptionStore, Key, Nonce,
    segment_start_nonce,
};
use uplink_core::erasure::{Encoder, Scheme};
use uplink_core::id::SegmentPosition;
use uplink_core::order::{OrderLimit, PieceHash, PieceHashAlgorithm};
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_rpc::r#gen::metainfo::{self, AddressedOrderLimit, DownloadSegmentResponse};
use uplink_rpc::r#gen::pointerdb::RedundancyScheme;
use uplink_rpc::raw;

use super::message::Content;
use super::project::{Objects, keys, name, plaintext};
use super::recording::{Call, Message, SETS, Scenario, scenarios};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Inline segments that decrypted to the plaintext.
    inline_written: usize,
    inline_read: usize,
    /// Segments whose pieces were encoded again.
    remote_written: usize,
    remote_read: usize,
    /// Messages that matched the recorded hash once their piece data was restored.
    chunks_written: usize,
    chunks_read: usize,
    /// Such messages of uncommitted segments, whose keys are unknown.
    chunks_without_key: usize,
    /// Piece hashes of client and nodes that match the encoded pieces.
    piece_hashes: usize,
}

/// The transfers of one scenario.
struct Transfers<'a> {
    keys: EncryptionStore,
    bucket: &'a str,
    name: Vec<u8>,
    /// Pieces by piece id.
    pieces: HashMap<Vec<u8>, Bytes>,
    counts: &'a mut Counts,
}

#[test]
fn every_segment_equals_its_encrypted_plaintext() {
    let counts = SETS.map(|set| {
        let mut counts = Counts::default();
        let mut objects = Objects::default();
        for scenario in scenarios(set).iter().filter(|it| !it.name.starts_with("raw_")) {
            objects.apply(scenario);
            let Some(bucket) = scenario.input("bucket") else { continue };
            if scenario.input("key").is_none_or(str::is_empty) {
                continue;
            }
            let keys = keys(set, scenario);
            let name = name(&keys, scenario);
            let pieces = HashMap::new();
            let mut transfers = Transfers { keys, bucket, name, pieces, counts: &mut counts };
            transfers.written(scenario);
            transfers.read(scenario, &objects);
            scenario.calls.iter().for_each(|call| transfers.pieces(call));
        }
        counts
    });
    let plain = Counts {
        inline_written: 17,
        inline_read: 9,
        remote_written: 13,
        remote_read: 18,
        chunks_written: 399,
        chunks_read: 54,
        chunks_without_key: 16,
        piece_hashes: 92,
    };
    let compressed = Counts {
        inline_written: 1,
        inline_read: 1,
        remote_written: 4,
        remote_read: 4,
        chunks_written: 24,
        chunks_read: 22,
        chunks_without_key: 0,
        piece_hashes: 28,
    };
    let noise = Counts { chunks_written: 23, chunks_read: 25, piece_hashes: 27, ..compressed };
    assert_eq!(counts, [plain, compressed, noise]);
}

/// A segment whose order limits were issued.
struct Begun {
    position: SegmentPosition,
    limits: Vec<AddressedOrderLimit>,
    scheme: Scheme,
}

impl Transfers<'_> {
    /// Checks segments that a scenario wrote. Its inputs hold their plaintext.
    fn written(&mut self, scenario: &Scenario<'_>) {
        let data = &scenario.input["data"];
        let data = (!data.is_null()).then(|| plaintext(data));
        let segment_size = scenario.input["max_segment_size"].as_u64().unwrap_or(64 << 20);
        let plain = |position: SegmentPosition, size: i64| {
            let data = data.as_ref()?;
            let start = u64::from(position.index) * segment_size;
            Some(data[start as usize..][..size as usize].to_vec())
        };
        let mut begun = HashMap::new();
        for (request, response) in scenario.exchanges() {
            match (request, response) {
                (Request::SegmentBegin(request), Some(Response::SegmentBegin(response))) => {
                    let position = position(request.position);
                    let scheme = scheme(response.redundancy_scheme);
                    let limits = response.addressed_limits;
                    begun.insert(response.segment_id, Begun { position, limits, scheme });
                }
                (Request::SegmentCommit(commit), _) => {
                    let begun = &begun[&commit.segment_id];
                    let plain = plain(begun.position, commit.plain_size).expect("plaintext");
                    let key = self.key(&commit.encrypted_key, &commit.encrypted_key_nonce);
                    let encrypted = encrypt(&key, begun.position, &plain);
                    assert_eq!(commit.size_encrypted_data, encrypted.len() as i64);
                    self.make_pieces(encrypted, &begun.scheme, &begun.limits);
                    self.counts.remote_written += 1;
                }
                (Request::SegmentMakeInline(inline), _) => {
                    let key = self.key(&inline.encrypted_key, &inline.encrypted_key_nonce);
                    let position = position(inline.position);
                    let opened = open_inline(&key, position, &inline.encrypted_inline_data);
                    assert_eq!(opened.len() as i64, inline.plain_size);
                    if let Some(plain) = plain(position, inline.plain_size) {
                        assert!(opened == plain, "{}", scenario.name);
                    }
                    self.counts.inline_written += 1;
                }
                _ => {}
            }
        }
    }

    /// Checks segments that a scenario read. An earlier scenario stored their plaintext.
    fn read(&mut self, scenario: &Scenario<'_>, objects: &Objects) {
        for (_, response) in scenario.exchanges() {
            let segments = match response {
                Some(Response::ObjectDownload(object)) => object.segment_download,
                Some(Response::SegmentDownload(segment)) => vec![segment],
                _ => continue,
            };
            let object = objects.object(self.bucket.as_bytes(), &self.name);
            for segment in segments {
                let start = segment.plain_offset as usize;
                let size = segment.plain_size as usize;
                self.read_segment(&segment, &object.data[start..][..size]);
            }
        }
    }

    fn read_segment(&mut self, segment: &DownloadSegmentResponse, plain: &[u8]) {
        let key = self.key(&segment.encrypted_key, &segment.encrypted_key_nonce);
        let position = position(segment.position);
        if segment.addressed_limits.is_empty() {
            assert!(open_inline(&key, position, &segment.encrypted_inline_data) == plain);
            self.counts.inline_read += 1;
            return;
        }
        let encrypted = encrypt(&key, position, plain);
        assert_eq!(segment.segment_size, encrypted.len() as i64);
        let scheme = scheme(segment.redundancy_scheme);
        self.make_pieces(encrypted, &scheme, &segment.addressed_limits);
        self.counts.remote_read += 1;
    }

    fn key(&self, wrapped: &[u8], nonce: &[u8]) -> Key {
        let key = content_key(&self.keys, self.bucket.as_bytes(), &self.name).expect("a key");
        let nonce = Nonce::from_slice(nonce).expect("a nonce");
        unwrap_key(CipherSuite::AesGcm, &key, &nonce, wrapped).expect("a key of this object")
    }

    fn make_pieces(
        &mut self,
        mut encrypted: Vec<u8>,
        scheme: &Scheme,
        limits: &[AddressedOrderLimit],
    ) {
        let stripe = u64::from(scheme.stripe_size());
        let size = encrypted.len() as u64;
        append_padding(&mut encrypted, size, stripe).expect("a small segment");
        let encoder = Encoder::new(scheme);
        // The index of an order limit is the number of its piece.
        for (number, limit) in (0..).zip(limits) {
            let Some(limit) = &limit.limit else { continue };
            let limit = limit.decode_typed().expect("an order limit");
            let mut piece = vec![0; encrypted.len() / usize::from(scheme.required())];
            encoder.encode_piece(&encrypted, number, &mut piece).expect("whole stripes");
            self.pieces.insert(limit.piece_id, piece.into());
        }
    }

    /// Restores the data in the messages of a piece transfer.
    fn pieces(&mut self, call: &Call<'_>) {
        let mut piece_id = None;
        for message in &call.messages {
            match message.read().content {
                Content::Upload(mut request) => {
                    piece_id = piece_of(request.limit.as_ref()).or(piece_id);
                    if let (Some(_), Some(chunk)) = (&message.cut, &mut request.chunk) {
                        let offset = chunk.offset;
                        let Some(data) = self.data(&piece_id, message, offset) else { continue };
                        chunk.data = data;
                        is_whole(message, &request);
                        self.counts.chunks_written += 1;
                    }
                    self.hash(request.done.as_ref());
                }
                Content::Uploaded(response) => self.hash(response.done.as_ref()),
                Content::Download(request) => {
                    piece_id = piece_of(request.limit.as_ref()).or(piece_id);
                }
                Content::Downloaded(mut response) => {
                    let chunk = response.chunk.as_mut().expect("a chunk");
                    let data = self.data(&piece_id, message, chunk.offset);
                    chunk.data = data.expect("a piece that was stored");
                    is_whole(message, &response);
                    self.counts.chunks_read += 1;
                }
                _ => {}
            }
        }
    }

    /// Returns the data removed from a message, which begins at `offset` of a piece.
    fn data(
        &mut self,
        piece_id: &Option<Vec<u8>>,
        message: &Message<'_>,
        offset: i64,
    ) -> Option<Bytes> {
        let cut = message.cut.as_ref().expect("a message without its data");
        let piece_id = piece_id.as_ref().expect("an order limit in an earlier message");
        let Some(piece) = self.pieces.get(piece_id) else {
            self.counts.chunks_without_key += 1;
            return None;
        };
        let start = offset as usize;
        let data = piece.slice(start..start + cut.data_length as usize);
        assert_eq!(hex::encode(Sha256::digest(&data)), cut.data_hash);
        Some(data)
    }

    fn hash(&mut self, hash: Option<&raw::PieceHash>) {
        let Some(hash) = hash else { return };
        let hash: PieceHash = hash.decode_typed().expect("a piece hash");
        let Some(piece) = self.pieces.get(&hash.piece_id) else { return };
        let made = match hash.hash_algorithm() {
            PieceHashAlgorithm::Sha256 => Sha256::digest(piece).to_vec(),
            PieceHashAlgorithm::Blake3 => blake3::hash(piece).as_bytes().to_vec(),
        };
        assert_eq!((hash.hash, hash.piece_size), (made, piece.len() as i64));
        self.counts.piece_hashes += 1;
    }
}

/// Compares a restored message with the hash of the recorded message.
fn is_whole(message: &Message<'_>, completed: &impl prost::Message) {
    let cut = message.cut.as_ref().expect("a message without its data");
    assert_eq!(hex::encode(Sha256::digest(completed.encode_to_vec())), cut.full_hash);
}

fn piece_of(limit: Option<&raw::OrderLimit>) -> Option<Vec<u8>> {
    let limit: OrderLimit = limit?.decode_typed().expect("an order limit");
    Some(limit.piece_id)
}

fn position(position: Option<metainfo::SegmentPosition>) -> SegmentPosition {
    let position = position.unwrap_or_default();
    SegmentPosition { part: position.part_number as u32, index: position.index as u32 }
}

fn scheme(scheme: Option<RedundancyScheme>) -> Scheme {
    let it = scheme.expect("a scheme");
    let required = it.min_req;
    let total = it.total;
    Scheme::from_wire(
        required,
        it.repair_threshold,
        it.success_threshold,
        total,
        it.erasure_share_size,
    )
    .expect("a valid scheme")
}

fn encrypt(key: &Key, position: SegmentPosition, plain: &[u8]) -> Vec<u8> {
    let cipher = ContentCipher::new(CipherSuite::AesGcm, key).expect("a known suite");
    let block_size = EncryptionParameters::DEFAULT.block_size as usize;
    let plain_block = cipher.plain_block_size(block_size).expect("room for the tag");
    let mut padded = plain.to_vec();
    append_padding(&mut padded, plain.len() as u64, plain_block as u64).expect("a small segment");
    let mut encrypted = vec![0; padded.len() / plain_block * block_size];
    let start = segment_start_nonce(position);
    cipher.seal_blocks(&start, 0, block_size, &padded, &mut encrypted).expect("whole blocks");
    encrypted
}

fn open_inline(key: &Key, position: SegmentPosition, data: &[u8]) -> Vec<u8> {
    let cipher = ContentCipher::new(CipherSuite::AesGcm, key).expect("a known suite");
    cipher.open_whole(&segment_start_nonce(position), data).expect("authentic data")
}
