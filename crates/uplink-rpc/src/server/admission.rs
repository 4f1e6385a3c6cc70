//! Admission of connections within the descriptor budget of a process.
//!
//! All listeners of a process share one connection limit. At the limit, the connection that has been
//! idle for longest is closed for a new one. If none is idle, the new connection is refused: each call
//! on it fails with [`OVERLOADED`], and it is closed after [`REFUSAL_TIMEOUT`].

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;

use crate::descriptors;
use crate::peer::Peer;
use crate::status::{Code, Failure, OVERLOADED};

/// Minimum idle time before a connection is closed for another one. A client that has just made a call
/// is likely to make another.
const MIN_IDLE: Duration = Duration::from_secs(1);
/// Maximum time that a new connection waits for a free slot.
const SLOT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time after which a refused connection is closed. Its client can make a call and get the refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The connection limits of this process.
static ADMISSIONS: LazyLock<Arc<Admissions>> =
    LazyLock::new(|| Admissions::new(descriptors::connections(), descriptors::refusals()));

/// A connection limit and the open connections.
#[derive(Debug)]
pub(super) struct Admissions {
    slots: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Weak<Open>>>,
    next: AtomicU64,
}

/// One connection and its number of calls in flight. Dropping the last clone frees its slot.
#[derive(Clone, Debug)]
pub(super) struct Admission(Arc<Open>);

#[derive(Debug)]
struct Open {
    number: u64,
    refused: bool,
    calls: AtomicUsize,
    /// Time at which the last call ended, or the connection was accepted.
    last_used: Mutex<Instant>,
    close: CancellationToken,
    registry: Arc<Admissions>,
    _slot: OwnedSemaphorePermit,
}

impl Admissions {
    pub(super) fn new(connections: usize, refusals: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(connections)),
            refusals: Arc::new(Semaphore::new(refusals)),
            open: Mutex::default(),
            next: AtomicU64::default(),
        })
    }

    /// Returns the limits that all listeners of the process share.
    pub(super) fn of_process() -> Arc<Self> {
        Arc::clone(&ADMISSIONS)
    }

    /// Admits or refuses an accepted connection; `None` if it cannot even be refused. `kill` closes the
    /// connection.
    pub(super) async fn admit(self: &Arc<Self>, kill: &CancellationToken) -> Option<Admission> {
        let scarce = descriptors::are_scarce(lock(&self.open).len());
        if !scarce && let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(self.open(slot, false, kill));
        }
        if self.close_idle()
            && let Ok(Ok(slot)) =
                timeout(SLOT_TIMEOUT, Arc::clone(&self.slots).acquire_owned()).await
        {
            return Some(self.open(slot, false, kill));
        }
        let refusal = timeout(SLOT_TIMEOUT, Arc::clone(&self.refusals).acquire_owned()).await;
        refusal.ok()?.ok().map(|slot| self.open(slot, true, kill))
    }

    fn open(
        self: &Arc<Self>,
        slot: OwnedSemaphorePermit,
        refused: bool,
        kill: &CancellationToken,
    ) -> Admission {
        let open = Arc::new(Open {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            refused,
            calls: AtomicUsize::default(),
            last_used: Mutex::new(Instant::now()),
            close: kill.child_token(),
            registry: Arc::clone(self),
            _slot: slot,
        });
        lock(&self.open).insert(open.number, Arc::downgrade(&open));
        Admission(open)
    }

    /// Closes the connection that has been idle for longest; returns whether there was one.
    fn close_idle(&self) -> bool {
        let open: Vec<Arc<Open>> = lock(&self.open).values().filter_map(Weak::upgrade).collect();
        let idle = open.iter().filter(|open| open.is_idle());
        let Some(oldest) = idle.min_by_key(|open| *lock(&open.last_used)) else { return false };
        tracing::debug!("closing an idle connection to make room for a new one");
        oldest.close.cancel();
        true
    }
}

impl Open {
    fn is_idle(&self) -> bool {
        !self.refused
            && !self.close.is_cancelled()
            && self.calls.load(Ordering::Acquire) == 0
            && lock(&self.last_used).elapsed() >= MIN_IDLE
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.registry.open).remove(&self.number);
    }
}

