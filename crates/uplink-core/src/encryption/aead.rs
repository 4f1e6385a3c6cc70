//! Authenticated encryption with one key, for the supported suites.

use aws_lc_rs::aead::{self, AES_256_GCM, Aad, LessSafeKey, UnboundKey};
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};

use super::secretbox::SecretBox;
use super::{CipherSuite, EncryptionError, Key, Nonce, TAG_SIZE};
use crate::secret::burn_stack;

/// A key ready for sealing and opening many blocks. Dropping it wipes the key schedule.
///
/// Callers must not repeat a nonce under a key: segment keys are random and their blocks counted,
/// name nonces are derived from the name, wrapping nonces are random.
pub(super) struct Aead(Kind);

/// All suites except the null suite have 16-byte tags.
enum Kind {
    Null,
    // These two take 12-byte nonces and append the tag.
    AesGcm(Box<LessSafeKey>),
    ChaCha(Box<ChaCha20Poly1305>),
    // Takes 24-byte nonces and prepends the tag.
    SecretBox(Box<SecretBox>),
}

impl Aead {
    /// Creates the cipher. Accepts the null suite; callers decide whether it is allowed.
    pub(super) fn new(suite: CipherSuite, key: &Key) -> Result<Self, EncryptionError> {
        let cipher = Self::schedule(suite, key);
        // The libraries return key schedules, which contain the key, by value.
        burn_stack();
        cipher
    }

