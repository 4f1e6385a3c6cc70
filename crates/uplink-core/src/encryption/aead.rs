//! Authenticated encryption under one prepared key, for the suites that are implemented.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, UnboundKey};

use super::{CipherSuite, EncryptionError, Key, Nonce, TAG_SIZE};

/// A key prepared for sealing and opening many blocks. Dropping it wipes the key schedule.
///
/// Uniqueness of nonces per key is what callers owe: segment keys are random and blocks counted,
/// name nonces are derived from the name, wrapping nonces are random.
pub(super) struct Aead(Kind);

enum Kind {
    Null,
    // Both suites take 12-byte nonces and append a 16-byte tag.
    Sealing(Box<LessSafeKey>),
}

impl Aead {
    /// Prepares a key. The null suite is fine here; who may use it is decided by callers.
    pub(super) fn new(suite: CipherSuite, key: &Key) -> Result<Self, EncryptionError> {
        let algorithm = match suite {
            CipherSuite::Null => return Ok(Self(Kind::Null)),
            CipherSuite::AesGcm => &AES_256_GCM,
            CipherSuite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            _ => return Err(EncryptionError::Unsupported(suite)),
        };
        let key = UnboundKey::new(algorithm, key.expose())
            .map_err(|_| EncryptionError::Unsupported(suite))?;
        Ok(Self(Kind::Sealing(Box::new(LessSafeKey::new(key)))))
    }

    /// Bytes that sealing adds.
    pub(super) const fn overhead(&self) -> usize {
        match self.0 {
            Kind::Null => 0,
            Kind::Sealing(_) => TAG_SIZE,
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
        let Kind::Sealing(key) = &self.0 else { return Ok(()) };
        let length = block.len();
        let (body, tag) = block
            .split_last_chunk_mut::<TAG_SIZE>()
            .ok_or(EncryptionError::Length { expected: TAG_SIZE, actual: length })?;
        let made = key
            .seal_in_place_separate_tag(nonce(start, index), Aad::empty(), body)
            .map_err(|_| EncryptionError::BlockSize(length as i64))?;
        tag.copy_from_slice(made.as_ref());
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
        match &self.0 {
            Kind::Null => out.copy_from_slice(sealed),
            Kind::Sealing(key) => {
                let (body, tag) = sealed.split_at(expected);
                key.open_separate_gather(nonce(start, index), Aad::empty(), body, tag, out)
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

fn nonce(start: &Nonce, index: u64) -> aws_lc_rs::aead::Nonce {
    aws_lc_rs::aead::Nonce::assume_unique_for_key(start.short_plus(index))
}
