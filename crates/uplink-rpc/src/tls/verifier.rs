//! TLS configuration in which a peer is checked by its certificate chain and node id alone.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, DistinguishedName,
    OtherError, ServerConfig, SignatureScheme,
};
use uplink_core::identity::{self, PeerIdentity};

use super::{Identity, IdentityError};

/// The protocol name of gRPC.
pub(crate) const GRPC: &[u8] = b"h2";
/// The protocol name of DRPC where the public network uses one.
const DRPC: &[u8] = b"storj";

/// Protocols offered by a dialler and known to a server, the best one first.
pub(crate) fn offered() -> Vec<Vec<u8>> {
    [GRPC, DRPC].map(<[u8]>::to_vec).into()
}

/// Client side: any server with a valid chain; the dialler compares the node id afterwards, because
/// only it knows which one it wants.
pub(crate) fn client_config(identity: &Identity) -> Result<Arc<ClientConfig>, IdentityError> {
    let provider = provider();
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ChainVerifier { provider }))
        .with_client_auth_cert(identity.chain().to_vec(), identity.private_key())?;
    config.enable_sni = false;
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = offered();
    Ok(Arc::new(config))
}

/// Server side: a client certificate is asked for and optional; calls that need to know their
/// caller refuse a connection without one.
pub(crate) fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, IdentityError> {
    let provider = provider();
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(ChainVerifier { provider }))
        .with_single_cert(identity.chain().to_vec(), identity.private_key())?;
    config.send_tls13_tickets = 0;
    config.alpn_protocols = offered();
    Ok(Arc::new(config))
}

/// Cryptography of connections, AES-128 first: that is what peers of the public network choose, and
/// a quarter cheaper than AES-256 for bytes that are encrypted already.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

/// Reads who a TLS peer is from the certificates of a finished handshake.
///
/// Returns `None` when the peer sent none. The handshake has verified the chain already, so an
/// invalid one is not met here.
#[must_use]
pub fn peer_of(certificates: Option<&[CertificateDer<'_>]>) -> Option<Arc<PeerIdentity>> {
    identity::verify_chain(certificates?).ok().map(Arc::new)
}

/// Accepts every chain that forms an identity, whoever it belongs to.
#[derive(Debug)]
struct ChainVerifier {
    provider: Arc<CryptoProvider>,
}

impl ChainVerifier {
    fn check(leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let chain: Vec<&[u8]> = std::iter::once(leaf).chain(rest).map(AsRef::as_ref).collect();
        match identity::verify_chain(&chain) {
            Ok(_) => Ok(()),
            Err(error) => Err(CertificateError::Other(OtherError(Arc::new(error))).into()),
        }
    }
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Self::check(leaf, rest).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for ChainVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Self::check(leaf, rest).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_prefer_aes_128_and_keep_every_other_suite() {
        let (ours, all) = (provider(), aws_lc_rs::default_provider());
        let first = ours.cipher_suites.first().map(|suite| suite.suite());
        assert_eq!(first, Some(CipherSuite::TLS13_AES_128_GCM_SHA256));
        assert_eq!(ours.cipher_suites.len(), all.cipher_suites.len());
        assert!(all.cipher_suites.iter().all(|suite| ours.cipher_suites.contains(suite)));
    }
}
