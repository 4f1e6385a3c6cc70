//! The bytes of a macaroon and its HMAC chain.
//!
//! ```text
//! 02  { 01 len location }  02 len head  00            header
//! (   { 01 len location }  02 len caveat  { 04 len verification id }  00 )*
//! 00  06 20 tail[32]                                  end of caveats, signature
//! ```
//!
//! Lengths are LEB128. Parts in braces are accepted and discarded.

use std::fmt;

use crate::mac::hmac_sha256;
use crate::secret::Secret;

/// Head, caveats and tail of an API key. The tail is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Macaroon {
    head: Vec<u8>,
    caveats: Vec<Vec<u8>>,
    tail: Secret<[u8; 32]>,
}

impl Macaroon {
    /// Creates a macaroon without caveats: the tail is HMAC-SHA256(secret, head).
    #[must_use]
    pub fn new(secret: &[u8], head: Vec<u8>) -> Self {
        let tail = hmac_sha256(secret, &[&head]);
        Self { head, caveats: Vec::new(), tail }
    }

    /// Returns the macaroon with another caveat: the new tail is HMAC-SHA256(tail, caveat).
    pub fn with_caveat(&self, caveat: Vec<u8>) -> Result<Self, MacaroonError> {
        let mut longer = self.clone();
        longer.tail = hmac_sha256(self.tail.expose(), &[&caveat]);
        longer.caveats.push(caveat);
        if longer.caveats.len() > MAX_CAVEATS {
            return Err(MacaroonError::TooManyCaveats);
        }
        match Secret::new(longer.encode()).expose().len() {
            size if size > MAX_MACAROON_SIZE => Err(MacaroonError::TooLong { size }),
            _ => Ok(longer),
        }
    }

    /// Decodes a macaroon. Returns it with the remaining bytes.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), MacaroonError> {
        if bytes.len() > MAX_MACAROON_SIZE {
            return Err(MacaroonError::TooLong { size: bytes.len() });
        }
        let (version, rest) = match bytes {
            [] | [_] => return Err(MacaroonError::Empty),
            [version, rest @ ..] => (*version, rest),
        };
        if version != VERSION {
            return Err(MacaroonError::Version(version));
        }
        let mut packets = Packets { rest };
        let head = match packets.section()?.as_slice() {
            [(IDENTIFIER, head)] | [(LOCATION, _), (IDENTIFIER, head)] => head.to_vec(),
            _ => return Err(MacaroonError::Header),
        };
        let mut caveats = Vec::new();
        loop {
            let section = packets.section()?;
            if section.is_empty() {
                break;
            }
            if caveats.len() == MAX_CAVEATS {
                return Err(MacaroonError::TooManyCaveats);
            }
            caveats.push(caveat(&section)?.to_vec());
        }
        let tail = match packets.packet()? {
            Some((SIGNATURE, tail)) => Secret::copy_of(tail).ok_or(MacaroonError::SignatureLength),
            _ => Err(MacaroonError::Signature),
        };
        Ok((Self { head, caveats, tail: tail? }, packets.rest))
    }

    /// Encodes the macaroon.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let packet = |bytes: &[u8]| bytes.len().saturating_add(12);
        let packets = self.caveats.iter().map(|caveat| packet(caveat));
        let size = packets.fold(packet(&self.head), usize::saturating_add).saturating_add(36);
        let mut bytes = Vec::with_capacity(size);
        bytes.push(VERSION);
        put_packet(&mut bytes, IDENTIFIER, &self.head);
        bytes.push(END);
        for caveat in &self.caveats {
            put_packet(&mut bytes, IDENTIFIER, caveat);
            bytes.push(END);
        }
        bytes.push(END);
        put_packet(&mut bytes, SIGNATURE, self.tail.expose());
        bytes
    }

    /// Returns the head.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Returns the caveats.
    #[must_use]
    pub fn caveats(&self) -> &[Vec<u8>] {
        &self.caveats
    }

    /// Returns the tail.
    #[must_use]
    pub const fn tail(&self) -> &[u8; 32] {
        self.tail.expose()
    }

    /// Computes the tails after the head and after each caveat, for a secret.
    #[must_use]
    pub fn tails(&self, secret: &[u8]) -> Vec<[u8; 32]> {
        let mut tail = hmac_sha256(secret, &[&self.head]);
        let mut tails = vec![*tail.expose()];
        for caveat in &self.caveats {
            tail = hmac_sha256(tail.expose(), &[caveat]);
            tails.push(*tail.expose());
        }
        tails
    }
}

impl fmt::Debug for Macaroon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Macaroon").field("caveats", &self.caveats.len()).finish_non_exhaustive()
    }
}

