//! One piece down.
//!
//! ```text
//!   client                                              storage node
//!     limit, range, maximum message, order ─────────►    checks, opens the piece
//!     ◄───────────────────── chunk, chunk, …  as far as orders reach
//!     order (a step ahead of what arrived) ─────────►
//!     end ──────────────────────────────────────────►
//! ```

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use uplink_core::policy::order_step::DownloadOrders;

use super::stream::{Messages, Outgoing, call};
use super::{CHUNK_SIZE, DOWNLOAD, PieceError, Target, wire};
use crate::r#gen::piecestore::{
    PieceDownloadRequest, PieceDownloadResponse, piece_download_request,
};

/// Orders made ahead of the connection.
const SEND_AHEAD: usize = 4;

/// Messages without bytes that a node may send in a row.
const MESSAGES_WITHOUT_BYTES: usize = 4;

/// A range of one piece on its way. Dropping it cancels the transfer.
#[derive(Debug)]
pub struct PieceDownload {
    target: Target,
    orders: mpsc::Sender<PieceDownloadRequest>,
    messages: Messages<PieceDownloadResponse>,
    /// Where the next byte belongs, and where the range ends.
    offset: u64,
    end: u64,
    amounts: DownloadOrders,
}

impl PieceDownload {
    /// Asks the node for `length` bytes of the piece from `offset`.
    ///
    /// Every wait for the node is bounded by `target.deadline`.
    ///
    /// # Errors
    /// The node cannot be reached, refuses or stalls, or the limit does not cover the range.
    pub async fn open(target: Target, offset: u64, length: u64) -> Result<Self, PieceError> {
        let end = offset.checked_add(length).filter(|_| (1..=target.amount).contains(&length));
        let end = end.ok_or_else(|| {
            let allowed = target.amount;
            PieceError::OrderLimit(format!(
                "allows {allowed} bytes, {length} from {offset} on are asked for"
            ))
        })?;
        let mut amounts = DownloadOrders::new(length);
        let granted = amounts.next_order().unwrap_or(length);
        let first = PieceDownloadRequest {
            limit: Some(target.limit.clone()),
            order: Some(target.order(granted)?),
            chunk: Some(piece_download_request::Chunk {
                offset: signed(offset),
                chunk_size: signed(length),
            }),
            maximum_chunk_size: CHUNK_SIZE as i32,
        };
        let (orders, requests) = mpsc::channel(SEND_AHEAD);
        let _ = target.hand_over(&orders, first).await?;
        let requests = ReceiverStream::new(requests);
        let body = Outgoing::request(requests.map(|request| Ok(wire::small(&request))));
        let call = call(&target.connection, DOWNLOAD, body);
        let answer = timeout(target.deadline, call).await.map_err(|_| target.stalled())?;
        let messages = answer.map_err(|status| target.failed(status))?;
        Ok(Self { target, orders, messages, offset, end, amounts })
    }

    /// Returns the next bytes in order, or `None` after the last one of the range.
    ///
    /// # Errors
    /// The node fails or stalls, or sends other bytes than those asked for: the transfer is over.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PieceError> {
        if self.offset == self.end {
            return Ok(None);
        }
        for _ in 0..MESSAGES_WITHOUT_BYTES {
            self.grant().await?;
            let target = &self.target;
            let message = timeout(target.deadline, self.messages.next()).await;
            let message = message.map_err(|_| target.stalled())?;
            let message = message.map_err(|status| target.failed(status))?;
            let message = message.ok_or_else(|| target.misbehaved("ended before the range did"))?;
            let Some(chunk) = message.chunk else { continue };
            let length = chunk.data.len() as u64;
            if chunk.offset != signed(self.offset) || length > self.end.saturating_sub(self.offset)
            {
                return Err(target.misbehaved("sent other bytes than those asked for"));
            }
            if length == 0 {
                continue;
            }
            self.offset = self.offset.saturating_add(length);
            self.amounts.received(length);
            return Ok(Some(chunk.data));
        }
        Err(self.target.misbehaved("keeps sending messages without bytes"))
    }

    /// Stays one order step ahead of what arrived.
    async fn grant(&mut self) -> Result<(), PieceError> {
        while let Some(amount) = self.amounts.next_order() {
            let order = Some(self.target.order(amount)?);
            let message = PieceDownloadRequest { order, ..PieceDownloadRequest::default() };
            if self.target.hand_over(&self.orders, message).await?.is_break() {
                // The call is over; reading its messages tells why.
                return Ok(());
            }
        }
        Ok(())
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
