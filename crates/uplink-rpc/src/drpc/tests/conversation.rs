//! Recorded conversations of the public network's own client, replayed against our server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use prost_types::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::super::server::serve;
use super::{Value, hex, number, read, vectors};
use crate::drpc::frame::Head;
use crate::drpc::{ConnectionError, Kind};
use crate::r#gen::contact::contact_server::{Contact, ContactServer};
use crate::r#gen::contact::node_server::{Node, NodeServer};
use crate::r#gen::contact::{
    CheckInRequest, CheckInResponse, ContactPingRequest, ContactPingResponse, GetTimeRequest,
    GetTimeResponse, PingMeRequest, PingMeResponse,
};
use crate::r#gen::orders::orders_server::{Orders, OrdersServer};
use crate::r#gen::orders::{SettlementRequest, SettlementWithWindowResponse};
use crate::server::Peer;
use crate::status::{Code, Failure};

/// Behaves as the recorded server.
#[derive(Clone)]
struct RecordedServer;

#[tonic::async_trait]
impl Contact for RecordedServer {
    async fn ping_node(
        &self,
        request: Request<ContactPingRequest>,
    ) -> Result<Response<ContactPingResponse>, Status> {
        assert!(request.extensions().get::<Peer>().is_some());
        if let Some(value) = request.metadata().get("experiment") {
            assert_eq!(value, "x");
        }
        Ok(Response::new(ContactPingResponse {}))
    }
}

#[tonic::async_trait]
impl Node for RecordedServer {
    async fn check_in(
        &self,
        request: Request<CheckInRequest>,
    ) -> Result<Response<CheckInResponse>, Status> {
        let address = request.into_inner().address;
        let failure = match address.as_str() {
            "plain" => Failure::new(Code::UNKNOWN, "plain error"),
            _ => Failure::new(Code::PERMISSION_DENIED, format!("go away {address}")),
        };
        Err(failure.into())
    }

    async fn ping_me(&self, _: Request<PingMeRequest>) -> Result<Response<PingMeResponse>, Status> {
        std::future::pending().await
    }

    async fn get_time(
        &self,
        _: Request<GetTimeRequest>,
    ) -> Result<Response<GetTimeResponse>, Status> {
        let timestamp = Some(Timestamp { seconds: 1_700_000_000, nanos: 5 });
        Ok(Response::new(GetTimeResponse { timestamp }))
    }
}

#[tonic::async_trait]
impl Orders for RecordedServer {
    async fn settlement_with_window(
        &self,
        request: Request<Streaming<SettlementRequest>>,
    ) -> Result<Response<SettlementWithWindowResponse>, Status> {
        let mut requests = request.into_inner();
        let mut count = 0;
        while let Some(request) = requests.message().await? {
            assert!(request.order.is_some());
            count += 1;
        }
        let action_settled = [(2, count)].into();
        Ok(Response::new(SettlementWithWindowResponse { status: 0, action_settled }))
    }
}

/// A service that implements none of its methods.
#[derive(Clone)]
struct Unimplemented;

impl tonic::server::NamedService for Unimplemented {
    const NAME: &'static str = "contact.Node";
}

impl tower::Service<http::Request<tonic::body::Body>> for Unimplemented {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<tonic::body::Body>) -> Self::Future {
        std::future::ready(Ok(Status::unimplemented("Unimplemented").into_http()))
    }
}

fn start(routes: Routes) -> (DuplexStream, JoinHandle<Result<(), ConnectionError>>) {
    let (ours, theirs) = duplex(1 << 20);
    let peer = Peer { remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), identity: None };
    (ours, tokio::spawn(serve(theirs, peer, routes, CancellationToken::new())))
}

fn routes() -> Routes {
    Routes::new(ContactServer::new(RecordedServer))
        .add_service(NodeServer::new(RecordedServer))
        .add_service(OrdersServer::new(RecordedServer))
}

