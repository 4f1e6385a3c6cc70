use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::r#gen::metainfo::{
    AddressedOrderLimit, BatchRequest, BeginSegmentResponse, ListObjectsResponse, ObjectListItem,
    RetryBeginSegmentPiecesRequest,
};
use crate::r#gen::piecestore::{PieceDownloadResponse, PieceUploadRequest};
use crate::raw;

/// Encodes a `bytes` field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut wire = vec![number << 3 | 2];
    prost::encoding::encode_varint(content.len() as u64, &mut wire);
    wire.extend_from_slice(content);
    wire
}

fn objects(count: usize) -> ListObjectsResponse {
    let item = |number: usize| ObjectListItem {
        encrypted_object_key: number.to_be_bytes().repeat(4).into(),
        ..ObjectListItem::default()
    };
    ListObjectsResponse { items: (0..count).map(item).collect(), more: true }
}

#[test]
fn piece_data_is_decoded_without_a_walk() {
    assert!(PieceUploadRequest::SHAPE.is_none());
    assert!(PieceDownloadResponse::SHAPE.is_none());
}

#[test]
fn page_of_a_listing_decodes_and_empty_items_do_not() {
    for count in [0, 1, 999, 1000, 2000] {
        let page = objects(count);
        assert_eq!(decode(Bytes::from(page.encode_to_vec())), Ok(page), "{count}");
    }
    let mut fits = 0;
    let mut refused = 1 << 21;
    while refused - fits > 1 {
        let middle = usize::midpoint(fits, refused);
        let wire = Bytes::from(field(1, b"").repeat(middle));
        match decode::<ListObjectsResponse>(wire) {
            Ok(_) => fits = middle,
            Err(Refusal::TooLarge { .. }) => refused = middle,
            Err(error) => panic!("{error}"),
        }
    }
    let max = (MEMORY_BASE + 8 * fits) / size_of::<ObjectListItem>();
    assert!(max / 4 < fits && fits <= max, "{fits} of {max}");
}

#[test]
fn repeated_singular_message_field_is_malformed() {
    let limits = field(2, b"");
    let inner = field(5, &field(1, b""));
    let once = [&limits[..], &limits, &inner].concat();
    let response: BeginSegmentResponse = decode(&once[..]).expect("decoded");
    assert_eq!(response.addressed_limits.len(), 2);
    let twice = [&inner[..], &inner].concat();
    assert!(matches!(decode::<BeginSegmentResponse>(&twice[..]), Err(Refusal::Malformed(_))));
}

#[test]
fn packed_and_unpacked_numbers_are_counted() {
    let packed = RetryBeginSegmentPiecesRequest {
        retry_piece_numbers: (0..255).collect(),
        ..Default::default()
    };
    let wire = packed.encode_to_vec();
    assert_eq!(decode(&wire[..]), Ok(packed.clone()));
    let single: Vec<u8> = (0..127).flat_map(|number| [2 << 3, number]).collect();
    let decoded: RetryBeginSegmentPiecesRequest = decode(&single[..]).expect("decoded");
    assert_eq!(decoded.retry_piece_numbers, packed.retry_piece_numbers[..127]);
    let many = field(2, &vec![0; 4 << 20]);
    let refused = decode::<RetryBeginSegmentPiecesRequest>(&many[..]);
    assert!(matches!(refused, Err(Refusal::TooLarge { .. })), "{refused:?}");
}

#[test]
fn nesting_beyond_the_limit_is_malformed() {
    let mut wire = Vec::new();
    for _ in 0..200 {
        // One requirement in an all-of requirement.
        wire = field(1, &field(1, &wire));
    }
    let wire = field(5, &wire);
    assert!(matches!(decode::<BeginSegmentResponse>(&wire[..]), Err(Refusal::Malformed(_))));
    assert!(BeginSegmentResponse::decode(&wire[..]).is_err());
}

#[test]
fn message_in_parts_decodes_like_a_contiguous_one() {
    let wire = objects(50).encode_to_vec();
    for cut in 0..wire.len() {
        let parts = Buf::chain(&wire[..cut], &wire[cut..]);
        assert_eq!(decode(parts), Ok(objects(50)));
    }
}

/// Generates bytes that resemble messages: nested fields with small numbers.
fn wires() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..6),
        (0..20_u8, any::<u8>()).prop_map(|(number, value)| vec![number << 3, value]),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        proptest::collection::vec((1..16_u8, inner), 0..6).prop_map(|fields| {
            fields.iter().flat_map(|(number, content)| field(*number, content)).collect()
        })
    })
}

fn same_as_prost<M: Bounded + PartialEq>(wire: &[u8]) -> Result<(), TestCaseError> {
    match (decode::<M>(wire), M::decode(wire)) {
        (Ok(ours), Ok(theirs)) => prop_assert!(ours == theirs),
        (Err(Refusal::Malformed(reason)), Ok(_)) => prop_assert_eq!(reason, "field occurs twice"),
        (Err(Refusal::Malformed(_)), Err(_)) => {}
        (ours, _) => prop_assert!(false, "{:?}", ours.err()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn small_messages_decode_as_without_a_bound(wire in wires()) {
        same_as_prost::<BatchRequest>(&wire)?;
        same_as_prost::<BeginSegmentResponse>(&wire)?;
        same_as_prost::<ListObjectsResponse>(&wire)?;
        same_as_prost::<RetryBeginSegmentPiecesRequest>(&wire)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn order_limits_of_any_length_decode(lengths in proptest::collection::vec(0..300_usize, 0..80)) {
        // Two-byte fields, so that the signed message is valid.
        let limit = |length: usize| raw::OrderLimit::from_wire([8, 1].repeat(length).into());
        let limits = lengths.iter().map(|length| AddressedOrderLimit {
            limit: Some(limit(*length)),
            ..Default::default()
        });
        let sent = BeginSegmentResponse {
            addressed_limits: limits.collect(),
            ..Default::default()
        };
        prop_assert_eq!(decode(&sent.encode_to_vec()[..]), Ok(sent));
    }
}
