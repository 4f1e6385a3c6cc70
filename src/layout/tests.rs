//! The rules applied to fabricated replies: the list of an honest satellite is accepted, every change
//! to it is rejected.

use uplink_core::encryption::mark::{Chain, ChainValue, KeyKind, PartDigest, parts_seal};
use uplink_core::encryption::metadata::{
    EncryptedMetadata, MetadataKeys, OpenedMetadata, StreamInfo, StreamMeta,
};
use uplink_core::encryption::{CipherSuite, Key, Nonce};
use uplink_core::id::SegmentPosition;

use super::*;

const S: u64 = 1000;

/// Opens an envelope that was sealed under a metadata key.
fn opened(info: &StreamInfo, metadata_key: &Key) -> OpenedMetadata {
    let content_key = Key::new([1; 32]);
    let keys = MetadataKeys {
        suite: CipherSuite::AesGcm,
        content_key: &content_key,
        metadata_key,
        metadata_key_nonce: Nonce::new([3; 24]),
    };
    let sealed = keys.seal(info, b"").expect("sealed");
    let meta = StreamMeta::decode(&sealed.encrypted_metadata).expect("an envelope");
    let encrypted = EncryptedMetadata {
        suite: CipherSuite::AesGcm,
        encrypted_stream_info: &meta.encrypted_stream_info,
        encrypted_metadata_key: &sealed.encrypted_metadata_key,
        metadata_key_nonce: sealed.metadata_key_nonce.as_bytes(),
        encrypted_etag: b"",
    };
    encrypted.open(&content_key).expect("opened").expect("metadata")
}

fn marked() -> Key {
    ChainValue::new([5; 26]).key(KeyKind::Metadata)
}

fn unmarked() -> Key {
    Key::new([6; 32])
}

fn first_value() -> ChainValue {
    ChainValue::new([7; 26])
}

fn stream_info(count: i64, last: i64) -> StreamInfo {
    StreamInfo {
        number_of_segments: count,
        segments_size: S as i64,
        last_segment_size: last,
        chain_start: Some(first_value()),
        ..StreamInfo::default()
    }
}

/// The list of a stream as an honest satellite has it.
fn stream_list(count: u32, last: u64, key: impl FnMut(u32) -> Key) -> Vec<ListedSegment> {
    let mut key = key;
    let segment = |index: u32| ListedSegment {
        position: SegmentPosition { part: 0, index },
        offset: u64::from(index) * S,
        plain_size: if index + 1 == count { last } else { S },
        key: key(index),
    };
    (0..count).map(segment).collect()
}

fn chained(kind: KeyKind, part: u32) -> impl FnMut(u32) -> Key {
    let mut chain = Chain::new(kind, part, first_value());
    move |index| chain.key(index)
}

/// Parts 1 and 3 with segments of these sizes.
fn parts_list(mut key: impl FnMut(u32, u32) -> Key) -> Vec<ListedSegment> {
    let mut offset = 0;
    let segments = [(1, 0, 100), (1, 1, 50), (3, 0, 25)].into_iter();
    let listed = segments.map(|(part, index, plain_size)| {
        let key = key(part, index);
        let position = SegmentPosition { part, index };
        let segment = ListedSegment { position, offset, plain_size, key };
        offset += plain_size;
        segment
    });
    listed.collect()
}

fn part_keys() -> impl FnMut(u32, u32) -> Key {
    let mut chains = std::collections::HashMap::new();
    move |part: u32, index| {
        let first = || Chain::new(KeyKind::Part, part, ChainValue::new([part as u8; 26]));
        chains.entry(part).or_insert_with(first).key(index)
    }
}

fn claimed(plain: u64, segments: u64) -> ClaimedSize {
    ClaimedSize { plain, segments }
}

const WHOLE: PageState = PageState { more: false, covers: true };

/// Reads a whole object: what it lists is taken in one page.
fn read(
    size: ClaimedSize,
    envelope: Option<&OpenedMetadata>,
    list: &[ListedSegment],
    rules: Rules,
) -> Result<Layout> {
    let recorded = RecordedObject::new(size, envelope, rules)?;
    recorded.check_required(rules)?;
    match Layout::start(recorded, list, WHOLE, rules)? {
        Start::Ready(layout) => Ok(layout),
        Start::Whole(mut whole) => {
            whole.extend(list)?;
            Ok(whole.finish()?.0)
        }
        Start::AnySegment(_) => panic!("a whole list needs no other"),
    }
}

fn refused<T: std::fmt::Debug>(outcome: Result<T>) -> String {
    let error = outcome.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::LayoutUnauthenticated, "{error}");
    error.to_string()
}

