//! The metadata service of the proxy: handles every method, with raw encoded messages.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};

use super::codec::BytesCodec;
use super::{Call, Shared};

/// Name of the metadata service.
pub(super) const NAME: &str = "metainfo.Metainfo";

#[derive(Clone)]
pub(super) struct Service(pub(super) Arc<Shared>);

impl NamedService for Service {
    const NAME: &'static str = NAME;
}

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let unary = Unary { shared: Arc::clone(&self.0), method };
        Box::pin(async move { Ok(Grpc::new(BytesCodec).unary(unary, request).await) })
    }
}

/// A unary call.
struct Unary {
    shared: Arc<Shared>,
    method: String,
}

impl UnaryService<Bytes> for Unary {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let call = Call::new(self.method.clone(), request.into_inner());
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.answer(call).await.map(Response::new).map_err(Status::from) })
    }
}
