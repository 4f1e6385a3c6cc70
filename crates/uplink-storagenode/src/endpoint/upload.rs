//! Upload of a piece.
//!
//! ```text
//!   client                                              storage node
//!     limit, hash algorithm ─────────────────────────►   verify, claim the serial, reserve space
//!     [order,] chunk … ──────────────────────────────►   verify order; hash and write off the runtime
//!     done: hash signed with the piece key ──────────►   compare; header, sync, rename, sync
//!     ◄──────────────── hash signed with the leaf key, certificate chain
//! ```
//!
//! Chunks are collected into batches. While one batch is hashed and written, the next is received.
//! Dropping the future at any point removes the temporary file and keeps the largest order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::task::JoinHandle;
use uplink_core::order::{PieceAction, PieceHash, PieceHashAlgorithm};
use uplink_rpc::r#gen::piecestore::piece_upload_request::Chunk;
use uplink_rpc::r#gen::piecestore::{PieceUploadRequest, PieceUploadResponse};
use uplink_rpc::piece::stream::Messages;
use uplink_rpc::raw;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::time::{describe_skew, seconds_ahead, system_time, timestamp};

use super::{Shared, join_failure, next, store_failure};
use crate::hash::Hasher;
use crate::store::{IoPool, PieceHeader, PieceWriter, StoreError};
use crate::verify::{Orders, invalid};

/// Receives a piece, makes it durable and returns the node's signed hash of it.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    mut messages: Messages<PieceUploadRequest>,
) -> Result<PieceUploadResponse, Failure> {
    let Ok(_permit) = shared.uploads.try_acquire() else {
        return Err(Failure::new(Code::UNAVAILABLE, "too many concurrent uploads"));
    };
    let first = next(&mut messages, shared.idle).await?;
    let mut message = first.ok_or_else(|| invalid("upload: missing order limit"))?;
    let mut piece = Incoming::begin(shared, &mut message).await?;
    loop {
        if let Some(done) = piece.accept(message).await? {
            return piece.finish(&done).await;
        }
        message = next(&mut messages, shared.idle)
            .await?
            .ok_or_else(|| invalid("upload: stream ended without a piece hash"))?;
        if message.limit.is_some() {
            return Err(invalid("upload: unexpected second order limit"));
        }
        if message.order.is_none() && message.chunk.is_none() && message.done.is_none() {
            return Err(invalid("upload: message without order, chunk or piece hash"));
        }
    }
}

/// A piece being received.
struct Incoming {
    shared: Arc<Shared>,
    orders: Orders,
    algorithm: PieceHashAlgorithm,
    received: u64,
    batch: Batch,
    sink: Sink,
}

impl Incoming {
    async fn begin(shared: &Arc<Shared>, first: &mut PieceUploadRequest) -> Result<Self, Failure> {
        let raw = first.limit.take().ok_or_else(|| invalid("upload: missing order limit"))?;
        let algorithm = PieceHashAlgorithm::try_from(first.hash_algorithm)
            .map_err(|_| invalid("upload: unknown hash algorithm"))?;
        let claimed = shared.verifier.accept(&raw, &UPLOADS).await?;
        let store = shared.store.clone();
        let started = shared.io.run(move || {
            let limit = claimed.persist()?;
            let writer = store
                .begin(limit.name, limit.wire.len(), limit.max_bytes)
                .map_err(store_failure)?;
            Ok::<_, Failure>((limit, writer))
        });
        let (limit, writer) = started.await.map_err(join_failure)??;
        let orders = Orders::new(limit, Arc::clone(&shared.settlement));
        let file = Writing { writer, hasher: Hasher::new(algorithm) };
        Ok(Self {
            shared: Arc::clone(shared),
            orders,
            algorithm,
            received: 0,
            batch: Batch::default(),
            sink: Sink::Idle(Box::new(file)),
        })
    }

    /// Processes order and chunk of a message. Returns the piece hash if it ends the upload.
    async fn accept(
        &mut self,
        message: PieceUploadRequest,
    ) -> Result<Option<raw::PieceHash>, Failure> {
        if let Some(order) = &message.order {
            self.orders.accept(order)?;
        }
        if let Some(chunk) = message.chunk {
            // A client that sends an empty chunk without its piece hash would wait indefinitely.
            if chunk.data.is_empty() && message.done.is_none() {
                return Err(invalid("upload: empty chunk"));
            }
            self.append(chunk).await?;
        }
        Ok(message.done)
    }

    async fn append(&mut self, chunk: Chunk) -> Result<(), Failure> {
        if u64::try_from(chunk.offset) != Ok(self.received) {
            return Err(invalid(format!(
                "upload: chunk at offset {} after {} bytes",
                chunk.offset, self.received
            )));
        }
        let end = self.received.saturating_add(chunk.data.len() as u64);
        if end > self.orders.granted() {
            return Err(invalid(format!(
                "upload: {end} bytes exceed the {} ordered",
                self.orders.granted()
            )));
        }
        self.received = end;
        self.shared.received.fetch_add(chunk.data.len() as u64, Ordering::Relaxed);
        // A slice keeps its whole frame allocated, so small chunks are copied.
        let is_small = chunk.data.len() < MIN_SLICE;
        let data = if is_small { Bytes::copy_from_slice(&chunk.data) } else { chunk.data };
        self.batch.push(data);
        if self.batch.bytes >= BATCH_SIZE {
            let batch = std::mem::take(&mut self.batch);
            self.sink.write(&self.shared.io, batch).await?;
        }
        Ok(())
    }

