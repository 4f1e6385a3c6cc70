//! A client built only from the protocol files and TLS: without preamble, client certificate and
//! verification of names.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::Endpoint;
use uplink_rpc::r#gen::metainfo::metainfo_client::MetainfoClient;
use uplink_rpc::r#gen::metainfo::{DownloadObjectRequest, ListBucketsRequest};

use crate::network::Network;

/// Accepts every certificate: that of a satellite is not issued by a public CA.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn plain_grpc_client_lists_buckets_over_tls() {
    let network = Network::start(0).await;
    network.create_bucket("first").await;
    network.create_bucket("second").await;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let address = network.satellite.address();
    let connect = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let socket = TcpStream::connect(address).await?;
            let name = ServerName::IpAddress(address.ip().into());
            connector.connect(name, socket).await.map(TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_static("http://satellite.test");
    let channel = endpoint.connect_with_connector(connect).await.unwrap();
    let mut client = MetainfoClient::new(channel);
    let request =
        ListBucketsRequest { direction: 2, header: network.header(), ..Default::default() };
    let listed = client.list_buckets(request).await.unwrap().into_inner();
    let names: Vec<_> = listed.items.iter().map(|item| item.name.clone()).collect();
    assert_eq!(names, ["first", "second"]);

    // Storage nodes require a client certificate, so such a client receives no order limits.
    let request = DownloadObjectRequest {
        bucket: "first".into(),
        encrypted_object_key: "key".into(),
        header: network.header(),
        ..Default::default()
    };
    let rejected = client.download_object(request).await.unwrap_err();
    assert_eq!(rejected.code(), tonic::Code::Unauthenticated);
    network.stop().await;
}
