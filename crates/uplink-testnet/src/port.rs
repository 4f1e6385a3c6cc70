//! Ports: free ones for new services, the old ones again for known services.

use std::future::Future;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uplink_rpc::server::ListenError;

/// Failures of a start that may be about the port.
pub(crate) trait StartFailure {
    /// The failure to listen, if it was that.
    fn listen(&self) -> Option<&ListenError>;

    /// Whether another socket has the port.
    fn port_taken(&self) -> bool {
        self.listen().is_some_and(|error| error.source.kind() == ErrorKind::AddrInUse)
    }
}

impl StartFailure for uplink_satellite::StartError {
    fn listen(&self) -> Option<&ListenError> {
        match self {
            Self::Listen(error) => Some(error),
            _ => None,
        }
    }
}

impl StartFailure for uplink_storagenode::StartError {
    fn listen(&self) -> Option<&ListenError> {
        match self {
            Self::Listen(error) => Some(error),
            _ => None,
        }
    }
}

/// Starts a service on a port that nobody has.
///
/// The port lies below those that the system gives to outgoing connections. A service that is
/// stopped for a while would else find its port taken by one of them.
pub(crate) async fn on_free<T, E, F>(start: impl Fn(SocketAddr) -> F) -> Result<T, E>
where
    E: StartFailure,
    F: Future<Output = Result<T, E>>,
{
    for _ in 0..TRIES {
        match start(candidate()).await {
            Err(error) if error.port_taken() => {}
            outcome => return outcome,
        }
    }
    start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
}

/// Starts a service on the port it has had, waiting while its former self lets go of it.
pub(crate) async fn on_same<T, E, F>(
    address: SocketAddr,
    patience: Duration,
    start: impl Fn(SocketAddr) -> F,
) -> Result<T, E>
where
    E: StartFailure,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match start(address).await {
            Err(error) if error.port_taken() && Instant::now() < deadline => sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
}

/// Ports tried before the system is asked for one.
const TRIES: usize = 100;
/// Ports to choose from: above those of well-known services, below those of outgoing connections.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
/// Time in which a service of this network, killed before, lets go of its port.
pub(crate) const OWN: Duration = Duration::from_secs(5);
/// The same at the start of a network, when the port is more likely another program's.
pub(crate) const FOREIGN: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

fn candidate() -> SocketAddr {
    let random = getrandom::u32().unwrap_or_else(|_| std::process::id());
    let offset = u16::try_from(random % u32::from(PORTS.end - PORTS.start)).unwrap_or(0);
    SocketAddr::from((Ipv4Addr::LOCALHOST, PORTS.start + offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_on_the_loopback_interface_below_outgoing_ports() {
        for _ in 0..1000 {
            let address = candidate();
            assert!(address.ip().is_loopback() && PORTS.contains(&address.port()), "{address}");
        }
    }
}
