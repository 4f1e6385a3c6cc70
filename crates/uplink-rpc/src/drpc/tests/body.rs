//! gRPC streams to packets and back.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::task::noop_waker_ref;
use http::HeaderMap;
use http_body::Body as _;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::body::{Packer, message_channel};
use super::super::frame;
use super::super::parts::Parts;
use super::super::stream::{Call, Side};
use super::{Kind, LIMIT, cases, read};

/// Encodes messages as a gRPC stream.
fn stream(messages: &[Bytes]) -> Bytes {
    let mut stream = BytesMut::new();
    for message in messages {
        stream.extend_from_slice(&[0]);
        stream.extend_from_slice(&(message.len() as u32).to_be_bytes());
        stream.extend_from_slice(message);
    }
    stream.freeze()
}

fn pack(parts: impl IntoIterator<Item = Bytes>) -> Result<Parts, tonic::Status> {
    let mut call = Call::new(Side::Client, 1);
    let mut packer = Packer::default();
    let mut packed = Parts::default();
    for part in parts {
        packer.push(part, &mut call, &mut packed)?;
    }
    packer.finish()?;
    Ok(packed)
}

fn messages_of(packed: Parts) -> Vec<Bytes> {
    let (packets, end) = read([&packed.into_bytes()[..]]);
    assert_eq!(end, Ok(()));
    packets
        .into_iter()
        .enumerate()
        .map(|(index, (id, kind, _, data))| {
            assert_eq!((id.message, kind), (index as u64 + 1, Kind::MESSAGE));
            data
        })
        .collect()
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn stream_split_anywhere_becomes_its_messages(
        sizes in vec(prop_oneof![0_usize..20, 0_usize..2000, 60_000..150_000_usize], 0..6),
        cuts in vec(prop_oneof![1_usize..10, 1_usize..100_000], 1..10),
    ) {
        let messages: Vec<Bytes> =
            sizes.into_iter().map(|size| (0..size).map(|i| (i * 11) as u8).collect()).collect();
        let mut rest = stream(&messages);
        let mut parts = Vec::new();
        for cut in cuts.iter().cycle() {
            parts.push(rest.split_to((*cut).min(rest.len())));
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(messages_of(pack(parts).unwrap()), messages);
    }
}

#[test]
fn payload_is_sent_without_a_copy() {
    let payload = Bytes::from(vec![9; 64 << 10]);
    let length = (payload.len() as u32 + 30).to_be_bytes();
    let head = [&[0][..], &length, &[1; 20]].concat();
    let tail = Bytes::from_static(&[2; 10]);
    let mut packed = pack([head.into(), payload.clone(), tail]).unwrap();
    let mut found = false;
    let mut bytes = 0;
    while let Some(part) = packed.pop() {
        found |= part.as_ptr() == payload.as_ptr() && part.len() == payload.len();
        bytes += part.len();
    }
    assert!(found);
    assert_eq!(bytes, 6 + 20 + payload.len() + 10, "one frame");
}

#[test]
fn frames_are_at_most_the_frame_size() {
    let packed = pack([stream(&[vec![1; LIMIT].into()])]).unwrap().into_bytes();
    let mut rest = &packed[..];
    let mut frames = 0;
    while !rest.is_empty() {
        let (head, size) = frame::Head::read(rest).unwrap().unwrap();
        assert!(head.length as usize <= frame::SIZE);
        rest.advance(size + head.length as usize);
        frames += 1;
    }
    assert_eq!(frames, LIMIT.div_ceil(frame::SIZE));
}

#[test]
fn messages_unsupported_by_drpc_are_rejected() {
    let long = [&[0][..], &(LIMIT as u32 + 1).to_be_bytes()].concat();
    for (bytes, code) in [
        (long, tonic::Code::OutOfRange),
        (vec![1, 0, 0, 0, 0], tonic::Code::Internal),
        (vec![0, 0, 0], tonic::Code::Internal),
        (vec![0, 0, 0, 0, 2, 7], tonic::Code::Internal),
    ] {
        assert_eq!(pack([bytes.into()]).unwrap_err().code(), code);
    }
}

#[test]
fn nothing_is_sent_after_our_side_is_closed() {
    let mut call = Call::new(Side::Server, 1);
    let mut packer = Packer::default();
    call.send(Kind::CLOSE).unwrap();
    let mut packed = Parts::default();
    packer.push(stream(&[Bytes::from_static(b"late")]), &mut call, &mut packed).unwrap();
    assert!(packed.is_empty());
}

#[tokio::test]
async fn received_messages_form_a_grpc_stream_with_trailers() {
    let (mut sender, mut body) = message_channel();
    let sent = [Bytes::from_static(b"abc"), Bytes::new(), Bytes::from(vec![4; 70_000])];
    for message in &sent {
        assert!(poll_fn(|context| sender.poll_ready(context)).await);
        sender.send(message.clone().into());
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    sender.finish(Ok(Some(trailers.clone())));
    let mut received = BytesMut::new();
    let last = loop {
        let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.unwrap();
        match frame.unwrap().into_data() {
            Ok(data) => received.extend_from_slice(&data),
            Err(frame) => break frame.into_trailers().unwrap(),
        }
    };
    assert_eq!((received.freeze(), last), (stream(&sent), trailers));
    assert!(poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.is_none());
}

#[tokio::test]
async fn dropped_side_of_a_message_channel_is_noticed_by_the_other() {
    let (sender, mut body) = message_channel();
    drop(sender);
    let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
    let error = frame.unwrap().unwrap_err();
    let status = error.downcast_ref::<tonic::Status>().unwrap();
    assert_eq!(status.code(), tonic::Code::Cancelled);

    let (mut sender, body) = message_channel();
    let context = &mut Context::from_waker(noop_waker_ref());
    assert_eq!(sender.poll_closed(context), Poll::Pending);
    drop(body);
    assert_eq!(sender.poll_closed(context), Poll::Ready(()));
    assert_eq!(sender.poll_ready(context), Poll::Ready(false));
}

#[tokio::test]
async fn stalled_reader_exerts_backpressure() {
    let (mut sender, _body) = message_channel();
    let context = &mut Context::from_waker(noop_waker_ref());
    let mut taken = 0;
    while sender.poll_ready(context).is_ready() {
        sender.send(Bytes::from_static(b"m").into());
        taken += 1;
    }
    assert!((1..10).contains(&taken), "{taken}");
}
