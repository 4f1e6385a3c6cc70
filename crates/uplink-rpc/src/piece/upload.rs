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
//! bytes it did not receive. The connection's task makes the messages as it can send them: a part of
//! the piece is hashed, framed and sent without a copy and without another task.

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

use super::progress::Progress;
use super::stream::{Messages, Outgoing, call};
use super::unsent::Unsent;
use super::wire::{self, Parts};
use super::{CHUNK_SIZE, PieceError, Target, UPLOAD};
use crate::r#gen::piecestore::{PieceUploadRequest, PieceUploadResponse, piece_upload_request};
use crate::raw;
use crate::time::{relation, seconds_ahead, system_time};

/// How far a node's clock may be from the satellite's in its signed hash.
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
/// `bytes` yields the piece from its beginning in parts of any size, best of [`CHUNK_SIZE`]; it is
/// polled by the connection whenever that can send more, and its parts are not copied. Every wait
/// for the node is bounded by `target.deadline`; waiting for `bytes` is not. Dropping the future
/// resets the stream, and the node discards what it received.
///
/// # Errors
/// The node cannot be reached, refuses, stalls, or returns anything but a valid signature over the
/// same piece id, hash, size and algorithm; or `bytes` fails.
pub async fn upload(
    target: Target,
    algorithm: PieceHashAlgorithm,
    bytes: impl Stream<Item = Result<Bytes, PieceError>> + Send + Unpin + 'static,
) -> Result<StoredPiece, PieceError> {
    let progress = Arc::new(Progress::default());
    let dropped = CancellationToken::new();
    let sending = Sending {
        hasher: Some(Hasher::new(algorithm)),
        orders: UploadOrders::new(target.amount),
        target: target.clone(),
        algorithm,
        bytes,
        rest: Bytes::new(),
        offset: 0,
        unsent: Arc::default(),
        progress: Arc::clone(&progress),
        dropped: Box::pin(dropped.clone().cancelled_owned()),
    };
    let _end_with_us = dropped.drop_guard();
    let call = answer(&target, Outgoing::request(sending));
    let answer = progress.watch(target.deadline, call).await;
    let sent = progress.outcome();
    match (answer, sent) {
        (_, Some(Err(error))) => Err(error),
        (None, _) => Err(target.stalled()),
        (Some(Err(status)), _) => Err(target.failed(status)),
        (Some(Ok(_)), None) => Err(target.misbehaved("answered before the piece was complete")),
        (Some(Ok(reply)), Some(Ok(sent))) => check(&target, &sent, reply),
    }
}

/// The one message that answers an upload.
async fn answer(target: &Target, body: tonic::body::Body) -> Result<PieceUploadResponse, Status> {
    let mut messages: Messages<PieceUploadResponse> =
        call(&target.connection, UPLOAD, body).await?;
    let reply = messages.next().await?;
    let reply = reply.ok_or_else(|| Status::internal("no answer to the upload"))?;
    // The status of the call comes behind its message.
    while messages.next().await?.is_some() {}
    Ok(reply)
}

/// The messages of one upload.
struct Sending<S> {
    target: Target,
    algorithm: PieceHashAlgorithm,
    /// Taken for the last message.
    hasher: Option<Hasher>,
    orders: UploadOrders,
    bytes: S,
    /// What is left of the part being sent.
    rest: Bytes,
    offset: u64,
    unsent: Arc<Unsent>,
    progress: Arc<Progress<PieceHash>>,
    dropped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Stream for Sending<S>
where
    S: Stream<Item = Result<Bytes, PieceError>> + Unpin,
{
    type Item = Result<Parts, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Parts, Status>>> {
        if self.dropped.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Status::cancelled("the upload was given up"))));
        }
        if self.hasher.is_none() {
            return Poll::Ready(None);
        }
        let message = ready!(self.poll_message(context));
        Poll::Ready(Some(message.map(wire::upload_request).map_err(|error| {
            let status = Status::cancelled(error.to_string());
            self.hasher = None;
            self.progress.finish(Err(error));
            status
        })))
    }
}

impl<S> Sending<S>
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
                self.progress.waits();
                return Poll::Pending;
            };
            match bytes.transpose()? {
                Some(bytes) => self.rest = bytes,
                None => return Poll::Ready(self.last()),
            }
        }
        self.progress.moves();
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
        let offset = i64::try_from(self.offset).unwrap_or(i64::MAX);
        let data = self.unsent.track(data);
        message.chunk = Some(piece_upload_request::Chunk { offset, data });
        self.offset = self.offset.saturating_add(length);
        Ok(message)
    }

    /// The message that ends the piece, with our hash of it.
    fn last(&mut self) -> Result<PieceUploadRequest, PieceError> {
        let mut mine = PieceHash {
            piece_id: self.target.piece_id.as_bytes().to_vec(),
            hash: self.hasher.take().map(Hasher::finish).unwrap_or_default(),
            piece_size: i64::try_from(self.offset).unwrap_or(i64::MAX),
            timestamp: self.target.order_creation,
            hash_algorithm: self.algorithm.into(),
            ..PieceHash::default()
        };
        mine.sign_as_uplink(&self.target.piece_key)?;
        self.progress.finish(Ok(mine.clone()));
        Ok(PieceUploadRequest { done: Some(mine.into()), ..PieceUploadRequest::default() })
    }
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
    // The satellite decides, by its own clock; ours may be wrong.
    let made = system_time(target.order_creation.as_ref()).unwrap_or(signed_at);
    let ahead = seconds_ahead(signed_at, made);
    if ahead.unsigned_abs() > HASH_AGE.as_secs() {
        let relation = relation(ahead);
        return Err(target.misbehaved(format!("its clock is {relation} the satellite's")));
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
