//! Order limits: signed permissions for a client to transfer one piece to or from a storage node.
//!
//! All limits of one segment share a serial number and a piece key. The serial number starts with
//! the second at which the limits expire, so that nodes can discard it then. Data that the satellite
//! needs at settlement is part of the limit, encrypted under the satellite's own key.

use std::sync::Arc;
use std::time::Duration;

use aes_gcm::aead::Aead;
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hmac::{Hmac, KeyInit, Mac};
use prost::Message;
use sha2::Sha256;
use uplink_core::id::{NodeId, PieceId, SerialNumber};
use uplink_core::order::{OrderLimit, PieceAction, PiecePrivateKey};
use uplink_core::secret::Secret;
use uplink_core::signature::VerifyingKey;
use uplink_rpc::r#gen::metainfo::AddressedOrderLimit;
use uplink_rpc::r#gen::node::NodeAddress;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::tls::Identity;

use crate::random;
use crate::time::Time;

/// Issues order limits.
#[derive(Debug)]
pub(crate) struct Issuer {
    identity: Arc<Identity>,
    note_key: Secret<[u8; 32]>,
    lifetime: Duration,
}

/// Fields shared by all limits of one segment.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) serial: SerialNumber,
    /// Public piece key.
    pub(crate) piece_key: [u8; 32],
    pub(crate) action: PieceAction,
    /// Maximum number of bytes to transfer.
    pub(crate) limit: i64,
    pub(crate) created: Time,
    pub(crate) piece_expires: Option<Time>,
    note: Vec<u8>,
}

/// The piece of one limit and the node that stores it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PieceAt<'a> {
    pub(crate) id: PieceId,
    pub(crate) node: NodeId,
    /// `ip:port`.
    pub(crate) address: &'a str,
}

/// Encrypted metadata of a limit: the project and bucket to account the traffic to.
#[derive(Clone, PartialEq, Message)]
struct Note {
    /// Project id followed by the bucket's name.
    #[prost(bytes = "vec", tag = "3")]
    project_bucket: Vec<u8>,
}

/// Id of the key that encrypts notes; there has been only one.
const NOTE_KEY_ID: [u8; 8] = *b"uplink01";

impl Issuer {
    pub(crate) fn new(identity: Arc<Identity>, lifetime: Duration) -> Self {
        let note_key = Secret::new(identity.derive_secret("uplink satellite 2026 order notes v1"));
        Self { identity, note_key, lifetime }
    }

    /// Returns a new serial number for limits created at `now`.
    pub(crate) fn serial(&self, now: Time) -> SerialNumber {
        let expires = u64::try_from(now.plus(self.lifetime).unix_seconds()).unwrap_or(0);
        let mut serial = [0; 16];
        let (first, second) = serial.split_at_mut(8);
        first.copy_from_slice(&expires.to_be_bytes());
        second.copy_from_slice(&random::bytes::<8>());
        SerialNumber::new(serial)
    }

    /// Generates a piece key.
    pub(crate) fn piece_key(&self) -> Result<PiecePrivateKey, Failure> {
        PiecePrivateKey::from_seed(&Secret::new(random::bytes())).map_err(internal)
    }

    /// Creates the shared fields of a segment's limits.
    pub(crate) fn terms(
        &self,
        (serial, piece_key): (SerialNumber, [u8; 32]),
        (action, limit): (PieceAction, i64),
        (created, piece_expires): (Time, Option<Time>),
        (project, bucket): (&[u8; 16], &[u8]),
    ) -> Result<Terms, Failure> {
        let note = Note { project_bucket: [&project[..], bucket].concat() };
        let note = self.seal(&serial, &note.encode_to_vec())?;
        Ok(Terms { serial, piece_key, action, limit, created, piece_expires, note })
    }

    /// Returns the key that verifies these limits.
    pub(crate) fn verifying_key(&self) -> Result<VerifyingKey, Failure> {
        self.identity.signing_key().verifying_key().map_err(internal)
    }

    /// Signs the limit for one piece.
    pub(crate) fn limit(
        &self,
        terms: &Terms,
        piece: &PieceAt<'_>,
    ) -> Result<AddressedOrderLimit, Failure> {
        let mut limit = OrderLimit {
            serial_number: terms.serial.as_bytes().to_vec(),
            satellite_id: self.identity.node_id().as_bytes().to_vec(),
            storage_node_id: piece.node.as_bytes().to_vec(),
            piece_id: piece.id.as_bytes().to_vec(),
            limit: terms.limit,
            action: terms.action.into(),
            piece_expiration: terms.piece_expires.map(Time::to_wire),
            order_expiration: Some(terms.created.plus(self.lifetime).to_wire()),
            order_creation: Some(terms.created.to_wire()),
            uplink_public_key: terms.piece_key.to_vec(),
            encrypted_metadata_key_id: NOTE_KEY_ID.to_vec(),
            encrypted_metadata: terms.note.clone(),
            ..OrderLimit::default()
        };
        limit.sign(self.identity.signing_key()).map_err(internal)?;
        let address = NodeAddress { address: piece.address.to_owned(), ..NodeAddress::default() };
        Ok(AddressedOrderLimit {
            limit: Some(limit.into()),
            storage_node_address: Some(address),
            ..AddressedOrderLimit::default()
        })
    }

    /// Encrypts a note under a key derived from the serial number, which is never reused. Equal terms
    /// give equal notes, also when limits are replaced.
    fn seal(&self, serial: &SerialNumber, note: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.note_key.expose()).map_err(internal)?;
        mac.update(serial.as_bytes());
        let key = Secret::<[u8; 32]>::new(mac.finalize().into_bytes().into());
        let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key.expose()));
        cipher.encrypt(&Nonce::from([0; 12]), note).map_err(internal)
    }
}

fn internal(error: impl std::fmt::Display) -> Failure {
    tracing::error!(%error, "cannot issue order limits");
    Failure::new(Code::INTERNAL, "cannot issue order limits")
}
