//! Port selection: a free port for a new service, the previous port for a restarted one.

use std::future::Future;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uplink_rpc::server::ListenError;

/// A start error that may be caused by the port.
pub(crate) trait StartFailure {
    /// Returns the listen error, if that is the cause.
    fn listen(&self) -> Option<&ListenError>;

    /// Returns whether another socket is bound to the port.
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

/// Starts a service on a free port.
///
/// The port is below the ephemeral range of outgoing connections. Otherwise an outgoing connection
/// could take the port while the service is stopped.
pub(crate) async fn start_on_free<T, E, F>(start: impl Fn(SocketAddr) -> F) -> Result<T, E>
where
    E: StartFailure,
    F: Future<Output = Result<T, E>>,
{
    for _ in 0..MAX_ATTEMPTS {
        match start(random_address()).await {
            Err(error) if error.port_taken() => {}
            outcome => return outcome,
        }
    }
    start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
}

/// Starts a service on its previous port, retrying until `timeout` while the port is in use.
pub(crate) async fn start_on_same<T, E, F>(
    address: SocketAddr,
    timeout: Duration,
    start: impl Fn(SocketAddr) -> F,
) -> Result<T, E>
where
    E: StartFailure,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + timeout;
    loop {
        match start(address).await {
            Err(error) if error.port_taken() && Instant::now() < deadline => {
                sleep(RETRY_INTERVAL).await
            }
            outcome => return outcome,
        }
    }
}

/// Random ports tried before the system chooses one.
const MAX_ATTEMPTS: usize = 100;
/// Candidate ports: above well-known services, below the ephemeral range of outgoing connections.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
/// Timeout for the port of a service of this network: a killed service releases it within this
/// time.
pub(crate) const RESTART_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout at the start of a network, when another program more likely holds the port.
pub(crate) const LAUNCH_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

fn random_address() -> SocketAddr {
    let random = getrandom::u32().unwrap_or_else(|_| std::process::id());
    let offset = u16::try_from(random % u32::from(PORTS.end - PORTS.start)).unwrap_or(0);
    SocketAddr::from((Ipv4Addr::LOCALHOST, PORTS.start + offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_address_is_loopback_and_below_the_ephemeral_range() {
        for _ in 0..1000 {
            let address = random_address();
            assert!(address.ip().is_loopback() && PORTS.contains(&address.port()), "{address}");
        }
    }
}
