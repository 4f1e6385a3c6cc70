//! One listening port for all services of a satellite or storage node.
//!
//! A connection begins with the network's preamble `DRPC!!!1` and then TLS. A TLS record without the
//! preamble is accepted too, so that any gRPC tool can connect. Other connections are closed. A client
//! that negotiates `h2` in the handshake uses gRPC, all others DRPC. The descriptor budget
//! (`descriptors.rs`) bounds the number of connections of a process.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::service::Routes;
use tonic::transport::server::Connected;

use self::admission::{Admission, Admissions, ConnectionInfo, CountingService};
use crate::dial::{self, PREAMBLE, WRITE_LIMIT, buffered};
pub use crate::peer::Peer;
use crate::tls::{ALPN_GRPC, Identity, IdentityError, peer_of, server_config};
use crate::{drpc, runtime};

mod admission;

/// Timeout of the first bytes and the handshake of an accepted connection.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of concurrent handshakes. Further connections wait in the system's accept queue.
const MAX_HANDSHAKES: usize = 256;
/// HTTP/2 flow-control window of a stream in bytes.
const STREAM_WINDOW: u32 = 4 << 20;
/// HTTP/2 flow-control window of a connection in bytes.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Maximum HTTP/2 frame size.
const FRAME_SIZE: u32 = 64 << 10;
/// Maximum number of concurrent calls on one connection.
const MAX_CALLS_PER_CONNECTION: u32 = 1024;
/// Idle time after which a connection is probed.
const PROBE_AFTER: Duration = Duration::from_secs(30);
/// Pause after a failed accept, in which other connections may close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Minimum interval between log entries about failed accepts.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// A bound port that is not served yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    admissions: Arc<Admissions>,
}

/// Why a port cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// The requested address.
    pub address: SocketAddr,
    /// The system's error.
    pub source: io::Error,
}

/// A handle to running services. Dropping it stops them at once, as [`Running::kill`] does.
pub struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    kill: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Listener {
    /// Binds `address`. Port 0 selects a free port.
    ///
    /// # Errors
    /// The port is in use or not permitted.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let bound = async {
            let socket = TcpListener::bind(address).await?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address, admissions: Admissions::of_process() })
        };
        bound.await.map_err(|source| ListenError { address, source })
    }

    /// Returns the address with the actual port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets a connection limit for this listener, instead of the limit that all listeners of the process
    /// share. The minimum is one.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.admissions = Admissions::new(count.max(1), count.max(1));
        self
    }

    /// Serves `routes` with `identity` until stopped.
    ///
    /// # Errors
    /// The TLS library rejects the identity.
    pub fn serve(self, identity: &Identity, routes: Routes) -> Result<Running, IdentityError> {
        let tls = server_config(identity)?;
        let stop = CancellationToken::new();
        let kill = CancellationToken::new();
        let address = self.address;
        let task = runtime::spawn(run(self, tls, routes, stop.clone(), kill.clone()));
        Ok(Running { address, stop, kill, task: Some(task) })
    }
}

impl Running {
    /// Returns the address being served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting connections, waits up to `grace` for calls in flight, then closes all sockets.
    ///
    /// The port is free when this returns.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.cancel();
        if let Some(mut task) = self.task.take()
            && timeout(grace, &mut task).await.is_err()
        {
            self.kill.cancel();
            let _ = timeout(HANDSHAKE_TIMEOUT, task).await;
        }
    }

    /// Closes the port and all sockets at once. Calls in flight fail.
    pub fn kill(&self) {
        self.kill.cancel();
        self.stop.cancel();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn run(
    listener: Listener,
    tls: Arc<ServerConfig>,
    routes: Routes,
    stop: CancellationToken,
    kill: CancellationToken,
) {
    let (ready, connections) = mpsc::channel(MAX_HANDSHAKES);
    let (in_use, mut all_closed) = mpsc::channel(1);
    let routes = routes.prepare();
    let drpc = DrpcServer { routes: routes.clone(), stop: stop.clone(), _in_use: in_use };
    let accepting = accept(listener, TlsAcceptor::from(tls), ready, drpc, kill);
    let serving = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .max_concurrent_streams(MAX_CALLS_PER_CONNECTION)
        .http2_keepalive_interval(Some(PROBE_AFTER))
        .layer(tower::layer::layer_fn(CountingService::all))
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            ReceiverStream::new(connections),
            stop.clone().cancelled_owned(),
        );
    let accepting = async {
        tokio::select! {
            () = accepting => {}
            () = stop.cancelled() => {}
        }
    };
    let ((), served) = tokio::join!(accepting, serving);
    // Nothing is ever sent: this waits until the last DRPC connection drops its sender.
    let _: Option<()> = all_closed.recv().await;
    if let Err(error) = served {
        tracing::warn!(%error, "gRPC server failed");
    }
}

