//! The format against the test vectors and in round trips.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::packet::{LIMIT, Packet, Packets};
use super::parts::Parts;
use super::stream::{Call, Calls, Ending, Received, Side};
use super::{Id, Kind, ProtocolError, frame, metadata};

mod body;
mod conversation;

/// Configures `min` cases of a property, or more if `PROPTEST_CASES` is larger.
fn cases(min: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = default.cases.max(min);
    println!("{cases} cases"); // parsed by `cargo xtask soak`
    ProptestConfig { cases, ..default }
}

fn vectors(group: &str, count: usize) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/transport.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = file["drpc"][group].as_array().unwrap().clone();
    assert_eq!(cases.len(), count);
    cases
}

fn hex(value: &Value) -> Bytes {
    hex::decode(value.as_str().unwrap()).unwrap().into()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn id(value: &Value) -> Id {
    Id { stream: number(&value["stream"]), message: number(&value["message"]) }
}

fn kind(value: &Value) -> Kind {
    Kind(number(&value["kind"]) as u8)
}

/// A packet in comparable form.
type Plain = (Id, Kind, bool, Bytes);

/// Reads packets from bytes received in the given pieces, until the end or an error.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Plain>, Result<(), ProtocolError>) {
    let mut packets = Packets::default();
    let mut read = Vec::new();
    for piece in pieces {
        packets.buffer().extend_from_slice(piece);
        loop {
            match packets.take() {
                Ok(Some(packet)) => {
                    let Packet { id, kind, control, data } = packet;
                    read.push((id, kind, control, data.into_bytes()));
                }
                Ok(None) => break,
                Err(error) => return (read, Err(error)),
            }
        }
    }
    (read, Ok(()))
}

#[test]
fn varints_match_the_reference() {
    for case in vectors("varints", 11) {
        let bytes = hex(&case["bytes"]);
        let value = case["value"].as_str().unwrap();
        let value: u64 = value.parse().unwrap();
        assert_eq!(frame::read_varint(&bytes), Ok(Some((value, bytes.len()))));
        let mut written = Vec::new();
        frame::write_varint(value, &mut written);
        assert_eq!(written, bytes);
        for cut in 0..bytes.len() {
            assert_eq!(frame::read_varint(&bytes[..cut]), Ok(None));
        }
    }
    let beyond_64_bits = [0xff; 9].into_iter().chain([0x7f]).collect::<Vec<_>>();
    assert_eq!(frame::read_varint(&beyond_64_bits), Ok(Some((u64::MAX, 10))));
    assert_eq!(frame::read_varint(&[0x80; 10]), Err(ProtocolError::VarintTooLong));
    assert_eq!(frame::read_varint(&[0x80; 9]), Ok(None));
}

#[test]
fn frames_match_the_reference() {
    for case in vectors("frames", 8) {
        let bytes = hex(&case["bytes"]);
        let data = hex(&case["data"]);
        let (head, size) = frame::Head::read(&bytes).unwrap().unwrap();
        assert_eq!((head.id, head.kind), (id(&case), kind(&case)));
        assert_eq!((head.control, head.done), (case["control"] == true, case["done"] == true));
        assert_eq!(head.length, data.len() as u64);
        assert_eq!(bytes[size..], data);
        let mut written = Vec::new();
        head.write(&mut written);
        assert_eq!(written, bytes[..size]);
        for cut in 0..size {
            assert_eq!(frame::Head::read(&bytes[..cut]), Ok(None));
        }
        if head.control == (head.kind == Kind::CANCEL) {
            let mut parts = Parts::default();
            frame::write(head.kind, head.id, head.done, data.into(), &mut parts);
            assert_eq!(parts.into_bytes(), bytes);
        }
    }
}

#[test]
fn packet_assembly_matches_the_reference() {
    for case in vectors("reader", 10) {
        let name = case["name"].as_str().unwrap();
        let bytes = hex(&case["bytes"]);
        let expected: Vec<Plain> = case["packets"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|packet| {
                (id(packet), kind(packet), packet["control"] == true, hex(&packet["data"]))
            })
            .collect();
        for size in 1..=bytes.len() {
            let (packets, end) = read(bytes.chunks(size));
            assert_eq!(packets, expected, "{name}");
            let Err(error) = end else {
                assert!(case["error"].is_null(), "{name}");
                continue;
            };
            let text = case["error"].as_str().unwrap_or_else(|| panic!("{name}: {error}"));
            let same = match error {
                ProtocolError::IdGoesBack { .. } => text.contains("monotonicity"),
                ProtocolError::KindChange { .. } => text.contains("kind change"),
                ProtocolError::VarintTooLong => text.contains("varint too long"),
                _ => false,
            };
            assert!(same, "{name}: {error}");
        }
    }
}

