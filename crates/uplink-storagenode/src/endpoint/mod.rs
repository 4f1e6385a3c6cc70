//! The piece store service: upload, download and retention of pieces.

mod download;
mod retain;
mod upload;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinError;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tonic::{Request, Response, Status};
use uplink_rpc::codec::Bounded;
use uplink_rpc::r#gen::contact::contact_server::Contact;
use uplink_rpc::r#gen::contact::{ContactPingRequest, ContactPingResponse};
use uplink_rpc::r#gen::piecestore::{
    PieceDownloadRequest, PieceUploadRequest, PieceUploadResponse, RestoreTrashResponse,
    RetainRequest, RetainResponse,
};
use uplink_rpc::piece::serve::{Pieces, Replies};
use uplink_rpc::piece::stream::Messages;
use uplink_rpc::server::Peer;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::tls::Identity;
use uplink_server::Clock;

use crate::retention::Retention;
use crate::settlement::Settlement;
use crate::store::{IoPool, PieceStore, StoreError};
use crate::verify::Verifier;

/// State shared by all requests of a node.
#[derive(Debug)]
pub(crate) struct Shared {
    pub identity: Arc<Identity>,
    pub clock: Clock,
    pub io: IoPool,
    pub store: PieceStore,
    pub verifier: Verifier,
    pub settlement: Arc<Settlement>,
    pub retention: Arc<Retention>,
    /// Locked while a filter is received in parts.
    pub large_filters: Mutex<()>,
    pub uploads: Semaphore,
    pub downloads: Arc<Semaphore>,
    /// Bytes of pieces received from uploads since the start.
    pub received: AtomicU64,
    /// Bytes of pieces sent to downloads since the start.
    pub served: AtomicU64,
    /// Idle timeout: maximum time without progress of a client.
    pub idle: Duration,
}

/// Serves pieces and answers pings.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint(pub Arc<Shared>);

impl Pieces for Endpoint {
    async fn upload(
        &self,
        requests: Messages<PieceUploadRequest>,
    ) -> Result<PieceUploadResponse, Status> {
        let reply = timeout(TOTAL_TIMEOUT, upload::serve(&self.0, requests)).await;
        let reply = reply.map_err(|Elapsed { .. }| aborted("upload timed out"))?;
        Ok(reply?)
    }

    async fn download(&self, requests: Messages<PieceDownloadRequest>) -> Result<Replies, Status> {
        let replies = download::serve(&self.0, requests).await?;
        Ok(Box::pin(replies))
    }

    async fn retain(
        &self,
        peer: Option<Peer>,
        request: RetainRequest,
    ) -> Result<RetainResponse, Status> {
        retain::whole(&self.0, peer.as_ref(), request).await?;
        Ok(RetainResponse {})
    }

    async fn retain_big(
        &self,
        peer: Option<Peer>,
        parts: Messages<RetainRequest>,
    ) -> Result<RetainResponse, Status> {
        let received = timeout(TOTAL_TIMEOUT, retain::parts(&self.0, peer.as_ref(), parts)).await;
        received.map_err(|Elapsed { .. }| aborted("filter: timed out"))??;
        Ok(RetainResponse {})
    }

    async fn restore_trash(&self, peer: Option<Peer>) -> Result<RestoreTrashResponse, Status> {
        retain::restore(&self.0, peer.as_ref()).await?;
        Ok(RestoreTrashResponse {})
    }
}

#[tonic::async_trait]
impl Contact for Endpoint {
    async fn ping_node(
        &self,
        _: Request<ContactPingRequest>,
    ) -> Result<Response<ContactPingResponse>, Status> {
        Ok(Response::new(ContactPingResponse {}))
    }
}

/// Receives the next message of a client, or `None` after it has closed its side.
async fn next<T: Bounded>(
    messages: &mut Messages<T>,
    idle: Duration,
) -> Result<Option<T>, Failure> {
    match timeout(idle, messages.next()).await {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(status)) => Err(receive_failure(&status)),
        Err(Elapsed { .. }) => Err(aborted("client idle for too long")),
    }
}

/// Returns the failure of a receive: the message is malformed, or the client has disconnected.
fn receive_failure(status: &Status) -> Failure {
    let is_malformed = status.source().is_none()
        && matches!(status.code(), tonic::Code::Internal | tonic::Code::OutOfRange);
    let code = if is_malformed { Code::INVALID_ARGUMENT } else { Code::CANCELED };
    Failure::new(code, status.message())
}

/// Returns the failure of a timeout.
fn aborted(text: &str) -> Failure {
    Failure::new(Code::ABORTED, text)
}

/// Converts an error of the store. Internal details are logged instead of sent.
fn store_failure(error: StoreError) -> Failure {
    let code = match &error {
        StoreError::Busy(_) => Code::UNAVAILABLE,
        StoreError::Exists(_) => Code::ALREADY_EXISTS,
        StoreError::Full { .. } | StoreError::NoSpace { .. } => Code::ABORTED,
        StoreError::Header(crate::store::HeaderError::TooLong(_)) => Code::INVALID_ARGUMENT,
        StoreError::NotFound(_) => Code::NOT_FOUND,
        StoreError::Header(_) | StoreError::Io { .. } => {
            tracing::error!(%error, "piece store failed");
            Code::INTERNAL
        }
        StoreError::Marker(_) => {
            tracing::error!(%error, "data directory unavailable");
            return Failure::new(Code::UNAVAILABLE, "disk of this storage node is unavailable");
        }
    };
    Failure::new(code, error.to_string())
}

/// Converts the error of a blocking job that did not finish: it panicked, or the runtime is
/// shutting down.
fn join_failure(error: JoinError) -> Failure {
    tracing::error!(%error, "disk operation did not finish");
    Failure::new(Code::INTERNAL, "disk operation did not finish")
}

/// Timeout of one upload, download or filter.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30 * 60);
