//! Validation of order limits and orders.
//!
//! Every rejection has the status code that nodes of the public network use for it.

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
use uplink_core::id::{NodeId, PieceId, SerialNumber};
use uplink_core::order::{Order, OrderLimit, PieceAction, PiecePublicKey};
use uplink_rpc::raw;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::time::{ZERO_SECONDS, is_skewed};
use uplink_server::Clock;

use crate::clocks::Clocks;
use crate::serials::{SerialError, Serials};
use crate::settlement::Settlement;
use crate::store::PieceName;
use crate::trust::Trust;

/// Validates order limits.
#[derive(Debug)]
pub(crate) struct Verifier {
    node: NodeId,
    trust: Trust,
    serials: Serials,
    clocks: Clocks,
    clock: Clock,
}

/// An order limit that passed every check. Its serial number is used up by one request.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedLimit {
    pub name: PieceName,
    pub serial: SerialNumber,
    pub action: PieceAction,
    /// Maximum bytes that orders may grant.
    pub max_bytes: u64,
    pub uplink_key: PiecePublicKey,
    /// Creation time by the satellite's clock, in seconds since 1970.
    pub created: i64,
    pub wire: Bytes,
}

/// An order limit whose serial number is claimed in memory and not persisted yet.
#[derive(Debug)]
pub(crate) struct ClaimedLimit {
    limit: AcceptedLimit,
    serials: Serials,
}

impl ClaimedLimit {
    /// Writes the serial number, so that it stays claimed if the process is killed. Blocks.
    pub(crate) fn persist(self) -> Result<AcceptedLimit, Failure> {
        self.serials.persist(self.limit.name.satellite, self.limit.created).map_err(|error| {
            tracing::error!(%error, "cannot write a used serial number");
            Failure::new(Code::UNAVAILABLE, "order limit: cannot write its serial number")
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

    /// Returns the offsets between the node's clock and its satellites' clocks.
    pub(crate) fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// Returns the trusted satellites.
    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Validates an order limit for one of the `allowed` actions.
    ///
    /// On success its serial number is used up, even if the request fails later.
    /// [`ClaimedLimit::persist`] returns the limit.
    pub(crate) async fn accept(
        &self,
        raw: &raw::OrderLimit,
        allowed: &[PieceAction],
    ) -> Result<ClaimedLimit, Failure> {
        let limit = raw.decode_typed().map_err(|error| invalid(format!("order limit: {error}")))?;
        let accepted = self.check(&limit, raw.wire().clone(), allowed)?;
        self.verify_signature(accepted.name.satellite, raw.wire()).await?;
        let satellite = accepted.name.satellite;
        match self.serials.claim(satellite, accepted.serial, accepted.created) {
            Ok(()) => Ok(ClaimedLimit { limit: accepted, serials: self.serials.clone() }),
            Err(SerialError::Lost) => Err(Failure::new(
                Code::UNAUTHENTICATED,
                "order limit: created shortly before this storage node lost power, may be used",
            )),
            Err(SerialError::Used) => {
                Err(Failure::new(Code::UNAUTHENTICATED, "order limit: serial number already used"))
            }
            Err(SerialError::TooMany) => {
                Err(Failure::new(Code::UNAVAILABLE, "too many order limits in use"))
            }
        }
    }

    /// Checks everything except signature and serial number.
    fn check(
        &self,
        limit: &OrderLimit,
        wire: Bytes,
        allowed: &[PieceAction],
    ) -> Result<AcceptedLimit, Failure> {
        let action = PieceAction::try_from(limit.action)
            .ok()
            .filter(|action| allowed.contains(action))
            .ok_or_else(|| invalid("order limit: action does not match the request"))?;
        let max_bytes =
            u64::try_from(limit.limit).map_err(|_| invalid("order limit: negative limit"))?;
        if limit.storage_node_id != self.node.as_bytes() {
            return Err(invalid("order limit: issued for another storage node"));
        }
        let satellite = NodeId::from_slice(&limit.satellite_id)
            .ok()
            .filter(|id| !id.is_zero())
            .ok_or_else(|| invalid("order limit: missing satellite id"))?;
        self.check_times(limit, satellite)?;
        let piece = PieceId::from_slice(&limit.piece_id)
            .ok()
            .filter(|id| *id != PieceId::default())
            .ok_or_else(|| invalid("order limit: missing piece id"))?;
        let uplink_key = PiecePublicKey::from_bytes(&limit.uplink_public_key)
            .ok()
            .filter(|key| key.as_bytes() != &[0; 32])
            .ok_or_else(|| invalid("order limit: missing uplink public key"))?;
        if limit.satellite_signature.is_empty() {
            return Err(invalid("order limit: missing signature"));
        }
        let serial = SerialNumber::from_slice(&limit.serial_number)
            .map_err(|error| invalid(format!("order limit: {error}")))?;
        let created = seconds(limit.order_creation.as_ref());
        let name = PieceName { satellite, piece };
        Ok(AcceptedLimit { name, serial, action, max_bytes, uplink_key, created, wire })
    }

    fn check_times(&self, limit: &OrderLimit, satellite: NodeId) -> Result<(), Failure> {
        let now = self.clock.unix_seconds();
        let min_expiration = now.saturating_sub(EXPIRATION_GRACE_SECONDS);
        let piece_expiration = seconds(limit.piece_expiration.as_ref());
        if piece_expiration != ZERO_SECONDS && piece_expiration < min_expiration {
            return Err(invalid("order limit: piece expired"));
        }
        if seconds(limit.order_expiration.as_ref()) < min_expiration {
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
            let text = format!("untrusted satellite {satellite}");
            return Err(Failure::new(Code::PERMISSION_DENIED, text));
        };
        let key = key.map_err(|error| {
            let text = format!("cannot fetch the key of satellite {satellite}: {error}");
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

/// The orders of one request.
///
/// Drop records the largest order for settlement, however the request ends. Until then the hour of
/// the limit stays open.
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

    /// Returns the order limit of all these orders.
    pub(crate) fn limit(&self) -> &AcceptedLimit {
        &self.limit
    }

    /// Returns the bytes granted so far.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    /// Accepts the next order. A rejected order has no effect.
    pub(crate) fn accept(&mut self, raw: &raw::Order) -> Result<(), Failure> {
        let order = raw.decode_typed().map_err(|error| invalid(format!("order: {error}")))?;
        if order.serial_number != self.limit.serial.as_bytes() {
            return Err(invalid("order: serial number does not match the order limit"));
        }
        let amount = u64::try_from(order.amount)
            .ok()
            .filter(|amount| *amount >= self.granted)
            .ok_or_else(|| invalid("order: amount decreased"))?;
        if amount > self.limit.max_bytes {
            return Err(invalid(format!(
                "order: {amount} bytes exceed the limit of {}",
                self.limit.max_bytes
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

/// Returns a failure for invalid input of the peer.
pub(crate) fn invalid(text: impl Into<String>) -> Failure {
    Failure::new(Code::INVALID_ARGUMENT, text)
}

/// Returns the seconds of a time. A missing one is the first second of year 1.
fn seconds(time: Option<&Timestamp>) -> i64 {
    time.map_or(ZERO_SECONDS, |time| time.seconds)
}

/// Grace period after the expiration of limits and pieces.
const EXPIRATION_GRACE_SECONDS: i64 = 48 * 60 * 60;
