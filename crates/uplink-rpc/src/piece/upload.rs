//! One piece up.
//!
//! ```text
//!   client                                              storage node
//!     limit, hash algorithm, order, chunk ───────────►   checks, stores
//!     [order,] chunk  … (64 KiB at most)  ───────────►
//!     done: piece hash signed with the piece key ────►   compares, syncs to disk
//!     ◄──────────── piece hash signed with the node's leaf key, its chain
//! ```
//!
//! An order grants bytes in advance and grows, so that a node is never owed much and never paid for
//! bytes it did not receive.

use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use uplink_core::identity::{PeerIdentity, split_chain, verify_chain};
use uplink_core::order::{PieceHash, PieceHashAlgorithm};
use uplink_core::policy::order_step::UploadOrders;

use super::{PieceError, Target};
use crate::client;
use crate::r#gen::piecestore::{PieceUploadRequest, PieceUploadResponse, piece_upload_request};
use crate::raw;
use crate::time::{system_time, timestamp};

/// Most bytes of one message; larger pieces of input are cut.
const CHUNK_SIZE: usize = 64 << 10;
/// Messages made ahead of the connection.
const SEND_AHEAD: usize = 2;
/// How far a node's clock may be from ours in its signed hash.
const HASH_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A piece that a storage node holds and has signed for.
#[derive(Clone, Debug)]
pub struct StoredPiece {
    /// The node's signed hash, for the satellite.
    pub hash: raw::PieceHash,
    /// Bytes of the piece.
    pub size: u64,
}

/// Sends a piece and waits until the node has stored it durably and signed its hash.
///
/// `bytes` yields the piece from its beginning in parts of any size. Every wait for the node is
/// bounded by `target.deadline`; waiting for `bytes` is not. Dropping the future resets the stream,
/// and the node discards what it received.
///
/// # Errors
/// The node cannot be reached, refuses, stalls, or returns anything but a valid signature over the
/// same piece id, hash, size and algorithm.
pub async fn upload(
    target: &Target,
    algorithm: PieceHashAlgorithm,
    bytes: impl Stream<Item = Bytes> + Send,
) -> Result<StoredPiece, PieceError> {
    let (sender, requests) = mpsc::channel(SEND_AHEAD);
    let mut client = client::piecestore(target.connection.channel());
    let mut call = std::pin::pin!(client.upload(ReceiverStream::new(requests)));
    let mut sending = std::pin::pin!(send(target, algorithm, bytes, sender));
    let sent = tokio::select! {
        // An answer before everything was sent is a refusal.
        early = &mut call => {
            return Err(match early {
                Err(status) => target.failed(status),
                Ok(_) => target.misbehaved("answered before the piece was complete"),
            });
        }
        sent = &mut sending => sent?,
    };
    let answer = timeout(target.deadline, call).await.map_err(|_| target.stalled())?;
    let reply = answer.map_err(|status| target.failed(status))?.into_inner();
    let sent = sent.ok_or_else(|| target.misbehaved("answered before the piece was complete"))?;
    check(target, &sent, reply)
}

/// Sends all messages of the piece and returns our own hash of it; `None` when the call ended first.
async fn send(
    target: &Target,
    algorithm: PieceHashAlgorithm,
    bytes: impl Stream<Item = Bytes> + Send,
    sender: mpsc::Sender<PieceUploadRequest>,
) -> Result<Option<PieceHash>, PieceError> {
    let mut bytes = std::pin::pin!(bytes);
    let mut hasher = Hasher::new(algorithm);
    let mut orders = UploadOrders::new(target.amount);
    let mut offset = 0_u64;
    while let Some(mut rest) = bytes.next().await {
        while !rest.is_empty() {
            let data = rest.split_to(rest.len().min(CHUNK_SIZE));
            hasher.update(&data);
            let mut message = PieceUploadRequest::default();
            if offset == 0 {
                message.limit = Some(target.limit.clone());
                message.hash_algorithm = algorithm.into();
            }
            let length = data.len() as u64;
            let due = orders.send(length).map_err(|e| PieceError::OrderLimit(e.to_string()))?;
            message.order = due.map(|amount| target.order(amount)).transpose()?;
            message.chunk = Some(chunk(offset, data));
            offset = offset.saturating_add(length);
            if target.hand_over(&sender, message).await?.is_break() {
                return Ok(None);
            }
        }
    }
    let mut mine = PieceHash {
        piece_id: target.piece_id.as_bytes().to_vec(),
        hash: hasher.finish(),
        piece_size: i64::try_from(offset).unwrap_or(i64::MAX),
        timestamp: target.order_creation,
        hash_algorithm: algorithm.into(),
        ..PieceHash::default()
    };
    mine.sign_as_uplink(&target.piece_key)?;
    let done = Some(mine.clone().into());
    let done = PieceUploadRequest { done, ..PieceUploadRequest::default() };
    let handed = target.hand_over(&sender, done).await?;
    Ok(handed.is_continue().then_some(mine))
}

