use proptest::prelude::*;

use super::*;
use crate::secret::Secret;

fn piece_key(seed: u8) -> PiecePrivateKey {
    PiecePrivateKey::from_seed(&Secret::new([seed; 32])).unwrap()
}

fn identity_key() -> SigningKey {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    SigningKey::from_der(key.serialized_der()).unwrap()
}

fn limit() -> OrderLimit {
    OrderLimit {
        serial_number: vec![1; 16],
        satellite_id: vec![2; 32],
        storage_node_id: vec![3; 32],
        piece_id: vec![4; 32],
        limit: 1000,
        action: PieceAction::Put.into(),
        order_creation: Some(Timestamp { seconds: 1_700_000_000, nanos: 1 }),
        uplink_public_key: piece_key(7).public().as_bytes().to_vec(),
        ..OrderLimit::default()
    }
}

#[test]
fn signed_limit_verifies_and_a_modified_one_does_not() {
    let key = identity_key();
    let mut limit = limit();
    limit.sign(&key).unwrap();
    let wire = limit.encode_to_vec();
    let public = key.verifying_key().unwrap();
    assert_eq!(OrderLimit::verify(&wire, &public), Ok(limit.clone()));

    limit.limit += 1;
    let rejected = OrderLimit::verify(&limit.encode_to_vec(), &public);
    assert_eq!(rejected, Err(OrderError::Signature(SignatureError::Mismatch)));
    let other = identity_key().verifying_key().unwrap();
    assert!(OrderLimit::verify(&wire, &other).is_err());
}

#[test]
fn unknown_fields_are_signed_in_limits_and_rejected_elsewhere() {
    let unknown = [0xA2, 0x06, 1, 9]; // field 100, one byte
    let key = identity_key();
    let mut wire = limit().encode_to_vec();
    wire.extend(unknown);
    let payload = signing_payload(&wire, Signed::OrderLimit).unwrap();
    assert!(payload.ends_with(&unknown));
    wire.extend([0x52, 0]); // signature still empty
    assert_eq!(signing_payload(&wire, Signed::OrderLimit), Ok(payload.clone()));
    let signature = key.sign(&payload).unwrap();
    let mut wire = limit().encode_to_vec();
    wire.extend([0x52, signature.len() as u8]);
    wire.extend(signature);
    assert!(OrderLimit::verify(&wire, &key.verifying_key().unwrap()).is_err());
    wire.extend(unknown);
    assert!(OrderLimit::verify(&wire, &key.verifying_key().unwrap()).is_ok());

    let mut order = Order { serial_number: vec![1; 16], amount: 5, ..Order::default() };
    order.sign(&piece_key(7)).unwrap();
    let mut wire = order.encode_to_vec();
    assert_eq!(Order::verify(&wire, &piece_key(7).public()), Ok(order));
    wire.extend(unknown);
    assert_eq!(Order::verify(&wire, &piece_key(7).public()), Err(OrderError::UnknownField));
}

#[test]
fn piece_hash_is_signed_by_either_end() {
    let mut hash = PieceHash {
        piece_id: vec![4; 32],
        hash: vec![5; 32],
        piece_size: 256,
        hash_algorithm: PieceHashAlgorithm::Blake3.into(),
        ..PieceHash::default()
    };
    hash.sign_as_uplink(&piece_key(7)).unwrap();
    let wire = hash.encode_to_vec();
    assert_eq!(PieceHash::verify_from_uplink(&wire, &piece_key(7).public()), Ok(hash.clone()));
    assert!(PieceHash::verify_from_uplink(&wire, &piece_key(8).public()).is_err());

    let key = identity_key();
    let public = key.verifying_key().unwrap();
    assert!(PieceHash::verify_from_node(&wire, &public).is_err());
    hash.sign_as_node(&key).unwrap();
    assert_eq!(PieceHash::verify_from_node(&hash.encode_to_vec(), &public), Ok(hash));
}

