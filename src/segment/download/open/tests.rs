//! Coding and opening of one segment's windows, without a network.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use uplink_core::encryption::content::ContentCipher;
use uplink_core::encryption::nonce::segment_start_nonce;
use uplink_core::erasure::{Encoder, Scheme};

use super::{Coder, Opener};
use crate::error::ErrorKind;
use crate::segment::tests::{PARAMETERS, POSITION, cases, key, piece, plain, seal, stripes};

/// Stripes that divide a block, that do not, and that are larger than one.
const SCHEMES: [&str; 3] = ["4/6/8/10-256", "3/4/5/7-100", "2/3/4/6-8192"];

proptest! {
    #![proptest_config(cases(64))]

    /// Whatever the windows are: a wrong byte is noticed before it is handed out, and reading goes
    /// on with two pieces more from where bytes are settled.
    #[test]
    fn range_is_exact_whatever_byte_of_one_piece_is_wrong(
        scheme in prop::sample::select(&SCHEMES[..]), size in 1..60_000_u64,
        (a, b, c) in any::<(prop::sample::Index, prop::sample::Index, prop::sample::Index)>(),
        windows in prop::collection::vec(1..20_usize, 1..5), liar in 0..4_usize,
    ) {
        let scheme: Scheme = scheme.parse().unwrap();
        let (a, b) = (a.index(size as usize + 1), b.index(size as usize + 1));
        let range = a.min(b)..a.max(b);
        let whole = plain(size as usize);
        let held = seal(&whole, &[7000], &scheme);
        let required = usize::from(scheme.required());
        let mut pieces: Vec<Vec<u8>> =
            (0..scheme.required() + 2).map(|number| piece(&held, &scheme, number)).collect();
        let wrong = c.index(pieces[liar].len());
        pieces[liar][wrong] ^= 1;

        let cipher = ContentCipher::new(PARAMETERS.suite, &key()).unwrap();
        let (start, within) = (segment_start_nonce(POSITION), range.start as u64..range.end as u64);
        let opener = Opener::new(cipher, start, PARAMETERS.block_size, scheme, size, within).unwrap();
        let shares = opener.shares();
        let (mut at, end) = (shares.start as usize, shares.end as usize);
        let (mut settled, mut used, mut found) = (at, required, BTreeSet::new());
        let (mut coder, mut read) = (Coder::new(scheme, opener), Vec::new());
        for window in windows.iter().cycle() {
            if at == end {
                break;
            }
            let to = end.min(at + window * scheme.share_size() as usize);
            let numbers: Vec<u16> = (0..used as u16).collect();
            let given: Vec<Bytes> =
                pieces[..used].iter().map(|piece| Bytes::copy_from_slice(&piece[at..to])).collect();
            match coder.decode(&numbers, &given) {
                Ok(opened) => {
                    read.extend_from_slice(&opened.plain);
                    found.extend(opened.wrong);
                    (settled, at) = (end.min(opened.settled as usize), to);
                }
                Err(error) => {
                    prop_assert_eq!((error.kind(), used), (ErrorKind::Decryption, required));
                    (at, used) = (settled, required + 2);
                }
            }
        }
        prop_assert!(read == whole[range]);
        prop_assert_eq!(settled, end);
        let liar = (used > required).then_some(liar as u16);
        prop_assert_eq!(found, liar.into_iter().collect());
    }
}

#[test]
fn pieces_that_all_agree_on_other_bytes_are_not_believed() {
    let scheme: Scheme = "4/6/8/10-256".parse().unwrap();
    let mut forged = stripes(&seal(&plain(20_000), &[7000], &scheme));
    forged[5000] ^= 1;
    let numbers: Vec<u16> = (0..10).collect();
    let mut pieces = vec![vec![0; forged.len() / 4]; 10];
    Encoder::new(&scheme).encode(&forged, &numbers, &mut pieces).unwrap();
    let given: Vec<Bytes> = pieces.into_iter().map(Bytes::from).collect();

    let cipher = ContentCipher::new(PARAMETERS.suite, &key()).unwrap();
    let start = segment_start_nonce(POSITION);
    let block_size = PARAMETERS.block_size;
    let opener = Opener::new(cipher, start, block_size, scheme, 20_000, 0..20_000).unwrap();
    let mut coder = Coder::new(scheme, opener);
    for count in 4..=10 {
        let error = coder.decode(&numbers[..count], &given[..count]).err().expect("a forgery");
        assert_eq!(error.kind(), ErrorKind::Decryption);
        assert_eq!(error.to_string(), format!("what {count} pieces restore is not authentic"));
    }
}