/// Why bytes are not a macaroon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MacaroonError {
    /// Fewer than two bytes.
    #[error("empty macaroon")]
    Empty,
    /// The first byte is not 2.
    #[error("invalid macaroon version {0}")]
    Version(u8),
    /// The macaroon is larger than [`MAX_MACAROON_SIZE`].
    #[error("macaroon too large: {size} bytes, limit {MAX_MACAROON_SIZE}")]
    TooLong {
        /// Size in bytes.
        size: usize,
    },
    /// The macaroon has more than [`MAX_CAVEATS`] caveats.
    #[error("macaroon has more than {MAX_CAVEATS} caveats")]
    TooManyCaveats,
    /// A length is malformed or larger than 2³¹ − 1.
    #[error("varint error")]
    Varint,
    /// A length extends beyond the end.
    #[error("out of bounds")]
    OutOfBounds,
    /// The packets of a section are not in ascending order of their types.
    #[error("fields out of order")]
    Order,
    /// The macaroon ends inside a section.
    #[error("section extends past end of buffer")]
    Unterminated,
    /// The header is not a single identifier.
    #[error("invalid macaroon header")]
    Header,
    /// A caveat has no identifier.
    #[error("no identifier in caveat")]
    CaveatIdentifier,
    /// A caveat contains an unexpected packet.
    #[error("invalid field found in caveat")]
    CaveatField,
    /// The caveats are not followed by a signature.
    #[error("unexpected field found instead of signature")]
    Signature,
    /// The signature does not have 32 bytes.
    #[error("signature has unexpected length")]
    SignatureLength,
    /// Bytes follow the signature.
    #[error("bytes after the signature")]
    TrailingBytes,
}

/// Maximum size of a macaroon in bytes.
pub const MAX_MACAROON_SIZE: usize = 64 << 10;
/// Maximum number of caveats of a macaroon.
pub const MAX_CAVEATS: usize = 1000;

const VERSION: u8 = 2;
const END: u8 = 0;
const LOCATION: u8 = 1;
const IDENTIFIER: u8 = 2;
const VERIFICATION_ID: u8 = 4;
const SIGNATURE: u8 = 6;
const MAX_VARINT_BYTES: usize = 10;
const MAX_LENGTH: u64 = 0x7fff_ffff;

type Packet<'a> = (u8, &'a [u8]);

struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Packets<'a> {
    /// Reads packets up to the end of the section. Types ascend strictly, which bounds their number.
    fn section(&mut self) -> Result<Vec<Packet<'a>>, MacaroonError> {
        let mut section: Vec<Packet<'a>> = Vec::new();
        loop {
            if self.rest.is_empty() {
                return Err(MacaroonError::Unterminated);
            }
            let Some(packet) = self.packet()? else { return Ok(section) };
            if section.last().is_some_and(|(last, _)| packet.0 <= *last) {
                return Err(MacaroonError::Order);
            }
            section.push(packet);
        }
    }

    /// Reads one packet, or `None` for the end of a section.
    fn packet(&mut self) -> Result<Option<Packet<'a>>, MacaroonError> {
        let kind = self.varint()?;
        if kind == u64::from(END) {
            return Ok(None);
        }
        // Unknown types only need to be in order here; the callers reject them.
        let kind = u8::try_from(kind).unwrap_or(u8::MAX);
        let length = self.varint()?;
        let length = usize::try_from(length).map_err(|_| MacaroonError::Varint)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(MacaroonError::OutOfBounds)?;
        self.rest = rest;
        Ok(Some((kind, bytes)))
    }

    fn varint(&mut self) -> Result<u64, MacaroonError> {
        let mut value = 0u64;
        for index in 0..MAX_VARINT_BYTES {
            let (byte, rest) = self.rest.split_first().ok_or(MacaroonError::Varint)?;
            self.rest = rest;
            let shift = index.wrapping_mul(7);
            value |= u64::from(byte & 0x7f).checked_shl(shift as u32).unwrap_or(u64::MAX);
            if byte & 0x80 == 0 {
                return if value <= MAX_LENGTH { Ok(value) } else { Err(MacaroonError::Varint) };
            }
        }
        Err(MacaroonError::Varint)
    }
}

fn caveat<'a>(section: &[Packet<'a>]) -> Result<&'a [u8], MacaroonError> {
    let section = match section {
        [(LOCATION, _), section @ ..] => section,
        section => section,
    };
    match section {
        [(IDENTIFIER, caveat)] | [(IDENTIFIER, caveat), (VERIFICATION_ID, _)] => Ok(caveat),
        [(IDENTIFIER, _), ..] => Err(MacaroonError::CaveatField),
        _ => Err(MacaroonError::CaveatIdentifier),
    }
}

fn put_packet(to: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    to.push(kind);
    let mut length = bytes.len();
    while length >= 0x80 {
        to.push(length as u8 | 0x80);
        length >>= 7;
    }
    to.push(length as u8);
    to.extend_from_slice(bytes);
}
