//! Base58 and Base58Check in the Bitcoin alphabet, with a length limit.
//!
//! Access grants, API keys, node ids and upload ids are written as Base58Check: one version byte,
//! the payload, and the first four bytes of SHA-256(SHA-256(version ‖ payload)), all read as one
//! big-endian number in base 58; each leading zero byte becomes one leading `1`.
//!
//! Conversion between bases 256 and 58 takes quadratic time. Decoding rejects text longer than the
//! caller's limit up front. Ids, API keys and nearly all grants are short enough for the crate `bs58`,
//! which converts character by character. At the 64 Ki characters of the longest grant that would take
//! a second, so longer texts are decoded ten characters and longer bytes encoded four bytes at a time.

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

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::secret::burn_stack;

/// Why a text is not valid Base58 or Base58Check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Base58Error {
    /// The text is longer than the caller's limit; it was not decoded.
    #[error("base58 text too long: {length} characters, limit {limit}")]
    TooLong {
        /// Length of the text in bytes.
        length: usize,
        /// The limit in force.
        limit: usize,
    },
    /// A byte outside the alphabet.
    #[error("invalid base58 character at position {position}")]
    Character {
        /// Zero-based byte position.
        position: usize,
    },
    /// Fewer than the five bytes of version and checksum.
    #[error("base58check text too short: no room for version and checksum")]
    TooShort,
    /// The checksum does not match, usually because of a typing or copying mistake.
    #[error("base58check checksum mismatch")]
    Checksum,
}

/// Encodes `payload` with a version byte and a checksum.
#[must_use]
pub fn encode_check(version: u8, payload: &[u8]) -> String {
    let mut bytes = Zeroizing::new(Vec::with_capacity(payload.len().saturating_add(OVERHEAD)));
    bytes.push(version);
    bytes.extend_from_slice(payload);
    let sum = checksum(&bytes);
    burn_stack();
    bytes.extend_from_slice(&sum);
    encode(&bytes)
}

/// Decodes a Base58Check text of at most `max_len` characters into version and payload.
///
/// Verifies the checksum, but not the version. The payload may be a secret: intermediate copies are
/// wiped.
pub fn decode_check(text: &str, max_len: usize) -> Result<(u8, Vec<u8>), Base58Error> {
    let bytes = Zeroizing::new(decode(text, max_len)?);
    let (body, sum) = bytes.split_last_chunk::<CHECKSUM_SIZE>().ok_or(Base58Error::TooShort)?;
    let (version, payload) = body.split_first().ok_or(Base58Error::TooShort)?;
    let expected = checksum(body);
    burn_stack();
    if expected != *sum {
        return Err(Base58Error::Checksum);
    }
    Ok((*version, payload.to_vec()))
}

/// Encodes bytes without version and checksum.
///
/// The time grows with the square of the length: 12 ms for 3 KiB, and a fifth of a second for the
/// 48 KiB of the longest grant.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    if bytes.len() > MAX_SHORT_BYTES {
        encode_long(bytes)
    } else {
        bs58::encode(bytes).into_string()
    }
}

/// Maximum number of bytes that are encoded one by one.
const MAX_SHORT_BYTES: usize = 3072;

fn encode_long(bytes: &[u8]) -> String {
    // 58^5 < 2^30: a limb times 2^32 fits 64 bits, and dividing those by a constant is fast.
    const BASE: u64 = 58 * 58 * 58 * 58 * 58;
    // Neither the limbs nor the text may grow: what they leave behind when they move is not wiped. A
    // limb holds 29.3 bits and a character 5.86.
    let mut limbs = Zeroizing::new(Vec::<u32>::with_capacity(bytes.len().div_ceil(3)));
    for chunk in bytes.chunks(4) {
        let mut carry = 0u64;
        let mut scale = 1u64;
        for byte in chunk {
            carry = (carry << 8) | u64::from(*byte);
            scale <<= 8;
        }
        for limb in limbs.iter_mut() {
            let wide = u64::from(*limb).wrapping_mul(scale).wrapping_add(carry);
            *limb = (wide % BASE) as u32;
            carry = wide / BASE;
        }
        while carry > 0 {
            limbs.push((carry % BASE) as u32);
            carry /= BASE;
        }
    }
    let digits = limbs.iter().rev().flat_map(|limb| {
        let mut rest = *limb;
        let mut digits = [0; 5];
        for digit in digits.iter_mut().rev() {
            *digit = (rest % 58) as usize;
            rest /= 58;
        }
        digits
    });
    let zeros = bytes.iter().take_while(|byte| **byte == 0).map(|_| 0);
    let digits = zeros.chain(digits.skip_while(|digit| *digit == 0));
    let characters = digits.filter_map(|digit| ALPHABET.get(digit));
    let mut text = String::with_capacity(bytes.len().saturating_mul(3).div_ceil(2));
    text.extend(characters.map(|character| char::from(*character)));
    text
}

