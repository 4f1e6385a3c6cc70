use prost::Message;
use uplink_core::order::{self, PiecePublicKey, Signed, signing_payload};
use uplink_rpc::raw;

/// The bytes as each of the signed messages.
pub fn signed_message(data: &[u8]) {
    assert_raw::<order::OrderLimit>(data, Signed::OrderLimit);
    assert_raw::<order::Order>(data, Signed::Order);
    assert_raw::<order::PieceHash>(data, Signed::PieceHash);
    if let Ok(key) = PiecePublicKey::from_bytes(data.get(..32).unwrap_or_default()) {
        assert!(order::Order::verify(data, &key).is_err());
        assert!(order::PieceHash::verify_from_uplink(data, &key).is_err());
    }
}

/// Bytes pass through unchanged, and what is signed depends on nothing else.
fn assert_raw<T: Message + Default>(data: &[u8], signed: Signed) {
    let whole = raw::Signed::<T>::from_wire(data.to_vec().into());
    assert_eq!(whole.encode_to_vec(), data);
    let payload = signing_payload(data, signed);
    if let Ok(payload) = &payload {
        assert_eq!(signing_payload(payload, signed).as_ref(), Ok(payload));
        assert!(whole.decode_typed().is_ok(), "what can be signed can be read");
    }
    let Ok(read) = raw::Signed::<T>::decode(data) else {
        assert!(payload.is_err());
        return;
    };
    let again = raw::Signed::<T>::decode(read.wire().clone()).expect("what was read");
    assert_eq!(again, read);
    assert_eq!(again.encoded_len(), again.encode_to_vec().len());
    assert_eq!(read.decode_typed().is_ok(), whole.decode_typed().is_ok());
    if read.wire() == data {
        assert_eq!(signing_payload(read.wire(), signed), payload);
    }
}
