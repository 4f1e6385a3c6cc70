//! A relay in front of a storage node that delays traffic, as a high-latency link would.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use uplink_rpc::server::ListenError;

/// A running relay. Dropping it closes all relayed connections.
#[derive(Debug)]
pub(crate) struct Relay {
    task: AbortHandle,
}

/// Bytes per read.
const READ_SIZE: usize = 64 << 10;
/// Reads in flight in one direction of a connection: with [`READ_SIZE`], the link's capacity.
const READS_IN_FLIGHT: usize = 64;

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Binds a relay's address.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

impl Relay {
    /// Forwards every connection to `target`. Each byte is delayed by `delay` in each direction,
    /// regardless of volume.
    pub(crate) fn start(listener: TcpListener, target: SocketAddr, delay: Duration) -> Self {
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(relay(near, target, delay));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { task: task.abort_handle() }
    }
}

async fn relay(near: TcpStream, target: SocketAddr, delay: Duration) -> io::Result<()> {
    let far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::try_join!(forward(near_in, far_out, delay), forward(far_in, near_out, delay))?;
    Ok(())
}

/// Forwards bytes in one direction until end of stream, then shuts the other side down.
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel(READS_IN_FLIGHT);
    let read = async move {
        let mut buffer = vec![0; READ_SIZE];
        loop {
            let length = from.read(&mut buffer).await?;
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            let is_end = bytes.is_empty();
            if sender.send((Instant::now() + delay, bytes)).await.is_err() || is_end {
                return io::Result::Ok(());
            }
        }
    };
    let write = async move {
        while let Some((deadline, bytes)) = receiver.recv().await {
            sleep_until(deadline).await;
            to.write_all(&bytes).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_and_end_of_stream_arrive_complete_and_delayed() {
        const DELAY: Duration = Duration::from_millis(50);
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target_address = target.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = target.accept().await.unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).await.unwrap();
            stream.write_all(&received).await.unwrap();
        });
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let _relay = Relay::start(listener, target_address, DELAY);
        let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i / 7) as u8).collect();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let started = Instant::now();
        stream.write_all(&sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        assert!(received == sent);
        // One delay per direction, not one per read.
        assert!(started.elapsed() >= 2 * DELAY, "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn dropped_relay_closes_its_connections() {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let relay = Relay::start(listener, target.local_addr().unwrap(), Duration::ZERO);
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _far = target.accept().await.unwrap();
        drop(relay);
        let read = stream.read(&mut [0]).await;
        assert!(!matches!(read, Ok(1..)), "{read:?}");
    }
}