#[test]
fn metadata_matches_the_reference() {
    for case in vectors("metadata_single_pair", 5) {
        let bytes = hex(&case["bytes"]);
        let text = |name: &str| case[name].as_str().unwrap().as_bytes().to_vec();
        let key = text("key");
        let value = text("value");
        assert_eq!(metadata::read(&bytes), Ok(vec![(&key[..], &value[..])]));
        assert_eq!(metadata::write([(&key[..], &value[..])]), bytes);
        for cut in 1..bytes.len() {
            assert_eq!(metadata::read(&bytes[..cut]), Err(ProtocolError::Metadata));
        }
        let twice = [&bytes[..], &bytes[..]].concat();
        assert_eq!(metadata::read(&twice).unwrap().len(), 2);
    }
}

#[test]
fn failures_match_the_reference() {
    use crate::status::{Code, Failure, from_drpc, to_drpc};
    for case in vectors("errors", 4) {
        let bytes = hex(&case["bytes"]);
        let message = case["message"].as_str().unwrap();
        let failure = Failure::new(Code(number(&case["code"])), message);
        assert_eq!(from_drpc(&bytes), failure);
        assert_eq!(to_drpc(&failure.into()), bytes);
    }
    assert_eq!(from_drpc(b"short"), Failure::new(Code::UNKNOWN, "short"));
    assert_eq!(from_drpc(&[0, 0, 0, 0, 0, 0, 0, 1, b'x']), Failure::new(Code::UNKNOWN, "x"));
}

#[test]
fn packet_at_the_limit_is_read_and_one_byte_more_rejected() {
    let packet = |length: usize| {
        let mut parts = Parts::default();
        let id = Id { stream: 1, message: 2 };
        frame::write_packet(Kind::MESSAGE, id, vec![7; length].into(), &mut parts);
        parts.into_bytes()
    };
    let (packets, end) = read(packet(LIMIT).chunks(100_000));
    assert_eq!((packets.len(), packets[0].3.len(), end), (1, LIMIT, Ok(())));
    let (packets, end) = read(packet(LIMIT + 1).chunks(100_000));
    assert_eq!(packets, []);
    assert!(matches!(end, Err(ProtocolError::TooLong { .. })), "{end:?}");
    // A frame that announces too much data is rejected before its data.
    let mut head = Vec::new();
    let id = Id { stream: 1, message: 1 };
    let length = u64::MAX;
    frame::Head { kind: Kind::MESSAGE, control: false, done: true, id, length }.write(&mut head);
    assert_eq!(read([&head[..]]).1, Err(ProtocolError::TooLong { id, length }));
}

#[test]
fn frame_received_whole_is_one_part() {
    let mut parts = Parts::default();
    let payload = Bytes::from(vec![3; 65_000]);
    frame::write(
        Kind::MESSAGE,
        Id { stream: 1, message: 1 },
        true,
        payload.clone().into(),
        &mut parts,
    );
    assert_eq!(parts.pop().unwrap().len(), 6, "the head");
    assert_eq!(parts.pop().unwrap().as_ptr(), payload.as_ptr());

    frame::write(Kind::MESSAGE, Id { stream: 1, message: 1 }, true, payload.into(), &mut parts);
    let mut packets = Packets::default();
    for piece in parts.into_bytes().chunks(1000) {
        packets.buffer().extend_from_slice(piece);
        if let Some(mut packet) = packets.take().unwrap() {
            assert_eq!(packet.data.pop().unwrap().len(), 65_000);
            return;
        }
    }
    panic!("no packet");
}

#[test]
fn smallest_frames_are_joined_to_few_parts() {
    let mut parts = Parts::default();
    for _ in 0..100_000 {
        parts.push(Bytes::from_static(b"x"));
    }
    let mut pieces = 0;
    while let Some(part) = parts.pop() {
        assert!(part.len() > 1000 || parts.is_empty());
        pieces += 1;
    }
    assert!(pieces <= 10, "{pieces}");
}

fn packet(stream: u64, message: u64, kind: Kind, data: &'static [u8]) -> Packet {
    let data = Bytes::from_static(data).into();
    Packet { id: Id { stream, message }, kind, control: kind == Kind::CANCEL, data }
}