#[test]
fn fields_in_any_order_and_length_give_the_same_payload() {
    let hash = PieceHash { piece_id: vec![4; 32], piece_size: 5, ..PieceHash::default() };
    let canonical = signing_payload(&hash.encode_to_vec(), Signed::PieceHash).unwrap();
    let mut wire = vec![0x20, 0x85, 0x80, 0x00]; // piece size first, in three bytes
    wire.extend([0x12, 0]); // empty hash
    wire.extend([0x0A, 32]);
    wire.extend([4; 32]);
    assert_eq!(signing_payload(&wire, Signed::PieceHash), Ok(canonical));
}

#[test]
fn malformed_messages_are_rejected() {
    let rejected = |wire: &[u8]| signing_payload(wire, Signed::OrderLimit).unwrap_err();
    assert_eq!(rejected(&[0x0A, 15]), OrderError::Malformed);
    assert_eq!(rejected(&[0x0A, 1, 0]), OrderError::UnexpectedField { field: 1 });
    assert_eq!(rejected(&[0x1A, 0]), OrderError::UnexpectedField { field: 3 });
    assert_eq!(rejected(&[0x08, 0]), OrderError::UnexpectedField { field: 1 });
    assert_eq!(rejected(&[0x30, 1, 0x30, 1]), OrderError::RepeatedField { field: 6 });
    assert_eq!(rejected(&[0x03]), OrderError::Malformed);
    assert_eq!(rejected(&[0x0B, 0x0C]), OrderError::Malformed);
    assert_eq!(rejected(&[0x30]), OrderError::Malformed);
    // two seconds in nanoseconds
    let wire = [0x42, 6, 0x10, 0x80, 0xA8, 0xD6, 0xB9, 0x07];
    assert_eq!(rejected(&wire), OrderError::UnexpectedField { field: 8 });
    let size = MAX_MESSAGE_SIZE + 1;
    assert_eq!(rejected(&vec![0; size]), OrderError::MessageTooLarge { size });
}

#[test]
fn piece_key_halves_must_match() {
    let key = piece_key(7);
    let bytes = key.to_bytes();
    assert_eq!(PiecePrivateKey::from_bytes(bytes.expose()).unwrap().public(), key.public());
    let mut mixed = *bytes.expose();
    mixed[32..].copy_from_slice(piece_key(8).public().as_bytes());
    assert!(PiecePrivateKey::from_bytes(&mixed).is_err());
    assert!(PiecePrivateKey::from_bytes(&mixed[..63]).is_err());
    assert!(PiecePublicKey::from_bytes(&mixed[..33]).is_err());
    assert_eq!(format!("{key:?}"), "PiecePrivateKey(redacted)");
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn decoding_any_bytes_does_not_panic(wire in proptest::collection::vec(any::<u8>(), 0..200)) {
        for signed in [Signed::OrderLimit, Signed::Order, Signed::PieceHash] {
            let _ = signing_payload(&wire, signed);
        }
        let _ = Order::verify(&wire, &piece_key(1).public());
    }

    #[test]
    fn payload_of_a_payload_is_unchanged(
        limit in any::<i64>(),
        action in any::<i32>(),
        seconds in any::<i64>(),
        metadata in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let message = OrderLimit {
            limit,
            action,
            piece_expiration: Some(Timestamp { seconds, nanos: 0 }),
            encrypted_metadata: metadata,
            deprecated_uplink_id: vec![0; 32],
            ..self::limit()
        };
        let payload = signing_payload(&message.encode_to_vec(), Signed::OrderLimit).unwrap();
        prop_assert_eq!(signing_payload(&payload, Signed::OrderLimit).unwrap(), payload);
    }

    #[test]
    fn signed_orders_round_trip_and_modified_ones_fail(
        serial: [u8; 16],
        amount: i64,
        bit: usize,
    ) {
        let mut order = Order { serial_number: serial.to_vec(), amount, ..Order::default() };
        order.sign(&piece_key(1)).unwrap();
        let mut wire = order.encode_to_vec();
        prop_assert_eq!(Order::verify(&wire, &piece_key(1).public()), Ok(order));
        prop_assert!(Order::verify(&wire, &piece_key(2).public()).is_err());
        let bit = bit % (wire.len() * 8);
        wire[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Order::verify(&wire, &piece_key(1).public()).is_err());
    }
}
