//! The bytes that a signature covers.
//!
//! The canonical encoding of the message: known fields in ascending order and in their shortest form,
//! then unknown fields as received, without the signature. Ids of fixed length are written even if
//! zero or absent. The start of year 1 means "not set" and is omitted.

use prost::Message;
use prost::encoding::{WireType, decode_varint, encode_key, encode_varint};
use prost_types::Timestamp;

use super::OrderError;

/// The types of signed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums)] // fixed by the network
pub enum Signed {
    /// An order limit.
    OrderLimit,
    /// An order.
    Order,
    /// A piece hash.
    PieceHash,
}

/// Returns the bytes to sign or verify for a message in its wire form.
///
/// # Errors
///
/// When `wire` is larger than [`MAX_MESSAGE_SIZE`] or malformed, or a known field occurs twice or has
/// the wrong type or length.
pub fn signing_payload(wire: &[u8], signed: Signed) -> Result<Vec<u8>, OrderError> {
    let fields = Fields::parse(wire, signed)?;
    let mut payload = fields.known;
    payload.extend_from_slice(&fields.unknown);
    Ok(payload)
}

/// Like [`signing_payload`], but rejects unknown fields.
pub(super) fn without_unknown_fields(wire: &[u8], signed: Signed) -> Result<Vec<u8>, OrderError> {
    let fields = Fields::parse(wire, signed)?;
    if fields.unknown.is_empty() { Ok(fields.known) } else { Err(OrderError::UnknownField) }
}

struct Fields {
    known: Vec<u8>,
    unknown: Vec<u8>,
}

impl Fields {
    fn parse(wire: &[u8], signed: Signed) -> Result<Self, OrderError> {
        if wire.len() > MAX_MESSAGE_SIZE {
            return Err(OrderError::MessageTooLarge { size: wire.len() });
        }
        let rules = signed.rules();
        let mut values: [Option<Value<'_>>; 16] = [None; 16];
        let mut unknown = Vec::new();
        let mut rest = wire;
        while !rest.is_empty() {
            let before = rest;
            let (field, value) = next_field(&mut rest)?;
            if rules.iter().any(|rule| rule.0 == field) {
                if slot(&mut values, field)?.replace(value).is_some() {
                    return Err(OrderError::RepeatedField { field });
                }
            } else {
                let length = before.len().saturating_sub(rest.len());
                unknown.extend_from_slice(before.get(..length).unwrap_or_default());
            }
        }
        let mut known = Vec::with_capacity(wire.len());
        for &(field, kind) in rules {
            kind.write(field, slot(&mut values, field)?.take(), &mut known)?;
        }
        Ok(Self { known, unknown })
    }
}

/// Returns the slot of a known field, whose number is below 16 in every message.
fn slot<'v, 'a>(
    values: &'v mut [Option<Value<'a>>; 16],
    field: u32,
) -> Result<&'v mut Option<Value<'a>>, OrderError> {
    usize::try_from(field).ok().and_then(|index| values.get_mut(index)).ok_or(OrderError::Malformed)
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Bytes(&'a [u8]),
    Varint(u64),
    /// A fixed-size value of four or eight bytes: no known field has this type.
    Fixed,
}

/// Reads the next field and advances `rest`.
fn next_field<'a>(rest: &mut &'a [u8]) -> Result<(u32, Value<'a>), OrderError> {
    let malformed = |_| OrderError::Malformed;
    let key = decode_varint(rest).map_err(malformed)?;
    let key = u32::try_from(key).map_err(|_| OrderError::Malformed)?;
    let field = key >> 3;
    if field == 0 {
        return Err(OrderError::Malformed);
    }
    let value = match key & 7 {
        0 => Value::Varint(decode_varint(rest).map_err(malformed)?),
        1 => take(rest, 8).map(|_| Value::Fixed)?,
        2 => {
            let length = decode_varint(rest).map_err(malformed)?;
            Value::Bytes(take(rest, length)?)
        }
        5 => take(rest, 4).map(|_| Value::Fixed)?,
        _ => return Err(OrderError::Malformed),
    };
    Ok((field, value))
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], OrderError> {
    let length = usize::try_from(length).map_err(|_| OrderError::Malformed)?;
    let (taken, left) = rest.split_at_checked(length).ok_or(OrderError::Malformed)?;
    *rest = left;
    Ok(taken)
}