const DEFAULT: Rules = Rules { require_seal: false, allow_unauthenticated: false };
const ALLOW: Rules = Rules { require_seal: false, allow_unauthenticated: true };
const REQUIRE: Rules = Rules { require_seal: true, allow_unauthenticated: false };

#[test]
fn sealed_stream_computes_every_segment() {
    for (count, last) in [(1, 0), (1, 1), (1, S), (2, 7), (3, S), (600, 999)] {
        let envelope = opened(&stream_info(i64::from(count), last as i64), &marked());
        let list = stream_list(count, last, chained(KeyKind::Stream, 0));
        let size = u64::from(count - 1) * S + last;
        let mut layout = read(claimed(size, 0), Some(&envelope), &list, REQUIRE).expect("accepted");
        for segment in &list {
            if segment.plain_size == 0 {
                continue;
            }
            let at = layout.at(segment.offset).unwrap().expect("known");
            assert_eq!((at.position, at.extent.size), (segment.position, segment.plain_size));
            assert_eq!(at.key.as_ref(), Some(&segment.key));
            let end = layout.at(segment.end() - 1).unwrap().expect("known");
            assert_eq!(end.position, segment.position);
        }
    }
}

#[test]
fn sealed_stream_refuses_every_other_list_item() {
    let envelope = opened(&stream_info(3, 7), &marked());
    let list = stream_list(3, 7, chained(KeyKind::Stream, 0));
    let change = |place: usize, change: fn(&mut ListedSegment)| {
        let mut list = list.clone();
        change(&mut list[place]);
        refused(read(claimed(2 * S + 7, 3), Some(&envelope), &list, DEFAULT));
    };
    for place in 0..3 {
        change(place, |segment| segment.position.index += 1);
        change(place, |segment| segment.position.part = 1);
        change(place, |segment| segment.offset += 1);
        change(place, |segment| segment.plain_size += 1);
        change(place, |segment| segment.key = Key::new([8; 32]));
        change(place, |segment| segment.key = ChainValue::of(&segment.key).key(KeyKind::Part));
    }
    refused(read(claimed(2 * S + 7, 3), Some(&envelope), &[], DEFAULT));
    for wrong in [1, S, 2 * S + 6, 2 * S + 8, u64::MAX] {
        refused(read(claimed(wrong, 3), Some(&envelope), &list, DEFAULT));
    }
    let unknown = read(claimed(0, 0), Some(&envelope), &list, DEFAULT);
    unknown.expect("the satellite has no size");
}

#[test]
fn recorded_streams_out_of_bounds_are_refused() {
    let good = stream_info(2, 7);
    for info in [
        StreamInfo { number_of_segments: 0, ..good.clone() },
        StreamInfo { number_of_segments: -1, ..good.clone() },
        StreamInfo { number_of_segments: 1_000_001, ..good.clone() },
        StreamInfo { last_segment_size: S as i64 + 1, ..good.clone() },
        StreamInfo { segments_size: (1 << 30) + 1, ..good.clone() },
        StreamInfo { parts_seal: Some([0; 32]), ..good },
    ] {
        refused(RecordedObject::new(claimed(0, 0), Some(&opened(&info, &marked())), ALLOW));
    }
}

#[test]
fn metadata_under_the_key_of_a_segment_is_refused() {
    for kind in [KeyKind::Stream, KeyKind::Part] {
        let envelope = opened(&stream_info(1, 7), &first_value().key(kind));
        refused(RecordedObject::new(claimed(7, 1), Some(&envelope), ALLOW));
    }
}

#[test]
fn marked_metadata_without_seal_is_refused_by_default() {
    let info =
        StreamInfo { segments_size: S as i64, last_segment_size: 7, ..StreamInfo::default() };
    let envelope = opened(&info, &marked());
    let list = stream_list(2, 7, |_| unmarked());
    refused(read(claimed(S + 7, 2), Some(&envelope), &list, DEFAULT));
    read(claimed(S + 7, 2), Some(&envelope), &list, ALLOW).expect("allowed");
    let mut etag_alone = envelope;
    etag_alone.stream_info = None;
    let parts = parts_list(|_, _| unmarked());
    let size = claimed(parts.iter().map(|part| part.plain_size).sum(), 0);
    refused(read(size, Some(&etag_alone), &parts, DEFAULT));
    read(size, Some(&etag_alone), &parts, ALLOW).expect("allowed");
}

