//! Identities: certificate chains that prove a node id, and TLS configuration based on them.
//!
//! An identity is a self-signed CA and a leaf signed by it, both ECDSA P-256. The node id is a hash
//! of the CA's public key. Names, dates and public authorities are not checked: the CA key alone
//! identifies a peer. Clients generate an ephemeral identity per process. Satellites and storage nodes
//! keep theirs in four files.

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
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use uplink_core::id::NodeId;
use uplink_core::identity::{self, PeerIdentity};
use uplink_core::signature::SigningKey;

mod files;
mod verifier;

pub use verifier::peer_of;
pub(crate) use verifier::{ALPN_GRPC, alpn_protocols, client_config, server_config};

/// Object identifier of the extension that holds the identity version as one raw byte.
const VERSION_EXTENSION: [u64; 4] = [2, 999, 2, 1];

/// A certificate chain with the private key of its leaf and, if this process generated it, of its CA.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    leaf_key: PrivatePkcs8KeyDer<'static>,
    ca_key: Option<PrivatePkcs8KeyDer<'static>>,
    signing_key: SigningKey,
    peer: Arc<PeerIdentity>,
}

/// Why an identity cannot be generated, loaded or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The chain is not a valid identity.
    #[error("invalid identity: {0}")]
    Chain(#[from] identity::IdentityError),
    /// A file of the identity already exists.
    #[error("{0} already exists: an identity is never overwritten")]
    Exists(String),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// Keys or certificates could not be generated.
    #[error("cannot generate certificates: {0}")]
    Generate(#[from] rcgen::Error),
    /// The private key is invalid.
    #[error("invalid private key: {0}")]
    Key(String),
    /// A file is not PEM of the expected kind.
    #[error("{path}: invalid PEM: {reason}")]
    Pem {
        /// The file.
        path: String,
        /// Why it is invalid.
        reason: String,
    },
    /// The TLS library rejected the identity.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Identity {
    /// Generates an identity with P-256 keys and identity version 0.
    ///
    /// # Errors
    /// The cryptography provider fails.
    pub fn generate() -> Result<Self, IdentityError> {
        let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let ca_params = ca_params();
        let ca = ca_params.self_signed(&ca_key)?;
        let leaf_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let issuer = Issuer::from_params(&ca_params, &ca_key);
        let leaf = leaf_params().signed_by(&leaf_key, &issuer)?;
        let chain = vec![leaf.der().clone(), ca.der().clone()];
        let mut identity = Self::from_chain(chain, leaf_key.serialize_der().into())?;
        identity.ca_key = Some(ca_key.serialize_der().into());
        Ok(identity)
    }

    /// Creates an identity from a chain, leaf first, and the leaf's PKCS#8 key.
    ///
    /// # Errors
    /// The chain does not verify, or the key is not a P-256 key.
    pub fn from_chain(
        chain: Vec<CertificateDer<'static>>,
        leaf_key: PrivatePkcs8KeyDer<'static>,
    ) -> Result<Self, IdentityError> {
        let peer = Arc::new(identity::verify_chain(&chain)?);
        let signing_key = SigningKey::from_der(leaf_key.secret_pkcs8_der())
            .map_err(|error| IdentityError::Key(error.to_string()))?;
        Ok(Self { chain, leaf_key, ca_key: None, signing_key, peer })
    }

    /// Loads `identity.cert` and `identity.key` from a folder.
    ///
    /// # Errors
    /// A file is missing or corrupt, or the chain does not verify.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let chain_path = folder.join(files::LEAF_CHAIN);
        let chain = CertificateDer::pem_file_iter(&chain_path)
            .and_then(Iterator::collect)
            .map_err(|error| files::pem_error(&chain_path, error))?;
        let key_path = folder.join(files::LEAF_KEY);
        let key = PrivatePkcs8KeyDer::from_pem_file(&key_path)
            .map_err(|error| files::pem_error(&key_path, error))?;
        Self::from_chain(chain, key)
    }

    /// Writes `identity.cert`, `identity.key` and, if known, `ca.cert` and `ca.key`, with mode 0600.
    ///
    /// # Errors
    /// One of the files already exists, or writing fails.
    pub fn save(&self, folder: &Path) -> Result<(), IdentityError> {
        files::save(self, folder)
    }

    /// Returns the node id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.peer.node_id()
    }

    /// Returns the leaf's key, which signs order limits and piece hashes.
    #[must_use]
    pub fn signing_key(&self) -> &SigningKey {
        &self.signing_key
    }

    /// Returns the public part of this identity.
    #[must_use]
    pub fn as_peer(&self) -> &Arc<PeerIdentity> {
        &self.peer
    }

    /// Returns the chain as DER, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Returns the chain as in messages: concatenated DER certificates.
    #[must_use]
    pub fn chain_concatenated(&self) -> Bytes {
        self.chain.iter().flat_map(|certificate| certificate.iter().copied()).collect()
    }

    /// Derives a secret of 32 bytes from the leaf key, for the identity's own use.
    ///
    /// `context` separates uses. Equal contexts yield equal bytes for the lifetime of the identity.
    #[must_use]
    pub fn derive_secret(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, self.leaf_key.secret_pkcs8_der())
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.leaf_key.clone_key())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("node_id", &self.node_id()).finish_non_exhaustive()
    }
}

fn subject() -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Storj");
    name
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.custom_extensions = vec![CustomExtension::from_oid_content(&VERSION_EXTENSION, vec![0])];
    params
}

fn leaf_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}
