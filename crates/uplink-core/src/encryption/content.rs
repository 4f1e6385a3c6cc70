//! Encryption of content in blocks, and of small values as a whole.
//!
//! A segment is its data followed by padding, split into blocks that are sealed separately: block *i*
//! with the nonce *start + i*. The padding consists of zero bytes and its own total length as a
//! 32-bit big-endian number, so that it takes at least 4 bytes and empty data still gives one block.
//! Any run of blocks can be opened independently. An inline segment is sealed as a whole, without
//! padding.

use super::aead::Aead;
use super::nonce::segment_start_nonce;
use super::{CipherSuite, EncryptionError, EncryptionParameters, Key, Nonce, TAG_SIZE};
use crate::id::SegmentPosition;
use crate::layout::{LayoutError, padding_length};

/// Seals and opens blocks of one segment in the caller's buffers.
///
/// Block sizes are those of **encrypted** blocks, as stored with objects: a block of plaintext is
/// smaller by [`overhead`](Self::overhead).
pub struct ContentCipher {
    aead: Aead,
    suite: CipherSuite,
}

impl ContentCipher {
    /// Creates the cipher. Rejects the null suite: otherwise the peer that supplies the suite could
    /// disable encryption.
    pub fn new(suite: CipherSuite, key: &Key) -> Result<Self, EncryptionError> {
        match suite {
            CipherSuite::Null => Err(EncryptionError::Unencrypted),
            suite => Self::allow_unencrypted(suite, key),
        }
    }

    /// Creates the cipher, also for the null suite, for callers that explicitly allow unencrypted content.
    pub fn allow_unencrypted(suite: CipherSuite, key: &Key) -> Result<Self, EncryptionError> {
        Ok(Self { aead: Aead::new(suite, key)?, suite })
    }

    /// Returns the suite in use.
    #[must_use]
    pub const fn suite(&self) -> CipherSuite {
        self.suite
    }

    /// Returns the bytes that sealing adds to each block.
    #[must_use]
    pub const fn overhead(&self) -> usize {
        self.aead.overhead()
    }

    /// Returns the plaintext size of blocks of `block_size` encrypted bytes.
    pub fn plain_block_size(&self, block_size: usize) -> Result<usize, EncryptionError> {
        match block_size.checked_sub(TAG_SIZE) {
            Some(1..) => Ok(block_size.saturating_sub(self.overhead())),
            _ => Err(EncryptionError::BlockSize(block_size as i64)),
        }
    }