/// Decodes text of at most `max_len` characters without version and checksum.
pub fn decode(text: &str, max_len: usize) -> Result<Vec<u8>, Base58Error> {
    match text.len() {
        length if length > max_len => Err(Base58Error::TooLong { length, limit: max_len }),
        length if length > MAX_SHORT => decode_long(text),
        _ => decode_short(text),
    }
}

/// Maximum number of characters that are decoded one by one, in at most four milliseconds.
const MAX_SHORT: usize = 4096;

fn decode_short(text: &str) -> Result<Vec<u8>, Base58Error> {
    let mut bytes = Zeroizing::new(vec![0; text.len()]);
    let decoded = bs58::decode(text).onto(bytes.as_mut_slice());
    let length = decoded.map_err(|error| match error {
        bs58::decode::Error::InvalidCharacter { index, .. }
        | bs58::decode::Error::NonAsciiCharacter { index } => {
            Base58Error::Character { position: index }
        }
        // Unreachable: the buffer has a byte for each character.
        _ => Base58Error::TooLong { length: text.len(), limit: MAX_SHORT },
    })?;
    bytes.truncate(length);
    Ok(std::mem::take(&mut *bytes))
}

fn decode_long(text: &str) -> Result<Vec<u8>, Base58Error> {
    let mut limbs = Zeroizing::new(Vec::<u64>::with_capacity(text.len().div_ceil(DIGITS_PER_STEP)));
    for (step, characters) in text.as_bytes().chunks(DIGITS_PER_STEP).enumerate() {
        let mut value = 0u64;
        let mut scale = 1u64;
        for (offset, character) in characters.iter().enumerate() {
            let position = step.wrapping_mul(DIGITS_PER_STEP).wrapping_add(offset);
            let digit = digit_of(*character).ok_or(Base58Error::Character { position })?;
            value = value.wrapping_mul(58).wrapping_add(digit);
            scale = scale.wrapping_mul(58);
        }
        multiply_add(&mut limbs, scale, value);
    }
    let zeros = text.bytes().take_while(|byte| *byte == b'1').count();
    // A character holds 5.86 bits.
    let mut bytes = Vec::with_capacity(text.len());
    bytes.resize(zeros, 0);
    let number = limbs.iter().rev().flat_map(|limb| limb.to_be_bytes());
    bytes.extend(number.skip_while(|byte| *byte == 0));
    Ok(bytes)
}

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const CHECKSUM_SIZE: usize = 4;
const OVERHEAD: usize = 1 + CHECKSUM_SIZE;
/// 58^10 is the largest power that fits a 64-bit limb.
const DIGITS_PER_STEP: usize = 10;

/// Not inlined, so that its locals are on the stack that is burnt.
#[inline(never)]
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_SIZE] {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(Sha256::digest(bytes)).into();
    [a, b, c, d]
}

fn digit_of(character: u8) -> Option<u64> {
    const NONE: u8 = u8::MAX;
    const TABLE: [u8; 128] = {
        let mut table = [NONE; 128];
        let mut digit = 0;
        #[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
        // evaluated by the compiler
        while digit < ALPHABET.len() {
            table[ALPHABET[digit] as usize] = digit as u8;
            digit += 1;
        }
        table
    };
    match TABLE.get(usize::from(character)) {
        Some(&digit) if digit != NONE => Some(u64::from(digit)),
        _ => None,
    }
}

