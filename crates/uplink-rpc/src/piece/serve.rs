//! The piece store service of a storage node: transfers pieces without copying them, and receives a
//! satellite's filters of the pieces to keep.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt;
use http::header::CONTENT_TYPE;
use prost::Message;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;

use super::stream::{GRPC_MEDIA_TYPE, Messages, OutgoingBody};
use super::{DOWNLOAD, PROGRESS_TIMEOUT, UPLOAD, encode};
use crate::codec::Bounded;
use crate::r#gen::piecestore::{
    PieceDownloadRequest, PieceDownloadResponse, PieceUploadRequest, PieceUploadResponse,
    RestoreTrashRequest, RestoreTrashResponse, RetainRequest, RetainResponse,
};
use crate::peer::Peer;
use crate::status::{self, Failure};

/// The responses to one download.
pub type Replies =
    Pin<Box<dyn Stream<Item = Result<PieceDownloadResponse, Status>> + Send + 'static>>;

/// The piece store of a storage node.
pub trait Pieces: Clone + Send + Sync + 'static {
    /// Receives a piece.
    ///
    /// The future is dropped when the client disconnects.
    fn upload(
        &self,
        requests: Messages<PieceUploadRequest>,
    ) -> impl Future<Output = Result<PieceUploadResponse, Status>> + Send;

    /// Sends a piece.
    ///
    /// The replies are dropped when the client disconnects.
    fn download(
        &self,
        requests: Messages<PieceDownloadRequest>,
    ) -> impl Future<Output = Result<Replies, Status>> + Send;

    /// Receives a satellite's filter of the pieces to keep.
    fn retain(
        &self,
        peer: Option<Peer>,
        request: RetainRequest,
    ) -> impl Future<Output = Result<RetainResponse, Status>> + Send;

    /// Receives a satellite's filter of the pieces to keep in parts. The last part has the hash of all.
    fn retain_big(
        &self,
        peer: Option<Peer>,
        parts: Messages<RetainRequest>,
    ) -> impl Future<Output = Result<RetainResponse, Status>> + Send;

    /// Restores a satellite's pieces from the trash.
    fn restore_trash(
        &self,
        peer: Option<Peer>,
    ) -> impl Future<Output = Result<RestoreTrashResponse, Status>> + Send;
}

/// Serves [`Pieces`] as `piecestore.Piecestore`. Neither requests nor replies copy their payload.
#[derive(Clone, Debug)]
pub struct PieceServer<T>(T);

impl<T: Pieces> PieceServer<T> {
    /// Creates a service of `pieces`.
    pub fn new(pieces: T) -> Self {
        Self(pieces)
    }

    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        let path = request.uri().path().to_owned();
        let peer = request.extensions().get::<Peer>().cloned();
        let body = request.into_body();
        let result = match path.as_str() {
            UPLOAD => self.0.upload(Messages::of_request(body)).await.map(single_reply),
            DOWNLOAD => self.0.download(Messages::of_request(body)).await.map(|replies| {
                OutgoingBody::response(replies.map(|reply| reply.map(encode::download_response)))
            }),
            RETAIN => match single_request(body).await {
                Ok(request) => self.0.retain(peer, request).await.map(single_reply),
                Err(status) => Err(status),
            },
            RETAIN_BIG => {
                self.0.retain_big(peer, Messages::of_request(body)).await.map(single_reply)
            }
            RESTORE_TRASH => match single_request::<RestoreTrashRequest>(body).await {
                Ok(RestoreTrashRequest {}) => self.0.restore_trash(peer).await.map(single_reply),
                Err(status) => Err(status),
            },
            DELETE | DELETE_PIECES | EXISTS => {
                let text = "storage nodes delete only pieces that no satellite retains";
                Err(Failure::new(status::Code::UNIMPLEMENTED, text).into())
            }
            _ => Err(Status::unimplemented("")),
        };
        match result {
            Ok(body) => {
                let mut response = http::Response::new(body);
                response.headers_mut().insert(CONTENT_TYPE, GRPC_MEDIA_TYPE);
                response
            }
            Err(status) => status.into_http(),
        }
    }
}

/// Reads the only message of a request.
async fn single_request<M: Bounded>(body: Body) -> Result<M, Status> {
    timeout(PROGRESS_TIMEOUT, Messages::of_request(body).next())
        .await
        .map_err(|_| Status::deadline_exceeded("timed out waiting for the request"))??
        .ok_or_else(|| Status::invalid_argument("missing request message"))
}

/// Creates a response of one message.
fn single_reply<M: Message>(reply: M) -> Body {
    OutgoingBody::response(futures_util::stream::iter([Ok(encode::small(&reply))]))
}

const RETAIN: &str = "/piecestore.Piecestore/Retain";
const RETAIN_BIG: &str = "/piecestore.Piecestore/RetainBig";
const RESTORE_TRASH: &str = "/piecestore.Piecestore/RestoreTrash";
const DELETE: &str = "/piecestore.Piecestore/Delete";
const DELETE_PIECES: &str = "/piecestore.Piecestore/DeletePieces";
const EXISTS: &str = "/piecestore.Piecestore/Exists";

impl<T> NamedService for PieceServer<T> {
    const NAME: &'static str = "piecestore.Piecestore";
}

impl<T: Pieces> tower::Service<http::Request<Body>> for PieceServer<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}
