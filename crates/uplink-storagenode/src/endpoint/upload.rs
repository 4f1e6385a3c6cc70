//! One piece up.
//!
//! ```text
//!   client                                              storage node
//!     limit, hash algorithm ─────────────────────────►   verify, spend the serial, reserve space
//!     [order,] chunk … ──────────────────────────────►   verify order; hash and write off the runtime
//!     done: hash signed with the piece key ──────────►   compare; header, sync, rename, sync
//!     ◄──────────────── hash signed with the leaf key, certificate chain
//! ```
//!
//! Chunks are gathered into batches; while one batch is hashed and written, the next arrives.
//! Dropping the future at any point removes the temporary file and keeps the order.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use tokio::task::JoinHandle;
use uplink_core::order::{PieceAction, PieceHash, PieceHashAlgorithm};
use uplink_rpc::{
    r#gen::piecestore::{PieceUploadRequest, PieceUploadResponse, piece_upload_request::Chunk},
    piece::stream::Messages,
    raw,
    status::{Code, Failure},
    time::{relation, seconds_ahead, system_time, timestamp},
};

use super::{Shared, broken, next, refused};
use crate::{
    hash::Hasher,
    store::{IoPool, PieceHeader, PieceWriter, StoreError},
    verify::{Orders, invalid},
};

