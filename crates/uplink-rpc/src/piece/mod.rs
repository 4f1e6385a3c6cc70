//! One piece up, one piece down: the client side of a storage node's piece store.
//!
//! The client of the network, and audit and repair in the satellite, move pieces through this
//! module alone. Segment policy (which node, when to give up) is the caller's.

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
use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;
use uplink_core::id::{NodeId, PieceId};
use uplink_core::order::{Order, OrderError, PiecePrivateKey};

use crate::channel::unsent;
use crate::pool::Connection;
use crate::raw;
use crate::status::{Code, Failure, printable};
use crate::time::{is_skewed, relation, seconds_ahead, system_time};

pub mod download;
mod progress;
pub mod retain;
pub mod serve;
pub mod stream;
mod unsent;
pub mod upload;
mod wire;

/// Most bytes of a piece in one message: what fits a frame, and whole batches of the piece hash,
/// which is a third slower over parts of other sizes than powers of two.
pub const CHUNK_SIZE: usize = 64 << 10;

const UPLOAD: &str = "/piecestore.Piecestore/Upload";
const DOWNLOAD: &str = "/piecestore.Piecestore/Download";

/// Time without any progress after which a transfer counts as failed.
pub const PROGRESS_DEADLINE: Duration = Duration::from_secs(30);

/// One storage node and what a satellite permits there: an order limit with its piece key.
///
/// An order limit works once per node; a second attempt needs a new one.
#[derive(Clone, Debug)]
pub struct Target {
    connection: Connection,
    limit: raw::OrderLimit,
    piece_key: PiecePrivateKey,
    deadline: Duration,
    node: NodeId,
    piece_id: PieceId,
    serial_number: Vec<u8>,
    amount: u64,
    order_creation: Option<Timestamp>,
    /// Seconds by which this machine's clock was ahead of the satellite's when the limit came.
    ahead: i64,
}

impl Target {
    /// Reads an order limit that is to be used over `connection`.
    ///
    /// `deadline` bounds every single wait for the node, not the whole transfer.
    ///
    /// # Errors
    /// The limit is not readable, or an id or amount in it is malformed.
    pub fn new(
        connection: Connection,
        limit: raw::OrderLimit,
        piece_key: PiecePrivateKey,
        deadline: Duration,
    ) -> Result<Self, PieceError> {
        let unusable = |reason: String| PieceError::OrderLimit(reason);
        let typed = limit.decode_typed().map_err(|error| unusable(error.to_string()))?;
        let node = NodeId::from_slice(&typed.storage_node_id);
        let piece_id = PieceId::from_slice(&typed.piece_id);
        let made = system_time(typed.order_creation.as_ref());
        Ok(Self {
            ahead: made.map_or(0, |made| seconds_ahead(SystemTime::now(), made)),
            node: node.map_err(|error| unusable(error.to_string()))?,
            piece_id: piece_id.map_err(|error| unusable(error.to_string()))?,
            amount: u64::try_from(typed.limit).map_err(|error| unusable(error.to_string()))?,
            serial_number: typed.serial_number,
            order_creation: typed.order_creation,
            connection,
            limit,
            piece_key,
            deadline,
        })
    }

    /// Returns the node that the limit is for.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    fn order(&self, amount: u64) -> Result<raw::Order, PieceError> {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        let serial_number = self.serial_number.clone();
        let mut order = Order { serial_number, amount, ..Order::default() };
        order.sign(&self.piece_key)?;
        Ok(order.into())
    }

    /// Gives a message to the connection; `Break` when the call has ended already.
    async fn hand_over<M: Send>(
        &self,
        sender: &mpsc::Sender<M>,
        message: M,
    ) -> Result<ControlFlow<()>, PieceError> {
        match timeout(self.deadline, sender.send(message)).await {
            Ok(Ok(())) => Ok(ControlFlow::Continue(())),
            Ok(Err(_)) => Ok(ControlFlow::Break(())),
            Err(_) => Err(self.stalled()),
        }
    }

    fn failed(&self, status: Status) -> PieceError {
        let mut failure = match unsent(&status) {
            Some(error) => Failure::new(Code::UNAVAILABLE, error.to_string()),
            None => status.into(),
        };
        if failure.code == Code::INVALID_ARGUMENT && is_skewed(self.ahead) {
            let relation = relation(self.ahead);
            failure
                .message
                .push_str(&format!("; this machine's clock is {relation} the satellite's"));
        }
        PieceError::Node { node: self.node, failure }
    }

    fn misbehaved(&self, reason: impl Display) -> PieceError {
        PieceError::Misbehaved { node: self.node, reason: printable(&reason.to_string()) }
    }

    fn stalled(&self) -> PieceError {
        PieceError::Stalled { node: self.node, after: self.deadline }
    }
}

/// Why one piece could not be moved.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PieceError {
    /// The storage node or the connection to it failed.
    #[error("storage node {node}: {failure}")]
    Node {
        /// The node of the order limit.
        node: NodeId,
        /// What it answered, or what the transport says.
        failure: Failure,
    },
    /// The storage node broke the protocol: wrong bytes, wrong hash, wrong signature.
    #[error("storage node {node} misbehaves: {reason}")]
    Misbehaved {
        /// The node of the order limit.
        node: NodeId,
        /// What it did.
        reason: String,
    },
    /// The order limit or piece key received from the satellite cannot be used.
    #[error("order limit: {0}")]
    OrderLimit(String),
    /// The source of the bytes to send failed; it knows why.
    #[error("the bytes of the piece cannot be produced")]
    Source,
    /// Nothing moved for too long.
    #[error("storage node {node} made no progress for {} s", .after.as_secs())]
    Stalled {
        /// The node of the order limit.
        node: NodeId,
        /// The deadline that passed.
        after: Duration,
    },
}

impl PieceError {
    /// Returns whether the node has not begun the transfer because it does too much else at the
    /// moment. Its order limit is not used up: the same transfer may be tried again after a pause.
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
