//! Upload and download of one piece: the client side of a storage node's piece store.
//!
//! All piece transfers of the network's client use this module. Segment policy (which node, when to
//! abort) is up to the caller. [`serve`] is the node's side, and [`retain`] a call of the satellite.

#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use std::fmt::Display;
use std::ops::ControlFlow;
use std::time::Duration;

use prost_types::Timestamp;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;
use uplink_core::id::{NodeId, PieceId};
use uplink_core::order::{Order, OrderError, PiecePrivateKey};

use crate::channel::dial_failure;
use crate::pool::Connection;
use crate::status::{Code, Failure, printable};
use crate::time::{describe_skew, is_skewed, seconds_ahead, system_time};
use crate::{raw, runtime};

pub mod download;
mod encode;
pub mod retain;
pub mod serve;
mod stall_timer;
pub mod stream;
mod unsent;
pub mod upload;

/// Maximum number of piece bytes in one message. It fits a frame. It is a power of two because the
/// piece hash is a third slower on parts of other sizes.
pub const CHUNK_SIZE: usize = 64 << 10;

const UPLOAD: &str = "/piecestore.Piecestore/Upload";
const DOWNLOAD: &str = "/piecestore.Piecestore/Download";

/// Time without progress after which a transfer fails.
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);

/// A storage node with an order limit and its piece key, which permit one transfer.
///
/// An order limit works once. A second attempt needs a new one, unless the node was overloaded and did
/// not begin the transfer ([`PieceError::is_overloaded`]).
#[derive(Clone, Debug)]
pub struct Target {
    connection: Connection,
    limit: raw::OrderLimit,
    piece_key: PiecePrivateKey,
    timeout: Duration,
    node: NodeId,
    piece_id: PieceId,
    serial_number: Vec<u8>,
    /// Maximum bytes that the limit permits to transfer.
    max_bytes: u64,
    order_creation: Option<Timestamp>,
    /// Seconds by which the local clock was ahead of the satellite's when the limit was received.
    clock_skew: i64,
}

impl Target {
    /// Decodes an order limit for a transfer over `connection`.
    ///
    /// `timeout` bounds each wait for the node, not the whole transfer.
    ///
    /// # Errors
    /// The limit, or an id or amount in it, is malformed.
    pub fn new(
        connection: Connection,
        limit: raw::OrderLimit,
        piece_key: PiecePrivateKey,
        timeout: Duration,
    ) -> Result<Self, PieceError> {
        let malformed = |reason: String| PieceError::OrderLimit(reason);
        let typed = limit.decode_typed().map_err(|error| malformed(error.to_string()))?;
        let node = NodeId::from_slice(&typed.storage_node_id);
        let piece_id = PieceId::from_slice(&typed.piece_id);
        let created = system_time(typed.order_creation.as_ref());
        Ok(Self {
            clock_skew: created.map_or(0, |created| seconds_ahead(runtime::now(), created)),
            node: node.map_err(|error| malformed(error.to_string()))?,
            piece_id: piece_id.map_err(|error| malformed(error.to_string()))?,
            max_bytes: u64::try_from(typed.limit).map_err(|error| malformed(error.to_string()))?,
            serial_number: typed.serial_number,
            order_creation: typed.order_creation,
            connection,
            limit,
            piece_key,
            timeout,
        })
    }

    /// Returns the node that the limit is for.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    fn order(&self, amount: u64) -> Result<raw::Order, PieceError> {
        let amount = to_i64(amount);
        let serial_number = self.serial_number.clone();
        let mut order = Order { serial_number, amount, ..Order::default() };
        order.sign(&self.piece_key)?;
        Ok(order.into())
    }

    /// Queues a message for the connection; `Break` if the call has already ended.
    async fn send<M: Send>(
        &self,
        sender: &mpsc::Sender<M>,
        message: M,
    ) -> Result<ControlFlow<()>, PieceError> {
        match timeout(self.timeout, sender.send(message)).await {
            Ok(Ok(())) => Ok(ControlFlow::Continue(())),
            Ok(Err(_)) => Ok(ControlFlow::Break(())),
            Err(_) => Err(self.stalled()),
        }
    }

    fn failed(&self, status: Status) -> PieceError {
        let mut failure = match dial_failure(&status) {
            Some(error) => Failure::new(Code::UNAVAILABLE, error.to_string()),
            None => status.into(),
        };
        if failure.code == Code::INVALID_ARGUMENT && is_skewed(self.clock_skew) {
            let skew = describe_skew(self.clock_skew);
            let hint = format!("; this machine's clock is {skew} the satellite's");
            failure.message.push_str(&hint);
        }
        PieceError::Node { node: self.node, failure }
    }

    fn misbehaved(&self, reason: impl Display) -> PieceError {
        PieceError::Misbehaved { node: self.node, reason: printable(&reason.to_string()) }
    }

    /// Returns the error of a transfer without progress. The next one to this node dials.
    fn stalled(&self) -> PieceError {
        self.connection.reset();
        PieceError::Stalled { node: self.node, after: self.timeout }
    }
}

/// Converts a number of bytes for a message.
fn to_i64(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Why a piece transfer failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PieceError {
    /// The storage node or the connection to it failed.
    #[error("storage node {node}: {failure}")]
    Node {
        /// The node of the order limit.
        node: NodeId,
        /// The node's status, or the transport's error.
        failure: Failure,
    },
    /// The storage node violated the protocol: wrong bytes, wrong hash, wrong signature.
    #[error("storage node {node} violated the protocol: {reason}")]
    Misbehaved {
        /// The node of the order limit.
        node: NodeId,
        /// The violation.
        reason: String,
    },
    /// The order limit or piece key received from the satellite cannot be used.
    #[error("invalid order limit: {0}")]
    OrderLimit(String),
    /// The source of the piece's bytes failed. The source reports why.
    #[error("source of the piece's bytes failed")]
    Source,
    /// The transfer made no progress within the timeout.
    #[error("storage node {node} made no progress for {} s", .after.as_secs())]
    Stalled {
        /// The node of the order limit.
        node: NodeId,
        /// The timeout.
        after: Duration,
    },
}

impl PieceError {
    /// Returns whether the node was overloaded and did not begin the transfer. The order limit is still
    /// unused: the same transfer may be retried after a pause.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        matches!(self, Self::Node { failure, .. } if failure.is_overloaded())
    }
}

impl From<OrderError> for PieceError {
    fn from(error: OrderError) -> Self {
        Self::OrderLimit(error.to_string())
    }
}
