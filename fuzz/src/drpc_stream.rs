use uplink_rpc::drpc::packet::Packets;
use uplink_rpc::drpc::stream::{Call, Calls, Received, Side};
use uplink_rpc::drpc::{Kind, metadata};

use super::input::Input;

/// Input: our side, the kinds that we send after each received packet, and the bytes of the peer.
pub fn drpc_stream(data: &[u8]) {
    let mut input = Input::new(data);
    let side = if input.byte() & 1 == 0 { Side::Client } else { Side::Server };
    let mut sends = input.sized().iter().map(|kind| Kind(*kind));
    let mut packets = Packets::default();
    packets.buffer().extend_from_slice(input.rest());
    let mut calls = Calls::default();
    let mut call = Call::new(Side::Client, 1);
    let mut sent = 0;
    let mut in_call = side == Side::Client;
    while let Ok(Some(mut packet)) = packets.take() {
        if in_call {
            let over = call.is_over();
            let Ok(received) = call.receive(packet) else { return };
            match received {
                Received::Over(_) => assert!(call.is_over()),
                Received::Message(_) | Received::End => assert!(!over),
                Received::Ignored => assert_eq!(call.is_over(), over),
                Received::Next(next) => {
                    assert!(side == Side::Server && call.is_over());
                    packet = next;
                    in_call = begin(&mut calls, packet, &mut call, &mut sent);
                }
            }
        } else {
            in_call = begin(&mut calls, packet, &mut call, &mut sent);
        }
        for kind in sends.by_ref().take(2) {
            let over = call.is_over();
            if let Some(id) = call.send(kind) {
                assert!(!over && id.message == sent + 1);
                sent = id.message;
            }
            let ends = matches!(kind, Kind::ERROR | Kind::CANCEL | Kind::CLOSE);
            assert!(!ends || call.is_over());
        }
    }
}

/// Starts a call if the packet begins one. Returns whether it does.
fn begin(
    calls: &mut Calls,
    packet: uplink_rpc::drpc::packet::Packet,
    call: &mut Call,
    sent: &mut u64,
) -> bool {
    let id = packet.id;
    let Ok(Some(start)) = calls.receive(packet) else { return false };
    assert_eq!(start.stream, id.stream);
    assert!(metadata::read(&start.metadata).is_ok());
    *call = Call::new(Side::Server, start.stream);
    *sent = 0;
    true
}
