//! A relay in front of the satellite whose connections die without being closed, as when a machine
//! loses power or a router forgets them.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running relay. Dropping it closes all connections.
pub(crate) struct Relay {
    address: SocketAddr,
    /// The number of times that all connections died.
    deaths: watch::Sender<usize>,
    _task: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (deaths, observed) = watch::channel(0);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(forward(near, target, observed.clone()));
            }
        });
        Self { address, deaths, _task: task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forwards nothing more over the connections of today, and closes none. New ones work.
    pub(crate) fn kill_connections(&self) {
        self.deaths.send_modify(|deaths| *deaths += 1);
    }
}

async fn forward(mut near: TcpStream, target: SocketAddr, mut deaths: watch::Receiver<usize>) {
    deaths.mark_unchanged();
    let mut far = TcpStream::connect(target).await.expect("the satellite");
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = deaths.changed() => std::future::pending().await,
    }
}
