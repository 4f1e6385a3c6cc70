//! Addresses of storage nodes in a lie: none leads out of this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;

use super::wire::replace_at;

/// What stands for an address of another machine: nothing listens there.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 255, 255, 254)), 1);

/// Where answers hold addresses of storage nodes: the call, its number within a batch, and the
/// numbers of the fields that lead from its answer to an address.
const PLACES: [(&str, u32, &[u32]); 5] = [
    ("BeginSegment", 12, &[2, 2, 2]),
    ("BeginDeleteSegment", 15, &[2, 2, 2]),
    ("DownloadSegment", 18, &[2, 2, 2]),
    ("DownloadObject", 23, &[3, 2, 2, 2]),
    ("RetryBeginSegmentPieces", 40, &[2, 2, 2]),
];

/// Replaces every address in an answer that a client could dial and that is not on the loopback
/// interface, so that no lie of a test makes a client call another machine.
pub(super) fn confine(method: &str, answer: Bytes) -> Bytes {
    let mut confined = answer;
    for (name, item, path) in PLACES {
        let path: Vec<u32> = match method {
            "Batch" => [&[1, item], path].concat(),
            other if other == name => path.to_vec(),
            _ => continue,
        };
        if let Some(other) = replace_at(&confined, &path, &local) {
            confined = other;
        }
    }
    confined
}

/// Another address, if this one leads to another machine or asks a name server.
fn local(address: &[u8]) -> Option<Bytes> {
    let text = std::str::from_utf8(address).ok()?;
    let stays = match text.parse::<SocketAddr>() {
        Ok(address) => matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback()),
        // Without a port nothing looks a name up.
        Err(_) => text.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()),
    };
    (!stays).then(|| Bytes::from(NOWHERE.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Field, encode};
    use super::*;

    /// An answer to `DownloadObject` with one address.
    fn answer(address: &str) -> Bytes {
        let address = encode(&[Field::bytes(2, address.to_owned())]);
        let limit = encode(&[Field::bytes(1, "limit"), Field::bytes(2, address)]);
        let segment = encode(&[Field::bytes(1, "segment"), Field::bytes(2, limit)]);
        encode(&[Field::bytes(1, "object"), Field::bytes(3, segment)])
    }

    #[test]
    fn addresses_of_other_machines_are_replaced_alone_and_in_a_batch() {
        for foreign in
            ["10.0.0.1:7777", "node.example:80", "localhost:1", "[::1]:5", "0.0.0.0:9", ":80"]
        {
            let confined = confine("DownloadObject", answer(foreign));
            assert_eq!(confined, answer(&NOWHERE.to_string()), "{foreign}");
            let batch = |answer| encode(&[Field::bytes(1, encode(&[Field::bytes(23, answer)]))]);
            let confined = confine("Batch", batch(answer(foreign)));
            assert_eq!(confined, batch(answer(&NOWHERE.to_string())), "{foreign}");
        }
    }

    #[test]
    fn local_addresses_and_those_that_cannot_be_dialled_stay() {
        let long = format!("127.0.0.1:{}", "9".repeat(300_000));
        for kept in ["127.0.0.1:7777", "127.9.8.7:1", "", "x", "name:port", "a:70000", &long] {
            assert_eq!(confine("DownloadObject", answer(kept)), answer(kept));
        }
        let broken = Bytes::from_static(b"\xFF\xFF");
        assert_eq!(confine("DownloadObject", broken.clone()), broken);
    }
}