#[test]
fn call_ends_when_both_sides_have_closed() {
    for side in [Side::Client, Side::Server] {
        let mut call = Call::new(side, 3);
        assert_eq!(call.send(Kind::MESSAGE), Some(Id { stream: 3, message: 1 }));
        let received = call.receive(packet(3, 1, Kind::MESSAGE, b"m")).unwrap();
        assert!(matches!(received, Received::Message(data) if data.len() == 1));
        assert!(matches!(call.receive(packet(3, 2, Kind::CLOSE_SEND, b"")), Ok(Received::End)));
        let late = call.receive(packet(3, 3, Kind::MESSAGE, b"late"));
        assert!(matches!(late, Ok(Received::Ignored)));
        assert!(!call.is_over());
        assert_eq!(call.send(Kind::CLOSE_SEND), Some(Id { stream: 3, message: 2 }));
        assert!(call.is_over());
        for kind in [Kind::MESSAGE, Kind::CLOSE_SEND, Kind::CLOSE, Kind::CANCEL, Kind::ERROR] {
            assert_eq!(call.send(kind), None, "{kind:?}");
        }
    }
}

#[test]
fn error_cancel_and_close_end_a_call_at_once() {
    for kind in [Kind::ERROR, Kind::CANCEL, Kind::CLOSE] {
        let mut call = Call::new(Side::Client, 1);
        call.send(Kind::CLOSE_SEND).unwrap();
        assert!(call.send(kind).is_some(), "{kind:?} after our CloseSend");
        assert!(call.is_over());

        let mut call = Call::new(Side::Server, 1);
        let received = call.receive(packet(1, 5, kind, b"why")).unwrap();
        let right = match received {
            Received::Over(Ending::Failed(data)) => kind == Kind::ERROR && data == "why",
            Received::Over(Ending::Canceled) => kind == Kind::CANCEL,
            Received::Over(Ending::Closed) => kind == Kind::CLOSE,
            _ => false,
        };
        assert!(right, "{kind:?}");
        assert_eq!(call.send(Kind::MESSAGE), None);
        let late = call.receive(packet(1, 6, Kind::MESSAGE, b""));
        assert!(matches!(late, Ok(Received::Ignored)));
    }
}

#[test]
fn next_call_ends_the_previous_one_whose_packets_are_ignored() {
    for kind in [Kind::INVOKE, Kind::INVOKE_METADATA] {
        let mut call = Call::new(Side::Server, 2);
        let earlier = call.receive(packet(1, 9, Kind::MESSAGE, b""));
        assert!(matches!(earlier, Ok(Received::Ignored)));
        let next = call.receive(packet(3, 1, kind, b"")).unwrap();
        assert!(matches!(next, Received::Next(packet) if packet.kind == kind));
        assert!(call.is_over());
    }
}

#[test]
fn unknown_kinds_are_fatal_without_the_control_bit() {
    for kind in [0, 8, 63] {
        let unknown = |control| Packet { control, ..packet(1, 2, Kind(kind), b"") };
        for side in [Side::Client, Side::Server] {
            let mut call = Call::new(side, 1);
            assert!(matches!(call.receive(unknown(true)), Ok(Received::Ignored)));
            let error = call.receive(unknown(false)).unwrap_err();
            assert_eq!(error, ProtocolError::UnknownKind { kind });
        }
        assert!(Calls::default().receive(unknown(true)).unwrap().is_none());
        assert!(Calls::default().receive(unknown(false)).is_err());
    }
}

#[test]
fn calls_out_of_order_are_fatal() {
    let mut call = Call::new(Side::Server, 1);
    let twice = call.receive(packet(1, 2, Kind::INVOKE, b"/a/b")).unwrap_err();
    assert_eq!(twice, ProtocolError::InvokedTwice { stream: 1 });
    let no_call = call.receive(packet(2, 1, Kind::MESSAGE, b"")).unwrap_err();
    assert_eq!(no_call, ProtocolError::NoCall { stream: 2 });
    let no_call = Calls::default().receive(packet(1, 1, Kind::MESSAGE, b"")).unwrap_err();
    assert_eq!(no_call, ProtocolError::NoCall { stream: 1 });
    let call_by_server = Call::new(Side::Client, 1).receive(packet(1, 1, Kind::INVOKE, b""));
    assert_eq!(call_by_server.unwrap_err(), ProtocolError::UnknownKind { kind: 1 });
    let mut calls = Calls::default();
    assert!(calls.receive(packet(1, 1, Kind::CANCEL, b"")).unwrap().is_none());
}

