//! One listening port for all services of a satellite or storage node.
//!
//! The first bytes decide: `DRPC!!!1` is the network's preamble and is followed by TLS; a TLS
//! record without it is accepted too, so that any gRPC tool can connect. Everything else is closed.
//! Then the handshake decides: a client that selects `h2` speaks gRPC, every other DRPC. How many
//! connections a process takes at once is bounded by its descriptors (`descriptors.rs`).

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::service::Routes;
use tonic::transport::server::Connected;

pub use crate::peer::Peer;

use self::admission::{Admission, Admissions, Arrival, Counting};
use crate::dial::{self, PREAMBLE, WRITE_LIMIT, buffered};
use crate::drpc;
use crate::tls::{GRPC, Identity, IdentityError, peer_of, server_config};

mod admission;

/// Time for the first bytes and the handshake of an accepted connection.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Handshakes in progress at once; further connections wait in the system's queue.
const HANDSHAKES: usize = 256;
/// Bytes a stream may be ahead of its reader.
const STREAM_WINDOW: u32 = 4 << 20;
/// Bytes a connection may be ahead of its readers.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Largest frame accepted.
const FRAME_SIZE: u32 = 64 << 10;
/// Calls in progress at once on one connection.
const CALLS_PER_CONNECTION: u32 = 1024;
/// A silent connection is probed after this time.
const PROBE_AFTER: Duration = Duration::from_secs(30);
/// Pause after the system could not give a connection, in which others end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time between two entries in the log that say so.
const ACCEPT_LOG_EVERY: Duration = Duration::from_secs(60);
/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// A bound port that nobody serves yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    admissions: Arc<Admissions>,
}

/// The port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// Services being served. Dropping it stops them at once, as [`Running::kill`] does.
pub struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    kill: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Listener {
    /// Binds `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// The port is in use or not allowed.
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

    /// Gives this listener a number of connections of its own, instead of the one that all listeners
    /// of the process share. At least one is accepted.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.admissions = Admissions::new(count.max(1), count.max(1));
        self
    }

    /// Serves `routes` in the name of `identity` until stopped.
    ///
    /// # Errors
    /// The TLS library refuses the identity.
    pub fn serve(self, identity: &Identity, routes: Routes) -> Result<Running, IdentityError> {
        let tls = server_config(identity)?;
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let address = self.address;
        let task = tokio::spawn(run(self, tls, routes, stop.clone(), kill.clone()));
        Ok(Running { address, stop, kill, task: Some(task) })
    }
}

impl Running {
    /// Returns the address being served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets calls in progress finish for `grace`, then closes all sockets.
    ///
    /// When it returns, the port is free.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.cancel();
        if let Some(mut task) = self.task.take()
            && timeout(grace, &mut task).await.is_err()
        {
            self.kill.cancel();
            let _ = timeout(HANDSHAKE_DEADLINE, task).await;
        }
    }

    /// Closes the port and all sockets at once; calls in progress fail.
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
    let (ready, connections) = mpsc::channel(HANDSHAKES);
    let (in_use, mut all_over) = mpsc::channel(1);
    let routes = routes.prepare();
    let drpc = Drpc { routes: routes.clone(), stop: stop.clone(), _in_use: in_use };
    let accepting = accept(listener, TlsAcceptor::from(tls), ready, drpc, kill);
    let serving = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .max_concurrent_streams(CALLS_PER_CONNECTION)
        .http2_keepalive_interval(Some(PROBE_AFTER))
        .layer(tower::layer::layer_fn(Counting::all))
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
    // Nothing is ever sent: this waits until the last connection lets go of its end.
    let _: Option<()> = all_over.recv().await;
    if let Err(error) = served {
        tracing::warn!(%error, "serving ended");
    }
}

/// What a connection that speaks DRPC needs.
#[derive(Clone)]
struct Drpc {
    routes: Routes,
    stop: CancellationToken,
    /// Held while the connection is open.
    _in_use: mpsc::Sender<()>,
}

impl Drpc {
    async fn serve(self, stream: TlsStream<dial::Socket>, peer: Peer, admission: Admission) {
        let remote = peer.remote;
        let routes = Counting::of(self.routes, admission.clone());
        let serving = drpc::server::serve(stream, peer, routes, self.stop);
        tokio::select! {
            () = admission.ended() => {}
            served = serving => if let Err(error) = served {
                tracing::debug!(%remote, %error, "a connection failed");
            },
        }
    }
}

async fn accept(
    listener: Listener,
    tls: TlsAcceptor,
    ready: mpsc::Sender<io::Result<Socket>>,
    drpc: Drpc,
    kill: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(HANDSHAKES));
    let mut logged: Option<Instant> = None;
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let (stream, remote) = match listener.socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors: waiting lets other connections end.
                if logged.is_none_or(|at| at.elapsed() >= ACCEPT_LOG_EVERY) {
                    logged = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(admission) = listener.admissions.admit(&kill).await else { continue };
        let (tls, ready, drpc) = (tls.clone(), ready.clone(), drpc.clone());
        tokio::spawn(async move {
            let shaken = tokio::select! {
                () = drpc.stop.cancelled() => None,
                () = admission.closed().cancelled() => None,
                shaken = handshake_in_time(stream, tls) => shaken,
            };
            drop(slot);
            let Some(stream) = shaken else { return };
            let peer = Peer { remote, identity: peer_of(stream.get_ref().1.peer_certificates()) };
            if stream.get_ref().1.alpn_protocol() != Some(GRPC) {
                drop(ready);
                drpc.serve(stream, peer, admission).await;
                return;
            }
            drop(drpc);
            let arrival = Arrival { peer, admission: admission.clone() };
            let _ = ready.send(Ok(Socket::new(stream, arrival))).await;
            if admission.is_refused() {
                admission.ended().await;
            }
        });
    }
}

async fn handshake_in_time(stream: TcpStream, tls: TlsAcceptor) -> Option<TlsStream<dial::Socket>> {
    let remote = stream.peer_addr();
    match timeout(HANDSHAKE_DEADLINE, handshake(stream, tls)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(?remote, %error, "handshake failed"),
        Err(_) => tracing::debug!(?remote, "handshake took too long"),
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

/// An authenticated connection that dies when the process is told to let go of it.
struct Socket {
    stream: TlsStream<dial::Socket>,
    arrival: Arrival,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Socket {
    fn new(stream: TlsStream<dial::Socket>, arrival: Arrival) -> Self {
        let closed = arrival.admission.closed().clone();
        Self { stream, arrival, killed: Box::pin(closed.cancelled_owned()) }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.killed.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for Socket {
    type ConnectInfo = Arrival;

    fn connect_info(&self) -> Arrival {
        self.arrival.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