#[test]
fn sealed_parts_are_read_and_every_change_is_refused() {
    for mut keys in
        [Box::new(part_keys()) as Box<dyn FnMut(u32, u32) -> Key>, Box::new(|_, _| unmarked())]
    {
        let list = parts_list(&mut keys);
        let digest = |part: u32| {
            let mut digest = PartDigest::new(part);
            let segments = list.iter().filter(|segment| segment.position.part == part);
            segments.for_each(|s| digest.add(s.position.index, s.plain_size, &s.key));
            (part, digest.finish())
        };
        let seal = parts_seal([digest(1), digest(3)]);
        let info =
            StreamInfo { last_segment_size: 175, parts_seal: Some(seal), ..StreamInfo::default() };
        let envelope = opened(&info, &marked());
        let mut layout = read(claimed(175, 3), Some(&envelope), &list, REQUIRE).expect("accepted");
        assert_eq!(layout.at(150).unwrap().expect("known").position.part, 3);
        refused(layout.at(175));
        refused(read(claimed(176, 3), Some(&envelope), &list, DEFAULT));
        for place in 0..3 {
            let mut dropped = list.clone();
            dropped.remove(place);
            refused(read(claimed(0, 3), Some(&envelope), &dropped, DEFAULT));
            let mut moved = list.clone();
            moved[place].key = Key::new([9; 32]);
            refused(read(claimed(0, 3), Some(&envelope), &moved, DEFAULT));
            let mut moved = list.clone();
            moved[place].position.part += 1;
            refused(read(claimed(0, 3), Some(&envelope), &moved, DEFAULT));
        }
    }
    let empty = StreamInfo { parts_seal: Some(parts_seal([])), ..StreamInfo::default() };
    let empty = opened(&empty, &marked());
    read(claimed(0, 0), Some(&empty), &[], REQUIRE).expect("the seal of the empty list");
}

#[test]
fn rewritten_stream_is_read_only_as_one_whole_chain() {
    let info =
        StreamInfo { segments_size: S as i64, last_segment_size: 7, ..StreamInfo::default() };
    let envelope = opened(&info, &unmarked());
    let list = stream_list(3, 7, chained(KeyKind::Stream, 0));
    let mut layout =
        read(claimed(2 * S + 7, 3), Some(&envelope), &list, DEFAULT).expect("accepted");
    assert_eq!(layout.at(S).unwrap().expect("known").key, Some(list[1].key.clone()));
    refused(read(claimed(2 * S + 7, 3), Some(&envelope), &list, REQUIRE));
    refused(read(claimed(2 * S + 8, 3), Some(&envelope), &list, DEFAULT));
    // Cut between segments.
    let mut cut = list[..2].to_vec();
    cut[1].plain_size = 7;
    read(claimed(S + 7, 2), Some(&envelope), &cut, DEFAULT).expect("its end is opened next");
    // Relabelled by one, from the middle of the chain.
    let mut relabelled = list[1..].to_vec();
    relabelled.iter_mut().for_each(|segment| {
        segment.position.index -= 1;
        segment.offset -= S;
    });
    refused(read(claimed(S + 7, 2), Some(&envelope), &relabelled, DEFAULT));
    // The second segment of another attempt.
    let mut mixed = list.clone();
    mixed[1].key = ChainValue::new([8; 26]).key(KeyKind::Stream);
    refused(read(claimed(2 * S + 7, 3), Some(&envelope), &mixed, DEFAULT));
}

#[test]
fn rewritten_stream_has_an_empty_end_only_if_it_is_empty() {
    let info = StreamInfo { segments_size: S as i64, ..StreamInfo::default() };
    let envelope = opened(&info, &unmarked());
    let empty = stream_list(1, 0, chained(KeyKind::Stream, 0));
    read(claimed(0, 1), Some(&envelope), &empty, DEFAULT).expect("an empty object");
    // Whole segments of an earlier version, and an end that has no tag.
    for count in [2, 3] {
        let list = stream_list(count, 0, chained(KeyKind::Stream, 0));
        let size = u64::from(count - 1) * S;
        refused(read(claimed(size, u64::from(count)), Some(&envelope), &list, DEFAULT));
        refused(read(claimed(0, u64::from(count)), Some(&envelope), &list, DEFAULT));
    }
}

#[test]
fn stream_without_size_and_segment_count_is_refused() {
    let info = StreamInfo {
        segments_size: S as i64,
        last_segment_size: S as i64,
        ..StreamInfo::default()
    };
    let envelope = opened(&info, &unmarked());
    for list in [stream_list(1, S, chained(KeyKind::Stream, 0)), stream_list(1, S, |_| unmarked())]
    {
        refused(read(claimed(0, 0), Some(&envelope), &list, DEFAULT));
        read(claimed(0, 1), Some(&envelope), &list, DEFAULT).expect("the number gives the size");
    }
}

