use bytes::Bytes;
use uplink_rpc::drpc::frame::{self, Head, read_varint, write_varint};
use uplink_rpc::drpc::packet::{LIMIT, Packets};
use uplink_rpc::drpc::parts::Parts;
use uplink_rpc::drpc::{Id, Kind, ProtocolError, metadata};

/// Uses the input as bytes received at once and in parts, and as a varint, a frame head and
/// metadata.
pub fn drpc_frames(data: &[u8]) {
    let (whole, end) = read(data, data.len().max(1));
    for size in [1, 7] {
        assert_eq!(read(data, size), (whole.clone(), end.clone()));
    }
    let mut last = Id { stream: 1, message: 0 };
    let mut written = Parts::default();
    for (id, kind, control, data) in &whole {
        assert!(*id > last && data.len() <= LIMIT);
        last = *id;
        // CANCEL is the only kind that is sent with the control bit.
        if *control == (*kind == Kind::CANCEL) {
            frame::write_packet(*kind, *id, data.clone(), &mut written);
        }
    }
    let sent: Vec<_> =
        whole.into_iter().filter(|packet| packet.2 == (packet.1 == Kind::CANCEL)).collect();
    assert_eq!(read(&written.into_bytes(), 1000), (sent, Ok(())));
    assert_varint_and_head(data);
    if let Ok(pairs) = metadata::read(data) {
        let written = metadata::write(pairs.iter().copied());
        assert_eq!(metadata::read(&written), Ok(pairs));
    }
}

type PlainPacket = (Id, Kind, bool, Bytes);

fn read(data: &[u8], size: usize) -> (Vec<PlainPacket>, Result<(), ProtocolError>) {
    let mut packets = Packets::default();
    let mut read = Vec::new();
    for part in data.chunks(size) {
        packets.buffer().extend_from_slice(part);
        loop {
            match packets.take() {
                Ok(Some(it)) => read.push((it.id, it.kind, it.control, it.data.into_bytes())),
                Ok(None) => break,
                Err(error) => return (read, Err(error)),
            }
        }
    }
    (read, Ok(()))
}

fn assert_varint_and_head(data: &[u8]) {
    if let Ok(Some((number, size))) = read_varint(data) {
        let mut written = Vec::new();
        write_varint(number, &mut written);
        assert!(written.len() <= size, "the shortest form");
        assert_eq!(read_varint(&written), Ok(Some((number, written.len()))));
    }
    if let Ok(Some((head, size))) = Head::read(data) {
        assert!(size <= data.len());
        let mut written = Vec::new();
        head.write(&mut written);
        assert_eq!(Head::read(&written), Ok(Some((head, written.len()))));
    }
}
