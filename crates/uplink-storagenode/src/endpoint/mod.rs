//! The piece store service: one piece up, one piece down, and which pieces stay.

mod download;
mod retain;
mod upload;

use std::{
    error::Error,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    sync::{Mutex, Semaphore},
    task::JoinError,
    time::{error::Elapsed, timeout},
};
use tonic::{Request, Response, Status};
use uplink_rpc::{
    codec::Bounded,
    r#gen::{
        contact::{ContactPingRequest, ContactPingResponse, contact_server::Contact},
        piecestore::{
            PieceDownloadRequest, PieceUploadRequest, PieceUploadResponse, RestoreTrashResponse,
            RetainRequest, RetainResponse,
        },
    },
    piece::{
        serve::{Pieces, Replies},
        stream::Messages,
    },
    server::Peer,
    status::{Code, Failure},
    tls::Identity,
};

use crate::{
    clock::Clock,
    retention::Retention,
    settlement::Settlement,
    store::{IoPool, PieceStore, StoreError},
    verify::Verifier,
};

/// What all requests of a node share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub identity: Arc<Identity>,
    pub clock: Clock,
    pub io: IoPool,
    pub store: PieceStore,
    pub verifier: Verifier,
    pub settlement: Arc<Settlement>,
    pub retention: Arc<Retention>,
    /// Held while a filter is received in parts.
    pub large_filters: Mutex<()>,
    pub uploads: Semaphore,
    pub downloads: Arc<Semaphore>,
    /// Bytes of pieces taken from uploads since the start.
    pub received: AtomicU64,
    /// Bytes of pieces handed to downloads since the start.
    pub served: AtomicU64,
    /// How long a client may neither send nor receive anything.
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
        let reply = timeout(TOTAL, upload::serve(&self.0, requests)).await;
        let reply = reply.map_err(|Elapsed { .. }| too_slow("the upload took too long"))?;
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
        let taken = timeout(TOTAL, retain::parts(&self.0, peer.as_ref(), parts)).await;
        taken.map_err(|Elapsed { .. }| too_slow("the filter took too long"))??;
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

/// The next message of a client: `None` when it has closed its side.
async fn next<T: Bounded>(
    messages: &mut Messages<T>,
    idle: Duration,
) -> Result<Option<T>, Failure> {
    match timeout(idle, messages.next()).await {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(status)) => Err(broken_off(&status)),
        Err(Elapsed { .. }) => Err(too_slow("the client is too slow")),
    }
}

/// Why no next message came: it could not be read, or the client is gone.
fn broken_off(status: &Status) -> Failure {
    let unreadable = status.source().is_none()
        && matches!(status.code(), tonic::Code::Internal | tonic::Code::OutOfRange);
    let code = if unreadable { Code::INVALID_ARGUMENT } else { Code::CANCELED };
    Failure::new(code, status.message())
}

fn too_slow(text: &str) -> Failure {
    Failure::new(Code::ABORTED, text)
}

/// The code for a failure of the store; what the client need not know is logged instead.
fn refused(error: StoreError) -> Failure {
    let code = match &error {
        StoreError::Busy(_) => Code::UNAVAILABLE,
        StoreError::Exists(_) => Code::ALREADY_EXISTS,
        StoreError::Full { .. } | StoreError::NoSpace { .. } => Code::ABORTED,
        StoreError::Header(crate::store::HeaderError::TooLong(_)) => Code::INVALID_ARGUMENT,
        StoreError::NotFound(_) => Code::NOT_FOUND,
        StoreError::Header(_) | StoreError::Io { .. } => {
            tracing::error!(%error, "the piece store failed");
            Code::INTERNAL
        }
        StoreError::Marker(_) => {
            tracing::error!(%error, "the data directory is gone");
            let text = "the disk of this storage node is not there";
            return Failure::new(Code::UNAVAILABLE, text);
        }
    };
    Failure::new(code, error.to_string())
}

/// A blocking job that ended without a result: a bug, or the runtime is shutting down.
fn broken(error: JoinError) -> Failure {
    tracing::error!(%error, "a disk operation did not finish");
    Failure::new(Code::INTERNAL, "a disk operation did not finish")
}

/// Longest time for one upload or download.
const TOTAL: Duration = Duration::from_secs(30 * 60);
