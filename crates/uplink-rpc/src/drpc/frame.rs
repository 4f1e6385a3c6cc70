//! Frames, into which packets are split.
//!
//! ```text
//!   byte     bit 7 control · bits 6 to 1 kind · bit 0 done
//!   varint   stream
//!   varint   message
//!   varint   length
//!   bytes    data
//! ```

use bytes::{BufMut, Bytes};

use super::parts::Parts;
use super::{Id, Kind, ProtocolError};

/// Maximum data size in bytes of a sent frame. A piece message with its fields fits in one frame, so
/// that its payload arrives in one part. Receivers accept any size up to their packet limit.
pub const SIZE: usize = 68 << 10;

/// Maximum size of a varint in bytes.
const MAX_VARINT: usize = 10;
/// Maximum size of a head in bytes.
const MAX_HEAD: usize = 1 + 3 * MAX_VARINT;

/// The head of a frame, which precedes its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Kind of the packet.
    pub kind: Kind,
    /// Whether a peer that does not know the kind must ignore the packet.
    pub control: bool,
    /// Whether the packet ends with this frame.
    pub done: bool,
    /// Number of the packet.
    pub id: Id,
    /// Number of data bytes that follow.
    pub length: u64,
}

impl Head {
    /// Reads a head from the start of `bytes` and returns it with its size; `None` if it is incomplete.
    ///
    /// # Errors
    /// A varint is longer than ten bytes.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some((first, mut rest)) = bytes.split_first() else { return Ok(None) };
        let mut numbers = [0; 3];
        for number in &mut numbers {
            let Some((value, size)) = read_varint(rest)? else { return Ok(None) };
            *number = value;
            rest = rest.get(size..).unwrap_or_default();
        }
        let [stream, message, length] = numbers;
        let head = Self {
            kind: Kind(first >> 1 & 0x3f),
            control: first & 0x80 != 0,
            done: first & 1 != 0,
            id: Id { stream, message },
            length,
        };
        Ok(Some((head, bytes.len().saturating_sub(rest.len()))))
    }

    /// Writes the head.
    pub fn write(&self, to: &mut impl BufMut) {
        let control = u8::from(self.control) << 7;
        let done = u8::from(self.done);
        to.put_u8(control | (self.kind.0 & 0x3f) << 1 | done);
        for number in [self.id.stream, self.id.message, self.length] {
            write_varint(number, to);
        }
    }
}

/// Writes one frame with its data.
pub fn write(kind: Kind, id: Id, done: bool, data: Parts, to: &mut Parts) {
    let control = kind == Kind::CANCEL;
    let mut head = Vec::with_capacity(MAX_HEAD);
    Head { kind, control, done, id, length: data.len() as u64 }.write(&mut head);
    to.write(&head);
    to.append(data);
}

/// Writes a packet in one frame, or in several if it is longer than [`SIZE`] and its kind may be split.
pub fn write_packet(kind: Kind, id: Id, mut data: Bytes, to: &mut Parts) {
    let split = matches!(kind, Kind::INVOKE | Kind::INVOKE_METADATA | Kind::MESSAGE);
    while split && data.len() > SIZE {
        write(kind, id, false, data.split_to(SIZE).into(), to);
    }
    write(kind, id, true, data.into(), to);
}

/// Reads a varint from the start of `bytes` and returns it with its size; `None` if it is incomplete.
///
/// Bits beyond 64 are ignored, as in the network's own reader.
///
/// # Errors
/// The varint is longer than ten bytes.
pub fn read_varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    let mut value = 0;
    let mut shift: u32 = 0;
    let mut size: usize = 0;
    for byte in bytes.iter().take(MAX_VARINT) {
        value |= u64::from(byte & 0x7f).wrapping_shl(shift);
        shift = shift.saturating_add(7);
        size = size.saturating_add(1);
        if byte & 0x80 == 0 {
            return Ok(Some((value, size)));
        }
    }
    if size < MAX_VARINT { Ok(None) } else { Err(ProtocolError::VarintTooLong) }
}

/// Writes a varint: seven bits per byte, lowest first.
pub fn write_varint(mut number: u64, to: &mut impl BufMut) {
    while number > 0x7f {
        to.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    to.put_u8(number as u8);
}
