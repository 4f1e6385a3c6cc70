//! Signatures of satellites and storage nodes, made with the key of their identity.
//!
//! Identities use ECDSA on P-256 with SHA-256, encoded in ASN.1. Certificates may also have RSA keys,
//! which sign with PSS and SHA-256; these are only verified here.

#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
    RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

/// The private key of an identity: ECDSA on P-256.
///
/// Clones share the key, which is wiped when the last one is dropped.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<EcdsaKeyPair>,
    spki: Arc<[u8]>,
}

impl SigningKey {
    /// Parses a private key in DER: PKCS#8, or the older `EC PRIVATE KEY` form of SEC 1.
    ///
    /// # Errors
    ///
    /// When the bytes are not a P-256 key.
    pub fn from_der(der: &[u8]) -> Result<Self, SignatureError> {
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .map_err(|_| SignatureError::PrivateKey)?;
        let spki = pair.public_key().as_der().map_err(|_| SignatureError::PrivateKey)?;
        let spki = spki.as_ref().into();
        Ok(Self { pair: Arc::new(pair), spki })
    }

    /// Signs a message. The signature is ASN.1 in DER and differs between calls.
    ///
    /// # Errors
    ///
    /// When the cryptographic library fails, for example because it runs out of memory.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        signature.map(|bytes| bytes.as_ref().to_vec()).map_err(|_| SignatureError::Signing)
    }

    /// Returns the public key as SubjectPublicKeyInfo in DER.
    pub fn public_key_der(&self) -> &[u8] {
        &self.spki
    }

    /// Returns the public key for verification.
    ///
    /// # Errors
    ///
    /// When the cryptographic library fails, for example because it runs out of memory.
    pub fn verifying_key(&self) -> Result<VerifyingKey, SignatureError> {
        VerifyingKey::from_spki_der(&self.spki)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

/// The public key of an identity: ECDSA on P-256, or RSA.
#[derive(Clone)]
pub struct VerifyingKey {
    key: Arc<ParsedPublicKey>,
    spki: Arc<[u8]>,
}

impl VerifyingKey {
    /// Parses a SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    ///
    /// When the bytes are not a public key on P-256 or an RSA key of 2048 to 8192 bits.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, SignatureError> {
        let (rest, spki) =
            SubjectPublicKeyInfo::from_der(der).map_err(|_| SignatureError::PublicKey)?;
        if !rest.is_empty() {
            return Err(SignatureError::PublicKey);
        }
        let kind: &'static dyn VerificationAlgorithm = match &spki.algorithm.algorithm {
            oid if *oid == OID_PKCS1_RSAENCRYPTION => &RSA_PSS_2048_8192_SHA256,
            oid if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY && is_p256(&spki) => &ECDSA_P256_SHA256_ASN1,
            _ => return Err(SignatureError::KeyKind),
        };
        let key = ParsedPublicKey::new(kind, &spki.subject_public_key.data)
            .map_err(|_| SignatureError::PublicKey)?;
        Ok(Self { key: Arc::new(key), spki: der.into() })
    }

    /// Verifies the signature of a message.
    ///
    /// # Errors
    ///
    /// When the signature was not made over this message with the private key.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.key.verify_sig(message, signature).map_err(|_| SignatureError::Mismatch)
    }

    /// Returns the key as SubjectPublicKeyInfo in DER.
    pub fn public_key_der(&self) -> &[u8] {
        &self.spki
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for VerifyingKey {}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(")?;
        for byte in self.spki.iter() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

fn is_p256(spki: &SubjectPublicKeyInfo<'_>) -> bool {
    let curve = spki.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    // Certificates of the network only use the uncompressed form of the point.
    curve == Some(OID_EC_P256) && spki.subject_public_key.data.first() == Some(&4)
}

/// Why a key or signature is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The public key is neither P-256 nor RSA.
    #[error("public key is neither ECDSA on P-256 nor RSA")]
    KeyKind,
    /// The signature does not match message and key.
    #[error("signature does not verify")]
    Mismatch,
    /// The bytes are not a private key on P-256.
    #[error("invalid private key: malformed or not on P-256")]
    PrivateKey,
    /// The bytes are not a public key.
    #[error("malformed public key")]
    PublicKey,
    /// The cryptographic library failed.
    #[error("signing failed")]
    Signing,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (SigningKey, VerifyingKey) {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let key = SigningKey::from_der(key.serialized_der()).unwrap();
        let public = key.verifying_key().unwrap();
        (key, public)
    }

    #[test]
    fn signature_verifies_only_for_its_message_and_key() {
        let (key, public) = pair();
        let signature = key.sign(b"order limit").unwrap();
        assert_eq!(public.verify(b"order limit", &signature), Ok(()));
        assert_eq!(public.verify(b"order limiT", &signature), Err(SignatureError::Mismatch));
        assert_eq!(public.verify(b"order limit", b""), Err(SignatureError::Mismatch));
        let (_, other) = pair();
        assert_eq!(other.verify(b"order limit", &signature), Err(SignatureError::Mismatch));
    }

    #[test]
    fn unsupported_key_types_are_rejected() {
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        for key in [ed25519, p384] {
            assert!(SigningKey::from_der(key.serialized_der()).is_err());
            let public = rcgen::PublicKeyData::subject_public_key_info(&key);
            assert_eq!(VerifyingKey::from_spki_der(&public), Err(SignatureError::KeyKind));
        }
        assert_eq!(VerifyingKey::from_spki_der(b"0"), Err(SignatureError::PublicKey));
    }

    #[test]
    fn private_key_is_redacted_in_debug() {
        assert_eq!(format!("{:?}", pair().0), "SigningKey(redacted)");
    }
}
