//! Authenticated encryption under one prepared key, for the suites that are implemented.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, UnboundKey};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _,
    aead::{AeadInOut as _, inout::InOutBuf},
};

use super::{CipherSuite, EncryptionError, Key, Nonce, TAG_SIZE};

/// A key prepared for sealing and opening many blocks. Dropping it wipes the key schedule.
///
/// Uniqueness of nonces per key is what callers owe: segment keys are random and blocks counted,
/// name nonces are derived from the name, wrapping nonces are random.
pub(super) struct Aead(Kind);

enum Kind {
    Null,
    // Both suites take 12-byte nonces and append a 16-byte tag.
    AesGcm(Box<LessSafeKey>),
    ChaCha(Box<ChaCha20Poly1305>),
}

impl Aead {
    /// Prepares a key. The null suite is fine here; who may use it is decided by callers.
    pub(super) fn new(suite: CipherSuite, key: &Key) -> Result<Self, EncryptionError> {
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
            _ => return Err(unsupported),
        }))
    }

    /// Bytes that sealing adds.
    pub(super) const fn overhead(&self) -> usize {
        match self.0 {
            Kind::Null => 0,
            Kind::AesGcm(_) | Kind::ChaCha(_) => TAG_SIZE,
        }
    }

    /// Seals `plain` as block `index` after `start` into `out`, which is longer by the overhead.
    pub(super) fn seal_into(
        &self,
        start: &Nonce,
        index: u64,
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<(), EncryptionError> {
        let expected = plain.len() + self.overhead();
        if out.len() != expected {
            return Err(EncryptionError::Length { expected, actual: out.len() });
        }
        out[..plain.len()].copy_from_slice(plain);
        self.seal_in_place(start, index, out)
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
        let length = block.len();
        let (body, tag) = block
            .split_last_chunk_mut::<TAG_SIZE>()
            .ok_or(EncryptionError::Length { expected: TAG_SIZE, actual: length })?;
        let nonce = start.short_plus(index);
        let too_long = EncryptionError::BlockSize(length as i64);
        match &self.0 {
            Kind::Null => {}
            Kind::AesGcm(key) => {
                let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
                let made = key.seal_in_place_separate_tag(nonce, Aad::empty(), body);
                tag.copy_from_slice(made.map_err(|_| too_long)?.as_ref());
            }
            Kind::ChaCha(key) => {
                let made = key.encrypt_inout_detached(&nonce.into(), b"", body.into());
                tag.copy_from_slice(&made.map_err(|_| too_long)?);
            }
        }
        Ok(())
    }

    /// Opens block `index` after `start` into `out`, which is shorter by the overhead. After an
    /// error the content of `out` is unspecified and no plaintext.
    pub(super) fn open_into(
        &self,
        start: &Nonce,
        index: u64,
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), EncryptionError> {
        let expected = sealed.len().checked_sub(self.overhead());
        let expected = expected.ok_or(EncryptionError::Decryption)?;
        if out.len() != expected {
            return Err(EncryptionError::Length { expected, actual: out.len() });
        }
        let (body, tag) = sealed.split_at(expected);
        let nonce = start.short_plus(index);
        match &self.0 {
            Kind::Null => out.copy_from_slice(sealed),
            Kind::AesGcm(key) => {
                let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
                key.open_separate_gather(nonce, Aad::empty(), body, tag, out)
                    .map_err(|_| EncryptionError::Decryption)?;
            }
            Kind::ChaCha(key) => {
                let tag = tag.try_into().map_err(|_| EncryptionError::Decryption)?;
                let buffers = InOutBuf::new(body, out).map_err(|_| EncryptionError::Decryption)?;
                key.decrypt_inout_detached(&nonce.into(), b"", buffers, tag)
                    .map_err(|_| EncryptionError::Decryption)?;
            }
        }
        Ok(())
    }

    /// Seals one thing. Callers handle empty input, which by convention of the formats stays empty.
    pub(super) fn seal(&self, nonce: &Nonce, plain: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        let mut out = vec![0; plain.len() + self.overhead()];
        self.seal_into(nonce, 0, plain, &mut out)?;
        Ok(out)
    }

    /// Opens one thing.
    pub(super) fn open(&self, nonce: &Nonce, sealed: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        let length = sealed.len().checked_sub(self.overhead());
        let mut out = vec![0; length.ok_or(EncryptionError::Decryption)?];
        self.open_into(nonce, 0, sealed, &mut out)?;
        Ok(out)
    }
}
