use proptest::prelude::*;
use proptest::sample::subsequence;
use reed_solomon_erasure::{Field, ReedSolomon, galois_8};
use sha2::{Digest, Sha256};

use super::*;

/// The network's field for the library's own matrix: an independent implementation to compare with.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct NetworkField;

impl Field for NetworkField {
    const ORDER: usize = 256;
    type Elem = u8;

    fn add(a: u8, b: u8) -> u8 {
        galois_8::add(a, b)
    }

    fn mul(a: u8, b: u8) -> u8 {
        galois_8::mul(a, b)
    }

    fn div(a: u8, b: u8) -> u8 {
        galois_8::div(a, b)
    }

    fn exp(a: u8, n: usize) -> u8 {
        galois_8::exp(a, n)
    }

    fn zero() -> u8 {
        0
    }

    fn one() -> u8 {
        1
    }

    fn nth_internal(n: usize) -> u8 {
        if n == 0 { 0 } else { galois_8::exp(2, n - 1) }
    }
}

fn encode_all(code: Code, share_size: usize, stripes: &[u8]) -> Vec<Vec<u8>> {
    let wanted: Vec<u16> = (0..code.total()).collect();
    let length = stripes.len() / usize::from(code.required());
    let mut pieces = vec![vec![0; length]; wanted.len()];
    Encoder::with_code(code, share_size).encode(stripes, &wanted, &mut pieces).unwrap();
    pieces
}

#[test]
fn shares_of_known_stripes_hash_to_published_values() {
    let expected = [
        (4, 10, "53da69dcc1cd903f1773508dac172342ac06eb569684fa3b80d78dca867aff83"),
        (29, 80, "2aec2abdf2880fa6090c0c6dd9d46fb303f9bc49df3091a1ba3a9a0611e45e85"),
        (16, 37, "20c8d0452a666542cf111a0b270a8860fbf7b6c81b67c815bdec30c508b03e3a"),
        (29, 110, "39afa63f945e641191c1d052f6e4ff26181e115b1b5fe274d40e85b2c0854770"),
        (100, 255, "09911e32bddd8f4e6a8787758e925d1d5b51f01f1f799eafe8c2f0a4bcd3221b"),
    ];
    for (k, n, hash) in expected {
        let code = Code::new(k, n).unwrap();
        let stripe: Vec<u8> = (0..usize::from(k) * 32).map(|i| (7 * i + 3) as u8).collect();
        let shares = encode_all(code, 32, &stripe).concat();
        assert_eq!(hex::encode(Sha256::digest(&shares)), hash, "({k}, {n})");
    }
}

/// Pseudo-random bytes.
fn bytes(seed: &[u8; 32], count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    blake3::Hasher::new_keyed(seed).finalize_xof().fill(&mut bytes);
    bytes
}

