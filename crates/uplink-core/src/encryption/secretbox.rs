//! XSalsa20-Poly1305, compatible with NaCl's `secretbox`.
//!
//! The first 32 bytes of the key stream of (key, nonce) are the one-time key of the tag; the rest
//! encrypts. The tag covers only the ciphertext.

use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use salsa20::XSalsa20;
use salsa20::cipher::inout::InOutBuf;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{EncryptionError, Key, Nonce, TAG_SIZE};

/// A key of this suite. The key stream depends on the whole nonce, so that nothing can be precomputed.
pub(super) struct SecretBox(Key);

impl SecretBox {
    pub(super) fn new(key: Key) -> Self {
        Self(key)
    }

    /// Encrypts `body` in place and returns its tag.
    pub(super) fn seal(&self, nonce: &Nonce, body: &mut [u8]) -> [u8; TAG_SIZE] {
        let (mut stream, mac) = self.begin(nonce);
        stream.apply_keystream(body);
        mac.compute_unpadded(body).into()
    }

    /// Decrypts `body` into `out`, which has the same length. If the tag does not match, `out` is
    /// unchanged.
    pub(super) fn open(
        &self,
        nonce: &Nonce,
        tag: &[u8],
        body: &[u8],
        out: &mut [u8],
    ) -> Result<(), EncryptionError> {
        let (mut stream, mac) = self.begin(nonce);
        let expected: [u8; TAG_SIZE] = mac.compute_unpadded(body).into();
        if !bool::from(expected.ct_eq(tag)) {
            return Err(EncryptionError::Decryption);
        }
        let buffers = InOutBuf::new(body, out).map_err(|_| EncryptionError::Decryption)?;
        stream.apply_keystream_inout(buffers);
        Ok(())
    }

    /// Returns the key stream after its first 32 bytes, and the authenticator keyed with those.
    fn begin(&self, nonce: &Nonce) -> (XSalsa20, Poly1305) {
        let mut stream = XSalsa20::new(self.0.expose().into(), nonce.as_bytes().into());
        let mut tag_key = Zeroizing::new([0; 32]);
        stream.apply_keystream(tag_key.as_mut_slice());
        (stream, Poly1305::new((&*tag_key).into()))
    }
}