impl Admission {
    /// Returns the token that is cancelled when the connection must be closed.
    pub(super) fn closed(&self) -> &CancellationToken {
        &self.0.close
    }

    /// Waits until the connection must be closed: a refused one after [`REFUSAL_TIMEOUT`].
    pub(super) async fn ended(&self) {
        if self.0.refused {
            let _ = timeout(REFUSAL_TIMEOUT, self.0.close.cancelled()).await;
            self.0.close.cancel();
        } else {
            self.0.close.cancelled().await;
        }
    }

    pub(super) fn is_refused(&self) -> bool {
        self.0.refused
    }

    fn begin_call(&self) -> CallGuard {
        self.0.calls.fetch_add(1, Ordering::AcqRel);
        CallGuard(self.clone())
    }
}

/// Counts a call in flight until dropped.
struct CallGuard(Admission);

impl Drop for CallGuard {
    fn drop(&mut self) {
        *lock(&self.0.0.last_used) = Instant::now();
        self.0.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Metadata of a gRPC connection, in the extensions of every request.
#[derive(Clone, Debug)]
pub(super) struct ConnectionInfo {
    pub(super) peer: Peer,
    pub(super) admission: Admission,
}

/// Services that count the calls of each connection, and reject calls of refused connections.
#[derive(Clone, Debug)]
pub(super) struct CountingService {
    routes: Routes,
    /// The connection, if there is only one; otherwise every request has a [`ConnectionInfo`].
    admission: Option<Admission>,
}

impl CountingService {
    pub(super) fn all(routes: Routes) -> Self {
        Self { routes, admission: None }
    }

    pub(super) fn of(routes: Routes, admission: Admission) -> Self {
        Self { routes, admission: Some(admission) }
    }
}

type ServiceResult = Result<Response<Body>, Infallible>;

impl tower::Service<Request<Body>> for CountingService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<ServiceResult>, BoxFuture<'static, ServiceResult>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        tower::Service::<Request<Body>>::poll_ready(&mut self.routes, context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let info = request.extensions_mut().remove::<ConnectionInfo>();
        let admission = match info {
            Some(info) => {
                request.extensions_mut().insert(info.peer);
                Some(info.admission)
            }
            None => self.admission.clone(),
        };
        if admission.as_ref().is_some_and(Admission::is_refused) {
            let status = Status::from(Failure::new(Code::UNAVAILABLE, OVERLOADED));
            return Either::Left(ready(Ok(status.into_http())));
        }
        let call = admission.map(|admission| admission.begin_call());
        let response = self.routes.call(request);
        let counted = async move {
            let response = response.await?;
            Ok(response.map(|body| Body::new(CountedBody { body, _call: call })))
        };
        Either::Right(counted.boxed())
    }
}

/// A response body that counts as a call in flight until it is dropped.
struct CountedBody {
    body: Body,
    _call: Option<CallGuard>,
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_connection_is_closed_for_a_new_one_and_busy_one_is_not() {
        let admissions = Admissions::new(2, 1);
        let kill = CancellationToken::new();
        let idle = admissions.admit(&kill).await.unwrap();
        let busy = admissions.admit(&kill).await.unwrap();
        let call = busy.begin_call();
        *lock(&idle.0.last_used) = Instant::now().checked_sub(MIN_IDLE).unwrap();
        let closing = tokio::spawn(async move {
            idle.closed().cancelled().await;
            drop(idle);
        });
        let third = admissions.admit(&kill).await.unwrap();
        closing.await.unwrap();
        assert!(!third.0.refused && !busy.closed().is_cancelled());
        drop(call);
    }

    #[tokio::test]
    async fn connection_beyond_the_limit_is_refused_until_one_ends() {
        let admissions = Admissions::new(1, 1);
        let kill = CancellationToken::new();
        let first = admissions.admit(&kill).await.unwrap();
        let call = first.begin_call();
        let second = admissions.admit(&kill).await.unwrap();
        assert!(second.0.refused && admissions.admit(&kill).await.is_none());
        second.ended().await;
        assert!(second.closed().is_cancelled());
        drop((call, first, second));
        assert!(!admissions.admit(&kill).await.unwrap().0.refused);
        assert_eq!(lock(&admissions.open).len(), 0);
    }
}
