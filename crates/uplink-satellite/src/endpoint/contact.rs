//! Calls of storage nodes: check-in, time, reachability.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tonic::{Request, Response, Status};
use uplink_core::id::NodeId;
use uplink_core::identity::{PeerIdentity, split_chain};
use uplink_rpc::client;
use uplink_rpc::r#gen::contact as messages;
use uplink_rpc::r#gen::contact::node_server::Node;
use uplink_rpc::pool::Pool;
use uplink_rpc::server::Peer;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::time::{MAX_SKEW, describe_skew, is_skewed, seconds_ahead};

use super::State;
use crate::failure::{RpcResult, database, invalid};
use crate::metabase::{CheckIn, NodeRow};
use crate::registry::ClockReading;
use crate::time::Time;

/// The service that storage nodes call.
pub(super) struct NodeService(pub(super) Arc<State>);

/// Maximum length of a node's address.
const MAX_ADDRESS: usize = 256;
/// Maximum stored length of a node's software version.
const MAX_VERSION: usize = 64;
/// Timeout for resolving a node's address.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for connecting to a node and its response.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

#[tonic::async_trait]
impl Node for NodeService {
    async fn check_in(
        &self,
        request: Request<messages::CheckInRequest>,
    ) -> Result<Response<messages::CheckInResponse>, Status> {
        let node = node_of(&request)?;
        Ok(Response::new(self.0.check_in(&node, request.into_inner()).await?))
    }

    async fn ping_me(
        &self,
        request: Request<messages::PingMeRequest>,
    ) -> Result<Response<messages::PingMeResponse>, Status> {
        let node = node_of(&request)?;
        let request = request.into_inner();
        if request.transport != i32::from(messages::NodeTransport::TcpTlsRpc) {
            let text = "unsupported transport: only TLS is supported";
            return Err(Failure::new(Code::UNIMPLEMENTED, text).into());
        }
        check_address(&request.address)?;
        let reached = self.0.ping(node.node_id(), &request.address).await;
        reached.map_err(|reason| Failure::new(Code::NOT_FOUND, reason))?;
        Ok(Response::new(messages::PingMeResponse {}))
    }

    async fn get_time(
        &self,
        _: Request<messages::GetTimeRequest>,
    ) -> Result<Response<messages::GetTimeResponse>, Status> {
        let timestamp = Some(self.0.clock.now().to_wire());
        Ok(Response::new(messages::GetTimeResponse { timestamp }))
    }

    async fn amnesty_report(
        &self,
        request: Request<messages::AmnestyReportRequest>,
    ) -> Result<Response<messages::AmnestyReportResponse>, Status> {
        let node = node_of(&request)?.node_id();
        self.0.log_losses(node, &request.into_inner().lost_pieces).await?;
        Ok(Response::new(messages::AmnestyReportResponse {}))
    }
}

impl State {
    async fn check_in(
        &self,
        node: &PeerIdentity,
        request: messages::CheckInRequest,
    ) -> RpcResult<messages::CheckInResponse> {
        check_address(&request.address)?;
        let chain = node.joined_chain();
        self.check_chain(node, &chain).await?;

        let resolved = resolve(&request.address).await;
        let reached = match &resolved {
            Ok(_) => self.ping(node.node_id(), &request.address).await,
            Err(reason) => Err(reason.clone()),
        };
        let now = self.clock.now();
        let clock = Time::from_wire(request.node_time.as_ref());
        let ahead = clock.map_or(0, |clock| seconds_ahead(clock.to_system(), now.to_system()));

        let steady = self.clock.steady();
        let reading = clock.map(|theirs| ClockReading { theirs, ours: now, steady });
        self.registry.record_contact(node.node_id(), steady, reached.is_ok(), reading);

        let last_address = resolved.map(|address| address.to_string()).unwrap_or_default();
        let free_disk = request.capacity.map_or(0, |capacity| capacity.free_disk);
        let version = request.version.map(|version| version.version).unwrap_or_default();
        let version: String = version.chars().take(MAX_VERSION).collect();
        let check_in = CheckIn {
            id: node.node_id(),
            chain: &chain,
            address: &request.address,
            last_address: &last_address,
            subnet: &subnet(&last_address, &node.node_id()),
            // Keeps other processes of this satellite from choosing a node with a skewed clock.
            free_disk: if is_skewed(ahead) { 0 } else { free_disk },
            version: &version,
            now,
            reached: reached.is_ok() && !is_skewed(ahead),
        };

        self.metabase.check_in(&check_in).await.map_err(database)?;
        self.registry.invalidate(&node.node_id());
        tracing::debug!(node = %node.node_id(), address = request.address, ?reached, "check-in");
        let reached = reached.and_then(|()| match is_skewed(ahead) {
            true => Err(skewed(ahead)),
            false => Ok(()),
        });
        Ok(messages::CheckInResponse {
            ping_node_success: reached.is_ok(),
            ping_error_message: reached.err().unwrap_or_default(),
            ..messages::CheckInResponse::default()
        })
    }

