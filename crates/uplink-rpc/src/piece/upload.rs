//! Upload of one piece.
//!
//! ```text
//!   client                                              storage node
//!     limit, hash algorithm, order, chunk ───────────►   checks, stores
//!     [order,] chunk  … (64 KiB at most)  ───────────►
//!     done: piece hash signed with the piece key ────►   compares, syncs to disk
//!     ◄──────────── piece hash signed with the node's leaf key, its chain
//! ```
//!
//! Orders grow in steps: each covers the bytes sent so far and a bounded number more. The node settles
//! the last one, so that it is never credited with many bytes that it did not receive. The connection's
//! task produces messages as it can send them: bytes are hashed, framed and sent without a copy and
//! without another task.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use uplink_core::identity::{PeerIdentity, split_chain, verify_chain};
use uplink_core::order::{PieceHash, PieceHashAlgorithm};
use uplink_core::policy::order_step::UploadOrders;

use super::encode::{self, MessageParts};
use super::stall_timer::StallTimer;
use super::stream::{Messages, OutgoingBody, call};
use super::unsent::Unsent;
use super::{CHUNK_SIZE, PieceError, Target, UPLOAD, to_i64};
use crate::r#gen::piecestore::{PieceUploadRequest, PieceUploadResponse, piece_upload_request};
use crate::raw;
use crate::time::{describe_skew, seconds_ahead, system_time};

/// Maximum skew between a node's clock, as in its signed hash, and the satellite's.
const MAX_HASH_SKEW: Duration = Duration::from_secs(24 * 60 * 60);

/// A piece that a storage node has stored and signed.
#[derive(Clone, Debug)]
pub struct StoredPiece {
    /// The node's signed hash, for the satellite.
    pub hash: raw::PieceHash,
    /// Size of the piece in bytes.
    pub size: u64,
}

/// Uploads a piece and waits until the node has stored it durably and signed its hash.
///
/// `bytes` yields the piece from its start in parts of any size, ideally [`CHUNK_SIZE`]. The connection
/// polls it whenever it can send more, and does not copy its parts. The timeout with which `target` was
/// created bounds each wait for the node, but not the waits for `bytes`. Dropping the future resets the
/// stream, and the node discards the received bytes.
///
/// # Errors
/// The node is unreachable, rejects the upload, stalls, or does not return a valid signature over the
/// same piece id, hash, size and algorithm; or `bytes` fails.
pub async fn upload(
    target: Target,
    algorithm: PieceHashAlgorithm,
    bytes: impl Stream<Item = Result<Bytes, PieceError>> + Send + Unpin + 'static,
) -> Result<StoredPiece, PieceError> {
    let stall_timer = Arc::new(StallTimer::default());
    let dropped = CancellationToken::new();
    let messages = UploadMessages {
        hasher: Some(Hasher::new(algorithm)),
        orders: UploadOrders::new(target.max_bytes),
        target: target.clone(),
        algorithm,
        bytes,
        rest: Bytes::new(),
        offset: 0,
        unsent: Arc::default(),
        stall_timer: Arc::clone(&stall_timer),
        dropped: Box::pin(dropped.clone().cancelled_owned()),
    };
    let _cancel_on_drop = dropped.drop_guard();
    let call = only_response(&target, OutgoingBody::request(messages));
    let response = stall_timer.watch(target.timeout, call).await;
    let sent = stall_timer.take_outcome();
    match (response, sent) {
        (_, Some(Err(error))) => Err(error),
        (None, _) => Err(target.stalled()),
        (Some(Err(status)), _) => Err(target.failed(status)),
        (Some(Ok(_)), None) => Err(target.misbehaved("responded before the piece was complete")),
        (Some(Ok(response)), Some(Ok(sent))) => verify_response(&target, &sent, response),
    }
}

/// Makes the upload call and returns its only response message.
async fn only_response(
    target: &Target,
    body: tonic::body::Body,
) -> Result<PieceUploadResponse, Status> {
    let mut messages: Messages<PieceUploadResponse> =
        call(&target.connection, UPLOAD, body).await?;
    let Some(response) = messages.next().await? else {
        return Err(Status::internal("no response to the upload"));
    };
    // The status of the call follows its message.
    while messages.next().await?.is_some() {}
    Ok(response)
}

/// The request messages of one upload.
struct UploadMessages<S> {
    target: Target,
    algorithm: PieceHashAlgorithm,
    /// `None` after the last message.
    hasher: Option<Hasher>,
    orders: UploadOrders,
    bytes: S,
    /// The rest of the part being sent.
    rest: Bytes,
    offset: u64,
    unsent: Arc<Unsent>,
    stall_timer: Arc<StallTimer<PieceHash>>,
    dropped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Stream for UploadMessages<S>
where
    S: Stream<Item = Result<Bytes, PieceError>> + Unpin,
{
    type Item = Result<MessageParts, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<MessageParts, Status>>> {
        if self.dropped.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Status::cancelled("upload aborted"))));
        }
        if self.hasher.is_none() {
            return Poll::Ready(None);
        }
        let message = ready!(self.poll_message(context));
        Poll::Ready(Some(message.map(encode::upload_request).map_err(|error| {
            let status = Status::cancelled(error.to_string());
            self.hasher = None;
            self.stall_timer.finish(Err(error));
            status
        })))
    }
}