/// The state of a DRPC connection.
#[derive(Clone)]
struct DrpcServer {
    routes: Routes,
    stop: CancellationToken,
    /// Held while the connection is open.
    _in_use: mpsc::Sender<()>,
}

impl DrpcServer {
    async fn serve(self, stream: TlsStream<dial::Socket>, peer: Peer, admission: Admission) {
        let remote = peer.remote;
        let routes = CountingService::of(self.routes, admission.clone());
        let serving = drpc::server::serve(stream, peer, routes, self.stop);
        tokio::select! {
            () = admission.ended() => {}
            served = serving => if let Err(error) = served {
                tracing::debug!(%remote, %error, "connection failed");
            },
        }
    }
}

async fn accept(
    listener: Listener,
    tls: TlsAcceptor,
    ready: mpsc::Sender<io::Result<Socket>>,
    drpc: DrpcServer,
    kill: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let mut last_logged: Option<Instant> = None;
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let (stream, remote) = match listener.socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors: other connections may close meanwhile.
                if last_logged.is_none_or(|at| at.elapsed() >= ACCEPT_LOG_INTERVAL) {
                    last_logged = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept a connection");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(admission) = listener.admissions.admit(&kill).await else { continue };
        let tls = tls.clone();
        let ready = ready.clone();
        let drpc = drpc.clone();
        runtime::spawn(async move {
            let stream = tokio::select! {
                () = drpc.stop.cancelled() => None,
                () = admission.closed().cancelled() => None,
                stream = handshake_in_time(stream, tls) => stream,
            };
            drop(slot);
            let Some(stream) = stream else { return };
            let peer = Peer { remote, identity: peer_of(stream.get_ref().1.peer_certificates()) };
            if stream.get_ref().1.alpn_protocol() != Some(ALPN_GRPC) {
                drop(ready);
                drpc.serve(stream, peer, admission).await;
                return;
            }
            drop(drpc);
            let info = ConnectionInfo { peer, admission: admission.clone() };
            let _ = ready.send(Ok(Socket::new(stream, info))).await;
            if admission.is_refused() {
                admission.ended().await;
            }
        });
    }
}

async fn handshake_in_time(stream: TcpStream, tls: TlsAcceptor) -> Option<TlsStream<dial::Socket>> {
    let remote = stream.peer_addr();
    match timeout(HANDSHAKE_TIMEOUT, handshake(stream, tls)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(?remote, %error, "handshake failed"),
        Err(_) => tracing::debug!(?remote, "handshake timed out"),
    }
    None
}

async fn handshake(mut stream: TcpStream, tls: TlsAcceptor) -> io::Result<TlsStream<dial::Socket>> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first[0] != TLS_HANDSHAKE {
        let mut preamble = [0; PREAMBLE.len()];
        stream.read_exact(&mut preamble).await?;
        if &preamble != PREAMBLE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "unknown protocol"));
        }
    }
    let mut stream = tls.accept(buffered(stream)).await?;
    stream.get_mut().1.set_buffer_limit(Some(WRITE_LIMIT));
    Ok(stream)
}

/// A connection after its handshake. Reads and writes fail once it is to be closed.
struct Socket {
    stream: TlsStream<dial::Socket>,
    info: ConnectionInfo,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Socket {
    fn new(stream: TlsStream<dial::Socket>, info: ConnectionInfo) -> Self {
        let closed = info.admission.closed().clone();
        Self { stream, info, closed: Box::pin(closed.cancelled_owned()) }
    }

    fn check_open(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.closed.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for Socket {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