/// Receives a piece and returns the node's signed hash of it, once it is durable.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    mut messages: Messages<PieceUploadRequest>,
) -> Result<PieceUploadResponse, Failure> {
    let Ok(_permit) = shared.uploads.try_acquire() else {
        return Err(Failure::new(Code::UNAVAILABLE, "too many uploads at once"));
    };
    let first = next(&mut messages, shared.idle).await?;
    let mut message = first.ok_or_else(|| invalid("the upload has no order limit"))?;
    let mut piece = Incoming::begin(shared, &mut message).await?;
    loop {
        if let Some(done) = piece.take(message).await? {
            return piece.finish(&done).await;
        }
        let following = next(&mut messages, shared.idle).await?;
        message = following.ok_or_else(|| invalid("the upload ended without a piece hash"))?;
        if message.limit.is_some() {
            return Err(invalid("a second order limit"));
        }
        if message.order.is_none() && message.chunk.is_none() && message.done.is_none() {
            return Err(invalid("a message without order, chunk and piece hash"));
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
        let raw = first.limit.take().ok_or_else(|| invalid("the upload has no order limit"))?;
        let algorithm = PieceHashAlgorithm::try_from(first.hash_algorithm)
            .map_err(|_| invalid("unknown hash algorithm"))?;
        let claimed = shared.verifier.accept(&raw, &UPLOADS).await?;
        let store = shared.store.clone();
        let begun = shared.io.run(move || {
            let limit = claimed.remember()?;
            let writer = store.begin(limit.name, limit.wire.len(), limit.most).map_err(refused)?;
            Ok::<_, Failure>((limit, writer))
        });
        let (limit, writer) = begun.await.map_err(broken)??;
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

    /// Takes order and chunk of a message; returns the piece hash if it ends the upload.
    async fn take(
        &mut self,
        message: PieceUploadRequest,
    ) -> Result<Option<raw::PieceHash>, Failure> {
        if let Some(order) = &message.order {
            self.orders.accept(order)?;
        }
        if let Some(chunk) = message.chunk {
            // A client that sends nothing and does not end would wait for ever.
            if chunk.data.is_empty() && message.done.is_none() {
                return Err(invalid("a chunk without bytes"));
            }
            self.append(chunk).await?;
        }
        Ok(message.done)
    }

    async fn append(&mut self, chunk: Chunk) -> Result<(), Failure> {
        if u64::try_from(chunk.offset) != Ok(self.received) {
            return Err(invalid(format!(
                "chunk at offset {} after {} bytes",
                chunk.offset, self.received
            )));
        }
        let end = self.received.saturating_add(chunk.data.len() as u64);
        if end > self.orders.granted() {
            return Err(invalid(format!("{end} bytes sent, {} ordered", self.orders.granted())));
        }
        self.received = end;
        self.shared.received.fetch_add(chunk.data.len() as u64, Ordering::Relaxed);
        // A small part would keep all of the frame that it came in.
        let small = chunk.data.len() < SMALL;
        let data = if small { Bytes::copy_from_slice(&chunk.data) } else { chunk.data };
        self.batch.push(data);
        if self.batch.bytes >= BATCH_SIZE {
            let batch = std::mem::take(&mut self.batch);
            self.sink.write(&self.shared.io, batch).await?;
        }
        Ok(())
    }

    /// Compares, makes the piece durable, signs.
    async fn finish(self, done: &raw::PieceHash) -> Result<PieceUploadResponse, Failure> {
        let theirs = self.check(done)?;
        let Writing { mut writer, mut hasher } = self.sink.into_idle().await?;
        let header = PieceHeader {
            hash: theirs.hash.clone().into(),
            creation_time: theirs.timestamp,
            signature: theirs.signature.clone().into(),
            order_limit: self.orders.limit().wire.clone(),
            hash_algorithm: self.algorithm.into(),
            ..PieceHeader::default()
        };
        let batch = self.batch;
        let stored = self.shared.io.run(move || {
            batch.write(&mut writer, &mut hasher)?;
            let hash = hasher.finish();
            let equal = hash == header.hash;
            if equal {
                writer.commit(header)?;
            }
            Ok(equal)
        });
        if !stored.await.map_err(broken)?.map_err(refused)? {
            return Err(mismatch("hash differs from the bytes received"));
        }
        let mut mine = PieceHash {
            timestamp: Some(timestamp(self.shared.clock.now())),
            signature: Vec::new(),
            ..theirs
        };
        let identity = &self.shared.identity;
        mine.sign_as_node(identity.signing_key())
            .map_err(|error| Failure::new(Code::INTERNAL, error.to_string()))?;
        let node_certchain = identity.chain_concatenated();
        Ok(PieceUploadResponse { done: Some(mine.into()), node_certchain })
    }

    /// Checks everything about the uploader's hash but the hash itself.
    fn check(&self, done: &raw::PieceHash) -> Result<PieceHash, Failure> {
        let limit = self.orders.limit();
        let theirs = PieceHash::verify_from_uplink(done.wire(), &limit.uplink_key)
            .map_err(|error| mismatch(error.to_string()))?;
        if theirs.piece_id != limit.name.piece.as_bytes() {
            return Err(mismatch("of another piece"));
        }
        if theirs.hash_algorithm != i32::from(self.algorithm) {
            return Err(mismatch("another algorithm than announced"));
        }
        if u64::try_from(theirs.piece_size) != Ok(self.received) {
            return Err(invalid(format!(
                "piece hash: for {} bytes, {} were received",
                theirs.piece_size, self.received
            )));
        }
        if let Some(signed_at) = system_time(theirs.timestamp.as_ref()) {
            let ahead = seconds_ahead(signed_at, self.shared.clock.now());
            if ahead.unsigned_abs() > HASH_AGE_SECONDS {
                let relation = relation(ahead);
                return Err(mismatch(format!(
                    "signed at a time {relation} this node's clock; the client's clock may differ"
                )));
            }
        }
        Ok(theirs)
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

/// A file and the hash of what is in it.
struct Writing {
    writer: PieceWriter,
    hasher: Hasher,
}

/// Writes one batch at a time off the runtime.
enum Sink {
    Idle(Box<Writing>),
    Busy(JoinHandle<Result<Writing, StoreError>>),
    /// An earlier write failed.
    Failed,
}

impl Sink {
    /// Starts writing `batch` as soon as the batch before is written.
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
            Self::Busy(job) => job.await.map_err(broken)?.map_err(refused),
            Self::Failed => Err(Failure::new(Code::INTERNAL, "an earlier write failed")),
        }
    }
}

const UPLOADS: [PieceAction; 2] = [PieceAction::Put, PieceAction::PutRepair];
/// Bytes gathered before a write: few enough to hold, enough to be worth a trip to another thread.
const BATCH_SIZE: usize = 256 << 10;
/// Parts below this many bytes are copied into the batch.
const SMALL: usize = 16 << 10;
/// A piece hash may be this far from the node's clock.
const HASH_AGE_SECONDS: u64 = 24 * 60 * 60;
