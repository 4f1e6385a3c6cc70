//! The memory that decoding a message takes, computed from its wire form.
//!
//! The walk models the allocations of decoding: a full vector doubles, and the old allocation lives
//! until its items have moved; a string is allocated; `bytes` fields are slices of the wire form.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::{MEMORY_BASE, MEMORY_PER_BYTE, Refusal};

/// The fields of a message that take memory beyond the message itself.
#[derive(Debug)]
pub struct Shape {
    /// In ascending order of number; at most [`MAX_FIELDS`].
    fields: &'static [Field],
}

/// A field that takes memory.
#[derive(Debug)]
pub struct Field {
    number: u32,
    /// Size in bytes of an item in the vector of a repeated field, or of a boxed message; otherwise 0.
    size: usize,
    repeated: bool,
    item: Item,
}

/// What an item of a field allocates beyond itself.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Item {
    /// Nothing, or slices of the wire form.
    Flat,
    /// A message with fields that take memory.
    Message(&'static Shape),
    /// A varint; packed fields concatenate them.
    Number,
    /// A signed message. Its bytes are copied.
    Signed,
    /// A string.
    Text,
}

/// Maximum number of fields of a [`Shape`]; a batch item has the most.
const MAX_FIELDS: usize = 64;
/// Maximum nesting depth, equal to the decoder's.
const MAX_DEPTH: usize = 100;
/// Maximum capacity of the first allocation of a vector.
const FIRST_ITEMS: usize = 4;
/// Minimum size in bytes of the first allocation of a string.
const FIRST_BYTES: usize = 8;
/// Overhead in bytes of a reference-counted buffer.
const SHARED: usize = 40;

impl Shape {
    /// Creates a shape from fields in ascending order of number.
    #[must_use]
    pub const fn new(fields: &'static [Field]) -> Self {
        assert!(fields.len() <= MAX_FIELDS, "too many fields");
        Self { fields }
    }

    fn field(&self, number: u32) -> Option<(usize, &Field)> {
        let index = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        Some((index, self.fields.get(index)?))
    }
}

impl Field {
    /// Creates a repeated field whose items take `size` bytes each beyond what they allocate.
    #[must_use]
    pub const fn repeated(number: u32, size: usize, item: Item) -> Self {
        Self { number, size, repeated: true, item }
    }

    /// Creates a singular field that takes `size` bytes if it is boxed.
    #[must_use]
    pub const fn single(number: u32, size: usize, item: Item) -> Self {
        Self { number, size, repeated: false, item }
    }
}

/// Rejects a message that would take too much memory, or whose walked part is malformed.
pub(super) fn check(shape: &Shape, wire: &[u8]) -> Result<(), Refusal> {
    let limit = wire.len().saturating_mul(MEMORY_PER_BYTE).saturating_add(MEMORY_BASE);
    let mut memory = Memory { wire: wire.len(), limit, used: 0 };
    memory.message(shape, wire, 0)
}

struct Memory {
    wire: usize,
    limit: usize,
    used: usize,
}

impl Memory {
    fn message(&mut self, shape: &Shape, mut wire: &[u8], depth: usize) -> Result<(), Refusal> {
        if depth > MAX_DEPTH {
            return Err(malformed("recursion limit reached"));
        }
        let mut counts = [0; MAX_FIELDS];
        while !wire.is_empty() {
            let (number, wire_type) = decode_key(&mut wire)?;
            let Some((index, field)) = shape.field(number) else {
                skip_field(wire_type, number, &mut wire, DecodeContext::default())?;
                continue;
            };
            let count: &mut usize = counts.get_mut(index).ok_or_else(|| malformed("field"))?;
            if wire_type == WireType::LengthDelimited {
                let content = content(&mut wire)?;
                self.field(field, count, content, depth)?;
            } else if matches!(field.item, Item::Number) {
                skip_field(wire_type, number, &mut wire, DecodeContext::default())?;
                self.grow(count, 1, field.size)?;
            } else {
                return Err(malformed("wrong wire type"));
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &Field,
        count: &mut usize,
        content: &[u8],
        depth: usize,
    ) -> Result<(), Refusal> {
        match field.item {
            Item::Number => {
                let numbers = content.iter().filter(|byte| **byte < 0x80).count();
                return self.grow(count, numbers, field.size);
            }
            _ if field.repeated => self.grow(count, 1, field.size)?,
            // Merging the two could double their allocations after they were counted.
            Item::Message(_) if *count > 0 => return Err(malformed("field occurs twice")),
            _ => {
                *count = 1;
                self.take(field.size)?;
            }
        }
        match field.item {
            Item::Message(shape) => self.message(shape, content, depth.saturating_add(1)),
            Item::Text if !content.is_empty() => self.take(content.len().max(FIRST_BYTES)),
            Item::Signed if !content.is_empty() => {
                // Its fields are gathered in a vector, which doubles too.
                let mut bytes = 0;
                self.grow(&mut bytes, content.len().max(FIRST_BYTES), 1)?;
                self.take(SHARED)
            }
            _ => Ok(()),
        }
    }

    /// Counts the growth of a vector by `more` items.
    fn grow(&mut self, count: &mut usize, more: usize, size: usize) -> Result<(), Refusal> {
        let old = capacity(*count);
        *count = count.saturating_add(more);
        let new = capacity(*count);
        if new > old {
            // The old allocation is half as large and lives until its items have moved.
            let half = if new > FIRST_ITEMS { new / 2 } else { 0 };
            self.used = self.used.saturating_sub(old.saturating_mul(size));
            self.take(new.saturating_add(half).saturating_mul(size))?;
            self.used = self.used.saturating_sub(half.saturating_mul(size));
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.used = self.used.saturating_add(bytes);
        if self.used > self.limit {
            return Err(Refusal::TooLarge { wire: self.wire, limit: self.limit });
        }
        Ok(())
    }
}

/// Returns the capacity of a vector that has grown to `count` items.
fn capacity(count: usize) -> usize {
    match count {
        0 => 0,
        count => count.checked_next_power_of_two().unwrap_or(usize::MAX).max(FIRST_ITEMS),
    }
}

/// Reads a length-delimited field.
fn content<'a>(wire: &mut &'a [u8]) -> Result<&'a [u8], Refusal> {
    let length = decode_varint(wire)?;
    let parts = usize::try_from(length).ok().and_then(|length| wire.split_at_checked(length));
    let (content, rest) = parts.ok_or_else(|| malformed("buffer underflow"))?;
    *wire = rest;
    Ok(content)
}

fn malformed(reason: &str) -> Refusal {
    Refusal::Malformed(reason.to_owned())
}
