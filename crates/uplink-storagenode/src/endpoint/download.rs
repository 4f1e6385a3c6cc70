//! Download of a piece.
//!
//! ```text
//!   client                                              storage node
//!     limit, range, maximum message, [order] ────────►   verify, claim the serial, open the piece
//!     ◄───────────────────── chunk, chunk, … up to the bytes granted by orders
//!     order … ───────────────────────────────────────►   verify (while chunks are being sent)
//!     end ───────────────────────────────────────────►   keep the largest order
//! ```
//!
//! The file is read in windows, one ahead of the granted bytes. Messages are slices of a window.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;
use uplink_core::order::{PieceAction, PieceHash};
use uplink_rpc::r#gen::piecestore::piece_download_response::Chunk;
use uplink_rpc::r#gen::piecestore::{
    PieceDownloadRequest, PieceDownloadResponse, piece_download_request,
};
use uplink_rpc::piece::CHUNK_SIZE;
use uplink_rpc::piece::stream::Messages;
use uplink_rpc::raw;
use uplink_rpc::status::{Code, Failure};

use super::{Shared, TOTAL_TIMEOUT, aborted, join_failure, next, store_failure};
use crate::store::{IoPool, PieceReader, StoreError};
use crate::verify::{AcceptedLimit, Orders, invalid};

/// Validates a request and returns the stream of its replies. Dropping the stream cancels the
/// download.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    mut messages: Messages<PieceDownloadRequest>,
) -> Result<Replies, Failure> {
    let Ok(permit) = Arc::clone(&shared.downloads).try_acquire_owned() else {
        return Err(Failure::new(Code::UNAVAILABLE, "too many concurrent downloads"));
    };
    let first = next(&mut messages, shared.idle).await?;
    let first = first.ok_or_else(|| invalid("download: missing order limit"))?;
    let raw = first.limit.ok_or_else(|| invalid("download: missing order limit"))?;
    let chunk = first.chunk.ok_or_else(|| invalid("download: missing range"))?;
    let claimed = shared.verifier.accept(&raw, &DOWNLOADS).await?;
    let store = shared.store.clone();
    let opened = shared.io.run(move || {
        let limit = claimed.persist()?;
        let range = range(&chunk, &limit)?;
        let (reader, restored) = store.read_or_restore(limit.name).map_err(store_failure)?;
        Ok::<_, Failure>((limit, range, reader, restored))
    });
    let (limit, (offset, length), reader, restored) = opened.await.map_err(join_failure)??;
    if offset.checked_add(length).is_none_or(|end| end > reader.size()) {
        return Err(invalid(format!(
            "download: range of {length} bytes at offset {offset} exceeds the piece size {}",
            reader.size()
        )));
    }

    let (replies, received) = mpsc::channel(SEND_AHEAD);
    let outgoing = Outgoing {
        shared: Arc::clone(shared),
        orders: Orders::new(limit, Arc::clone(&shared.settlement)),
        messages: Some(messages),
        replies,
        offset,
        sent: 0,
        length,
        max_message: max_message(first.maximum_chunk_size),
        windows: Windows::new(reader, offset, length),
        restored,
        _permit: permit,
    };
    let task = tokio::spawn(outgoing.run(first.order));
    Ok(Replies { received, task })
}

/// Returns offset and length of the requested range. Its length must not exceed the order limit.
fn range(
    chunk: &piece_download_request::Chunk,
    limit: &AcceptedLimit,
) -> Result<(u64, u64), Failure> {
    let offset = u64::try_from(chunk.offset).map_err(|_| invalid("download: negative offset"))?;
    let length =
        u64::try_from(chunk.chunk_size).map_err(|_| invalid("download: negative length"))?;
    if length > limit.max_bytes {
        return Err(invalid(format!(
            "download: {length} bytes exceed the order limit of {}",
            limit.max_bytes
        )));
    }
    Ok((offset, length))
}

/// Returns the maximum message size, given the one that the client requested.
fn max_message(requested: i32) -> usize {
    usize::try_from(requested)
        .ok()
        .filter(|requested| (MIN_MESSAGE..MAX_MESSAGE).contains(requested))
        .unwrap_or(MAX_MESSAGE)
}