fn chunk(offset: u64, data: Bytes) -> piece_upload_request::Chunk {
    piece_upload_request::Chunk { offset: i64::try_from(offset).unwrap_or(i64::MAX), data }
}

/// Accepts the node's reply only when it signs exactly the piece that was sent.
fn check(
    target: &Target,
    sent: &PieceHash,
    reply: PieceUploadResponse,
) -> Result<StoredPiece, PieceError> {
    let raw = reply.done.ok_or_else(|| target.misbehaved("returned no hash"))?;
    let theirs = raw.decode_typed().map_err(|error| target.misbehaved(error))?;
    let same = theirs.piece_id == sent.piece_id
        && theirs.hash == sent.hash
        && theirs.piece_size == sent.piece_size
        && theirs.hash_algorithm == sent.hash_algorithm;
    if !same {
        return Err(target.misbehaved("signed another piece than the one sent"));
    }
    let signed_at = system_time(theirs.timestamp.as_ref())
        .ok_or_else(|| target.misbehaved("gave no time of its signature"))?;
    let now = system_time(Some(&timestamp(std::time::SystemTime::now()))).unwrap_or(signed_at);
    let age = now.duration_since(signed_at).unwrap_or_else(|ahead| ahead.duration());
    if age > HASH_AGE {
        return Err(target.misbehaved(format!("its clock is {} h from ours", age.as_secs() / 3600)));
    }
    let node = signer(target, &reply.node_certchain)?;
    PieceHash::verify_from_node(raw.wire(), node.leaf_key())
        .map_err(|error| target.misbehaved(error))?;
    let size = u64::try_from(theirs.piece_size).unwrap_or(0);
    Ok(StoredPiece { hash: raw, size })
}

/// Whose key signed the reply: the chain sent along, which must belong to the node of the limit.
fn signer(target: &Target, chain: &Bytes) -> Result<PeerIdentity, PieceError> {
    let certificates = split_chain(chain).map_err(|error| target.misbehaved(error))?;
    let node = verify_chain(&certificates).map_err(|error| target.misbehaved(error))?;
    if node.node_id() != target.node {
        return Err(target.misbehaved(format!("signed as node {}", node.node_id())));
    }
    Ok(node)
}

/// A piece hash in the making, in the algorithm asked for.
#[derive(Debug)]
enum Hasher {
    Blake3(Box<blake3::Hasher>),
    Sha256(sha2::Sha256),
}

impl Hasher {
    fn new(algorithm: PieceHashAlgorithm) -> Self {
        match algorithm {
            PieceHashAlgorithm::Blake3 => Self::Blake3(Box::default()),
            PieceHashAlgorithm::Sha256 => Self::Sha256(sha2::Sha256::default()),
        }
    }

    fn update(&mut self, data: &[u8]) {
        match self {
            Self::Blake3(hasher) => {
                hasher.update(data);
            }
            Self::Sha256(hasher) => sha2::Digest::update(hasher, data),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Blake3(hasher) => hasher.finalize().as_bytes().to_vec(),
            Self::Sha256(hasher) => sha2::Digest::finalize(hasher).to_vec(),
        }
    }
}