#[test]
fn metadata_of_too_many_pairs_is_rejected() {
    let pairs = |count| metadata::write(std::iter::repeat_n((&b"k"[..], &b"v"[..]), count));
    let max = metadata::MAX_PAIRS;
    assert_eq!(metadata::read(&pairs(max)).map(|pairs| pairs.len()), Ok(max));
    assert_eq!(metadata::read(&pairs(max + 1)), Err(ProtocolError::Metadata));
}

#[test]
fn metadata_applies_only_to_the_call_on_its_stream() {
    let pair = b"\x0a\x06\x0a\x01a\x12\x01b";
    let mut calls = Calls::default();
    assert!(calls.receive(packet(1, 1, Kind::INVOKE_METADATA, pair)).unwrap().is_none());
    let start = calls.receive(packet(1, 2, Kind::INVOKE, b"/a/b")).unwrap().unwrap();
    assert_eq!((start.stream, &start.path[..], &start.metadata[..]), (1, &b"/a/b"[..], &pair[..]));
    assert!(calls.receive(packet(2, 1, Kind::INVOKE_METADATA, pair)).unwrap().is_none());
    let start = calls.receive(packet(3, 1, Kind::INVOKE, b"/a/b")).unwrap().unwrap();
    assert!(start.metadata.is_empty());
    let unreadable = calls.receive(packet(4, 1, Kind::INVOKE_METADATA, b"x")).unwrap_err();
    assert_eq!(unreadable, ProtocolError::Metadata);
}

/// Generates packets in a valid order, with the frame size of each.
fn packets() -> impl Strategy<Value = Vec<(Plain, usize)>> {
    let one = (0_u64..3, 1_u64..300, 1_u8..8, vec(any::<u8>(), 0..3000), 1_usize..2000);
    vec(one, 0..12).prop_map(|steps| {
        let mut last = Id { stream: 1, message: 0 };
        steps
            .into_iter()
            .map(|(streams, messages, kind, data, size)| {
                last = match streams {
                    0 => Id { message: last.message + messages, ..last },
                    _ => Id { stream: last.stream + streams, message: messages },
                };
                let kind = Kind(kind);
                ((last, kind, kind == Kind::CANCEL, data.into()), size)
            })
            .collect()
    })
}

fn written(packets: &[(Plain, usize)]) -> BytesMut {
    let mut parts = Parts::default();
    for ((id, kind, _, data), size) in packets {
        let mut data = data.clone();
        while data.len() > *size {
            frame::write(*kind, *id, false, data.split_to(*size).into(), &mut parts);
        }
        frame::write(*kind, *id, true, data.into(), &mut parts);
    }
    BytesMut::from(parts.into_bytes())
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn packets_split_anywhere_are_read_whole(
        packets in packets(),
        cuts in vec(1_usize..5000, 1..20),
    ) {
        let bytes = written(&packets);
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let (read, end) = read(pieces);
        prop_assert_eq!(end, Ok(()));
        let sent: Vec<Plain> = packets.into_iter().map(|(packet, _)| packet).collect();
        prop_assert_eq!(read, sent);
    }

    #[test]
    fn arbitrary_bytes_are_packets_or_an_error(
        mut bytes in vec(any::<u8>(), 0..600),
        packets in packets(),
        index in any::<proptest::sample::Index>(),
    ) {
        // Alone, and in place of the end of valid packets.
        let valid = written(&packets);
        let index = index.index(valid.len() + 1);
        let corrupt = [&valid[..index], &bytes[..]].concat();
        for bytes in [std::mem::take(&mut bytes), corrupt] {
            let (whole, end) = read([&bytes[..]]);
            let (piecemeal, same) = read(bytes.chunks(1));
            prop_assert_eq!(&whole, &piecemeal);
            prop_assert_eq!(end, same);
            for side in [Side::Client, Side::Server] {
                let mut call = Call::new(side, 1);
                let mut calls = Calls::default();
                for (id, kind, control, data) in &whole {
                    let packet = || Packet {
                        id: *id, kind: *kind, control: *control, data: data.clone().into(),
                    };
                    let _ = call.receive(packet());
                    let _ = calls.receive(packet());
                }
            }
        }
    }

    #[test]
    fn arbitrary_metadata_round_trips(
        pairs in vec((vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..200)), 0..8),
        noise in vec(any::<u8>(), 0..50),
    ) {
        let bytes = metadata::write(pairs.iter().map(|(key, value)| (&key[..], &value[..])));
        let read = metadata::read(&bytes).unwrap();
        prop_assert_eq!(read.len(), pairs.len());
        for ((key, value), read) in pairs.iter().zip(read) {
            prop_assert_eq!((&key[..], &value[..]), read);
        }
        let _ = metadata::read(&noise);
    }
}