    #[inline(never)]
    fn schedule(suite: CipherSuite, key: &Key) -> Result<Self, EncryptionError> {
        let unsupported = EncryptionError::Unsupported(suite);
        Ok(Self(match suite {
            CipherSuite::Null => Kind::Null,
            CipherSuite::AesGcm => {
                let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| unsupported)?;
                Kind::AesGcm(Box::new(LessSafeKey::new(key)))
            }
            CipherSuite::ChaCha20Poly1305 => {
                Kind::ChaCha(Box::new(ChaCha20Poly1305::new(key.expose().into())))
            }
            CipherSuite::SecretBox => Kind::SecretBox(Box::new(SecretBox::new(key.clone()))),
            _ => return Err(unsupported),
        }))
    }

    /// Returns the number of bytes that sealing adds.
    pub(super) const fn overhead(&self) -> usize {
        match self.0 {
            Kind::Null => 0,
            Kind::AesGcm(_) | Kind::ChaCha(_) | Kind::SecretBox(_) => TAG_SIZE,
        }
    }

    /// Seals `plain` as block `index` after `start` into `out`, which is longer by the overhead.
    #[inline(never)]
    pub(super) fn seal_into(
        &self,
        start: &Nonce,
        index: u64,
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<(), EncryptionError> {
        let expected = plain.len().saturating_add(self.overhead());
        if out.len() != expected {
            return Err(EncryptionError::Length { expected, actual: out.len() });
        }
        match &self.0 {
            Kind::Null => out.copy_from_slice(plain),
            Kind::AesGcm(key) => {
                let (body, tag) = self.parts_mut(out)?;
                let nonce = short_nonce(start, index);
                key.seal_out_of_place_scatter(nonce, Aad::empty(), plain, body, &[], tag)
                    .map_err(|_| EncryptionError::BlockSize(plain.len() as i64))?;
            }
            _ => {
                let (body, tag) = self.parts_mut(out)?;
                body.copy_from_slice(plain);
                *tag = self.seal_body(start, index, body)?;
            }
        }
        Ok(())
    }

    /// Seals a block whose plaintext is followed by room for the overhead.
    pub(super) fn seal_in_place(
        &self,
        start: &Nonce,
        index: u64,
        block: &mut [u8],
    ) -> Result<(), EncryptionError> {
        if matches!(self.0, Kind::Null) {
            return Ok(());
        }
        if matches!(self.0, Kind::SecretBox(_)) {
            // This suite prepends the tag.
            block.rotate_right(TAG_SIZE.min(block.len()));
        }
        let (body, tag) = self.parts_mut(block)?;
        *tag = self.seal_body(start, index, body)?;
        Ok(())
    }

    /// Encrypts in place and returns the tag. Fails for the null suite.
    fn seal_body(
        &self,
        start: &Nonce,
        index: u64,
        body: &mut [u8],
    ) -> Result<[u8; TAG_SIZE], EncryptionError> {
        let too_long = EncryptionError::BlockSize(body.len() as i64);
        match &self.0 {
            Kind::Null => Err(EncryptionError::Unencrypted),
            Kind::AesGcm(key) => {
                let nonce = short_nonce(start, index);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), body);
                tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(too_long)
            }
            Kind::ChaCha(key) => {
                let nonce = start.short_plus(index);
                let tag = key.encrypt_inout_detached(&nonce.into(), b"", body.into());
                tag.map(Into::into).map_err(|_| too_long)
            }
            Kind::SecretBox(key) => Ok(key.seal(&start.plus(index), body)),
        }
    }

    /// Opens block `index` after `start` into `out`, which is shorter by the overhead. After an
    /// error the content of `out` is unspecified but contains no plaintext.
    #[inline(never)]
    pub(super) fn open_into(
        &self,
        start: &Nonce,
        index: u64,
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), EncryptionError> {
        let expected =
            sealed.len().checked_sub(self.overhead()).ok_or(EncryptionError::Decryption)?;
        if out.len() != expected {
            return Err(EncryptionError::Length { expected, actual: out.len() });
        }
        match &self.0 {
            Kind::Null => out.copy_from_slice(sealed),
            Kind::AesGcm(key) => {
                let (body, tag) = sealed.split_at(expected);
                let nonce = short_nonce(start, index);
                key.open_separate_gather(nonce, Aad::empty(), body, tag, out)
                    .map_err(|_| EncryptionError::Decryption)?;
            }
            Kind::ChaCha(key) => {
                let (body, tag) = sealed.split_at(expected);
                let tag = tag.try_into().map_err(|_| EncryptionError::Decryption)?;
                let buffers = InOutBuf::new(body, out).map_err(|_| EncryptionError::Decryption)?;
                key.decrypt_inout_detached(&start.short_plus(index).into(), b"", buffers, tag)
                    .map_err(|_| EncryptionError::Decryption)?;
            }
            Kind::SecretBox(key) => {
                let (tag, body) = sealed.split_at(TAG_SIZE);
                key.open(&start.plus(index), tag, body, out)?;
            }
        }
        Ok(())
    }

    /// Splits a sealed block into ciphertext and tag.
    fn parts_mut<'a>(
        &self,
        block: &'a mut [u8],
    ) -> Result<(&'a mut [u8], &'a mut [u8; TAG_SIZE]), EncryptionError> {
        let too_short = EncryptionError::Length { expected: TAG_SIZE, actual: block.len() };
        match self.0 {
            Kind::SecretBox(_) => block.split_first_chunk_mut().map(|(tag, body)| (body, tag)),
            _ => block.split_last_chunk_mut(),
        }
        .ok_or(too_short)
    }

    /// Seals a whole value. Callers handle empty input, which stays empty in all formats.
    pub(super) fn seal(&self, nonce: &Nonce, plain: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        let mut out = vec![0; plain.len().saturating_add(self.overhead())];
        let sealed = self.seal_into(nonce, 0, plain, &mut out);
        burn_stack();
        sealed.map(|()| out)
    }

    /// Opens a whole value.
    pub(super) fn open(&self, nonce: &Nonce, sealed: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        let length =
            sealed.len().checked_sub(self.overhead()).ok_or(EncryptionError::Decryption)?;
        let mut out = vec![0; length];
        let opened = self.open_into(nonce, 0, sealed, &mut out);
        burn_stack();
        opened.map(|()| out)
    }
}

/// Returns the nonce of block `index` after `start` in the library's type.
fn short_nonce(start: &Nonce, index: u64) -> aead::Nonce {
    aead::Nonce::assume_unique_for_key(start.short_plus(index))
}
