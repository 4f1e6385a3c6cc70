//! One piece down.
//!
//! ```text
//!   client                                              storage node
//!     limit, range, maximum message, [order] ────────►   verify, spend the serial, open the piece
//!     ◄───────────────────── chunk, chunk, … as far as orders reach
//!     order … ───────────────────────────────────────►   verify (while chunks are being sent)
//!     end ───────────────────────────────────────────►   keep the largest order
//! ```
//!
//! The file is read in windows ahead of what was granted; messages are slices of a window.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinHandle,
    time::timeout,
};
use tonic::Status;
use uplink_core::order::{PieceAction, PieceHash};
use uplink_rpc::{
    r#gen::piecestore::{
        PieceDownloadRequest, PieceDownloadResponse, piece_download_request,
        piece_download_response::Chunk,
    },
    piece::{CHUNK_SIZE, stream::Messages},
    raw,
    status::{Code, Failure},
};

use super::{Shared, TOTAL, broken, next, refused, too_slow};
use crate::{
    store::{IoPool, PieceReader, StoreError},
    verify::{AcceptedLimit, Orders, invalid},
};

/// Checks a request and returns the stream of its replies. Dropping the stream ends the download.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    mut messages: Messages<PieceDownloadRequest>,
) -> Result<Replies, Failure> {
    let Ok(permit) = Arc::clone(&shared.downloads).try_acquire_owned() else {
        return Err(Failure::new(Code::UNAVAILABLE, "too many downloads at once"));
    };
    let first = next(&mut messages, shared.idle).await?;
    let first = first.ok_or_else(|| invalid("the download has no order limit"))?;
    let raw = first.limit.ok_or_else(|| invalid("the download has no order limit"))?;
    let chunk = first.chunk.ok_or_else(|| invalid("the download has no range"))?;
    let claimed = shared.verifier.accept(&raw, &DOWNLOADS).await?;
    let store = shared.store.clone();
    let found = shared.io.run(move || {
        let limit = claimed.remember()?;
        let range = range(&chunk, &limit)?;
        let (reader, restored) = store.read_or_restore(limit.name).map_err(refused)?;
        Ok::<_, Failure>((limit, range, reader, restored))
    });
    let (limit, (offset, length), reader, restored) = found.await.map_err(broken)??;
    if offset.checked_add(length).is_none_or(|end| end > reader.size()) {
        return Err(invalid(format!(
            "{length} bytes from {offset} are asked for, the piece has {}",
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
        most: maximum_message(first.maximum_chunk_size),
        windows: Windows::new(reader, offset, length),
        restored,
        _permit: permit,
    };
    let task = tokio::spawn(outgoing.run(first.order));
    Ok(Replies { received, task })
}

/// The range asked for: it must not exceed what the limit allows.
fn range(
    chunk: &piece_download_request::Chunk,
    limit: &AcceptedLimit,
) -> Result<(u64, u64), Failure> {
    let offset = u64::try_from(chunk.offset).map_err(|_| invalid("the offset is negative"))?;
    let length = u64::try_from(chunk.chunk_size).map_err(|_| invalid("the length is negative"))?;
    if length > limit.most {
        return Err(invalid(format!(
            "{length} bytes are asked for, the order limit allows {}",
            limit.most
        )));
    }
    Ok((offset, length))
}

/// Bytes of a message that the client can take.
fn maximum_message(asked: i32) -> usize {
    usize::try_from(asked)
        .ok()
        .filter(|asked| (MIN_MESSAGE..MAX_MESSAGE).contains(asked))
        .unwrap_or(MAX_MESSAGE)
}

/// A piece being sent.
struct Outgoing {
    shared: Arc<Shared>,
    orders: Orders,
    /// Ends when the client closes its side.
    messages: Option<Messages<PieceDownloadRequest>>,
    replies: mpsc::Sender<Result<PieceDownloadResponse, Status>>,
    offset: u64,
    sent: u64,
    length: u64,
    most: usize,
    windows: Windows,
    /// Whether the piece was in the trash.
    restored: bool,
    _permit: OwnedSemaphorePermit,
}

impl Outgoing {
    async fn run(mut self, first_order: Option<raw::Order>) {
        let outcome = timeout(TOTAL, self.send_all(first_order)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(too_slow("the download took too long")));
        if let Err(failure) = outcome {
            tracing::debug!(%failure, "a download failed");
            // Whatever fails from here on is an internal error to nodes of the network.
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
        // A client that has everything says so; one that waits for us to end is not kept waiting.
        let close = async {
            while self.messages.is_some() {
                self.receive().await?;
            }
            Ok(())
        };
        timeout(CLOSE_WAIT, close).await.unwrap_or(Ok(()))
    }

    /// Sends one message of at most `granted` bytes, taking orders meanwhile.
    async fn send_next(&mut self, granted: u64) -> Result<(), Failure> {
        let most = usize::try_from(granted).unwrap_or(usize::MAX).min(self.most);
        let data = self.windows.next(&self.shared.io, most).await?;
        let offset = self.offset.saturating_add(self.sent);
        let offset = i64::try_from(offset).map_err(|_| invalid("the offset is too large"))?;
        self.sent = self.sent.saturating_add(data.len() as u64);
        self.shared.served.fetch_add(data.len() as u64, Ordering::Relaxed);
        let chunk = Some(Chunk { offset, data });
        self.deliver(PieceDownloadResponse { chunk, ..PieceDownloadResponse::default() }).await
    }

    async fn deliver(&mut self, reply: PieceDownloadResponse) -> Result<(), Failure> {
        let replies = self.replies.clone();
        let place = loop {
            tokio::select! {
                biased;
                place = timeout(self.shared.idle, replies.reserve()) => break place,
                received = Self::receive_from(&mut self.messages, &self.shared) => {
                    Self::accept(&mut self.orders, &mut self.messages, received?)?;
                }
            }
        };
        match place {
            Ok(Ok(place)) => {
                place.send(Ok(reply));
                Ok(())
            }
            Ok(Err(_)) => Err(Failure::new(Code::CANCELED, "the client has gone")),
            Err(_) => Err(too_slow("the client is too slow")),
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
            return Err(invalid("a second request on one download"));
        }
        let order = message.order.ok_or_else(|| invalid("a message without an order"))?;
        Self::grant(orders, &order)
    }

    /// Accepts an order. One for nothing would leave client and node waiting for each other.
    fn grant(orders: &mut Orders, order: &raw::Order) -> Result<(), Failure> {
        orders.accept(order)?;
        if orders.granted() == 0 {
            return Err(invalid("order: 0 bytes are ordered"));
        }
        Ok(())
    }
}

/// The hash and the order limit of the upload, which repair verifies.
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

/// The bytes of a range, read one window ahead.
struct Windows {
    reader: PieceReader,
    /// What is left of the current window.
    current: Bytes,
    ahead: Option<JoinHandle<Result<Bytes, StoreError>>>,
    /// Where the next read begins, and where the range ends.
    position: u64,
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

    /// The next bytes, at most `most`; must not be called beyond the end of the range.
    async fn next(&mut self, io: &IoPool, most: usize) -> Result<Bytes, Failure> {
        if self.current.is_empty() {
            self.read_ahead(io).await;
            if let Some(ahead) = self.ahead.take() {
                self.current = ahead.await.map_err(broken)?.map_err(refused)?;
            }
            self.read_ahead(io).await;
        }
        Ok(self.current.split_to(self.current.len().min(most)))
    }

    async fn read_ahead(&mut self, io: &IoPool) {
        let left = self.end.saturating_sub(self.position);
        if self.ahead.is_some() || left == 0 {
            return;
        }
        let length = usize::try_from(left).unwrap_or(WINDOW).min(WINDOW);
        let (reader, position) = (self.reader.clone(), self.position);
        self.ahead = Some(io.start(move || reader.read(position, length)).await);
        self.position = position.saturating_add(length as u64);
    }
}

/// The replies of one download; dropping them aborts the task that makes them.
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

/// Time for a client to close its side after it was sent everything. No order can grant more, and
/// a client that expects more than it asked for learns so from the end.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
const DOWNLOADS: [PieceAction; 3] =
    [PieceAction::Get, PieceAction::GetAudit, PieceAction::GetRepair];
/// Bytes of one read: whole messages of the size that clients ask for.
const WINDOW: usize = 4 * CHUNK_SIZE;
/// Messages made ahead of the connection.
const SEND_AHEAD: usize = 2;
/// A client may ask for messages of at least this many bytes …
const MIN_MESSAGE: usize = 1025;
/// … and of fewer than this many, which is what a client that does not ask gets.
const MAX_MESSAGE: usize = 1 << 20;