    /// Seals one block into `out`, which is longer by the overhead.
    pub fn seal_block(
        &self,
        start: &Nonce,
        index: u64,
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<(), EncryptionError> {
        self.aead.seal_into(start, index, plain, out)
    }

    /// Seals one block in place. `block` is the plaintext followed by as many bytes of space as the
    /// overhead.
    pub fn seal_block_in_place(
        &self,
        start: &Nonce,
        index: u64,
        block: &mut [u8],
    ) -> Result<(), EncryptionError> {
        self.aead.seal_in_place(start, index, block)
    }

    /// Opens one block into `out`, which is shorter by the overhead. After an error `out` holds no
    /// plaintext of that block.
    pub fn open_block(
        &self,
        start: &Nonce,
        index: u64,
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), EncryptionError> {
        self.aead.open_into(start, index, sealed, out)
    }

    /// Seals a run of whole blocks, starting with block `first` of the segment. `out` must have room
    /// for exactly as many encrypted blocks as `plain` holds plain ones.
    pub fn seal_blocks(
        &self,
        start: &Nonce,
        first: u64,
        block_size: usize,
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<(), EncryptionError> {
        let plain_size = self.plain_block_size(block_size)?;
        let count = whole_blocks(plain.len(), plain_size, out.len(), block_size)?;
        let blocks = plain.chunks_exact(plain_size).zip(out.chunks_exact_mut(block_size));
        for (index, (plain, out)) in numbers(first, count)?.zip(blocks) {
            self.seal_block(start, index, plain, out)?;
        }
        Ok(())
    }

    /// Opens a run of whole blocks, starting with block `first` of the segment. `out` must have room
    /// for exactly as many plain blocks as `sealed` holds encrypted ones. After an error `out` holds
    /// the authentic blocks before the corrupt one; callers must discard all of it.
    pub fn open_blocks(
        &self,
        start: &Nonce,
        first: u64,
        block_size: usize,
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), EncryptionError> {
        let plain_size = self.plain_block_size(block_size)?;
        let count = whole_blocks(sealed.len(), block_size, out.len(), plain_size)?;
        let blocks = sealed.chunks_exact(block_size).zip(out.chunks_exact_mut(plain_size));
        for (index, (sealed, out)) in numbers(first, count)?.zip(blocks) {
            self.open_block(start, index, sealed, out)?;
        }
        Ok(())
    }

    /// Seals an inline segment or another small value as a whole. Empty input stays empty.
    pub fn seal_whole(&self, nonce: &Nonce, plain: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        if plain.is_empty() { Ok(Vec::new()) } else { self.aead.seal(nonce, plain) }
    }

    /// Opens the output of [`seal_whole`](Self::seal_whole).
    pub fn open_whole(&self, nonce: &Nonce, sealed: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        if sealed.is_empty() { Ok(Vec::new()) } else { self.aead.open(nonce, sealed) }
    }
}

/// A [`ContentCipher`] bound to one segment: its first nonce and its block size.
#[derive(Debug)]
pub struct SegmentCipher {
    cipher: ContentCipher,
    start: Nonce,
    block_size: usize,
    plain_block_size: usize,
}

impl SegmentCipher {
    /// Creates the cipher of the segment at `position`.
    ///
    /// # Errors
    /// [`EncryptionError::Unencrypted`] and [`EncryptionError::Unsupported`]: the suite does not
    /// encrypt or is not supported. [`EncryptionError::BlockSize`]: a block has no room for plaintext.
    pub fn new(
        parameters: EncryptionParameters,
        key: &Key,
        position: SegmentPosition,
    ) -> Result<Self, EncryptionError> {
        let cipher = ContentCipher::new(parameters.suite, key)?;
        let block_size = parameters.block_size as usize;
        let plain_block_size = cipher.plain_block_size(block_size)?;
        let start = segment_start_nonce(position);
        Ok(Self { cipher, start, block_size, plain_block_size })
    }

    /// Returns the size of an encrypted block in bytes.
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Returns the size of a plaintext block in bytes.
    #[must_use]
    pub fn plain_block_size(&self) -> usize {
        self.plain_block_size
    }

    /// Seals block `index` into `out`, which is longer by the overhead.
    ///
    /// # Errors
    /// [`EncryptionError::Length`]: the sizes do not match.
    pub fn seal_block(
        &self,
        index: u64,
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<(), EncryptionError> {
        self.cipher.seal_block(&self.start, index, plain, out)
    }

    /// Opens a run of whole blocks, starting with block `first`. After an error `out` may hold the
    /// plaintext of blocks that authenticated.
    ///
    /// # Errors
    /// [`EncryptionError::Decryption`]: a block does not authenticate.
    pub fn open_blocks(
        &self,
        first: u64,
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), EncryptionError> {
        self.cipher.open_blocks(&self.start, first, self.block_size, sealed, out)
    }
}

impl std::fmt::Debug for ContentCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentCipher").field("suite", &self.suite).finish_non_exhaustive()
    }
}

/// Appends the padding of `data_len` bytes of data, so that the total is a multiple of `block` bytes.
///
/// `buffer` must end with the end of the data. `block` is the size of a plaintext block or stripe.
///
/// # Errors
///
/// If `block` is 0 or the padding length exceeds 32 bits; the buffer is unchanged then.
pub fn append_padding(buffer: &mut Vec<u8>, data_len: u64, block: u64) -> Result<(), LayoutError> {
    let length = padding_length(data_len, block)?;
    let length = u32::try_from(length).map_err(|_| LayoutError::TooLarge { size: length })?;
    let counter = length.to_be_bytes();
    let zeros = (length as usize).saturating_sub(counter.len());
    buffer.extend(std::iter::repeat_n(0, zeros));
    buffer.extend_from_slice(&counter);
    Ok(())
}

/// Returns the number of whole blocks.
fn whole_blocks(
    from: usize,
    from_block: usize,
    to: usize,
    to_block: usize,
) -> Result<usize, EncryptionError> {
    let blocks = from.checked_div(from_block).unwrap_or(0);
    let whole = blocks.saturating_mul(from_block);
    if whole != from {
        let expected = whole.saturating_add(from_block);
        return Err(EncryptionError::Length { expected, actual: from });
    }
    match blocks.checked_mul(to_block) {
        Some(expected) if expected == to => Ok(blocks),
        expected => {
            Err(EncryptionError::Length { expected: expected.unwrap_or(usize::MAX), actual: to })
        }
    }
}

/// Returns the block numbers; fails if they would overflow and thereby repeat.
fn numbers(first: u64, count: usize) -> Result<std::ops::Range<u64>, EncryptionError> {
    let end =
        first.checked_add(count as u64).ok_or(EncryptionError::BlockNumber { first, count })?;
    Ok(first..end)
}
