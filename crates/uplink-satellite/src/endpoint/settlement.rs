//! Settlement: a storage node hands in the orders of one hour.
//!
//! A pair of order limit and order that does not count is left out without a word: the node cannot
//! mend it. The sums of an hour are kept once. The same sums again are accepted again, so that a
//! node whose answer was lost may repeat itself; other sums are rejected.

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

use super::contact::node_of;
use super::{Answer, State};
use crate::failure::database;
use crate::metabase::Sums;
use crate::time::Time;

/// The service to which storage nodes hand in orders.
pub(super) struct OrdersService {
    state: Arc<State>,
    settling: Settling,
}

/// Time between two orders of a node.
const IDLE_DEADLINE: Duration = Duration::from_secs(120);
/// Most orders counted in one call, which bounds its memory to some 40 MiB; further ones of the
/// hour do not count.
const MAX_ORDERS: usize = 1 << 20;
/// Most pairs read in one call, whether they count or not.
const MAX_PAIRS: usize = 4 * MAX_ORDERS;
const SECONDS_PER_HOUR: i64 = 3600;

impl OrdersService {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, settling: Settling::default() }
    }

    async fn window(
        &self,
        node: NodeId,
        mut pairs: Streaming<messages::SettlementRequest>,
    ) -> Answer<Option<Window>> {
        let satellite = self.state.issuer.verifying_key()?;
        let mut window: Option<Window> = None;
        for _ in 0..=MAX_PAIRS {
            let next = timeout(IDLE_DEADLINE, pairs.message()).await.map_err(|_| {
                Failure::new(Code::DEADLINE_EXCEEDED, "no order came for two minutes")
            })?;
            let Some(pair) = next.map_err(Failure::from)? else {
                // A stream that was taken back ends alike here. The call is then dropped as soon as
                // it waits, which must be before anything is settled.
                yield_now().await;
                return Ok(window);
            };
            let Some(pair) = Pair::read(&pair) else { continue };
            let window = window.get_or_insert_with(|| Window::of(node, pair.hour));
            window.take(&pair, &satellite, self.state.clock.now());
        }
        let text = format!("more than {MAX_PAIRS} orders in one call");
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
        let _alone = self.settling.begin(node)?;
        let window = self.window(node, request.into_inner()).await?;
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

/// A limit and its order as far as they can be read; nothing is verified.
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

    /// The bytes that the order stands for, if limit and order are what they claim to be.
    fn verified(&self, satellite: &VerifyingKey) -> Option<i64> {
        let (limit, order) = (self.wire.limit.as_ref()?, self.wire.order.as_ref()?);
        OrderLimit::verify(limit.wire(), satellite).ok()?;
        let uplink = PiecePublicKey::from_bytes(&self.limit.uplink_public_key).ok()?;
        let order = Order::verify(order.wire(), &uplink).ok()?;
        let fits = order.serial_number == self.limit.serial_number
            && (0..=self.limit.limit).contains(&order.amount);
        fits.then_some(order.amount)
    }
}

/// The orders of one hour, summed up.
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

    /// Counts a pair, or leaves it out.
    fn take(&mut self, pair: &Pair<'_>, satellite: &VerifyingKey, now: Time) {
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
        let Some(amount) = pair.verified(satellite) else { return };
        self.serials.insert(serial);
        let sum = self.sums.entry(limit.action).or_default();
        *sum = sum.saturating_add(amount);
    }
}

/// The nodes that are handing in orders. Each does so once at a time, which bounds what it can make
/// the satellite remember.
#[derive(Clone, Debug, Default)]
struct Settling(Arc<Mutex<HashSet<NodeId>>>);

impl Settling {
    fn begin(&self, node: NodeId) -> Answer<Alone> {
        if !self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(node) {
            let text = "this node is handing in orders already";
            return Err(Failure::new(Code::UNAVAILABLE, text));
        }
        Ok(Alone { node, all: self.clone() })
    }
}

/// Held for the time of one settlement.
struct Alone {
    node: NodeId,
    all: Settling,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.node);
    }
}