/// How a known field is encoded.
#[derive(Clone, Copy)]
enum Kind {
    /// Bytes; omitted if empty.
    Bytes,
    /// A 32-bit number; omitted if zero.
    Enum,
    /// An id of this many bytes; always written.
    Id(usize),
    /// A 64-bit number; omitted if zero.
    Int64,
    /// A nested message, kept as received.
    Nested,
    /// An id of this many bytes; omitted if zero.
    OptionalId(usize),
    /// The signature; never written.
    Signature,
    /// A time; omitted if "not set".
    Time,
}

impl Signed {
    /// Returns the known fields, in ascending order.
    const fn rules(self) -> &'static [(u32, Kind)] {
        match self {
            Self::OrderLimit => &[
                (1, Kind::Id(16)),
                (2, Kind::Id(32)),
                (3, Kind::OptionalId(32)),
                (4, Kind::Id(32)),
                (5, Kind::Id(32)),
                (6, Kind::Int64),
                (7, Kind::Enum),
                (8, Kind::Time),
                (9, Kind::Time),
                (10, Kind::Signature),
                (11, Kind::Nested),
                (12, Kind::Time),
                (13, Kind::Bytes),
                (14, Kind::Bytes),
                (15, Kind::Bytes),
            ],
            Self::Order => &[(1, Kind::Id(16)), (2, Kind::Int64), (3, Kind::Signature)],
            Self::PieceHash => &[
                (1, Kind::Id(32)),
                (2, Kind::Bytes),
                (3, Kind::Signature),
                (4, Kind::Int64),
                (5, Kind::Time),
                (6, Kind::Enum),
            ],
        }
    }
}

impl Kind {
    /// Writes a field in its canonical form, unless it is omitted.
    fn write(
        self,
        field: u32,
        value: Option<Value<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), OrderError> {
        let unexpected = Err(OrderError::UnexpectedField { field });
        match (self, value) {
            (Self::Id(length), None) => write_bytes(field, &vec![0; length], out),
            (_, None) => {}
            (Self::Id(length), Some(Value::Bytes(id))) if id.len() == length => {
                write_bytes(field, id, out);
            }
            (Self::OptionalId(length), Some(Value::Bytes(id))) if id.len() == length => {
                if id.iter().any(|&byte| byte != 0) {
                    write_bytes(field, id, out);
                }
            }
            (Self::Bytes, Some(Value::Bytes(bytes))) => {
                if !bytes.is_empty() {
                    write_bytes(field, bytes, out);
                }
            }
            (Self::Nested, Some(Value::Bytes(bytes))) => write_bytes(field, bytes, out),
            (Self::Int64, Some(Value::Varint(number))) => write_number(field, number, out),
            (Self::Enum, Some(Value::Varint(number))) => {
                // Only the low 32 bits count; a negative number is written sign-extended.
                write_number(field, i64::from(number as i32) as u64, out);
            }
            (Self::Time, Some(Value::Bytes(bytes))) => {
                let Some(time) = time(bytes) else { return unexpected };
                if time != UNSET_TIME {
                    write_bytes(field, &time.encode_to_vec(), out);
                }
            }
            (Self::Signature, Some(Value::Bytes(_))) => {}
            _ => return unexpected,
        }
        Ok(())
    }
}

fn time(bytes: &[u8]) -> Option<Timestamp> {
    let time = Timestamp::decode(bytes).ok()?;
    (0..1_000_000_000).contains(&time.nanos).then_some(time)
}

fn write_bytes(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn write_number(field: u32, number: u64, out: &mut Vec<u8>) {
    if number != 0 {
        encode_key(field, WireType::Varint, out);
        encode_varint(number, out);
    }
}

/// The start of year 1, which the network uses for a time that is not set.
const UNSET_TIME: Timestamp = Timestamp { seconds: -62_135_596_800, nanos: 0 };

/// Maximum size of a signed message in bytes; real ones have a few hundred.
pub const MAX_MESSAGE_SIZE: usize = 64 << 10;
