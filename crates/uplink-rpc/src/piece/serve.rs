//! The service of a storage node that moves pieces, without copying them, and that a satellite tells
//! which of them to keep.

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

use super::stream::{GRPC, Messages, Outgoing};
use super::{DOWNLOAD, PROGRESS_DEADLINE, UPLOAD, wire};
use crate::codec::Bounded;
use crate::r#gen::piecestore::{
    PieceDownloadRequest, PieceDownloadResponse, PieceUploadRequest, PieceUploadResponse,
    RestoreTrashRequest, RestoreTrashResponse, RetainRequest, RetainResponse,
};
use crate::peer::Peer;
use crate::status::{self, Failure};

/// The replies to one download.
pub type Replies =
    Pin<Box<dyn Stream<Item = Result<PieceDownloadResponse, Status>> + Send + 'static>>;

/// What a storage node does when a piece is to be moved.
pub trait Pieces: Clone + Send + Sync + 'static {
    /// Takes a piece.
    ///
    /// Dropping the future means that the client has gone.
    fn upload(
        &self,
        requests: Messages<PieceUploadRequest>,
    ) -> impl Future<Output = Result<PieceUploadResponse, Status>> + Send;

    /// Gives a piece.
    ///
    /// Dropping the replies means that the client has gone.
    fn download(
        &self,
        requests: Messages<PieceDownloadRequest>,
    ) -> impl Future<Output = Result<Replies, Status>> + Send;

    /// Takes a satellite's filter of the pieces to keep.
    fn retain(
        &self,
        peer: Option<Peer>,
        request: RetainRequest,
    ) -> impl Future<Output = Result<RetainResponse, Status>> + Send;

    /// Takes a satellite's filter of the pieces to keep, in parts of which the last has the hash of
    /// all.
    fn retain_big(
        &self,
        peer: Option<Peer>,
        parts: Messages<RetainRequest>,
    ) -> impl Future<Output = Result<RetainResponse, Status>> + Send;

    /// Takes a satellite's pieces back out of the trash.
    fn restore_trash(
        &self,
        peer: Option<Peer>,
    ) -> impl Future<Output = Result<RestoreTrashResponse, Status>> + Send;
}

/// Serves [`Pieces`] as `piecestore.Piecestore`. Requests arrive as slices of what the connection
/// received, replies leave from where their data is.
#[derive(Clone, Debug)]
pub struct PieceServer<T>(T);

impl<T: Pieces> PieceServer<T> {
    /// Serves `pieces`.
    pub fn new(pieces: T) -> Self {
        Self(pieces)
    }

    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        let path = request.uri().path().to_owned();
        let peer = request.extensions().get::<Peer>().cloned();
        let body = request.into_body();
        let answer = match path.as_str() {
            UPLOAD => self.0.upload(Messages::of_request(body)).await.map(single),
            DOWNLOAD => self.0.download(Messages::of_request(body)).await.map(|replies| {
                Outgoing::response(replies.map(|reply| reply.map(wire::download_response)))
            }),
            RETAIN => match only(body).await {
                Ok(request) => self.0.retain(peer, request).await.map(single),
                Err(status) => Err(status),
            },
            RETAIN_BIG => self.0.retain_big(peer, Messages::of_request(body)).await.map(single),
            RESTORE_TRASH => match only::<RestoreTrashRequest>(body).await {
                Ok(RestoreTrashRequest {}) => self.0.restore_trash(peer).await.map(single),
                Err(status) => Err(status),
            },
            DELETE | DELETE_PIECES | EXISTS => {
                let text = "storage nodes delete pieces that no satellite retains, and no others";
                Err(Failure::new(status::Code::UNIMPLEMENTED, text).into())
            }
            _ => Err(Status::unimplemented("")),
        };
        match answer {
            Ok(body) => {
                let mut response = http::Response::new(body);
                response.headers_mut().insert(CONTENT_TYPE, GRPC);
                response
            }
            Err(status) => status.into_http(),
        }
    }
}

/// The one message of a request.
async fn only<M: Bounded>(body: Body) -> Result<M, Status> {
    let message = timeout(PROGRESS_DEADLINE, Messages::of_request(body).next()).await;
    let message = message.map_err(|_| Status::deadline_exceeded("no request came"))??;
    message.ok_or_else(|| Status::invalid_argument("no request came"))
}

/// A response of one message.
fn single<M: Message>(reply: M) -> Body {
    Outgoing::response(futures_util::stream::iter([Ok(wire::small(&reply))]))
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
