use uplink_core::base58::{Base58Error, decode, decode_check, encode, encode_check};

const MAX: usize = 64 << 10;

/// Uses the input as text to decode, and as bytes to encode.
pub fn base58(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match decode(&text, MAX) {
        // The encoding is a bijection.
        Ok(bytes) => assert_eq!(encode(&bytes), text),
        Err(Base58Error::Character { position }) => assert!(position < text.len()),
        Err(error) => panic!("{error}"),
    }
    if let Ok((version, payload)) = decode_check(&text, MAX) {
        assert_eq!(encode_check(version, &payload), text);
    }
    let text = encode(data);
    assert_eq!(decode(&text, MAX).as_deref(), Ok(data));
    let too_long = Base58Error::TooLong { length: text.len(), limit: text.len().wrapping_sub(1) };
    if !text.is_empty() {
        assert_eq!(decode(&text, text.len() - 1), Err(too_long));
    }
    let text = encode_check(7, data);
    assert_eq!(decode_check(&text, MAX), Ok((7, data.to_vec())));
    assert_change_detected(text);
}

/// Asserts that the checksum detects a changed digit.
fn assert_change_detected(mut text: String) {
    let last = text.pop();
    text.push(if last == Some('2') { '3' } else { '2' });
    assert_eq!(decode_check(&text, MAX), Err(Base58Error::Checksum));
}