/// A piece being sent.
struct Outgoing {
    shared: Arc<Shared>,
    orders: Orders,
    /// `None` after the client has closed its side.
    messages: Option<Messages<PieceDownloadRequest>>,
    replies: mpsc::Sender<Result<PieceDownloadResponse, Status>>,
    offset: u64,
    sent: u64,
    length: u64,
    max_message: usize,
    windows: Windows,
    /// Whether the piece was restored from the trash.
    restored: bool,
    _permit: OwnedSemaphorePermit,
}

impl Outgoing {
    async fn run(mut self, first_order: Option<raw::Order>) {
        let outcome = timeout(TOTAL_TIMEOUT, self.send_all(first_order))
            .await
            .unwrap_or_else(|_| Err(aborted("download timed out")));
        if let Err(failure) = outcome {
            tracing::debug!(%failure, "download failed");
            // Nodes of the public network report all failures from here on as internal errors.
            let wrapped = Failure::new(Code::INTERNAL, failure.message);
            let _ = timeout(self.shared.idle, self.replies.send(Err(wrapped.into()))).await;
        }
    }

    async fn send_all(&mut self, first_order: Option<raw::Order>) -> Result<(), Failure> {
        if let Some(order) = first_order {
            Self::grant(&mut self.orders, &order)?;
        }
        if self.orders.limit().action == PieceAction::GetRepair {
            let mut original = original(self.windows.reader(), self.orders.limit());
            original.restored_from_trash = self.restored;
            self.deliver(original).await?;
        }
        while self.sent < self.length {
            let granted = self.orders.granted().min(self.length).saturating_sub(self.sent);
            if granted > 0 {
                self.send_next(granted).await?;
            } else if self.messages.is_some() {
                self.receive().await?;
            } else {
                return Ok(());
            }
        }
        if self.length == 0 {
            return Ok(());
        }
        // A client closes its side when it has received everything. One that waits for the end of
        // the stream instead gets it after `CLOSE_TIMEOUT`.
        let close = async {
            while self.messages.is_some() {
                self.receive().await?;
            }
            Ok(())
        };
        timeout(CLOSE_TIMEOUT, close).await.unwrap_or(Ok(()))
    }

    /// Sends one message of at most `granted` bytes, and accepts orders while waiting.
    async fn send_next(&mut self, granted: u64) -> Result<(), Failure> {
        let max = usize::try_from(granted).unwrap_or(usize::MAX).min(self.max_message);
        let data = self.windows.next(&self.shared.io, max).await?;
        let offset = i64::try_from(self.offset.saturating_add(self.sent))
            .map_err(|_| invalid("download: offset overflow"))?;
        self.sent = self.sent.saturating_add(data.len() as u64);
        self.shared.served.fetch_add(data.len() as u64, Ordering::Relaxed);
        let chunk = Some(Chunk { offset, data });
        self.deliver(PieceDownloadResponse { chunk, ..PieceDownloadResponse::default() }).await
    }

    async fn deliver(&mut self, reply: PieceDownloadResponse) -> Result<(), Failure> {
        let replies = self.replies.clone();
        let reserved = loop {
            tokio::select! {
                biased;
                reserved = timeout(self.shared.idle, replies.reserve()) => break reserved,
                received = Self::receive_from(&mut self.messages, &self.shared) => {
                    Self::accept(&mut self.orders, &mut self.messages, received?)?;
                }
            }
        };
        match reserved {
            Ok(Ok(permit)) => {
                permit.send(Ok(reply));
                Ok(())
            }
            Ok(Err(_)) => Err(Failure::new(Code::CANCELED, "client disconnected")),
            Err(_) => Err(aborted("client idle for too long")),
        }
    }

    /// Waits for the next order, or for the client to close its side.
    async fn receive(&mut self) -> Result<(), Failure> {
        let received = Self::receive_from(&mut self.messages, &self.shared).await?;
        Self::accept(&mut self.orders, &mut self.messages, received)
    }

    async fn receive_from(
        messages: &mut Option<Messages<PieceDownloadRequest>>,
        shared: &Shared,
    ) -> Result<Option<PieceDownloadRequest>, Failure> {
        match messages {
            Some(messages) => next(messages, shared.idle).await,
            None => std::future::pending().await,
        }
    }

