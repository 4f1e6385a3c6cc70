//! The service of a storage node that moves pieces, without copying them.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt;
use http::header::CONTENT_TYPE;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;

use super::stream::{GRPC, Messages, Outgoing};
use super::{DOWNLOAD, UPLOAD, wire};
use crate::r#gen::piecestore::{
    PieceDownloadRequest, PieceDownloadResponse, PieceUploadRequest, PieceUploadResponse,
};

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
        let body = request.into_body();
        let answer = match path.as_str() {
            UPLOAD => self.0.upload(Messages::of_request(body)).await.map(|reply| {
                let reply = Ok(wire::small(&reply));
                Outgoing::response(futures_util::stream::iter([reply]))
            }),
            DOWNLOAD => self.0.download(Messages::of_request(body)).await.map(|replies| {
                Outgoing::response(replies.map(|reply| reply.map(wire::download_response)))
            }),
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
