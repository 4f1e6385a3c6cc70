//! Decodes messages into raw fields and encodes them again.
//!
//! Tests forge messages in the encoded form. Bytes that a test does not touch stay the same:
//! signatures remain valid and unknown fields are preserved. A test can also make a message that no
//! encoder would produce.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// One field of an encoded message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// The field's number.
    pub number: u32,
    /// The field's value.
    pub value: Value,
}

/// Value of a field, by wire type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // the wire types of the format, without groups
pub enum Value {
    /// Integers, booleans and enumerations.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Strings, bytes and messages.
    Bytes(Bytes),
    /// Four bytes.
    Fixed32(u32),
}

impl Field {
    /// Returns a field.
    #[must_use]
    pub const fn new(number: u32, value: Value) -> Self {
        Self { number, value }
    }

    /// Returns a field with bytes.
    #[must_use]
    pub fn bytes(number: u32, bytes: impl Into<Bytes>) -> Self {
        Self::new(number, Value::Bytes(bytes.into()))
    }

    /// Returns the bytes of a string, bytes or message field.
    #[must_use]
    pub const fn as_bytes(&self) -> Option<&Bytes> {
        match &self.value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Decodes a message into its fields, in encoded order.
///
/// Returns `None` if the bytes are not a message, or contain a group, which the network never uses.
#[must_use]
pub fn decode(mut message: Bytes) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let (number, wire_type) = key(&mut message)?;
        let value = match wire_type {
            0 => Value::Varint(varint(&mut message)?),
            1 => Value::Fixed64(message.try_get_u64_le().ok()?),
            2 => {
                let length = length(&mut message)?;
                Value::Bytes(message.split_to(length))
            }
            5 => Value::Fixed32(message.try_get_u32_le().ok()?),
            _ => return None,
        };
        fields.push(Field { number, value });
    }
    Some(fields)
}

/// Returns whether a field at `path` passes `test`, without allocating. Stops at the first bytes
/// that are not a field.
fn any_at(mut message: &[u8], path: &[u32], test: &dyn Fn(&[u8]) -> bool) -> bool {
    let Some((expected, rest)) = path.split_first() else { return test(message) };
    while !message.is_empty() {
        let Some((number, wire_type)) = key(&mut message) else { return false };
        let length = match wire_type {
            0 => varint(&mut message).map(|_| 0),
            1 => Some(8),
            2 => length(&mut message),
            5 => Some(4),
            _ => None,
        };
        let bytes = length.and_then(|length| message.split_off(..length));
        let Some(bytes) = bytes else { return false };
        if wire_type == 2 && number == *expected && any_at(bytes, rest, test) {
            return true;
        }
    }
    false
}

/// Reads the number and wire type of the next field.
fn key(message: &mut impl Buf) -> Option<(u32, u64)> {
    let key = varint(message)?;
    let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0)?;
    Some((number, key & 7))
}

/// Reads a length prefix; `None` if the message is shorter.
fn length(message: &mut impl Buf) -> Option<usize> {
    let length = usize::try_from(varint(message)?).ok()?;
    (length <= message.remaining()).then_some(length)
}

/// Encodes a message.
#[must_use]
pub fn encode(fields: &[Field]) -> Bytes {
    let mut message = BytesMut::new();
    for Field { number, value } in fields {
        let key = u64::from(*number) << 3;
        match value {
            Value::Varint(number) => {
                put_varint(key, &mut message);
                put_varint(*number, &mut message);
            }
            Value::Fixed64(number) => {
                put_varint(key | 1, &mut message);
                message.put_u64_le(*number);
            }
            Value::Bytes(bytes) => {
                put_varint(key | 2, &mut message);
                put_varint(bytes.len() as u64, &mut message);
                message.put_slice(bytes);
            }
            Value::Fixed32(number) => {
                put_varint(key | 5, &mut message);
                message.put_u32_le(*number);
            }
        }
    }
    message.freeze()
}

/// Replaces every field at `path`, a list of nested field numbers, for which `replace` returns a
/// value. Returns `None` if no field was replaced or the bytes are not a message.
pub(super) fn replace_at(
    message: &Bytes,
    path: &[u32],
    replace: &dyn Fn(&[u8]) -> Option<Bytes>,
) -> Option<Bytes> {
    let Some((number, rest)) = path.split_first() else { return replace(message) };
    if !any_at(message, path, &|bytes| replace(bytes).is_some()) {
        return None;
    }
    let mut fields = decode(message.clone())?;
    for field in fields.iter_mut().filter(|field| field.number == *number) {
        let Value::Bytes(bytes) = &mut field.value else { continue };
        if let Some(other) = replace_at(bytes, rest, replace) {
            *bytes = other;
        }
    }
    Some(encode(&fields))
}

/// Maximum length of a varint in bytes.
const MAX_VARINT_BYTES: u32 = 10;

fn varint(from: &mut impl Buf) -> Option<u64> {
    let mut number = 0;
    for index in 0..MAX_VARINT_BYTES {
        let byte = from.try_get_u8().ok()?;
        number |= u64::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn put_varint(mut number: u64, into: &mut BytesMut) {
    while number >= 0x80 {
        into.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    into.put_u8(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_round_trips() {
        let inner = encode(&[Field::new(3, Value::Varint(u64::MAX)), Field::bytes(4, "x")]);
        let fields = vec![
            Field::new(1, Value::Varint(300)),
            Field::bytes(536_870_911, inner),
            Field::new(2, Value::Fixed32(7)),
            Field::new(2, Value::Fixed64(8)),
            Field::bytes(1, Bytes::new()),
        ];
        assert_eq!(decode(encode(&fields)).unwrap(), fields);
    }

    #[test]
    fn truncated_message_is_rejected() {
        let message = encode(&[Field::bytes(1, vec![0; 200]), Field::new(2, Value::Fixed64(1))]);
        for length in (0..message.len()).filter(|length| ![0, 203].contains(length)) {
            assert_eq!(decode(message.slice(..length)), None, "{length} bytes");
        }
        assert_eq!(decode(Bytes::from_static(&[0xFF; 11])), None);
    }

    #[test]
    fn repeated_fields_at_a_path_are_all_replaced() {
        let item = encode(&[Field::bytes(2, "old"), Field::bytes(3, "old")]);
        let message = encode(&[Field::bytes(1, item.clone()), Field::bytes(1, item)]);
        let replaced = replace_at(&message, &[1, 2], &|bytes| {
            (bytes == b"old").then(|| Bytes::from_static(b"new"))
        });
        let item = encode(&[Field::bytes(2, "new"), Field::bytes(3, "old")]);
        assert_eq!(
            replaced.unwrap(),
            encode(&[Field::bytes(1, item.clone()), Field::bytes(1, item)])
        );
        assert_eq!(replace_at(&message, &[1, 5], &|_| Some(Bytes::new())), None);
    }
}
