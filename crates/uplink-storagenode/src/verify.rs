//! Which order limits and orders a node accepts.
//!
//! Every refusal carries the code that nodes of the public network use for it.

#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use std::sync::Arc;

use bytes::Bytes;
use prost_types::Timestamp;
use uplink_core::{
    id::{NodeId, PieceId, SerialNumber},
    order::{Order, OrderLimit, PieceAction, PiecePublicKey},
};
use uplink_rpc::{
    raw,
    status::{Code, Failure},
    time::{ZERO_SECONDS, is_skewed},
};

use crate::{
    clock::Clock,
    clocks::Clocks,
    serials::{SerialRefusal, Serials},
    settlement::Settlement,
    store::PieceName,
    trust::Trust,
};

/// Decides about order limits.
#[derive(Debug)]
pub(crate) struct Verifier {
    node: NodeId,
    trust: Trust,
    serials: Serials,
    clocks: Clocks,
    clock: Clock,
}

/// An order limit that passed every check and whose serial number is spent on one request.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedLimit {
    pub name: PieceName,
    pub serial: SerialNumber,
    pub action: PieceAction,
    /// Most bytes that orders may reach.
    pub most: u64,
    pub uplink_key: PiecePublicKey,
    /// Second in which the satellite made it.
    pub created: i64,
    pub wire: Bytes,
}

/// A limit whose serial number is taken in memory alone.
#[derive(Debug)]
pub(crate) struct ClaimedLimit {
    limit: AcceptedLimit,
    serials: Serials,
}

impl ClaimedLimit {
    /// Writes the serial number, so that it stays taken when the process dies; blocks.
    pub(crate) fn remember(self) -> Result<AcceptedLimit, Failure> {
        let written = self.serials.remember(self.limit.name.satellite, self.limit.created);
        written.map_err(|error| {
            tracing::error!(%error, "a used serial number cannot be written");
            Failure::new(Code::UNAVAILABLE, "order limit: its serial number cannot be written")
        })?;
        Ok(self.limit)
    }
}

impl Verifier {
    pub(crate) fn new(
        node: NodeId,
        trust: Trust,
        serials: Serials,
        clocks: Clocks,
        clock: Clock,
    ) -> Self {
        Self { node, trust, serials, clocks, clock }
    }

    /// How far the node's clock is from its satellites'.
    pub(crate) fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// The satellites this node works for.
    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Checks an order limit for one of the actions `allowed`; on success its serial number is
    /// spent, whatever becomes of the request. [`ClaimedLimit::remember`] yields the limit.
    pub(crate) async fn accept(
        &self,
        raw: &raw::OrderLimit,
        allowed: &[PieceAction],
    ) -> Result<ClaimedLimit, Failure> {
        let limit = raw.decode_typed().map_err(|error| invalid(format!("order limit: {error}")))?;
        let accepted = self.check(&limit, raw.wire().clone(), allowed)?;
        self.verify_signature(accepted.name.satellite, raw.wire()).await?;
        let (satellite, serial) = (accepted.name.satellite, accepted.serial);
        match self.serials.take(satellite, serial, accepted.created) {
            Ok(()) => Ok(ClaimedLimit { limit: accepted, serials: self.serials.clone() }),
            Err(SerialRefusal::Lost) => Err(Failure::new(
                Code::UNAUTHENTICATED,
                "order limit: made shortly before this storage node lost power, perhaps used then",
            )),
            Err(SerialRefusal::Used) => {
                Err(Failure::new(Code::UNAUTHENTICATED, "order limit: serial number already used"))
            }
            Err(SerialRefusal::TooMany) => {
                Err(Failure::new(Code::UNAVAILABLE, "too many order limits in use"))
            }
        }
    }

    /// Everything that the limit alone shows.
    fn check(
        &self,
        limit: &OrderLimit,
        wire: Bytes,
        allowed: &[PieceAction],
    ) -> Result<AcceptedLimit, Failure> {
        let action = PieceAction::try_from(limit.action).ok().filter(|it| allowed.contains(it));
        let action = action.ok_or_else(|| invalid("order limit: another action than asked for"))?;
        let most = u64::try_from(limit.limit)
            .map_err(|_| invalid("order limit: the limit is negative"))?;
        if limit.storage_node_id != self.node.as_bytes() {
            return Err(invalid("order limit: for another storage node"));
        }
        let satellite = NodeId::from_slice(&limit.satellite_id)
            .ok()
            .filter(|id| !id.is_zero())
            .ok_or_else(|| invalid("order limit: no satellite id"))?;
        self.check_times(limit, satellite)?;
        let piece = PieceId::from_slice(&limit.piece_id)
            .ok()
            .filter(|id| *id != PieceId::default())
            .ok_or_else(|| invalid("order limit: no piece id"))?;
        let uplink_key = PiecePublicKey::from_bytes(&limit.uplink_public_key)
            .ok()
            .filter(|key| key.as_bytes() != &[0; 32])
            .ok_or_else(|| invalid("order limit: no uplink public key"))?;
        if limit.satellite_signature.is_empty() {
            return Err(invalid("order limit: no signature"));
        }
        let serial = SerialNumber::from_slice(&limit.serial_number)
            .map_err(|error| invalid(format!("order limit: {error}")))?;
        let created = seconds(limit.order_creation.as_ref());
        let name = PieceName { satellite, piece };
        Ok(AcceptedLimit { name, serial, action, most, uplink_key, created, wire })
    }