/// A code and a window of a few stripes of a few bytes.
fn windows() -> impl Strategy<Value = (Code, usize, Vec<u8>)> {
    let sizes = (1..=40_u16, 0..=40_u16, 1..=9_usize, 0..=6_usize);
    (sizes, any::<[u8; 32]>()).prop_map(|((k, parity, share, count), seed)| {
        (Code::new(k, k + parity).unwrap(), share, bytes(&seed, usize::from(k) * share * count))
    })
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn windows_and_single_pieces_equal_the_whole_encoding((code, share_size, stripes) in windows()) {
        let whole = encode_all(code, share_size, &stripes);
        let stripe = share_size * usize::from(code.required());
        let count = stripes.len() / stripe;
        for window in [1, 2, count.saturating_sub(1), count] {
            let mut joined = vec![Vec::new(); whole.len()];
            for part in stripes.chunks(window.max(1) * stripe) {
                for (piece, run) in joined.iter_mut().zip(encode_all(code, share_size, part)) {
                    piece.extend(run);
                }
            }
            prop_assert_eq!(&joined, &whole);
        }
        let encoder = Encoder::with_code(code, share_size);
        for (number, piece) in (0..).zip(&whole) {
            let mut single = vec![0xAA; piece.len()];
            encoder.encode_piece(&stripes, number, &mut single).unwrap();
            prop_assert_eq!(&single, piece);
        }
    }

    #[test]
    fn any_required_pieces_restore_the_stripes(
        ((code, share_size, stripes), numbers) in windows().prop_flat_map(|window| {
            let code = window.0;
            let all: Vec<u16> = (0..code.total()).collect();
            let some = subsequence(all, usize::from(code.required())).prop_shuffle();
            (Just(window), some)
        })
    ) {
        let pieces = encode_all(code, share_size, &stripes);
        let shares: Vec<&[u8]> = numbers.iter().map(|&i| &pieces[usize::from(i)][..]).collect();
        let decoder = Decoder::with_code(code, share_size, &numbers).unwrap();
        for _ in 0..2 {
            let mut restored = vec![0xAA; stripes.len()];
            decoder.decode(&shares, &mut restored).unwrap();
            prop_assert_eq!(&restored, &stripes);
        }
    }

    #[test]
    fn parity_equals_the_library_over_the_network_field(
        (k, parity) in (1..=60_usize, 1..=60_usize),
        seed in any::<u8>(),
    ) {
        let code = Code::new(k as u16, (k + parity) as u16).unwrap();
        let stripe: Vec<u8> = (0..k * 5).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
        let mut shares: Vec<Vec<u8>> = stripe.chunks(5).map(<[u8]>::to_vec).collect();
        shares.resize(k + parity, vec![0; 5]);
        ReedSolomon::<NetworkField>::new(k, parity).unwrap().encode(&mut shares).unwrap();
        prop_assert_eq!(encode_all(code, 5, &stripe), shares);
    }

    #[test]
    fn every_kernel_gives_the_results_of_the_portable_one(
        (k, parity) in prop_oneof![(1..=70_u16, 0..=70_u16), (20..=65_u16, 28..=190_u16)],
        share_size in prop_oneof![1..=700_usize, Just(256), Just(64), Just(32)],
        (count, offset) in (0..=3_usize, 0..64_usize),
        (unwanted, seed) in (any::<u64>(), any::<[u8; 32]>()),
    ) {
        let code = Code::new(k, k + parity).unwrap();
        let bytes = bytes(&seed, usize::from(k) * share_size * count + offset);
        let stripes = &bytes[offset..];
        // Mostly all pieces, as in an upload, else about half of them.
        let wants = |piece: &u16| unwanted % 4 < 3 || unwanted >> (piece % 64) & 1 == 1;
        let wanted: Vec<u16> = (0..code.total()).filter(wants).collect();
        let run = share_size * count;
        let encode = |kernel| {
            let mut buffers = vec![vec![0xAA; offset + run + 1]; wanted.len()];
            let mut outputs: Vec<&mut [u8]> =
                buffers.iter_mut().map(|buffer| &mut buffer[offset..offset + run]).collect();
            let encoder = Encoder::with_kernel(code, share_size, kernel);
            encoder.encode(stripes, &wanted, &mut outputs).unwrap();
            buffers
        };
        let decode = |kernel, numbers: &[u16], shares: &[&[u8]]| {
            let mut restored = vec![0xAA; offset + stripes.len() + 1];
            let decoder = Decoder::with_kernel(code, share_size, numbers, kernel).unwrap();
            decoder.decode(shares, &mut restored[offset..offset + stripes.len()]).unwrap();
            restored
        };
        let portable = Kernel::available()[0];
        prop_assert!(portable.is_portable());
        let expected = encode(portable);
        let numbers: Vec<u16> = wanted.iter().rev().take(k.into()).copied().collect();
        let shares: Vec<&[u8]> = (0..numbers.len())
            .map(|index| &expected[wanted.len() - 1 - index][offset..offset + run])
            .collect();
        for kernel in Kernel::available() {
            prop_assert!(encode(kernel) == expected, "{}", kernel);
            if numbers.len() == usize::from(k) {
                let restored = decode(kernel, &numbers, &shares);
                prop_assert!(&restored[offset..offset + stripes.len()] == stripes, "{}", kernel);
                prop_assert_eq!(restored.last(), Some(&0xAA));
            }
        }
    }

    #[test]
    fn scheme_text_round_trips(
        k in 0..300_u16, r in 0..300_u16, o in 0..300_u16, n in 0..300_u16, s in 0..2_000_000_u32,
    ) {
        if let Ok(scheme) = Scheme::new(k, r, o, n, s) {
            prop_assert_eq!(scheme.to_string().parse::<Scheme>().unwrap(), scheme);
            prop_assert!(0 < k && k <= scheme.optimal() && scheme.optimal() <= n && n <= 255);
            prop_assert!(scheme.repair() <= scheme.optimal());
            prop_assert_eq!(u64::from(scheme.stripe_size()), u64::from(k) * u64::from(s));
        }
    }
}

