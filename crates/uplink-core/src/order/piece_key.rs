//! The key pair of a segment's orders: Ed25519, made by the satellite for each segment.

use std::{fmt, sync::Arc};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::secret::Secret;

/// The private piece key, which a satellite hands to the client with its order limits.
///
/// Its wire form has 64 bytes: the seed and the public key. Clones share the key.
#[derive(Clone)]
pub struct PiecePrivateKey(Arc<Keys>);

struct Keys {
    pair: Ed25519KeyPair,
    bytes: Secret<[u8; 64]>,
}

impl PiecePrivateKey {
    /// Makes the key pair of a random seed.
    ///
    /// # Errors
    ///
    /// When the cryptographic library fails, for example for lack of memory.
    pub fn from_seed(seed: &Secret<[u8; 32]>) -> Result<Self, PieceKeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose())
            .map_err(|_| PieceKeyError::PrivateKey)?;
        let mut bytes = Secret::new([0; 64]);
        let (first, second) = bytes.expose_mut().split_at_mut(32);
        first.copy_from_slice(seed.expose());
        second.copy_from_slice(pair.public_key().as_ref());
        Ok(Self(Arc::new(Keys { pair, bytes })))
    }

    /// Reads the wire form.
    ///
    /// # Errors
    ///
    /// Unless it has 64 bytes and its halves belong together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PieceKeyError> {
        let bytes: &[u8; 64] = bytes.try_into().map_err(|_| PieceKeyError::PrivateKey)?;
        let (first, public) = bytes.split_at(32);
        let mut seed = Secret::new([0; 32]);
        seed.expose_mut().copy_from_slice(first);
        let key = Self::from_seed(&seed)?;
        if key.public().as_bytes() == public { Ok(key) } else { Err(PieceKeyError::PrivateKey) }
    }

    /// The wire form.
    pub fn to_bytes(&self) -> Secret<[u8; 64]> {
        self.0.bytes.clone()
    }

    /// The public half, which the order limits name.
    pub fn public(&self) -> PiecePublicKey {
        let mut public = [0; 32];
        public.copy_from_slice(self.0.bytes.expose().split_at(32).1);
        PiecePublicKey(public)
    }

    /// Signs a payload: 64 bytes, the same for each call.
    pub fn sign(&self, payload: &[u8]) -> Vec<u8> {
        self.0.pair.sign(payload).as_ref().to_vec()
    }
}

impl fmt::Debug for PiecePrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PiecePrivateKey(redacted)")
    }
}

/// The public piece key of an order limit.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PiecePublicKey([u8; 32]);

impl PiecePublicKey {
    /// Takes a key from bytes of unknown length, which must be 32.
    ///
    /// # Errors
    ///
    /// When the length differs.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PieceKeyError> {
        bytes.try_into().map(Self).map_err(|_| PieceKeyError::PublicKey)
    }

    /// Lends the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Verifies the signature of a payload.
    ///
    /// # Errors
    ///
    /// When it was not made over this payload with the private half.
    pub fn verify(&self, payload: &[u8], signature: &[u8]) -> Result<(), PieceKeyError> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(payload, signature)
            .map_err(|_| PieceKeyError::Mismatch)
    }
}

impl fmt::Debug for PiecePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PiecePublicKey(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// Why a piece key or its signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PieceKeyError {
    /// The signature does not belong to payload and key.
    #[error("signature does not verify")]
    Mismatch,
    /// The private key has not 64 bytes, or its halves do not belong together.
    #[error("malformed private piece key")]
    PrivateKey,
    /// The public key has not 32 bytes.
    #[error("malformed public piece key")]
    PublicKey,
}
