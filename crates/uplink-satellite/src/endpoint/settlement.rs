//! Settlement: a storage node submits the orders of one hour.
//!
//! An invalid pair of order limit and order is skipped silently: the node cannot fix it. The sums of
//! an hour are stored once. Submitting the same sums again is accepted, so that a node can retry
//! after a lost response; different sums are rejected.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};
use uplink_core::id::NodeId;
use uplink_core::order::{Order, OrderLimit, PiecePublicKey};
use uplink_core::signature::VerifyingKey;
use uplink_rpc::r#gen::orders as messages;
use uplink_rpc::r#gen::orders::orders_server::Orders;
use uplink_rpc::r#gen::orders::settlement_with_window_response::Status as Outcome;
use uplink_rpc::status::{Code, Failure};

use super::State;
use super::contact::node_of;
use crate::failure::{RpcResult, database};
use crate::metabase::Sums;
use crate::time::Time;

/// The service to which storage nodes submit orders.
pub(super) struct OrdersService {
    state: Arc<State>,
    active: ActiveSettlements,
}

/// Maximum time between two orders of a node.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum number of orders counted per call; limits its memory to about 40 MiB. Further orders of
/// the hour do not count.
const MAX_ORDERS: usize = 1 << 20;
/// Maximum number of pairs read per call, valid or not.
const MAX_PAIRS: usize = 4 * MAX_ORDERS;
const SECONDS_PER_HOUR: i64 = 3600;

impl OrdersService {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, active: ActiveSettlements::default() }
    }

    /// Reads all pairs of a call; `None` if none is readable.
    async fn read_window(
        &self,
        node: NodeId,
        mut pairs: Streaming<messages::SettlementRequest>,
    ) -> RpcResult<Option<Window>> {
        let satellite = self.state.issuer.verifying_key()?;
        let mut window: Option<Window> = None;
        for _ in 0..=MAX_PAIRS {
            let next = timeout(IDLE_TIMEOUT, pairs.message()).await.map_err(|_| {
                Failure::new(Code::DEADLINE_EXCEEDED, "no order received for two minutes")
            })?;
            let Some(pair) = next.map_err(Failure::from)? else {
                // A cancelled stream ends the same way. The call is then dropped at its next await
                // point, which must come before anything is settled.
                yield_now().await;
                return Ok(window);
            };
            let Some(pair) = Pair::read(&pair) else { continue };
            let window = window.get_or_insert_with(|| Window::of(node, pair.hour));
            window.add(&pair, &satellite, self.state.clock.now());
        }
        let text = format!("too many orders: maximum is {MAX_PAIRS} per call");
        Err(Failure::new(Code::RESOURCE_EXHAUSTED, text))
    }
}

#[tonic::async_trait]
impl Orders for OrdersService {
    async fn settlement_with_window(
        &self,
        request: Request<Streaming<messages::SettlementRequest>>,
    ) -> Result<Response<messages::SettlementWithWindowResponse>, Status> {
        let node = node_of(&request)?.node_id();
        let _guard = self.active.begin(node)?;
        let window = self.read_window(node, request.into_inner()).await?;
        let accepted = match &window {
            Some(window) if !window.sums.is_empty() => {
                let settled = self.state.metabase.settle(&node, window.hour, &window.sums).await;
                settled.map_err(database)?
            }
            _ => false,
        };
        if let Some(window) = window.as_ref().filter(|window| window.serials.len() >= MAX_ORDERS) {
            tracing::warn!(%node, hour = window.hour, "only {MAX_ORDERS} orders were counted");
        }
        tracing::debug!(%node, hour = window.as_ref().map(|it| it.hour), accepted, "settlement");
        let (status, sums) = match window {
            Some(window) if accepted => (Outcome::Accepted, window.sums),
            _ => (Outcome::Rejected, Sums::new()),
        };
        let action_settled = sums.into_iter().collect();
        let status = status.into();
        Ok(Response::new(messages::SettlementWithWindowResponse { status, action_settled }))
    }
}

/// A decoded order limit and its order, not yet verified.
struct Pair<'a> {
    wire: &'a messages::SettlementRequest,
    limit: OrderLimit,
    hour: i64,
}

impl<'a> Pair<'a> {
    fn read(wire: &'a messages::SettlementRequest) -> Option<Self> {
        let limit = wire.limit.as_ref()?.decode_typed().ok()?;
        let created = Time::from_wire(limit.order_creation.as_ref())?;
        Some(Self { wire, limit, hour: created.unix_seconds().div_euclid(SECONDS_PER_HOUR) })
    }

    /// Verifies limit and order, and returns the ordered bytes.
    fn verified_amount(&self, satellite: &VerifyingKey) -> Option<i64> {
        let limit = self.wire.limit.as_ref()?;
        let order = self.wire.order.as_ref()?;
        OrderLimit::verify(limit.wire(), satellite).ok()?;
        let uplink = PiecePublicKey::from_bytes(&self.limit.uplink_public_key).ok()?;
        let order = Order::verify(order.wire(), &uplink).ok()?;
        let matches_limit = order.serial_number == self.limit.serial_number
            && (0..=self.limit.limit).contains(&order.amount);
        matches_limit.then_some(order.amount)
    }
}

/// The summed orders of one hour.
struct Window {
    node: NodeId,
    /// Hours since 1970.
    hour: i64,
    sums: Sums,
    serials: HashSet<[u8; 16]>,
}

impl Window {
    fn of(node: NodeId, hour: i64) -> Self {
        Self { node, hour, sums: Sums::new(), serials: HashSet::new() }
    }

    /// Adds a pair if it is valid.
    fn add(&mut self, pair: &Pair<'_>, satellite: &VerifyingKey, now: Time) {
        let limit = &pair.limit;
        let expires = Time::from_wire(limit.order_expiration.as_ref());
        if pair.hour != self.hour
            || limit.storage_node_id != self.node.as_bytes()
            || expires.is_none_or(|expires| expires <= now)
        {
            return;
        }
        let Ok(serial) = <[u8; 16]>::try_from(limit.serial_number.as_slice()) else { return };
        if self.serials.len() >= MAX_ORDERS || self.serials.contains(&serial) {
            return;
        }
        let Some(amount) = pair.verified_amount(satellite) else { return };
        self.serials.insert(serial);
        let sum = self.sums.entry(limit.action).or_default();
        *sum = sum.saturating_add(amount);
    }
}

/// The nodes with a settlement in progress. Each node may have one at a time, which limits the memory
/// that it can use.
#[derive(Clone, Debug, Default)]
struct ActiveSettlements(Arc<Mutex<HashSet<NodeId>>>);

impl ActiveSettlements {
    fn begin(&self, node: NodeId) -> RpcResult<SettlementGuard> {
        if !self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(node) {
            let text = "a settlement of this node is already in progress";
            return Err(Failure::new(Code::UNAVAILABLE, text));
        }
        Ok(SettlementGuard { node, active: self.clone() })
    }
}

/// Marks a settlement in progress until it is dropped.
struct SettlementGuard {
    node: NodeId,
    active: ActiveSettlements,
}

impl Drop for SettlementGuard {
    fn drop(&mut self) {
        self.active.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.node);
    }
}
