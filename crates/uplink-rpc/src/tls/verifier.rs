//! TLS configuration that verifies a peer only by its certificate chain and node id.

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

/// ALPN protocol name of gRPC.
pub(crate) const ALPN_GRPC: &[u8] = b"h2";
/// ALPN protocol name of DRPC, which the public network uses in some places.
const ALPN_DRPC: &[u8] = b"storj";

/// Returns the protocols that a dialer offers and a server supports, in order of preference.
pub(crate) fn alpn_protocols() -> Vec<Vec<u8>> {
    [ALPN_GRPC, ALPN_DRPC].map(<[u8]>::to_vec).into()
}

/// Returns the client configuration, which accepts any server with a valid chain. The dialer checks the
/// node id afterwards, because only it knows the expected one.
pub(crate) fn client_config(identity: &Identity) -> Result<Arc<ClientConfig>, IdentityError> {
    let provider = provider();
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ChainVerifier { provider }))
        .with_client_auth_cert(identity.chain().to_vec(), identity.private_key())?;
    config.enable_sni = false;
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = alpn_protocols();
    Ok(Arc::new(config))
}

/// Returns the server configuration, which requests an optional client certificate. Calls that require
/// an authenticated caller reject connections without one.
pub(crate) fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, IdentityError> {
    let provider = provider();
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(ChainVerifier { provider }))
        .with_single_cert(identity.chain().to_vec(), identity.private_key())?;
    config.send_tls13_tickets = 0;
    config.alpn_protocols = alpn_protocols();
    Ok(Arc::new(config))
}

/// Returns the cryptography provider, which prefers AES-128. Peers of the public network select it, and
/// it is a quarter cheaper than AES-256 for bytes that are already encrypted.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

/// Returns the identity of a TLS peer from the certificates of a completed handshake; `None` if the
/// peer sent none.
///
/// The handshake has already verified the chain.
#[must_use]
pub fn peer_of(certificates: Option<&[CertificateDer<'_>]>) -> Option<Arc<PeerIdentity>> {
    identity::verify_chain(certificates?).ok().map(Arc::new)
}

/// Accepts every chain that is a valid identity of any node.
#[derive(Debug)]
struct ChainVerifier {
    provider: Arc<CryptoProvider>,
}

impl ChainVerifier {
    fn verify_chain(
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error> {
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
        Self::verify_chain(leaf, rest).map(|()| ServerCertVerified::assertion())
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
        Self::verify_chain(leaf, rest).map(|()| ClientCertVerified::assertion())
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
    fn aes_128_is_preferred_and_all_other_suites_are_kept() {
        let ours = provider();
        let all = aws_lc_rs::default_provider();
        let first = ours.cipher_suites.first().map(|suite| suite.suite());
        assert_eq!(first, Some(CipherSuite::TLS13_AES_128_GCM_SHA256));
        assert_eq!(ours.cipher_suites.len(), all.cipher_suites.len());
        assert!(all.cipher_suites.iter().all(|suite| ours.cipher_suites.contains(suite)));
    }
}
