//! Identities of satellites, storage nodes and clients: certificate chains and node ids.
//!
//! A peer presents a chain of X.509 certificates: leaf, certificate authority and possibly a
//! network's own authority. Only the signatures and the authority's key, which determines the node
//! id, are checked. Names, dates (which are in year 1) and public authorities are ignored.

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

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::Oid;
use x509_parser::oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ECDSA_WITH_SHA256};
use x509_parser::prelude::FromDer;

use crate::id::NodeId;
use crate::signature::{SignatureError, VerifyingKey};

/// A peer with a verified certificate chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    node_id: NodeId,
    leaf_key: VerifyingKey,
    chain: Vec<Vec<u8>>,
}

impl PeerIdentity {
    /// Returns the node id derived from the key of the peer's authority.
    pub const fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Returns the leaf's key, which signs order limits and piece hashes.
    pub const fn leaf_key(&self) -> &VerifyingKey {
        &self.leaf_key
    }

    /// Returns the certificates in DER, leaf first.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Returns the concatenated certificates in DER, as used in messages.
    pub fn joined_chain(&self) -> Vec<u8> {
        self.chain.concat()
    }
}

/// Verifies a chain of certificates in DER, leaf first.
///
/// Does not prove that the peer has the leaf's private key; the TLS handshake does. The caller must
/// compare the node id with the expected one.
///
/// # Errors
///
/// - The chain is too short or exceeds a limit.
/// - A certificate is malformed or not signed by the next one, the last by itself.
/// - The second certificate is not a certificate authority.
/// - The identity has an unknown version.
pub fn verify_chain<C: AsRef<[u8]>>(chain: &[C]) -> Result<PeerIdentity, IdentityError> {
    if chain.len() > MAX_CHAIN_LENGTH {
        return Err(IdentityError::ChainLength { length: chain.len() });
    }
    let certificates = chain
        .iter()
        .enumerate()
        .map(|(index, der)| parse(der.as_ref(), index))
        .collect::<Result<Vec<_>, _>>()?;
    let [leaf, authority, ..] = certificates.as_slice() else {
        return Err(IdentityError::ChainLength { length: chain.len() });
    };
    for (index, certificate) in certificates.iter().enumerate() {
        let parent = certificates.get(index.saturating_add(1)).unwrap_or(certificate);
        verify_signed_by(certificate, parent)
            .map_err(|source| IdentityError::Signature { index, source })?;
    }
    check_authority(leaf, authority)?;
    let version = identity_version(authority)?;
    let leaf_key = VerifyingKey::from_spki_der(leaf.public_key().raw)
        .map_err(|source| IdentityError::Signature { index: 0, source })?;
    Ok(PeerIdentity {
        node_id: node_id(authority.public_key().raw, version),
        leaf_key,
        chain: chain.iter().map(|der| der.as_ref().to_vec()).collect(),
    })
}

/// Splits concatenated certificates in DER, as used in messages.
///
/// # Errors
///
/// When the bytes are not whole certificates, or there are too many or too large ones.
pub fn split_chain(joined: &[u8]) -> Result<Vec<&[u8]>, IdentityError> {
    let mut chain = Vec::new();
    let mut rest = joined;
    while !rest.is_empty() {
        if chain.len() == MAX_CHAIN_LENGTH {
            return Err(IdentityError::ChainLength { length: chain.len().saturating_add(1) });
        }
        let index = chain.len();
        let (left, _) =
            X509Certificate::from_der(rest).map_err(|_| IdentityError::Certificate { index })?;
        let length = rest.len().saturating_sub(left.len());
        if length > MAX_CERTIFICATE_SIZE {
            return Err(IdentityError::CertificateSize { index, size: length });
        }
        chain.push(rest.get(..length).unwrap_or_default());
        rest = left;
    }
    Ok(chain)
}

/// Returns the node id of an authority's public key, a SubjectPublicKeyInfo in DER.
///
/// SHA-256 of SHA-256, with the last byte replaced by the identity version.
pub fn node_id(authority_key: &[u8], version: u8) -> NodeId {
    let mut id: [u8; 32] = Sha256::digest(Sha256::digest(authority_key)).into();
    if let Some(last) = id.last_mut() {
        *last = version;
    }
    NodeId::new(id)
}