#[test]
fn scheme_bounds_are_exact() {
    assert!(Scheme::new(1, 1, 1, 1, 1).is_ok());
    assert!(Scheme::new(255, 255, 255, 255, 256).is_ok());
    assert!(Scheme::new(16, 16, 16, 16, MAX_SHARE_SIZE).is_ok());
    for (k, r, o, n, s) in [
        (0, 1, 1, 1, 1),
        (2, 1, 1, 3, 1),
        (1, 1, 3, 2, 1),
        (1, 3, 2, 4, 1),
        (1, 1, 1, 0, 1),
        (1, 1, 1, 256, 1),
        (1, 1, 1, 1, 0),
        (1, 1, 1, 1, MAX_SHARE_SIZE + 1),
        (17, 17, 17, 17, MAX_SHARE_SIZE),
    ] {
        assert!(Scheme::new(k, r, o, n, s).is_err(), "{k}/{r}/{o}/{n}-{s}");
    }
    let open = Scheme::new(4, 0, 0, 10, 256).unwrap();
    assert_eq!((open.repair(), open.optimal()), (10, 10));
    assert_eq!(Scheme::from_wire(4, 6, 8, 10, 256), "4/6/8/10-256".parse());
    assert_eq!(Scheme::from_wire(-4, 6, 8, 10, 256), Err(SchemeError::Number { value: -4 }));
}

#[test]
fn malformed_scheme_texts_are_rejected() {
    for text in ["", "4/6/8/10", "4/6/8-256", "4/6/8/10/12-256", "+4/6/8/10-256", "4/6/8/10-", "a"]
    {
        assert!(matches!(text.parse::<Scheme>(), Err(SchemeError::Text { .. })), "{text}");
    }
}

#[test]
fn buffers_of_wrong_length_are_rejected() {
    let scheme: Scheme = "2/3/3/4-4".parse().unwrap();
    let encoder = Encoder::new(&scheme);
    let mut one = [[0; 4]];
    assert!(matches!(
        encoder.encode(&[0; 9], &[0], &mut one),
        Err(EncodeError::PartialStripe { .. })
    ));
    assert!(matches!(
        encoder.encode(&[0; 16], &[0], &mut one),
        Err(EncodeError::OutputLength { .. })
    ));
    assert!(matches!(
        encoder.encode(&[0; 8], &[4], &mut one),
        Err(EncodeError::PieceNumber { .. })
    ));
    assert!(matches!(
        encoder.encode(&[0; 8], &[0, 1], &mut one),
        Err(EncodeError::OutputCount { .. })
    ));

    assert!(matches!(
        encoder.encode(&[0; 8], &[3, 3], &mut [[0; 4]; 2]),
        Err(EncodeError::RepeatedPiece { piece: 3 })
    ));

    assert!(matches!(Decoder::new(&scheme, &[0]), Err(DecodeError::PieceCount { .. })));
    assert!(matches!(Decoder::new(&scheme, &[0, 4]), Err(DecodeError::PieceNumber { .. })));
    assert!(matches!(Decoder::new(&scheme, &[3, 3]), Err(DecodeError::RepeatedPiece { .. })));
    let decoder = Decoder::new(&scheme, &[3, 1]).unwrap();
    let mut stripe = [0; 8];
    assert!(matches!(decoder.decode(&[[0; 4]], &mut stripe), Err(DecodeError::PieceCount { .. })));
    assert!(matches!(
        decoder.decode(&[&[0; 4][..], &[0; 8]], &mut stripe),
        Err(DecodeError::ShareLength { .. })
    ));
    assert!(matches!(
        decoder.decode(&[[0; 5]; 2], &mut stripe),
        Err(DecodeError::PartialShare { .. })
    ));
    assert!(matches!(
        decoder.decode(&[[0; 8]; 2], &mut stripe),
        Err(DecodeError::OutputLength { .. })
    ));
}
