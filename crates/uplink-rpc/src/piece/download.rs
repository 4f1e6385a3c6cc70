//! Download of one piece.
//!
//! ```text
//!   client                                              storage node
//!     limit, range, maximum message, order ─────────►    checks, opens the piece
//!     ◄───────────────────── chunk, chunk, …  as far as orders reach
//!     order (one step ahead of received bytes) ─────►
//!     end ──────────────────────────────────────────►
//! ```

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use uplink_core::policy::order_step::DownloadOrders;

use super::stream::{Messages, OutgoingBody, call};
use super::{CHUNK_SIZE, DOWNLOAD, PieceError, Target, encode, to_i64};
use crate::r#gen::piecestore::{
    PieceDownloadRequest, PieceDownloadResponse, piece_download_request,
};

/// Maximum number of orders queued for the connection.
const MAX_QUEUED_ORDERS: usize = 4;

/// Number of consecutive messages without bytes at which a download fails.
const EMPTY_MESSAGE_LIMIT: usize = 4;

/// The download of a range of one piece. Dropping it cancels the transfer.
#[derive(Debug)]
pub struct PieceDownload {
    target: Target,
    orders: mpsc::Sender<PieceDownloadRequest>,
    messages: Messages<PieceDownloadResponse>,
    /// Offset of the next byte.
    offset: u64,
    /// End of the range.
    end: u64,
    amounts: DownloadOrders,
}

impl PieceDownload {
    /// Requests `length` bytes of the piece from `offset`.
    ///
    /// The timeout with which `target` was created bounds each wait for the node.
    ///
    /// # Errors
    /// The node is unreachable, rejects the request or stalls, or the limit does not cover the range.
    pub async fn open(target: Target, offset: u64, length: u64) -> Result<Self, PieceError> {
        let allowed = target.max_bytes;
        let end = offset
            .checked_add(length)
            .filter(|_| (1..=allowed).contains(&length))
            .ok_or_else(|| {
                let reason = format!("allows {allowed} bytes, requested {length} from {offset}");
                PieceError::OrderLimit(reason)
            })?;

        let mut amounts = DownloadOrders::new(length);
        let granted = amounts.next_order().unwrap_or(length);
        let first = PieceDownloadRequest {
            limit: Some(target.limit.clone()),
            order: Some(target.order(granted)?),
            chunk: Some(piece_download_request::Chunk {
                offset: to_i64(offset),
                chunk_size: to_i64(length),
            }),
            maximum_chunk_size: CHUNK_SIZE as i32,
        };
        let (orders, requests) = mpsc::channel(MAX_QUEUED_ORDERS);
        let _ = target.send(&orders, first).await?;
        let requests = ReceiverStream::new(requests);
        let body = OutgoingBody::request(requests.map(|request| Ok(encode::small(&request))));
        let call = call(&target.connection, DOWNLOAD, body);
        let messages = timeout(target.timeout, call)
            .await
            .map_err(|_| target.stalled())?
            .map_err(|status| target.failed(status))?;
        Ok(Self { target, orders, messages, offset, end, amounts })
    }

    /// Returns the next bytes in order, or `None` at the end of the range.
    ///
    /// # Errors
    /// The node fails or stalls, or sends bytes that were not requested. The transfer has ended then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PieceError> {
        if self.offset == self.end {
            return Ok(None);
        }
        for _ in 0..EMPTY_MESSAGE_LIMIT {
            self.grant().await?;
            let target = &self.target;
            let message = timeout(target.timeout, self.messages.next())
                .await
                .map_err(|_| target.stalled())?
                .map_err(|status| target.failed(status))?
                .ok_or_else(|| target.misbehaved("stream ended before the range did"))?;
            let Some(chunk) = message.chunk else { continue };
            let length = chunk.data.len() as u64;
            if chunk.offset != to_i64(self.offset) || length > self.end.saturating_sub(self.offset)
            {
                return Err(target.misbehaved("sent bytes that were not requested"));
            }
            if length == 0 {
                continue;
            }
            self.offset = self.offset.saturating_add(length);
            self.amounts.received(length);
            return Ok(Some(chunk.data));
        }
        Err(self.target.misbehaved("sent too many messages without bytes"))
    }

    /// Sends orders up to one step ahead of the received bytes.
    async fn grant(&mut self) -> Result<(), PieceError> {
        while let Some(amount) = self.amounts.next_order() {
            let order = Some(self.target.order(amount)?);
            let message = PieceDownloadRequest { order, ..PieceDownloadRequest::default() };
            if self.target.send(&self.orders, message).await?.is_break() {
                // The call has ended; reading its messages returns the reason.
                return Ok(());
            }
        }
        Ok(())
    }
}
