use uplink_core::macaroon::{Action, ApiKey, ApiKeyVersion, Caveat, Operation, Timestamp};

use super::input::Input;

const SECRET: &[u8] = b"of the satellite";

/// Uses the input as an API key, and as a caveat.
pub fn macaroon(data: &[u8]) {
    if let Ok(key) = ApiKey::from_bytes(data) {
        let bytes = key.to_bytes();
        assert_eq!(ApiKey::from_exact_bytes(&bytes).as_ref(), Ok(&key));
        assert_eq!(ApiKey::parse(&key.serialize()).as_ref(), Ok(&key));
        // The tail cannot be computed without the secret.
        assert!(!key.is_authentic(SECRET));
        key.caveats().iter().for_each(|caveat| assert_caveat(caveat));
    }
    assert_caveat(data);
    assert_narrower(data);
}

/// Asserts that a caveat round trips, and that strict decoding only adds restrictions.
fn assert_caveat(bytes: &[u8]) {
    let Ok(caveat) = Caveat::decode(bytes) else {
        assert!(Caveat::decode_strict(bytes).is_err());
        return;
    };
    let encoded = caveat.encode();
    let decoded = Caveat::decode_strict(&encoded).expect("an encoded caveat");
    assert_eq!(decoded.encode(), encoded);
    assert_eq!(
        (decoded.disallowed, decoded.allowed_paths),
        (caveat.disallowed, caveat.allowed_paths)
    );
    if let Ok(strict) = Caveat::decode_strict(bytes) {
        assert!(caveat.disallowed.iter().all(|operation| strict.disallowed.contains(operation)));
    }
}

/// Asserts that a caveat only removes permissions.
fn assert_narrower(data: &[u8]) {
    let mut input = Input::new(data);
    let action = Action {
        operation: Operation::ALL[usize::from(input.byte()) % Operation::ALL.len()],
        bucket: input.sized(),
        encrypted_path: input.sized(),
        time: Timestamp::new(input.number().cast_signed(), 0),
    };
    let parent = ApiKey::new(SECRET, vec![1; 32]);
    let first = Caveat::decode(input.sized()).unwrap_or_default();
    let Ok(parent) = parent.restrict(&first) else { return };
    let second = Caveat::decode(input.rest()).unwrap_or_default();
    let Ok(child) = parent.restrict(&second) else { return };
    assert!(child.is_authentic(SECRET) && !child.is_authentic(b"of another"));
    let allows = |key: &ApiKey| key.check(SECRET, ApiKeyVersion(7), &action).is_ok();
    assert_eq!(allows(&child), first.allows(&action) && second.allows(&action));
    assert!(allows(&parent) || !allows(&child));
}