impl<S> UploadMessages<S>
where
    S: Stream<Item = Result<Bytes, PieceError>> + Unpin,
{
    fn poll_message(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<PieceUploadRequest, PieceError>> {
        ready!(self.unsent.poll_room(context));
        while self.rest.is_empty() {
            let Poll::Ready(bytes) = Pin::new(&mut self.bytes).poll_next(context) else {
                self.stall_timer.mark_waiting();
                return Poll::Pending;
            };
            match bytes.transpose()? {
                Some(bytes) => self.rest = bytes,
                None => return Poll::Ready(self.last()),
            }
        }
        self.stall_timer.mark_active();
        Poll::Ready(self.chunk())
    }

    fn chunk(&mut self) -> Result<PieceUploadRequest, PieceError> {
        let data = self.rest.split_to(self.rest.len().min(CHUNK_SIZE));
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&data);
        }
        let mut message = PieceUploadRequest::default();
        if self.offset == 0 {
            message.limit = Some(self.target.limit.clone());
            message.hash_algorithm = self.algorithm.into();
        }
        let length = data.len() as u64;
        let due = self.orders.send(length).map_err(|e| PieceError::OrderLimit(e.to_string()))?;
        message.order = due.map(|amount| self.target.order(amount)).transpose()?;
        let offset = to_i64(self.offset);
        let data = self.unsent.track(data);
        message.chunk = Some(piece_upload_request::Chunk { offset, data });
        self.offset = self.offset.saturating_add(length);
        Ok(message)
    }

    /// Returns the final message, with the signed hash of the piece.
    fn last(&mut self) -> Result<PieceUploadRequest, PieceError> {
        let mut hash = PieceHash {
            piece_id: self.target.piece_id.as_bytes().to_vec(),
            hash: self.hasher.take().map(Hasher::finish).unwrap_or_default(),
            piece_size: to_i64(self.offset),
            timestamp: self.target.order_creation,
            hash_algorithm: self.algorithm.into(),
            ..PieceHash::default()
        };
        hash.sign_as_uplink(&self.target.piece_key)?;
        self.stall_timer.finish(Ok(hash.clone()));
        Ok(PieceUploadRequest { done: Some(hash.into()), ..PieceUploadRequest::default() })
    }
}

/// Accepts the node's response only if it signs exactly the piece that was sent.
fn verify_response(
    target: &Target,
    sent: &PieceHash,
    response: PieceUploadResponse,
) -> Result<StoredPiece, PieceError> {
    let raw = response.done.ok_or_else(|| target.misbehaved("returned no hash"))?;
    let signed = raw.decode_typed().map_err(|error| target.misbehaved(error))?;
    let same = signed.piece_id == sent.piece_id
        && signed.hash == sent.hash
        && signed.piece_size == sent.piece_size
        && signed.hash_algorithm == sent.hash_algorithm;
    if !same {
        return Err(target.misbehaved("signed a different piece"));
    }
    let signed_at = system_time(signed.timestamp.as_ref())
        .ok_or_else(|| target.misbehaved("signed hash has no timestamp"))?;
    // Compares with the satellite's clock, which decides. The local clock may be wrong.
    let created = system_time(target.order_creation.as_ref()).unwrap_or(signed_at);
    let ahead = seconds_ahead(signed_at, created);
    if ahead.unsigned_abs() > MAX_HASH_SKEW.as_secs() {
        let skew = describe_skew(ahead);
        return Err(target.misbehaved(format!("its clock is {skew} the satellite's")));
    }
    let node = signer(target, &response.node_certchain)?;
    PieceHash::verify_from_node(raw.wire(), node.leaf_key())
        .map_err(|error| target.misbehaved(error))?;
    let size = u64::try_from(signed.piece_size).unwrap_or(0);
    Ok(StoredPiece { hash: raw, size })
}

/// Returns the identity of the response's certificate chain, which must be the order limit's node.
fn signer(target: &Target, chain: &Bytes) -> Result<PeerIdentity, PieceError> {
    let certificates = split_chain(chain).map_err(|error| target.misbehaved(error))?;
    let node = verify_chain(&certificates).map_err(|error| target.misbehaved(error))?;
    if node.node_id() != target.node {
        return Err(target.misbehaved(format!("signed as node {}", node.node_id())));
    }
    Ok(node)
}

/// Hasher of a piece with the requested algorithm.
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