#[test]
fn rewritten_parts_are_read_only_as_whole_chains() {
    let envelope = |sum| {
        let info = StreamInfo { last_segment_size: sum, ..StreamInfo::default() };
        opened(&info, &unmarked())
    };
    let list = parts_list(part_keys());
    for sum in [0, 175] {
        read(claimed(175, 3), Some(&envelope(sum)), &list, DEFAULT).expect("accepted");
    }
    refused(read(claimed(175, 3), Some(&envelope(174)), &list, DEFAULT));
    for place in 0..3 {
        let mut dropped = list.clone();
        dropped.remove(place);
        let size = 175 - list[place].plain_size;
        let outcome = read(claimed(175, 3), Some(&envelope(175)), &dropped, DEFAULT);
        refused(outcome);
        if place == 0 {
            refused(read(claimed(size, 2), Some(&envelope(0)), &dropped, DEFAULT));
        }
        let mut mixed = list.clone();
        mixed[place].key = unmarked();
        refused(read(claimed(175, 3), Some(&envelope(0)), &mixed, DEFAULT));
    }
    let stream = stream_list(1, 175, chained(KeyKind::Stream, 0));
    refused(read(claimed(175, 1), Some(&envelope(0)), &stream, DEFAULT));
}

#[test]
fn object_without_envelope_is_read_only_as_foreign_parts() {
    let foreign = parts_list(|_, _| unmarked());
    read(claimed(175, 3), None, &foreign, DEFAULT).expect("parts of another client");
    refused(read(claimed(175, 3), None, &foreign, REQUIRE));
    for list in [
        parts_list(part_keys()),
        stream_list(2, 7, chained(KeyKind::Stream, 0)),
        stream_list(2, 7, |_| unmarked()),
        Vec::new(),
    ] {
        let size = list.last().map_or(0, ListedSegment::end);
        refused(read(claimed(size, 0), None, &list, DEFAULT));
        read(claimed(size, 0), None, &list, ALLOW).expect("allowed");
    }
}

#[test]
fn foreign_stream_is_cut_as_its_writer_recorded() {
    let info =
        StreamInfo { segments_size: S as i64, last_segment_size: 7, ..StreamInfo::default() };
    let envelope = opened(&info, &unmarked());
    let list = stream_list(3, 7, |index| Key::new([index as u8 + 10; 32]));
    let mut layout =
        read(claimed(2 * S + 7, 3), Some(&envelope), &list, DEFAULT).expect("accepted");
    assert_eq!(layout.at(2 * S + 6).unwrap().expect("known").extent.size, 7);
    let migrated: Vec<_> = list
        .iter()
        .map(|segment| ListedSegment { offset: 0, plain_size: 0, ..segment.clone() })
        .collect();
    read(claimed(0, 3), Some(&envelope), &migrated, DEFAULT).expect("a migrated object");
    refused(read(claimed(2 * S, 3), Some(&envelope), &list, DEFAULT));
    let ours = stream_list(3, 7, |index| match index {
        1 => first_value().key(KeyKind::Stream),
        index => Key::new([index as u8 + 10; 32]),
    });
    refused(read(claimed(2 * S + 7, 3), Some(&envelope), &ours, DEFAULT));
    let position = SegmentPosition { part: 0, index: 1 };
    refused(layout.confirm(position, &first_value().key(KeyKind::Stream)));
    refused(layout.confirm(position, &Key::new([99; 32])));
    layout.confirm(position, &Key::new([11; 32])).expect("the key that was listed");
}

#[test]
fn range_without_segments_asks_for_one() {
    let info = StreamInfo::default();
    let envelope = opened(&info, &unmarked());
    let page = PageState { more: false, covers: false };
    for envelope in [None, Some(&envelope)] {
        let recorded = RecordedObject::new(claimed(175, 3), envelope, DEFAULT).expect("recorded");
        let start = Layout::start(recorded, &[], page, DEFAULT).expect("a rule");
        assert!(matches!(start, Start::AnySegment(_)), "{start:?}");
    }
}

#[test]
fn page_that_does_not_advance_ends_the_list() {
    let envelope = opened(&StreamInfo::default(), &unmarked());
    let list = parts_list(|_, _| unmarked());
    let recorded =
        RecordedObject::new(claimed(1000, 3), Some(&envelope), DEFAULT).expect("recorded");
    let page = PageState { more: true, covers: false };
    let Start::Ready(mut layout) = Layout::start(recorded, &list, page, DEFAULT).unwrap() else {
        panic!("no more is needed");
    };
    assert!(layout.at(175).unwrap().is_none(), "a further page may hold it");
    layout.extend(&[], true).expect("an empty page");
    refused(layout.at(175));
}