    /// Logs the pieces that a node reports as lost. They are still offered: a report contains derived
    /// piece ids, which cannot be looked up, and clients download other pieces of a segment when one
    /// is missing.
    async fn log_losses(&self, node: NodeId, lost: &[messages::LostPiece]) -> RpcResult<()> {
        self.known_node(node).await?;
        let count = |reason: messages::LostPieceReason| {
            lost.iter().filter(|piece| piece.reason == i32::from(reason)).count()
        };
        let zero = count(messages::LostPieceReason::ZeroHash);
        let mismatch = count(messages::LostPieceReason::HashMismatch);
        let unreadable = count(messages::LostPieceReason::ReadFailure);
        tracing::warn!(
            %node, lost = lost.len(), zero, mismatch, unreadable, "storage node reports lost pieces"
        );
        Ok(())
    }

    /// Returns a node as of its last check-in.
    pub(super) async fn known_node(&self, id: NodeId) -> RpcResult<NodeRow> {
        let node = self.metabase.node(&id).await.map_err(database)?;
        node.ok_or_else(|| Failure::new(Code::NOT_FOUND, format!("node {id} has never checked in")))
    }

    /// Rejects a node whose CA certificate differs from that of its first check-in. Its leaf may
    /// change.
    async fn check_chain(&self, node: &PeerIdentity, chain: &[u8]) -> RpcResult<()> {
        let known = self.metabase.node_chain(&node.node_id()).await.map_err(database)?;
        let Some(known) = known else { return Ok(()) };
        let authority = |chain: &[u8]| {
            let chain = split_chain(chain).unwrap_or_default();
            chain.get(1).map(|certificate| certificate.to_vec())
        };
        if authority(&known) == authority(chain) {
            return Ok(());
        }
        let text = "node id is already registered with a different certificate authority";
        Err(Failure::new(Code::PERMISSION_DENIED, text))
    }

    /// Pings a node at its address and verifies its node id.
    async fn ping(&self, node: NodeId, address: &str) -> Result<(), String> {
        let connection = Pool::new(self.dialer.clone()).peer(node, address);
        let mut client = client::contact(connection.channel());
        let response = timeout(PING_TIMEOUT, client.ping_node(messages::ContactPingRequest {}));
        match response.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(connection
                .dial_error()
                .map_or_else(|| Failure::from(status).message, |error| error.to_string())),
            Err(_) => Err(format!("ping of {address} timed out after {PING_TIMEOUT:?}")),
        }
    }
}

/// Returns the storage node that the connection authenticates.
pub(super) fn node_of<T>(request: &Request<T>) -> RpcResult<Arc<PeerIdentity>> {
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.identity.clone());
    peer.ok_or_else(|| Failure::new(Code::UNAUTHENTICATED, "connection has no node identity"))
}

fn skewed(ahead: i64) -> String {
    let skew = describe_skew(ahead);
    let max = MAX_SKEW.as_secs();
    format!("the clock of the storage node is {skew} the satellite's, maximum is {max} s")
}

fn check_address(address: &str) -> RpcResult<()> {
    if address.is_empty() || address.len() > MAX_ADDRESS {
        return Err(invalid(format!("invalid node address: must have 1 to {MAX_ADDRESS} bytes")));
    }
    Ok(())
}

async fn resolve(address: &str) -> Result<SocketAddr, String> {
    let resolved = timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(address)).await;
    let mut found = match resolved {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(format!("{address}: {error}")),
        Err(_) => return Err(format!("{address}: name resolution timed out")),
    };
    found.next().ok_or_else(|| format!("{address}: name has no address"))
}

/// Returns the subnet of a node: /24 for IPv4, /64 for IPv6. A node in a private network has its own
/// subnet.
fn subnet(address: &str, node: &NodeId) -> Vec<u8> {
    let ip = address.parse::<SocketAddr>().map(|address| address.ip().to_canonical());
    match ip {
        Ok(IpAddr::V4(ip)) if !(ip.is_loopback() || ip.is_private() || ip.is_link_local()) => {
            ip.octets()[..3].to_vec()
        }
        Ok(IpAddr::V6(ip))
            if !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()) =>
        {
            ip.octets()[..8].to_vec()
        }
        _ => node.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_in_one_public_network_share_a_subnet() {
        let a = NodeId::new([1; 32]);
        let b = NodeId::new([2; 32]);
        assert_eq!(subnet("1.2.3.4:5", &a), subnet("1.2.3.200:9", &b));
        assert_ne!(subnet("1.2.3.4:5", &a), subnet("1.2.4.4:5", &b));
        assert_eq!(subnet("[2001:db8::1]:5", &a), subnet("[2001:db8::2:0:0:9]:5", &b));
        assert_eq!(subnet("[::ffff:1.2.3.4]:5", &a), subnet("1.2.3.9:5", &b));
        for private in ["127.0.0.1:5", "10.0.0.1:5", "192.168.1.1:5", "[fd00::1]:5", "[::1]:5", ""]
        {
            assert_ne!(subnet(private, &a), subnet(private, &b), "{private}");
        }
    }
}
