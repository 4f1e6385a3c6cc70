//! Assembly of packets from received bytes.

use bytes::{Buf, BytesMut};

use super::frame::{self, Head};
use super::parts::Parts;
use super::{Id, Kind, ProtocolError};

/// Maximum size of a packet in bytes, the network's limit.
pub const LIMIT: usize = 4 << 20;

/// Frame data up to this size is kept in one part.
const MAX_PART: usize = frame::SIZE;
/// Minimum free space of the buffer, so that a read is worth its system call.
const MIN_ROOM: usize = 16 << 10;

/// A complete packet: all frames with one number.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Its number.
    pub id: Id,
    /// Its kind.
    pub kind: Kind,
    /// Whether a peer that does not know the kind must ignore the packet.
    pub control: bool,
    /// Data in the parts in which it was received, at most [`LIMIT`] bytes.
    pub data: Parts,
}

/// Assembles packets from received bytes.
///
/// Packet numbers must not decrease. A frame with a higher number discards an incomplete packet.
#[derive(Debug)]
pub struct Packets {
    buffer: BytesMut,
    /// Number of the last frame.
    last: Id,
    /// Whether the packet of the last frame is complete.
    complete: bool,
    /// The packet being received.
    open: Option<Packet>,
    /// The frame being received.
    frame: Option<OpenFrame>,
}

/// A frame whose data is incomplete.
#[derive(Debug)]
struct OpenFrame {
    /// Number of bytes still to receive.
    missing: usize,
    /// Whether the packet ends with this frame.
    done: bool,
}

impl Default for Packets {
    fn default() -> Self {
        Self {
            buffer: BytesMut::new(),
            last: Id { stream: 1, message: 1 },
            complete: false,
            open: None,
            frame: None,
        }
    }
}

impl Packets {
    /// Returns the buffer to append received bytes to, with free space.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let wanted = self.frame.as_ref().map_or(0, |frame| frame.missing.min(MAX_PART));
        let missing = wanted.saturating_sub(self.buffer.len()).max(MIN_ROOM);
        if self.buffer.capacity().saturating_sub(self.buffer.len()) < missing {
            // Reserves space for the next frame too.
            self.buffer.reserve(MAX_PART.max(missing));
        }
        &mut self.buffer
    }

    /// Returns the next packet; `None` if more bytes are needed.
    ///
    /// # Errors
    /// The peer violated the protocol. The connection must be closed: later results are undefined.
    pub fn take(&mut self) -> Result<Option<Packet>, ProtocolError> {
        loop {
            let Some(frame) = &mut self.frame else {
                let Some((head, size)) = Head::read(&self.buffer)? else { return Ok(None) };
                self.buffer.advance(size);
                self.begin(head)?;
                continue;
            };
            if self.buffer.len() < frame.missing.min(MAX_PART) {
                return Ok(None);
            }
            let data = self.buffer.split_to(self.buffer.len().min(frame.missing)).freeze();
            frame.missing = frame.missing.saturating_sub(data.len());
            let ended = (frame.missing == 0).then_some(frame.done);
            if let Some(packet) = &mut self.open {
                packet.data.push(data);
            }
            if let Some(done) = ended {
                self.frame = None;
                self.complete = done;
                if done {
                    return Ok(self.open.take());
                }
            }
        }
    }

    fn begin(&mut self, head: Head) -> Result<(), ProtocolError> {
        let Head { kind, control, done, id, length } = head;
        let last = self.last;
        if id < last || (self.complete && id == last) {
            return Err(ProtocolError::IdGoesBack { found: id, last });
        }
        let open = self.open.take().filter(|packet| packet.id == id);
        let mut packet =
            open.unwrap_or_else(|| Packet { id, kind, control, data: Parts::default() });
        if packet.kind != kind {
            return Err(ProtocolError::KindChange { id, from: packet.kind.0, to: kind.0 });
        }
        packet.control |= control;
        let total = length.saturating_add(packet.data.len() as u64);
        let missing = usize::try_from(length)
            .ok()
            .filter(|_| total <= LIMIT as u64)
            .ok_or(ProtocolError::TooLong { id, length: total })?;
        self.open = Some(packet);
        self.frame = Some(OpenFrame { missing, done });
        self.last = id;
        self.complete = false;
        Ok(())
    }
}
