//! Packets out of received bytes.

use bytes::{Buf, BytesMut};

use super::frame::{self, Head};
use super::parts::Parts;
use super::{Id, Kind, ProtocolError};

/// Most bytes of one packet, the network's limit.
pub const LIMIT: usize = 4 << 20;

/// Data of a frame is taken in one part if it is not longer than this.
const PART: usize = frame::SIZE;
/// Fewer bytes of room are not worth a call of the system.
const ROOM: usize = 16 << 10;

/// All frames of one number.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Call and place in it.
    pub id: Id,
    /// What it is.
    pub kind: Kind,
    /// Whether a frame of it says that who does not know its kind shall ignore it.
    pub control: bool,
    /// Data in the parts it was received in, at most [`LIMIT`] bytes.
    pub data: Parts,
}

/// Received bytes → packets.
///
/// Numbers must not go back. Frames of a higher number discard a packet that is not complete.
#[derive(Debug)]
pub struct Packets {
    buffer: BytesMut,
    /// Number of the last frame, and whether its packet is complete.
    last: Id,
    complete: bool,
    /// The packet whose frames are arriving.
    open: Option<Packet>,
    /// The frame whose data is arriving.
    frame: Option<Rest>,
}

/// What is left of a frame.
#[derive(Debug)]
struct Rest {
    missing: usize,
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
    /// Returns where received bytes are appended; it has room.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let wanted = self.frame.as_ref().map_or(0, |frame| frame.missing.min(PART));
        let missing = wanted.saturating_sub(self.buffer.len()).max(ROOM);
        if self.buffer.capacity().saturating_sub(self.buffer.len()) < missing {
            // Room for the next frame, too.
            self.buffer.reserve(PART.max(missing));
        }
        &mut self.buffer
    }

    /// Takes the next packet out of the bytes received; `None` if more are needed.
    ///
    /// # Errors
    /// The peer breaks the protocol. What comes next is then not defined: the connection is over.
    pub fn take(&mut self) -> Result<Option<Packet>, ProtocolError> {
        loop {
            let Some(frame) = &mut self.frame else {
                let Some((head, size)) = Head::read(&self.buffer)? else { return Ok(None) };
                self.buffer.advance(size);
                self.begin(head)?;
                continue;
            };
            if self.buffer.len() < frame.missing.min(PART) {
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
        let missing = usize::try_from(length).ok().filter(|_| total <= LIMIT as u64);
        let missing = missing.ok_or(ProtocolError::TooLong { id, length: total })?;
        self.open = Some(packet);
        self.frame = Some(Rest { missing, done });
        self.last = id;
        self.complete = false;
        Ok(())
    }
}
