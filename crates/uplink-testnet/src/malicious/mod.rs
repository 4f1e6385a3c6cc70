//! A malicious satellite: a proxy with the satellite's own identity that rewrites the satellite's
//! responses as a test demands. Requires the feature `faults`, which is for tests only.
//!
//! ```text
//!   client ══ gRPC or DRPC ══► MaliciousSatellite ── hook ──► Upstream ══ gRPC ══► satellite
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

/// A call of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call {
    /// Method name in the metadata service, such as `Batch`.
    pub method: String,
    /// The encoded request.
    pub request: Bytes,
}

/// An encoded response, or the failure of the call.
pub type Answer = std::result::Result<Bytes, Failure>;

/// The unmodified satellite behind the proxy.
#[derive(Clone, Debug)]
pub struct Upstream {
    pool: Pool,
    node: uplink_core::id::NodeId,
    address: String,
}

/// Returns the response to a call, usually by way of [`Upstream::call`].
type Hook = Arc<dyn Fn(Call, Upstream) -> AnswerFuture + Send + Sync>;
type AnswerFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A proxy between clients and the satellite of a network that rewrites responses.
///
/// It presents the satellite's own certificates and serves both transports on one port. It forwards
/// calls unchanged until [`intercept`](Self::intercept) is called. Storage node addresses outside
/// 127.0.0.0/8 are replaced in every response, including those of a hook, so that no client dials
/// another machine. Dropping it closes its connections.
pub struct MaliciousSatellite {
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

/// Maximum size of a message from the satellite to the proxy.
const MESSAGE_LIMIT: usize = 64 << 20;
/// Interval between checks for calls in flight.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

impl MaliciousSatellite {
    /// Starts a proxy on a free port.
    ///
    /// # Errors
    /// Fails if the satellite's identity cannot be loaded, or no port is available.
    pub async fn start(network: &Network) -> Result<Self> {
        let identity = network.satellite_identity()?;
        let identity_error =
            |source| NetworkError::Identity { service: "the proxy".to_owned(), source };
        let dialer =
            Identity::generate().and_then(|own| Dialer::new(&own)).map_err(identity_error)?;
        let (node, address) = network.satellite_node();
        let shared = Arc::new(Shared {
            hook: RwLock::default(),
            upstream: Upstream { pool: Pool::new(dialer), node, address },
            in_flight: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
        });

        let routes = Routes::new(service::Service(Arc::clone(&shared)));
        let bound = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
        let listener = bound.map_err(|error| NetworkError::Port {
            address: error.address,
            path: network.directory().to_owned(),
            source: error.source,
        })?;
        let running = listener.serve(&identity, routes).map_err(identity_error)?;
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

    /// Answers every further call with the result of `hook`, which may forward it to the satellite.
    pub fn intercept<F>(&self, hook: impl Fn(Call, Upstream) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        self.set(Some(Arc::new(move |call, upstream| Box::pin(hook(call, upstream)))));
    }

    /// Forwards every further call to the satellite and applies `rewrite` to its response.
    pub fn rewrite(&self, rewrite: impl Fn(&Call, Answer) -> Answer + Send + Sync + 'static) {
        let rewrite = Arc::new(rewrite);
        self.intercept(move |call, upstream| {
            let rewrite = Arc::clone(&rewrite);
            async move {
                let answer = upstream.call(&call).await;
                rewrite(&call, answer)
            }
        });
    }

    /// Forwards every further call unchanged.
    pub fn pass_through(&self) {
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
            sleep(POLL_INTERVAL).await;
        }
    }

    fn set(&self, hook: Option<Hook>) {
        *self.shared.hook.write().unwrap_or_else(PoisonError::into_inner) = hook;
    }
}

impl fmt::Debug for MaliciousSatellite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaliciousSatellite").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Call {
    /// Returns a call of `method`.
    #[must_use]
    pub fn new(method: impl Into<String>, request: impl Into<Bytes>) -> Self {
        Self { method: method.into(), request: request.into() }
    }
}

impl Upstream {
    /// Forwards a call to the satellite.
    ///
    /// # Errors
    /// Returns the satellite's failure, or `UNAVAILABLE` if it cannot be reached.
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

/// Guard of a call in flight: decrements the counter on drop.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