    /// Verifies the piece hash, makes the piece durable and signs the node's hash.
    async fn finish(self, done: &raw::PieceHash) -> Result<PieceUploadResponse, Failure> {
        let uplink_hash = self.check(done)?;
        let Writing { mut writer, mut hasher } = self.sink.into_idle().await?;
        let header = PieceHeader {
            hash: uplink_hash.hash.clone().into(),
            creation_time: uplink_hash.timestamp,
            signature: uplink_hash.signature.clone().into(),
            order_limit: self.orders.limit().wire.clone(),
            hash_algorithm: self.algorithm.into(),
            ..PieceHeader::default()
        };
        let batch = self.batch;
        let stored = self.shared.io.run(move || {
            batch.write(&mut writer, &mut hasher)?;
            let is_equal = hasher.finish() == header.hash;
            if is_equal {
                writer.commit(header)?;
            }
            Ok(is_equal)
        });
        if !stored.await.map_err(join_failure)?.map_err(store_failure)? {
            return Err(mismatch("does not match the received bytes"));
        }

        let mut node_hash = PieceHash {
            timestamp: Some(timestamp(self.shared.clock.now())),
            signature: Vec::new(),
            ..uplink_hash
        };
        let identity = &self.shared.identity;
        node_hash
            .sign_as_node(identity.signing_key())
            .map_err(|error| Failure::new(Code::INTERNAL, error.to_string()))?;
        let node_certchain = identity.chain_concatenated();
        Ok(PieceUploadResponse { done: Some(node_hash.into()), node_certchain })
    }

    /// Validates the uploader's piece hash, except the hash value itself.
    fn check(&self, done: &raw::PieceHash) -> Result<PieceHash, Failure> {
        let limit = self.orders.limit();
        let uplink_hash = PieceHash::verify_from_uplink(done.wire(), &limit.uplink_key)
            .map_err(|error| mismatch(error.to_string()))?;
        if uplink_hash.piece_id != limit.name.piece.as_bytes() {
            return Err(mismatch("piece id does not match the order limit"));
        }
        if uplink_hash.hash_algorithm != i32::from(self.algorithm) {
            return Err(mismatch("algorithm does not match the upload request"));
        }
        if u64::try_from(uplink_hash.piece_size) != Ok(self.received) {
            return Err(invalid(format!(
                "piece hash: size is {}, received {} bytes",
                uplink_hash.piece_size, self.received
            )));
        }
        if let Some(signed_at) = system_time(uplink_hash.timestamp.as_ref()) {
            let ahead = seconds_ahead(signed_at, self.shared.clock.now());
            if ahead.unsigned_abs() > MAX_HASH_SKEW_SECONDS {
                let skew = describe_skew(ahead);
                return Err(mismatch(format!(
                    "timestamp is {skew} this node's clock; the client's clock may be wrong"
                )));
            }
        }
        Ok(uplink_hash)
    }
}

fn mismatch(text: impl std::fmt::Display) -> Failure {
    Failure::new(Code::INTERNAL, format!("piece hash: {text}"))
}

/// Chunks not yet written.
#[derive(Default)]
struct Batch {
    parts: Vec<Bytes>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, part: Bytes) {
        self.bytes = self.bytes.saturating_add(part.len());
        if !part.is_empty() {
            self.parts.push(part);
        }
    }

    fn write(self, writer: &mut PieceWriter, hasher: &mut Hasher) -> Result<(), StoreError> {
        for part in self.parts {
            hasher.update(&part);
            writer.write(&part)?;
        }
        Ok(())
    }
}

/// A file being written and the hash of its content.
struct Writing {
    writer: PieceWriter,
    hasher: Hasher,
}

/// Writes one batch at a time, outside the runtime.
enum Sink {
    Idle(Box<Writing>),
    Busy(JoinHandle<Result<Writing, StoreError>>),
    /// An earlier write failed.
    Failed,
}

impl Sink {
    /// Starts writing `batch` after the previous batch is written.
    async fn write(&mut self, io: &IoPool, batch: Batch) -> Result<(), Failure> {
        let Writing { mut writer, mut hasher } =
            std::mem::replace(self, Self::Failed).into_idle().await?;
        let job = io.start(move || {
            batch.write(&mut writer, &mut hasher)?;
            Ok(Writing { writer, hasher })
        });
        *self = Self::Busy(job.await);
        Ok(())
    }

    async fn into_idle(self) -> Result<Writing, Failure> {
        match self {
            Self::Idle(writing) => Ok(*writing),
            Self::Busy(job) => job.await.map_err(join_failure)?.map_err(store_failure),
            Self::Failed => Err(Failure::new(Code::INTERNAL, "an earlier write failed")),
        }
    }
}

const UPLOADS: [PieceAction; 2] = [PieceAction::Put, PieceAction::PutRepair];
/// Bytes collected before a write: limits memory, and amortizes the switch to another thread.
const BATCH_SIZE: usize = 256 << 10;
/// Chunks below this size are copied into the batch.
const MIN_SLICE: usize = 16 << 10;
/// Maximum difference between the time of a piece hash and the node's clock.
const MAX_HASH_SKEW_SECONDS: u64 = 24 * 60 * 60;
