//! Which connections a process takes, so that its descriptors last.
//!
//! All listeners of a process share one number of connections. When all are in use, the one that has
//! been without a call for the longest time makes room. When every one has a call, a new connection
//! is refused: each call on it is answered with [`OVERLOADED`], and it is closed soon.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;

use crate::descriptors;
use crate::peer::Peer;
use crate::status::{Code, Failure, OVERLOADED};

/// A connection without a call for less than this is not closed for another one: its client is likely
/// to be about to call.
const MIN_IDLE: Duration = Duration::from_secs(1);
/// How long a new connection waits for one that is being closed, and for its refusal.
const ROOM_WITHIN: Duration = Duration::from_secs(1);
/// How long a refused connection has to call and to learn that it is refused.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// The connections of this process.
static ADMISSIONS: LazyLock<Arc<Admissions>> =
    LazyLock::new(|| Admissions::new(descriptors::connections(), descriptors::refusals()));

/// A number of connections, and those that are open.
#[derive(Debug)]
pub(super) struct Admissions {
    slots: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Weak<Open>>>,
    next: AtomicU64,
}

/// One connection and the calls in progress on it. The last clone gives its room back.
#[derive(Clone, Debug)]
pub(super) struct Admission(Arc<Open>);

#[derive(Debug)]
struct Open {
    number: u64,
    refused: bool,
    calls: AtomicUsize,
    /// When the last call ended, or the connection was accepted.
    used: Mutex<Instant>,
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

    /// Those that all listeners of the process share.
    pub(super) fn of_process() -> Arc<Self> {
        Arc::clone(&ADMISSIONS)
    }

    /// Asks for room for a connection that was accepted; `None` when not even a refusal has room.
    /// The connection ends with `kill`.
    pub(super) async fn admit(self: &Arc<Self>, kill: &CancellationToken) -> Option<Admission> {
        let scarce = descriptors::are_scarce(lock(&self.open).len());
        if !scarce && let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(self.open(slot, false, kill));
        }
        if self.close_idle()
            && let Ok(Ok(slot)) =
                timeout(ROOM_WITHIN, Arc::clone(&self.slots).acquire_owned()).await
        {
            return Some(self.open(slot, false, kill));
        }
        let refusal = timeout(ROOM_WITHIN, Arc::clone(&self.refusals).acquire_owned()).await;
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
            used: Mutex::new(Instant::now()),
            close: kill.child_token(),
            registry: Arc::clone(self),
            _slot: slot,
        });
        lock(&self.open).insert(open.number, Arc::downgrade(&open));
        Admission(open)
    }

    /// Closes the connection that has been without a call for the longest time, if there is one.
    fn close_idle(&self) -> bool {
        let open: Vec<Arc<Open>> = lock(&self.open).values().filter_map(Weak::upgrade).collect();
        let idle = open.iter().filter(|open| open.is_idle());
        let Some(oldest) = idle.min_by_key(|open| *lock(&open.used)) else { return false };
        tracing::debug!("an idle connection is closed to make room for a new one");
        oldest.close.cancel();
        true
    }
}

impl Open {
    fn is_idle(&self) -> bool {
        !self.refused
            && !self.close.is_cancelled()
            && self.calls.load(Ordering::Acquire) == 0
            && lock(&self.used).elapsed() >= MIN_IDLE
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.registry.open).remove(&self.number);
    }
}

impl Admission {
    /// Cancelled when the connection is to be closed at once.
    pub(super) fn closed(&self) -> &CancellationToken {
        &self.0.close
    }

    /// Waits until the connection is to be closed at once: a refused one soon.
    pub(super) async fn ended(&self) {
        if self.0.refused {
            let _ = timeout(REFUSED_FOR, self.0.close.cancelled()).await;
            self.0.close.cancel();
        } else {
            self.0.close.cancelled().await;
        }
    }

    pub(super) fn is_refused(&self) -> bool {
        self.0.refused
    }

    fn begin_call(&self) -> InCall {
        self.0.calls.fetch_add(1, Ordering::AcqRel);
        InCall(self.clone())
    }
}

/// A call in progress.
struct InCall(Admission);

impl Drop for InCall {
    fn drop(&mut self) {
        *lock(&self.0.0.used) = Instant::now();
        self.0.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a gRPC connection tells of itself with every request.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) peer: Peer,
    pub(super) admission: Admission,
}

/// Services that count the calls of each connection, and refuse those of refused ones.
#[derive(Clone, Debug)]
pub(super) struct Counting {
    routes: Routes,
    /// The connection, where it is the only one; else every request has an [`Arrival`].
    admission: Option<Admission>,
}

impl Counting {
    pub(super) fn all(routes: Routes) -> Self {
        Self { routes, admission: None }
    }

    pub(super) fn of(routes: Routes, admission: Admission) -> Self {
        Self { routes, admission: Some(admission) }
    }
}

type Answer = Result<Response<Body>, Infallible>;

impl tower::Service<Request<Body>> for Counting {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Answer>, BoxFuture<'static, Answer>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        tower::Service::<Request<Body>>::poll_ready(&mut self.routes, context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let arrival = request.extensions_mut().remove::<Arrival>();
        let admission = match arrival {
            Some(arrival) => {
                request.extensions_mut().insert(arrival.peer);
                Some(arrival.admission)
            }
            None => self.admission.clone(),
        };
        if admission.as_ref().is_some_and(Admission::is_refused) {
            let status = Status::from(Failure::new(Code::UNAVAILABLE, OVERLOADED));
            return Either::Left(ready(Ok(status.into_http())));
        }
        let call = admission.map(|admission| admission.begin_call());
        let answering = self.routes.call(request);
        let counted = async move {
            let response = answering.await?;
            Ok(response.map(|body| Body::new(Counted { body, _call: call })))
        };
        Either::Right(counted.boxed())
    }
}

/// An answer that counts as a call until it is dropped.
struct Counted {
    body: Body,
    _call: Option<InCall>,
}

impl http_body::Body for Counted {
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
    async fn idle_connection_makes_room_and_busy_ones_stay() {
        let (all, kill) = (Admissions::new(2, 1), CancellationToken::new());
        let idle = all.admit(&kill).await.unwrap();
        let busy = all.admit(&kill).await.unwrap();
        let call = busy.begin_call();
        *lock(&idle.0.used) = Instant::now().checked_sub(MIN_IDLE).unwrap();
        let closing = tokio::spawn(async move {
            idle.closed().cancelled().await;
            drop(idle);
        });
        let third = all.admit(&kill).await.unwrap();
        closing.await.unwrap();
        assert!(!third.0.refused && !busy.closed().is_cancelled());
        drop(call);
    }

    #[tokio::test]
    async fn connection_beyond_the_limit_is_refused_until_one_ends() {
        let (all, kill) = (Admissions::new(1, 1), CancellationToken::new());
        let first = all.admit(&kill).await.unwrap();
        let call = first.begin_call();
        let second = all.admit(&kill).await.unwrap();
        assert!(second.0.refused && all.admit(&kill).await.is_none());
        second.ended().await;
        assert!(second.closed().is_cancelled());
        drop((call, first, second));
        assert!(!all.admit(&kill).await.unwrap().0.refused);
        assert_eq!(lock(&all.open).len(), 0);
    }
}
