//! A relay before a storage node that holds back what passes it, as a long line would.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use uplink_rpc::server::ListenError;

/// A running relay. Dropping it cuts all connections that pass it.
#[derive(Debug)]
pub(crate) struct Relay {
    task: AbortHandle,
}

/// Bytes read at a time.
const PART: usize = 64 << 10;
/// Parts under way in one direction of a connection: what a long line holds.
const PARTS_UNDER_WAY: usize = 64;

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes the address of a relay.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

impl Relay {
    /// Passes every connection on to `target`. Each byte takes `delay` either way, whatever the
    /// number of bytes.
    pub(crate) fn start(listener: TcpListener, target: SocketAddr, delay: Duration) -> Self {
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(connect(near, target, delay));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { task: task.abort_handle() }
    }
}

async fn connect(near: TcpStream, target: SocketAddr, delay: Duration) -> io::Result<()> {
    let far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::try_join!(pass(near_in, far_out, delay), pass(far_in, near_out, delay))?;
    Ok(())
}

/// Moves bytes one way until their end, and then passes the end on.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel(PARTS_UNDER_WAY);
    let read = async move {
        let mut buffer = vec![0; PART];
        loop {
            let length = from.read(&mut buffer).await?;
            let part = buffer.get(..length).unwrap_or_default().to_vec();
            let end = part.is_empty();
            if sender.send((Instant::now() + delay, part)).await.is_err() || end {
                return io::Result::Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, part)) = receiver.recv().await {
            sleep_until(due).await;
            to.write_all(&part).await?;
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
    async fn bytes_come_late_and_whole_and_so_does_their_end() {
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
        let began = Instant::now();
        stream.write_all(&sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        assert!(received == sent);
        // There and back; far less than a delay for each part.
        assert!(began.elapsed() >= 2 * DELAY, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn dropped_relay_cuts_its_connections() {
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