    fn check_times(&self, limit: &OrderLimit, satellite: NodeId) -> Result<(), Failure> {
        let now = self.clock.unix_seconds();
        let long_past = now.saturating_sub(EXPIRED_SECONDS);
        let expires = seconds(limit.piece_expiration.as_ref());
        if expires != ZERO_SECONDS && expires < long_past {
            return Err(invalid("order limit: the piece has expired"));
        }
        if seconds(limit.order_expiration.as_ref()) < long_past {
            return Err(invalid("order limit: expired"));
        }
        let ahead = seconds(limit.order_creation.as_ref()).saturating_sub(now);
        if is_skewed(ahead) {
            let reason = self.clocks.explain(satellite, ahead);
            return Err(invalid(format!("order limit: {reason}")));
        }
        Ok(())
    }

    async fn verify_signature(&self, satellite: NodeId, wire: &[u8]) -> Result<(), Failure> {
        let Some(key) = self.trust.key(satellite).await else {
            let text = format!("satellite {satellite} is not trusted");
            return Err(Failure::new(Code::PERMISSION_DENIED, text));
        };
        let key = key.map_err(|error| {
            let text = format!("cannot learn the key of satellite {satellite}: {error}");
            Failure::new(Code::UNAVAILABLE, text)
        })?;
        let Err(error) = OrderLimit::verify(wire, &key) else { return Ok(()) };
        if let Some(newer) = self.trust.newer_key(satellite, &key).await
            && OrderLimit::verify(wire, &newer).is_ok()
        {
            return Ok(());
        }
        Err(Failure::new(Code::UNAUTHENTICATED, format!("order limit: {error}")))
    }
}

/// The orders of one request. Dropping it, however the request ends, keeps the largest one for
/// settlement. Until then the hour of the limit is not settled.
#[derive(Debug)]
pub(crate) struct Orders {
    limit: AcceptedLimit,
    granted: u64,
    largest: Option<Bytes>,
    settlement: Arc<Settlement>,
}

impl Orders {
    pub(crate) fn new(limit: AcceptedLimit, settlement: Arc<Settlement>) -> Self {
        settlement.begin(limit.created);
        Self { limit, granted: 0, largest: None, settlement }
    }

    /// The limit all orders belong to.
    pub(crate) fn limit(&self) -> &AcceptedLimit {
        &self.limit
    }

    /// Bytes granted so far.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    /// Takes the next order; a refused one changes nothing.
    pub(crate) fn accept(&mut self, raw: &raw::Order) -> Result<(), Failure> {
        let order = raw.decode_typed().map_err(|error| invalid(format!("order: {error}")))?;
        if order.serial_number != self.limit.serial.as_bytes() {
            return Err(invalid("order: serial number of another limit"));
        }
        let amount = u64::try_from(order.amount).ok().filter(|amount| *amount >= self.granted);
        let amount = amount.ok_or_else(|| invalid("order: the amount decreases"))?;
        if amount > self.limit.most {
            return Err(invalid(format!(
                "order: {amount} bytes are more than the {} of the limit",
                self.limit.most
            )));
        }
        Order::verify(raw.wire(), &self.limit.uplink_key)
            .map_err(|error| Failure::new(Code::UNAUTHENTICATED, format!("order: {error}")))?;
        self.granted = amount;
        self.largest = Some(raw.wire().clone());
        Ok(())
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        let limit = &self.limit;
        let largest = self.largest.take().filter(|_| self.granted > 0);
        let pair = largest.map(|order| (limit.wire.clone(), order));
        self.settlement.end(limit.name.satellite, limit.created, pair);
    }
}

/// A refusal of what the peer sent.
pub(crate) fn invalid(text: impl Into<String>) -> Failure {
    Failure::new(Code::INVALID_ARGUMENT, text)
}

/// An absent time is the first second of year 1.
fn seconds(time: Option<&Timestamp>) -> i64 {
    time.map_or(ZERO_SECONDS, |time| time.seconds)
}

/// Limits and pieces may be expired for this long.
const EXPIRED_SECONDS: i64 = 48 * 60 * 60;