/// Replays the client's side and returns the bytes that the server sends. Like the recorded client, it
/// closes a call once it has the response.
async fn replay(routes: Routes, case: &Value) -> Vec<u8> {
    let (mut stream, served) = start(routes);
    let mut bytes = hex(&case["client_bytes"]);
    let mut answer = Vec::new();
    for size in case["client_write_sizes"].as_array().unwrap() {
        let write = bytes.split_to(number(size) as usize);
        if Head::read(&write).unwrap().unwrap().0.kind == Kind::CLOSE {
            let answers = read([&answer[..]]).0.len();
            while read([&answer[..]]).0.len() == answers {
                let read = timeout(Duration::from_secs(10), stream.read_buf(&mut answer)).await;
                assert_ne!(read.expect("a response").unwrap(), 0);
            }
        }
        stream.write_all(&write).await.unwrap();
    }
    assert!(bytes.is_empty());
    let expected = hex(&case["server_bytes"]).len();
    while answer.len() < expected {
        let read = timeout(Duration::from_secs(10), stream.read_buf(&mut answer)).await;
        assert_ne!(read.expect("a response").unwrap(), 0);
    }
    stream.shutdown().await.unwrap();
    stream.read_to_end(&mut answer).await.unwrap();
    served.await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn responses_to_recorded_conversations_match_the_reference() {
    let mut replayed = 0;
    for case in vectors("conversations", 10) {
        let name = case["name"].as_str().unwrap();
        if case["client_bytes"].is_null() {
            continue;
        }
        let routes = match name {
            "unimplemented" => Routes::new(Unimplemented),
            _ => routes(),
        };
        let answer = replay(routes, &case).await;
        let mut expected = hex(&case["server_bytes"]).to_vec();
        if name == "unary" {
            // The recorded server had not yet closed the first call when the client did.
            let first = number(&case["server_write_sizes"][0]) as usize;
            expected.splice(first..first, [0x0d, 1, 2, 0]);
        }
        assert_eq!(hex::encode(answer), hex::encode(expected), "{name}");
        replayed += 1;
    }
    assert_eq!(replayed, 8);
}

/// Replays the two conversations that were too large to record.
#[tokio::test]
async fn message_over_the_limit_ends_the_connection() {
    for (name, length, frames) in [("big-message", 20_000, 3), ("too-big-message", 4 << 20, 529)] {
        let case = vectors("conversations", 10).into_iter().find(|case| case["name"] == name);
        let case = case.expect("the conversation");
        let address = "a".repeat(length);
        let request = CheckInRequest { address: address.clone(), ..CheckInRequest::default() };
        let message = prost::Message::encode_to_vec(&request);
        let mut bytes = vec![3, 1, 1, 21];
        bytes.extend_from_slice(b"/contact.Node/CheckIn");
        let mut sent = 0;
        for piece in message.chunks(7936) {
            let done = sent + piece.len() == message.len();
            bytes.push(4 | u8::from(done));
            bytes.extend_from_slice(&[1, 2]);
            crate::drpc::frame::write_varint(piece.len() as u64, &mut bytes);
            bytes.extend_from_slice(piece);
            sent += piece.len();
        }
        bytes.extend_from_slice(&[0x0d, 1, 3, 0]);
        assert_eq!(message.len().div_ceil(7936), frames, "{name}");

        let (stream, served) = start(routes());
        let (mut reading, mut writing) = tokio::io::split(stream);
        let client = tokio::spawn(async move {
            let written = writing.write_all(&bytes).await;
            if written.is_ok() {
                let _ = writing.flush().await;
            }
            writing
        });
        let mut answer = Vec::new();
        if name == "too-big-message" {
            assert_eq!(case["result"], "failed");
            let error = served.await.unwrap().unwrap_err();
            assert!(error.to_string().contains("the limit is 4194304"), "{error}");
            reading.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"");
            continue;
        }
        assert_eq!(case["client_write_sizes"][0], 20_048);
        let frame = &case["server_frames"][0];
        while read([&answer[..]]).0.is_empty() {
            reading.read_buf(&mut answer).await.unwrap();
        }
        let mut packets = read([&answer[..]]).0;
        let (_, kind, _, data) = packets.pop().expect("one packet");
        assert_eq!((packets.len(), kind.0 as u64), (0, number(&frame["kind"])));
        assert_eq!(data.len() as u64, number(&frame["len"]));
        let text = format!("go away {address}");
        assert_eq!(data, Bytes::from([&7_u64.to_be_bytes()[..], text.as_bytes()].concat()));
        drop((reading, client.await.unwrap()));
        served.await.unwrap().unwrap();
    }
}
