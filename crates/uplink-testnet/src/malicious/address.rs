//! Rewrites storage node addresses in forged responses so that none leaves this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;

use super::wire::replace_at;

/// Replacement for the address of another machine. Nothing listens there.
const UNREACHABLE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 255, 255, 254)), 1);

/// Locations of storage node addresses in responses: the method, its field number within a batch,
/// and the path of field numbers from its response to an address.
const ADDRESS_PATHS: [(&str, u32, &[u32]); 5] = [
    ("BeginSegment", 12, &[2, 2, 2]),
    ("BeginDeleteSegment", 15, &[2, 2, 2]),
    ("DownloadSegment", 18, &[2, 2, 2]),
    ("DownloadObject", 23, &[3, 2, 2, 2]),
    ("RetryBeginSegmentPieces", 40, &[2, 2, 2]),
];

/// Replaces every dialable address outside the loopback interface, so that no test makes a client
/// connect to another machine.
pub(super) fn confine(method: &str, answer: Bytes) -> Bytes {
    let mut confined = answer;
    for (name, item, path) in ADDRESS_PATHS {
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

/// Returns a replacement if the address leads to another machine or needs a DNS lookup.
fn local(address: &[u8]) -> Option<Bytes> {
    let text = std::str::from_utf8(address).ok()?;
    let is_local = match text.parse::<SocketAddr>() {
        Ok(address) => matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback()),
        // A name without a port is never looked up.
        Err(_) => text.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()),
    };
    (!is_local).then(|| Bytes::from(UNREACHABLE.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Field, encode};
    use super::*;

    /// Returns a response to `DownloadObject` with one address.
    fn answer(address: &str) -> Bytes {
        let address = encode(&[Field::bytes(2, address.to_owned())]);
        let limit = encode(&[Field::bytes(1, "limit"), Field::bytes(2, address)]);
        let segment = encode(&[Field::bytes(1, "segment"), Field::bytes(2, limit)]);
        encode(&[Field::bytes(1, "object"), Field::bytes(3, segment)])
    }

    #[test]
    fn foreign_addresses_are_replaced_alone_and_in_a_batch() {
        for foreign in
            ["10.0.0.1:7777", "node.example:80", "localhost:1", "[::1]:5", "0.0.0.0:9", ":80"]
        {
            let confined = confine("DownloadObject", answer(foreign));
            assert_eq!(confined, answer(&UNREACHABLE.to_string()), "{foreign}");
            let batch = |answer| encode(&[Field::bytes(1, encode(&[Field::bytes(23, answer)]))]);
            let confined = confine("Batch", batch(answer(foreign)));
            assert_eq!(confined, batch(answer(&UNREACHABLE.to_string())), "{foreign}");
        }
    }

    #[test]
    fn loopback_and_undialable_addresses_are_unchanged() {
        let long = format!("127.0.0.1:{}", "9".repeat(300_000));
        for kept in ["127.0.0.1:7777", "127.9.8.7:1", "", "x", "name:port", "a:70000", &long] {
            assert_eq!(confine("DownloadObject", answer(kept)), answer(kept));
        }
        let broken = Bytes::from_static(b"\xFF\xFF");
        assert_eq!(confine("DownloadObject", broken.clone()), broken);
    }
}