    fn accept(
        orders: &mut Orders,
        messages: &mut Option<Messages<PieceDownloadRequest>>,
        received: Option<PieceDownloadRequest>,
    ) -> Result<(), Failure> {
        let Some(message) = received else {
            *messages = None;
            return Ok(());
        };
        if message.limit.is_some() || message.chunk.is_some() {
            return Err(invalid("download: unexpected second request"));
        }
        let order = message.order.ok_or_else(|| invalid("download: message without an order"))?;
        Self::grant(orders, &order)
    }

    /// Accepts an order. An order for 0 bytes is rejected, because client and node would deadlock.
    fn grant(orders: &mut Orders, order: &raw::Order) -> Result<(), Failure> {
        orders.accept(order)?;
        if orders.granted() == 0 {
            return Err(invalid("order: 0 bytes ordered"));
        }
        Ok(())
    }
}

/// Returns the hash and the order limit of the upload, which repair verifies.
fn original(reader: &PieceReader, limit: &AcceptedLimit) -> PieceDownloadResponse {
    let header = reader.header();
    let hash = PieceHash {
        piece_id: limit.name.piece.as_bytes().to_vec(),
        hash: header.hash.to_vec(),
        signature: header.signature.to_vec(),
        piece_size: i64::try_from(reader.size()).unwrap_or(i64::MAX),
        timestamp: header.creation_time,
        hash_algorithm: header.hash_algorithm,
    };
    PieceDownloadResponse {
        hash: Some(hash.into()),
        limit: Some(raw::OrderLimit::from_wire(header.order_limit.clone())),
        ..PieceDownloadResponse::default()
    }
}

/// Reads the bytes of a range, one window ahead.
struct Windows {
    reader: PieceReader,
    /// The remaining bytes of the current window.
    current: Bytes,
    ahead: Option<JoinHandle<Result<Bytes, StoreError>>>,
    /// Offset of the next read.
    position: u64,
    /// End of the range.
    end: u64,
}

impl Windows {
    fn new(reader: PieceReader, offset: u64, length: u64) -> Self {
        let end = offset.saturating_add(length);
        Self { reader, current: Bytes::new(), ahead: None, position: offset, end }
    }

    fn reader(&self) -> &PieceReader {
        &self.reader
    }

    /// Returns the next bytes, at most `max`. Must not be called at the end of the range.
    async fn next(&mut self, io: &IoPool, max: usize) -> Result<Bytes, Failure> {
        if self.current.is_empty() {
            self.read_ahead(io).await;
            if let Some(ahead) = self.ahead.take() {
                self.current = ahead.await.map_err(join_failure)?.map_err(store_failure)?;
            }
            self.read_ahead(io).await;
        }
        Ok(self.current.split_to(self.current.len().min(max)))
    }

    async fn read_ahead(&mut self, io: &IoPool) {
        let remaining = self.end.saturating_sub(self.position);
        if self.ahead.is_some() || remaining == 0 {
            return;
        }
        let length = usize::try_from(remaining).unwrap_or(WINDOW).min(WINDOW);
        let reader = self.reader.clone();
        let position = self.position;
        self.ahead = Some(io.start(move || reader.read(position, length)).await);
        self.position = position.saturating_add(length as u64);
    }
}

/// The replies of one download. Dropping them aborts the task that sends them.
pub(super) struct Replies {
    received: mpsc::Receiver<Result<PieceDownloadResponse, Status>>,
    task: JoinHandle<()>,
}

impl Stream for Replies {
    type Item = Result<PieceDownloadResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.received.poll_recv(context)
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Timeout for a client to close its side after everything was sent. Further orders cannot grant
/// more, and a client that expects more than it requested sees the end of the stream.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const DOWNLOADS: [PieceAction; 3] =
    [PieceAction::Get, PieceAction::GetAudit, PieceAction::GetRepair];
/// Size of one read: a multiple of the message size that clients request.
const WINDOW: usize = 4 * CHUNK_SIZE;
/// Messages buffered ahead of the connection.
const SEND_AHEAD: usize = 2;
/// Minimum message size that a client may request.
const MIN_MESSAGE: usize = 1025;
/// Default message size. A client may request any smaller size down to [`MIN_MESSAGE`].
const MAX_MESSAGE: usize = 1 << 20;
