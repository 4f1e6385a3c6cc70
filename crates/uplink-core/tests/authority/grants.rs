//! F21: edits of access grants. An attacker can compute the checksum of an edited grant, so most edits
//! are of the message inside.

use proptest::prelude::*;
use proptest::sample::Index;
use uplink_core::access_grant::AccessGrant;
use uplink_core::base58;

use super::edits::{Edit, any_edit};
use super::samples::{SAMPLES, Sample};

const ALPHABET: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz 0OIl-é";

/// Parses an edited message with a valid checksum, and returns what it permits in addition.
fn gained_with_checksum(sample: &Sample, payload: &[u8]) -> Vec<String> {
    gained(sample, &base58::encode_check(0, payload))
}

fn gained(sample: &Sample, text: &str) -> Vec<String> {
    match AccessGrant::parse(text) {
        Ok(edited) => sample.gained_by(&edited),
        Err(_) => Vec::new(),
    }
}

/// The searches below would find an attack: other grants of the same project do permit more.
#[test]
fn wider_grant_is_recognized_as_a_gain() {
    let root = &SAMPLES[0];
    let mut seen = 0;
    for sample in &SAMPLES[3..] {
        let gained = gained_with_checksum(sample, &root.payload);
        assert!(gained.len() > 1, "{gained:?}");
        seen += gained.iter().filter(|gain| gain.starts_with("the key")).count();
        assert_eq!(gained_with_checksum(root, &root.payload), [""; 0]);
    }
    assert!(seen > 50, "{seen}");
}

// 20,000 edits in all.
proptest! {
    #![proptest_config(super::cases(14_000))]

    #[test]
    fn edited_grant_never_permits_more(
        sample in any::<Index>(),
        other in any::<Index>(),
        edits in prop::collection::vec(any_edit(), 1..4),
    ) {
        let sample = sample.get(&SAMPLES[..]);
        // The other grant's text belongs to the attacker too, but only its message is used: gaining
        // what it permits is not a gain.
        let other = other.get(&SAMPLES[..]);
        let is_splice = edits.iter().any(|edit| matches!(edit, Edit::Splice(..)));
        let edited = edits
            .iter()
            .fold(sample.payload.clone(), |bytes, edit| edit.apply(&bytes, &other.payload));
        let mut gained = gained_with_checksum(sample, &edited);
        if is_splice && let Ok(edited) = AccessGrant::parse(&base58::encode_check(0, &edited)) {
            let by_other = other.gained_by(&edited);
            gained.retain(|gain| by_other.contains(gain));
        }
        prop_assert_eq!(gained, Vec::<String>::new());
    }
}

proptest! {
    #![proptest_config(super::cases(5_000))]

    #[test]
    fn edited_text_is_rejected(sample in any::<Index>(), edit in any_edit()) {
        let sample = sample.get(&SAMPLES[..]);
        let edited = edit.apply(sample.text.as_bytes(), b"");
        if edited != sample.text.as_bytes() {
            let edited = String::from_utf8_lossy(&edited);
            prop_assert!(AccessGrant::parse(&edited).is_err());
        }
    }
}

proptest! {
    #![proptest_config(super::cases(1_000))]

    #[test]
    fn random_text_does_not_panic(text in "\\PC{0,300}", base58 in "[1-9A-HJ-NP-Za-km-z]{0,300}") {
        for text in [&text, &base58] {
            prop_assert!(AccessGrant::parse(text).is_err());
        }
    }
}

/// Every bit flip and every truncation of the messages of all samples, with a valid checksum.
#[test]
#[ignore = "soak: fifty thousand messages"]
fn every_flipped_bit_and_truncation_permits_nothing_more_soak() {
    let mut edits = 0;
    for sample in SAMPLES.iter() {
        for length in 0..sample.payload.len() {
            let gained = gained_with_checksum(sample, &sample.payload[..length]);
            assert_eq!(gained, [""; 0], "cut to {length}");
        }
        for bit in 0..sample.payload.len() * 8 {
            let mut edited = sample.payload.clone();
            edited[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(gained_with_checksum(sample, &edited), [""; 0], "bit {bit}");
        }
        edits += 9 * sample.payload.len();
    }
    println!("{edits} cases");
}

/// Every substitution of one character, and every truncation, of the texts of all samples.
#[test]
#[ignore = "soak: half a million texts"]
fn every_substituted_character_is_rejected_soak() {
    let mut edits = 0;
    for sample in SAMPLES.iter() {
        for length in 0..sample.text.len() {
            assert!(AccessGrant::parse(&sample.text[..length]).is_err(), "cut to {length}");
            for character in ALPHABET.chars() {
                let mut edited = sample.text.clone();
                edited.replace_range(length..=length, character.encode_utf8(&mut [0; 4]));
                let is_same = edited == sample.text;
                assert_eq!(AccessGrant::parse(&edited).is_ok(), is_same, "{character} at {length}");
                edits += 1;
            }
        }
    }
    println!("{edits} cases");
}