fn parse(der: &[u8], index: usize) -> Result<X509Certificate<'_>, IdentityError> {
    if der.len() > MAX_CERTIFICATE_SIZE {
        return Err(IdentityError::CertificateSize { index, size: der.len() });
    }
    let malformed = IdentityError::Certificate { index };
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| malformed.clone())?;
    let consistent = rest.is_empty()
        && certificate.signature_value.unused_bits == 0
        && certificate.signature_algorithm == certificate.tbs_certificate.signature;
    if consistent { Ok(certificate) } else { Err(malformed) }
}

/// The parent's key determines the signature algorithm; that of the certificate is ignored.
fn verify_signed_by(
    certificate: &X509Certificate<'_>,
    parent: &X509Certificate<'_>,
) -> Result<(), SignatureError> {
    let key = VerifyingKey::from_spki_der(parent.public_key().raw)?;
    key.verify(certificate.tbs_certificate.as_ref(), &certificate.signature_value.data)
}

/// Checks the X.509 rules for a certificate that signs another.
fn check_authority(
    leaf: &X509Certificate<'_>,
    authority: &X509Certificate<'_>,
) -> Result<(), IdentityError> {
    let malformed = |_| IdentityError::Certificate { index: 1 };
    let constraints = authority.basic_constraints().map_err(malformed)?;
    if !constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(IdentityError::NotAnAuthority);
    }
    let usage = authority.key_usage().map_err(malformed)?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(IdentityError::NotAnAuthority);
    }
    let elliptic = authority.public_key().algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY;
    if elliptic && leaf.signature_algorithm.algorithm != OID_SIG_ECDSA_WITH_SHA256 {
        return Err(IdentityError::SignatureAlgorithm);
    }
    Ok(())
}

/// Returns the version declared by an authority's certificate; 0 by default.
fn identity_version(authority: &X509Certificate<'_>) -> Result<u8, IdentityError> {
    let extension = authority
        .get_extension_unique(&IDENTITY_VERSION_EXTENSION)
        .map_err(|_| IdentityError::Certificate { index: 1 })?;
    match extension.map(|extension| extension.value) {
        None | Some([IDENTITY_VERSION]) => Ok(IDENTITY_VERSION),
        Some(_) => Err(IdentityError::Version),
    }
}

/// The only identity version in use.
const IDENTITY_VERSION: u8 = 0;

/// 2.999.2.1: the certificate extension that contains the identity version as a raw byte.
const IDENTITY_VERSION_EXTENSION: Oid<'static> = Oid::new(Cow::Borrowed(&[0x88, 0x37, 2, 1]));

/// Maximum number of certificates in a chain; the network uses two or three.
pub const MAX_CHAIN_LENGTH: usize = 8;

/// Maximum size of a certificate in bytes; real ones have less than one KiB.
pub const MAX_CERTIFICATE_SIZE: usize = 16 << 10;

/// Why a certificate chain is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A certificate is malformed. Number 0 is the leaf.
    #[error("certificate {index} of the chain is malformed")]
    Certificate {
        /// Index in the chain.
        index: usize,
    },
    /// A certificate is too large. Number 0 is the leaf.
    #[error(
        "certificate {index} of the chain is too large: {size} bytes, limit {MAX_CERTIFICATE_SIZE}"
    )]
    CertificateSize {
        /// Index in the chain.
        index: usize,
        /// Bytes of the certificate.
        size: usize,
    },
    /// The chain has no authority, or too many certificates.
    #[error("certificate chain has {length} certificates, must be 2 to {MAX_CHAIN_LENGTH}")]
    ChainLength {
        /// Certificates in the chain.
        length: usize,
    },
    /// The second certificate is not allowed to sign others.
    #[error("the second certificate of the chain is not a certificate authority")]
    NotAnAuthority,
    /// A certificate is not signed by the next, or its key has an unsupported type.
    #[error("certificate {index} of the chain is not signed by the next: {source}")]
    Signature {
        /// Index in the chain.
        index: usize,
        /// The cause.
        source: SignatureError,
    },
    /// The leaf's signature algorithm does not match its authority's key.
    #[error("signature algorithm of the leaf certificate does not match its authority's key")]
    SignatureAlgorithm,
    /// The identity has an unknown version.
    #[error("identity has an unknown version")]
    Version,
}