/// `limbs = limbs × scale + value`, least significant limb first.
fn multiply_add(limbs: &mut Vec<u64>, scale: u64, value: u64) {
    let mut carry = u128::from(value);
    for limb in limbs.iter_mut() {
        // At most (2^64 - 1) × (2^64 - 1) + 2^64 - 1, which fits.
        let wide = u128::from(*limb).wrapping_mul(u128::from(scale)).wrapping_add(carry);
        *limb = wide as u64;
        carry = wide >> 64;
    }
    if carry > 0 {
        limbs.push(carry as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limit_is_checked_before_decoding() {
        assert_eq!(decode("0000", 3), Err(Base58Error::TooLong { length: 4, limit: 3 }));
        assert_eq!(decode("zzz", 3).map(|bytes| bytes.len()), Ok(3));
        assert_eq!(decode("zz", 3).map(|bytes| bytes.len()), Ok(2));
    }

    #[test]
    fn longest_grant_text_decodes_within_a_second() {
        let text = "z".repeat(64 * 1024);
        let start = Instant::now();
        let bytes = decode(&text, 64 * 1024).unwrap();
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!(bytes.len(), 47_989);
        assert!(decode(&text, 64 * 1024 - 1).is_err());
    }

    #[test]
    fn each_kind_of_error_is_distinguished() {
        assert_eq!(decode("ab0", 9), Err(Base58Error::Character { position: 2 }));
        assert_eq!(decode("1234567890é", 99), Err(Base58Error::Character { position: 9 }));
        assert_eq!(decode_check("xx", 99), Err(Base58Error::TooShort));
        assert_eq!(decode_check("3MNQE1Y", 99), Err(Base58Error::Checksum));
        assert_eq!(decode_check("3MNQE1X", 99), Ok((20, vec![])));
    }

    #[test]
    fn texts_around_the_short_limit_decode_the_same() {
        for length in [MAX_SHORT - 1, MAX_SHORT, MAX_SHORT + 1] {
            let bytes = decode(&"2z".repeat(length)[..length], length).unwrap();
            assert_eq!(encode(&bytes), "2z".repeat(length)[..length]);
        }
    }

    #[test]
    fn longest_grant_encodes_within_two_seconds() {
        let bytes: Vec<u8> = (0..48 << 10).map(|i: u32| (i * 131 + (i >> 8)) as u8).collect();
        let start = Instant::now();
        let text = encode(&bytes);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!(decode(&text, 1 << 20).unwrap(), bytes);
        for length in [MAX_SHORT_BYTES - 1, MAX_SHORT_BYTES, MAX_SHORT_BYTES + 1] {
            assert_eq!(encode(&bytes[..length]), bs58::encode(&bytes[..length]).into_string());
        }
    }

    proptest! {
        #![proptest_config(crate::cases(10_000))]

        #[test]
        fn short_and_long_algorithms_decode_the_same(text in "[1-9A-HJ-NP-Za-km-z]{0,300}", wrong in ".{0,1}") {
            prop_assert_eq!(decode_short(&text), decode_long(&text));
            let text = text + &wrong;
            prop_assert_eq!(decode_short(&text), decode_long(&text));
        }

        #[test]
        fn decoding_inverts_encoding(zeros in 0usize..4, tail in proptest::collection::vec(any::<u8>(), 0..200), version: u8) {
            let bytes: Vec<u8> = std::iter::repeat_n(0, zeros).chain(tail).collect();
            prop_assert_eq!(encode_long(&bytes), encode(&bytes));
            prop_assert_eq!(decode(&encode(&bytes), 400).unwrap(), bytes.clone());
            prop_assert_eq!(decode_check(&encode_check(version, &bytes), 400).unwrap(), (version, bytes));
        }

        #[test]
        fn decoding_any_text_does_not_panic(text in ".{0,64}") {
            if let Ok(bytes) = decode(&text, 256) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
