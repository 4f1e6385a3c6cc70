//! Every message re-encodes to an equal message.

use std::collections::BTreeMap;

use super::recording::{SETS, Side, scenarios};

/// Number of messages in a set.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Complete messages, and batches inside other batches.
    whole: usize,
    /// Messages whose piece data was removed.
    cut: usize,
    /// Batches inside compressed ones.
    inner: usize,
}

#[test]
fn every_message_reencodes_to_an_equal_message() {
    let mut differing = BTreeMap::new();
    let counts = SETS.map(|set| {
        let mut counts = Counts::default();
        let all = scenarios(set);
        for message in
            all.iter().flat_map(|scenario| &scenario.calls).flat_map(|call| &call.messages)
        {
            let read = message.read();
            match message.cut {
                None => counts.whole += 1,
                Some(_) => counts.cut += 1,
            }
            counts.inner += usize::from(read.inner.is_some());
            let outer = (message.wire.clone(), read.encoded);
            for (wire, encoded) in [outer].into_iter().chain(read.inner) {
                if wire != encoded {
                    assert!(differ_by_empty_fields(&wire, &encoded), "{} {:?}", message.rpc, wire);
                    *differing.entry((set, name(message.rpc, message.side))).or_insert(0) += 1;
                }
            }
        }
        counts
    });
    assert_eq!(
        counts,
        [
            Counts { whole: 511, cut: 469, inner: 0 },
            Counts { whole: 79, cut: 46, inner: 31 },
            Counts { whole: 55, cut: 48, inner: 0 },
        ]
    );
    // The reference encodes empty `bytes` fields, which Protocol Buffers omits.
    let expected = [
        ("plain", "Batch response", 1),
        ("plain", "BeginDeleteObject request", 6),
        ("plain", "DownloadObject response", 8),
        ("compressed", "BeginDeleteObject request", 1),
        ("compressed", "CompressedBatch response", 1),
        ("noise", "BeginDeleteObject request", 1),
        ("noise", "DownloadObject response", 1),
    ];
    let expected = expected.map(|(set, name, count)| ((set, name.to_owned()), count));
    assert_eq!(differing, BTreeMap::from(expected));
}

fn name(rpc: &str, side: Side) -> String {
    let call = rpc.rsplit('/').next().unwrap_or(rpc);
    let kind = if side == Side::Client { "request" } else { "response" };
    format!("{call} {kind}")
}

/// Returns whether `left` differs from `right` only in empty fields that `right` omits.
fn differ_by_empty_fields(left: &[u8], right: &[u8]) -> bool {
    let (Some(left), Some(right)) = (fields(left), fields(right)) else { return false };
    let mut right = right.into_iter().peekable();
    for field in left {
        match right.next_if(|other| other.number == field.number && other.kind == field.kind) {
            Some(other) if other.value == field.value => {}
            Some(other) if differ_by_empty_fields(field.value, other.value) => {}
            None if field.kind == LENGTH_DELIMITED && field.value.is_empty() => {}
            _ => return false,
        }
    }
    right.next().is_none()
}

const LENGTH_DELIMITED: u64 = 2;

struct Field<'a> {
    number: u64,
    kind: u64,
    value: &'a [u8],
}

/// Returns the fields of a message, or `None` if the bytes are not a message.
fn fields(mut rest: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = prost::encoding::decode_varint(&mut rest).ok()?;
        let number = key >> 3;
        let kind = key & 7;
        let length = match kind {
            0 => rest.iter().position(|byte| byte & 0x80 == 0)? + 1,
            1 => 8,
            LENGTH_DELIMITED => prost::encoding::decode_varint(&mut rest).ok()? as usize,
            5 => 4,
            _ => return None,
        };
        let (value, after) = rest.split_at_checked(length)?;
        fields.push(Field { number, kind, value });
        rest = after;
    }
    Some(fields)
}
