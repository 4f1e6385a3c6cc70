//! Calls to the authentication service of edge services: DRPC over TLS with host names and public
//! authorities, or without TLS. Unlike between clients and nodes, the connection begins with no preamble.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::body::Body;

use crate::codec::MESSAGE_LIMIT;
use crate::dial::DialError;
use crate::drpc::client::{Connection, Idle, call};
use crate::r#gen::edgeauth::EdgeRegisterAccessRequest;
use crate::r#gen::edgeauth::edge_auth_client::EdgeAuthClient;
use crate::runtime::{self, RuntimeError};
use crate::status::printable;
use crate::time::system_time;

/// How an authentication service proves who it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Trust {
    /// By a certificate for its host name from one of these authorities, in PEM.
    Authorities(Vec<u8>),
    /// Not at all: the connection is neither encrypted nor authentic.
    Plaintext,
    /// By a certificate for its host name from one of the authorities that the system trusts.
    System,
}

/// What the service answers to a registration.
#[non_exhaustive]
pub struct RegisteredAccess {
    /// Identifies the grant; decrypts it at the service.
    pub access_key_id: String,
    /// The secret key of S3.
    pub secret_key: String,
    /// URL of the S3 gateway.
    pub endpoint: String,
    /// When a grant of a free account expires.
    pub free_tier_restricted_expiration: Option<SystemTime>,
}

impl fmt::Debug for RegisteredAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredAccess").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Why an access grant was not registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EdgeError {
    /// No connection to the service.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The certificates of the authorities cannot be read.
    #[error("certificates of authorities: {0}")]
    Authorities(String),
    /// The runtime is shutting down.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The service refused, or failed.
    #[error("{0}")]
    Refused(crate::status::Failure),
    /// The service did not answer in time.
    #[error("authentication service {address} timed out after {} s", timeout.as_secs())]
    TimedOut {
        /// `host:port` as given.
        address: String,
        /// The timeout that applied to connecting and to the call.
        timeout: Duration,
    },
}

/// Registers an access grant at the authentication service at `address` (`host:port`).
///
/// # Errors
/// See [`EdgeError`]. Dropping the future closes the connection.
pub async fn register_access(
    address: &str,
    trust: &Trust,
    access_grant: String,
    public: bool,
    time: Duration,
) -> Result<RegisteredAccess, EdgeError> {
    let registered = async {
        let request = EdgeRegisterAccessRequest { access_grant, public };
        let connection = Once::new(connect(address, trust).await?);
        let mut client = EdgeAuthClient::new(connection)
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        let reply = client.register_access(request).await;
        let reply = reply.map_err(|status| EdgeError::Refused(status.into()))?.into_inner();
        let expiration = reply.free_tier_restricted_expiration.as_ref();
        Ok(RegisteredAccess {
            access_key_id: reply.access_key_id,
            secret_key: reply.secret_key,
            endpoint: reply.endpoint,
            free_tier_restricted_expiration: system_time(expiration),
        })
    };
    let late = || EdgeError::TimedOut { address: address.to_owned(), timeout: time };
    timeout(time, registered).await.unwrap_or_else(|_| Err(late()))
}

/// A plain or encrypted socket.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

type BoxSocket = Box<dyn Socket>;

async fn connect(address: &str, trust: &Trust) -> Result<BoxSocket, EdgeError> {
    let connect_error = |error: std::io::Error| DialError::Connect {
        address: address.to_owned(),
        reason: printable(&error.to_string()),
    };
    let roots = match trust {
        Trust::Authorities(pem) => Some(authorities(pem)?),
        Trust::Plaintext => None,
        Trust::System => Some(runtime::compute(system_authorities).await??),
    };
    let socket = TcpStream::connect(address).await.map_err(connect_error)?;
    socket.set_nodelay(true).map_err(connect_error)?;
    let Some(roots) = roots else { return Ok(Box::new(socket)) };

    let handshake_error = |reason: String| DialError::Handshake {
        address: address.to_owned(),
        reason: printable(&reason),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| handshake_error(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(|error| handshake_error(error.to_string()))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
    Ok(Box::new(stream.map_err(|error| handshake_error(error.to_string()))?))
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, EdgeError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| EdgeError::Authorities(error.to_string()))?;
        roots.add(certificate).map_err(|error| EdgeError::Authorities(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(EdgeError::Authorities("there are none".to_owned()));
    }
    Ok(roots)
}

/// Returns the authorities that the system trusts, as far as they can be read. Blocks.
fn system_authorities() -> Result<RootCertStore, EdgeError> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        let reason = loaded.errors.first().map(|error| printable(&error.to_string()));
        let reason = reason.unwrap_or_else(|| "the system has none".to_owned());
        return Err(EdgeError::Authorities(reason));
    }
    Ok(roots)
}

/// A connection for one call.
struct Once(Mutex<Option<Connection<BoxSocket>>>);

impl Once {
    fn new(socket: BoxSocket) -> Self {
        Self(Mutex::new(Some(Connection::new(socket))))
    }
}

impl tower::Service<Request<Body>> for Once {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            let connection = connection.ok_or_else(|| Status::internal("a second call"))?;
            Ok(call(connection, request, Idle::default()))
        })
    }
}
