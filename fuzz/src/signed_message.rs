use prost::Message;
use uplink_core::order::{self, PiecePublicKey, Signed, signing_payload};
use uplink_rpc::raw;

/// Uses the input as each of the signed messages.
pub fn signed_message(data: &[u8]) {
    assert_raw::<order::OrderLimit>(data, Signed::OrderLimit);
    assert_raw::<order::Order>(data, Signed::Order);
    assert_raw::<order::PieceHash>(data, Signed::PieceHash);
    if let Ok(key) = PiecePublicKey::from_bytes(data.get(..32).unwrap_or_default()) {
        assert!(order::Order::verify(data, &key).is_err());
        assert!(order::PieceHash::verify_from_uplink(data, &key).is_err());
    }
}

/// Asserts that bytes pass through unchanged, and that the signed payload depends only on them.
fn assert_raw<T: Message + Default>(data: &[u8], signed: Signed) {
    let whole = raw::Signed::<T>::from_wire(data.to_vec().into());
    assert_eq!(whole.encode_to_vec(), data);
    let payload = signing_payload(data, signed);
    if let Ok(payload) = &payload {
        assert_eq!(signing_payload(payload, signed).as_ref(), Ok(payload));
        assert!(whole.decode_typed().is_ok(), "a message with a payload decodes");
    }
    let Ok(read) = raw::Signed::<T>::decode(data) else {
        assert!(payload.is_err());
        return;
    };
    let decoded = raw::Signed::<T>::decode(read.wire().clone()).expect("a decoded message");
    assert_eq!(decoded, read);
    assert_eq!(decoded.encoded_len(), decoded.encode_to_vec().len());
    assert_eq!(read.decode_typed().is_ok(), whole.decode_typed().is_ok());
    if read.wire() == data {
        assert_eq!(signing_payload(read.wire(), signed), payload);
    }
}
