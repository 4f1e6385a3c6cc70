//! A satellite that lies: a proxy with the satellite's own identity, which answers clients with what
//! a test makes of the satellite's answers. Only with the feature `faults`, which nothing that is
//! shipped turns on.
//!
//! ```text
//!   client ══ gRPC or DRPC ══► LyingSatellite ── hook ──► Upstream ══ gRPC ══► satellite
//!                                   ◄── address::confine ◄── hook ◄──
//! ```

mod address;
mod codec;
mod service;
pub mod wire;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::time::sleep;
use tonic::Request;
use tonic::service::Routes;
use uplink_rpc::dial::Dialer;
use uplink_rpc::pool::Pool;
use uplink_rpc::server::{Listener, Running};
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::tls::Identity;

use self::codec::BytesCodec;
use crate::error::{NetworkError, Result};
use crate::network::Network;

/// A call as a client made it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call {
    /// Name of the method of the metadata service, such as `Batch`.
    pub method: String,
    /// The request, encoded.
    pub request: Bytes,
}

/// An encoded answer, or the failure instead of it.
pub type Answer = std::result::Result<Bytes, Failure>;

/// The satellite behind the proxy, which tells the truth.
#[derive(Clone, Debug)]
pub struct Upstream {
    pool: Pool,
    node: uplink_core::id::NodeId,
    address: String,
}

/// Answers a call, usually with what [`Upstream::call`] makes of it.
type Hook = Arc<dyn Fn(Call, Upstream) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A proxy between clients and the satellite of a network, which rewrites answers.
///
/// It shows the satellite's own certificates and serves both transports on one port. Until
/// [`lie`](Self::lie) is called it passes everything on unchanged. Storage node addresses outside
/// 127.0.0.0/8 are replaced in every answer, whatever the hook returns, so that no client dials
/// another machine. Dropping it closes its connections.
pub struct LyingSatellite {
    identity: Identity,
    shared: Arc<Shared>,
    running: Running,
}

pub(crate) struct Shared {
    hook: RwLock<Option<Hook>>,
    upstream: Upstream,
    in_flight: AtomicUsize,
    calls: AtomicU64,
}

/// Largest message that the satellite may send to the proxy.
const MESSAGE_LIMIT: usize = 64 << 20;
/// Pause between two looks at the calls in flight.
const PAUSE: Duration = Duration::from_millis(1);

impl LyingSatellite {
    /// Starts a proxy on a free port.
    ///
    /// # Errors
    /// The satellite's identity cannot be read, or there is no port.
    pub async fn start(network: &Network) -> Result<Self> {
        let identity = network.satellite_identity()?;
        let failed = |source| NetworkError::Identity { whose: "the proxy".to_owned(), source };
        let own = Identity::generate().and_then(|own| Dialer::new(&own)).map_err(failed)?;
        let (node, address) = network.satellite_node();
        let upstream = Upstream { pool: Pool::new(own), node, address };
        let (in_flight, calls) = (AtomicUsize::new(0), AtomicU64::new(0));
        let shared = Arc::new(Shared { hook: RwLock::default(), upstream, in_flight, calls });
        let routes = Routes::new(service::Service(Arc::clone(&shared)));
        let bound = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
        let listener = bound.map_err(|error| NetworkError::Port {
            address: error.address,
            path: network.directory().to_owned(),
            source: error.source,
        })?;
        let running = listener.serve(&identity, routes).map_err(failed)?;
        Ok(Self { identity, shared, running })
    }

    /// Returns the node URL of the proxy, `id@address:port`, for an access grant.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}@{}", self.identity.node_id(), self.running.address())
    }

    /// Returns the satellite's identity, with which a hook can sign order limits.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the satellite behind the proxy.
    #[must_use]
    pub fn upstream(&self) -> Upstream {
        self.shared.upstream.clone()
    }

    /// Answers every further call with what `hook` returns; it may ask the satellite, or not.
    pub fn lie<F>(&self, hook: impl Fn(Call, Upstream) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        self.set(Some(Arc::new(move |call, upstream| Box::pin(hook(call, upstream)))));
    }

    /// Passes every further call to the satellite, and what `rewrite` makes of its answer back.
    pub fn rewrite(&self, rewrite: impl Fn(&Call, Answer) -> Answer + Send + Sync + 'static) {
        let rewrite = Arc::new(rewrite);
        self.lie(move |call, upstream| {
            let rewrite = Arc::clone(&rewrite);
            async move {
                let answer = upstream.call(&call).await;
                rewrite(&call, answer)
            }
        });
    }

    /// Passes everything on unchanged from now on.
    pub fn tell_truth(&self) {
        self.set(None);
    }

    /// Returns the number of calls answered so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::Relaxed)
    }

    /// Waits until no call is in flight.
    pub async fn idle(&self) {
        while self.shared.in_flight.load(Ordering::Acquire) > 0 {
            sleep(PAUSE).await;
        }
    }

    fn set(&self, hook: Option<Hook>) {
        *self.shared.hook.write().unwrap_or_else(PoisonError::into_inner) = hook;
    }
}

impl fmt::Debug for LyingSatellite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LyingSatellite").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Call {
    /// Makes a call.
    #[must_use]
    pub fn new(method: impl Into<String>, request: impl Into<Bytes>) -> Self {
        Self { method: method.into(), request: request.into() }
    }
}

impl Upstream {
    /// Asks the satellite.
    ///
    /// # Errors
    /// What the satellite answers, or that it cannot be reached.
    pub async fn call(&self, call: &Call) -> Answer {
        let path = format!("/{}/{}", service::NAME, call.method);
        let path = PathAndQuery::try_from(path)
            .map_err(|_| Failure::new(Code::UNIMPLEMENTED, "unknown method"))?;
        let channel = self.pool.peer(self.node, &self.address).channel();
        let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
        let unavailable =
            |error: &dyn fmt::Display| Failure::new(Code::UNAVAILABLE, error.to_string());
        client.ready().await.map_err(|error| unavailable(&error))?;
        let request = Request::new(call.request.clone());
        let answered = client.unary(request, path, BytesCodec).await;
        answered.map(tonic::Response::into_inner).map_err(Failure::from)
    }
}

impl Shared {
    /// Answers one call of a client.
    async fn answer(&self, call: Call) -> Answer {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        let _in_flight = InFlight(&self.in_flight);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let hook = self.hook.read().unwrap_or_else(PoisonError::into_inner).clone();
        let method = call.method.clone();
        let answer = match hook {
            Some(hook) => hook(call, self.upstream.clone()).await,
            None => self.upstream.call(&call).await,
        };
        answer.map(|answer| address::confine(&method, answer))
    }
}

/// A call in flight; counts until it is dropped.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
