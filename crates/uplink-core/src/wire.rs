//! The subset of Protocol Buffers used by grants, caveats and object metadata.
//!
//! Decoding follows the public network where it differs from common generated code: a boolean is true
//! only as 1, an enumeration is truncated to 8 bits, a repeated time replaces the earlier one.
//! Encoding is deterministic, because some messages are signed or compared as bytes.

#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

/// Why a message cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A known field has the wrong wire type.
    #[error("field {field} has an unexpected wire type")]
    WireType {
        /// Number of the field.
        field: u32,
    },
    /// The message ends inside a field.
    #[error("message is truncated")]
    Truncated,
    /// A field number or variable-length integer is invalid.
    #[error("malformed field key or integer")]
    Malformed,
    /// A text field is not valid UTF-8.
    #[error("field {field} is not valid UTF-8")]
    Text {
        /// Number of the field.
        field: u32,
    },
    /// A field is unknown where unknown fields are not allowed.
    #[error("field {field} is unknown")]
    UnknownField {
        /// Number of the field.
        field: u32,
    },
}

/// Reads the fields of one message in order.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// One field on the wire.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    value: Value<'a>,
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Returns the next field, or `None` at the end of the message.
    pub(crate) fn next(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| WireError::Malformed)?;
        if number == 0 || number > MAX_FIELD_NUMBER {
            return Err(WireError::Malformed);
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| WireError::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(WireError::Malformed),
        };
        Ok(Some(Field { number, value }))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(WireError::Truncated)?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Malformed)
    }
}

impl<'a> Field<'a> {
    pub(crate) const fn bytes(self) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::WireType { field: self.number }),
        }
    }

    pub(crate) fn text(self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Text { field: self.number })
    }

    pub(crate) const fn varint(self) -> Result<u64, WireError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(WireError::WireType { field: self.number }),
        }
    }

    pub(crate) const fn int64(self) -> Result<i64, WireError> {
        match self.varint() {
            Ok(value) => Ok(value as i64),
            Err(error) => Err(error),
        }
    }

    /// Reads an `int32`, truncated to its low 32 bits.
    pub(crate) const fn int32(self) -> Result<i32, WireError> {
        match self.varint() {
            Ok(value) => Ok(value as i32),
            Err(error) => Err(error),
        }
    }
}

const MAX_FIELD_NUMBER: u32 = (1 << 29) - 1;

const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// Writes bytes, or nothing if they are empty.
pub(crate) fn put_bytes(message: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_message(message, field, bytes);
    }
}

/// Writes an embedded message or an element of a repeated field, even if empty.
pub(crate) fn put_message(message: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(message, (u64::from(field) << 3) | BYTES);
    put_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// Writes an integer, boolean or enumeration, or nothing if it is 0.
pub(crate) fn put_int64(message: &mut Vec<u8>, field: u32, value: i64) {
    if value != 0 {
        put_varint(message, (u64::from(field) << 3) | VARINT);
        put_varint(message, value as u64);
    }
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Any {
        Int64(i64),
        Bytes(Vec<u8>),
    }

    fn any_value() -> impl Strategy<Value = Any> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..200);
        prop_oneof![any::<i64>().prop_map(Any::Int64), bytes.prop_map(Any::Bytes)]
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        #[test]
        fn fields_round_trip_in_order(
            fields in proptest::collection::vec((1..=MAX_FIELD_NUMBER, any_value()), 0..8),
            cut: usize,
        ) {
            let mut message = Vec::new();
            let mut ends = vec![0];
            for (number, value) in &fields {
                match value {
                    Any::Int64(value) => put_int64(&mut message, *number, *value),
                    Any::Bytes(bytes) => put_message(&mut message, *number, bytes),
                }
                ends.push(message.len());
            }
            let mut reader = Reader::new(&message);
            for (number, value) in &fields {
                if matches!(value, Any::Int64(0)) {
                    continue;
                }
                let field = reader.next().unwrap().unwrap();
                prop_assert_eq!(field.number, *number);
                match value {
                    Any::Int64(value) => prop_assert_eq!(field.int64(), Ok(*value)),
                    Any::Bytes(bytes) => prop_assert_eq!(field.bytes(), Ok(&bytes[..])),
                }
            }
            prop_assert!(reader.next().unwrap().is_none());
            // A message that ends inside a field is rejected, one that ends between fields is accepted.
            let cut = cut % (message.len() + 1);
            let mut reader = Reader::new(&message[..cut]);
            let read = std::iter::from_fn(|| reader.next().transpose()).collect::<Vec<_>>();
            let is_whole = read.iter().all(Result::is_ok);
            prop_assert_eq!(is_whole, ends.contains(&cut));
        }
    }

    #[test]
    fn integers_and_bytes_round_trip() {
        let mut message = Vec::new();
        put_int64(&mut message, 1, -5);
        put_int64(&mut message, 2, 0);
        put_bytes(&mut message, 3, b"");
        put_message(&mut message, 400, b"");
        let mut reader = Reader::new(&message);
        let first = reader.next().unwrap().unwrap();
        assert_eq!((first.number, first.int64()), (1, Ok(-5)));
        let second = reader.next().unwrap().unwrap();
        assert_eq!((second.number, second.bytes()), (400, Ok(&b""[..])));
        assert!(reader.next().unwrap().is_none());
    }

    #[test]
    fn malformed_messages_are_rejected() {
        for message in [&[0x0a, 5, 1][..], &[0x80], &[0x00, 1], &[0x0b], &[0xff; 11], &[0x0d, 1]] {
            assert!(Reader::new(message).next().is_err(), "{message:x?}");
        }
    }
}
