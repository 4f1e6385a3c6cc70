//! Escaping of encrypted path components, so that they contain neither `/` nor the bytes 00 and ff,
//! which satellites use as separators and bounds.
//!
//! An empty component is `01`. Any other is `02` followed by its bytes, of which six are encoded as
//! two: `2e → 2e 01`, `2f → 2e 02`, `fe → fe 01`, `ff → fe 02`, `00 → 01 01`, `01 → 01 02`.

/// Escapes a raw component.
#[must_use]
pub fn escape(raw: &[u8]) -> Vec<u8> {
    if raw.is_empty() {
        return vec![EMPTY];
    }
    let mut escaped = Vec::with_capacity(raw.len().saturating_add(8));
    escaped.push(NOT_EMPTY);
    for byte in raw {
        match byte {
            0x2e => escaped.extend([0x2e, 1]),
            0x2f => escaped.extend([0x2e, 2]),
            0xfe => escaped.extend([0xfe, 1]),
            0xff => escaped.extend([0xfe, 2]),
            0x00 => escaped.extend([0x01, 1]),
            0x01 => escaped.extend([0x01, 2]),
            byte => escaped.push(*byte),
        }
    }
    escaped
}

/// Reverses [`escape`]; `None` if the input is not a valid escaped form.
#[must_use]
pub fn unescape(escaped: &[u8]) -> Option<Vec<u8>> {
    let (first, body) = escaped.split_first()?;
    match (*first, body.is_empty()) {
        (EMPTY, true) => return Some(Vec::new()),
        (NOT_EMPTY, false) => {}
        _ => return None,
    }
    let mut raw = Vec::with_capacity(body.len());
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        raw.push(match byte {
            0x00 | 0xff | 0x2f => return None,
            0x2e | 0xfe | 0x01 => match (byte, bytes.next()?) {
                (0x2e, 1) => 0x2e,
                (0x2e, 2) => 0x2f,
                (0xfe, 1) => 0xfe,
                (0xfe, 2) => 0xff,
                (0x01, 1) => 0x00,
                (0x01, 2) => 0x01,
                _ => return None,
            },
            byte => *byte,
        });
    }
    Some(raw)
}

const EMPTY: u8 = 1;
const NOT_EMPTY: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Special bytes and their neighbours, as often as all other bytes.
    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        let special = proptest::sample::select(vec![0, 1, 2, 0x2e, 0x2f, 0x30, 0xfd, 0xfe, 0xff]);
        proptest::collection::vec(prop_oneof![any::<u8>(), special], 0..20)
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        #[test]
        fn components_escape_reversibly_and_in_order(one in any_bytes(), other in any_bytes()) {
            let escaped = escape(&one);
            prop_assert!(!escaped.iter().any(|byte| matches!(byte, 0 | 0x2f | 0xff)));
            prop_assert_eq!(unescape(&escaped), Some(one.clone()));
            prop_assert_eq!(escaped.cmp(&escape(&other)), one.cmp(&other));
        }

        #[test]
        fn no_component_has_two_escaped_forms(bytes in any_bytes()) {
            if let Some(raw) = unescape(&bytes) {
                prop_assert_eq!(escape(&raw), bytes);
            }
        }
    }
}
