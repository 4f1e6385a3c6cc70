//! A proxy in front of a service, which can be cut and frozen.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// State of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// No bytes pass and no connection is closed.
    Frozen,
    /// All connections are closed.
    Cut,
}

/// Forwards connections from its own address to a service.
pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    pub(crate) state: watch::Sender<State>,
    target: Arc<Mutex<Option<SocketAddr>>>,
}

impl Line {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (state, states) = watch::channel(State::Open);
        let target = Arc::new(Mutex::new(None));
        tokio::spawn(serve(listener, states, Arc::clone(&target)));
        Self { address, state, target }
    }

    /// Sets the address of the service.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().expect("no panic") = Some(target);
    }
}

async fn serve(
    listener: TcpListener,
    states: watch::Receiver<State>,
    target: Arc<Mutex<Option<SocketAddr>>>,
) {
    let mut connections = JoinSet::new();
    while states.has_changed().is_ok() {
        // Without a free descriptor accept fails; retries.
        let Ok((near, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let target = *target.lock().expect("no panic");
        connections.spawn(connect(near, states.clone(), target));
        while connections.try_join_next().is_some() {}
    }
}

/// Forwards bytes both ways until the end, an error or a cut. `None` after an error or a cut.
async fn connect(
    near: TcpStream,
    mut states: watch::Receiver<State>,
    target: Option<SocketAddr>,
) -> Option<()> {
    passable(&mut states).await?;
    let far = TcpStream::connect(target?).await.ok()?;
    near.set_nodelay(true).ok()?;
    far.set_nodelay(true).ok()?;
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let there = pass(near_in, far_out, states.clone());
    let back = pass(far_in, near_out, states.clone());
    tokio::select! {
        both = async { tokio::join!(there, back) } => both.0.and(both.1),
        _ = states.wait_for(|state| *state == State::Cut) => None,
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut states: watch::Receiver<State>,
) -> Option<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await.ok()?;
        passable(&mut states).await?;
        if read == 0 {
            return to.shutdown().await.ok();
        }
        to.write_all(buffer.get(..read)?).await.ok()?;
    }
}

/// Waits while the line is frozen; `None` once it is cut.
async fn passable(states: &mut watch::Receiver<State>) -> Option<()> {
    let state = *states.wait_for(|state| *state != State::Frozen).await.ok()?;
    (state == State::Open).then_some(())
}
