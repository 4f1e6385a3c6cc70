//! Decoding takes at most four times the wire size plus 1 MiB of memory, for any input.
//!
//! A separate program with one test, because the measured peak is that of the whole process.

use std::path::Path;

use bytes::Bytes;
use peak_alloc::PeakAlloc;
use prost::encoding::{WireType, encode_key, encode_varint};
use protox::prost_reflect::{DescriptorPool, Kind, MessageDescriptor};
use uplink_rpc::codec::{self, MEMORY_BASE, MEMORY_PER_BYTE, MESSAGE_LIMIT, Refusal};
use uplink_rpc::r#gen::{contact, metainfo, nodestats, orders, piecestore};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Memory needed beyond the message: the text of an error.
const SLACK: usize = 4 << 10;
/// Maximum depth of filled nested messages.
const DEPTH: usize = 6;

type Decode = fn(Bytes) -> Result<(), Refusal>;

macro_rules! types {
    ($($package:ident { $($name:ident)* })*) => {
        [$($((
            concat!(stringify!($package), ".", stringify!($name)),
            (|wire| codec::decode::<$package::$name>(wire).map(drop)) as Decode,
        )),*),*]
    };
}

/// Returns every request and response type with a repeated field at any depth.
fn types() -> impl Iterator<Item = (String, Decode)> {
    let types = types! {
        contact { AmnestyReportRequest CheckInRequest }
        metainfo {
            AccountLicensesResponse BatchRequest BatchResponse BeginCopyObjectResponse
            BeginDeleteSegmentResponse BeginMoveObjectResponse BeginSegmentResponse
            CommitObjectRequest CommitSegmentRequest CompressedBatchRequest DeleteObjectsRequest
            DeleteObjectsResponse DownloadObjectResponse DownloadSegmentResponse
            FinishCopyObjectRequest FinishDeleteSegmentRequest FinishMoveObjectRequest
            GetBucketNotificationConfigurationResponse GetBucketTaggingResponse
            GetObjectIPsResponse ListBucketsResponse ListObjectsResponse
            ListPendingObjectStreamsResponse ListSegmentsResponse
            RetryBeginSegmentPiecesRequest RetryBeginSegmentPiecesResponse
            SetBucketNotificationConfigurationRequest SetBucketTaggingRequest
        }
        nodestats { DailyStorageUsageResponse GetStatsResponse }
        orders { SettlementWithWindowResponse }
        piecestore { DeletePiecesRequest ExistsRequest ExistsResponse }
    };
    types.into_iter().map(|(name, decode)| (name.to_owned(), decode))
}

fn pool() -> DescriptorPool {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let files = std::fs::read_dir(&proto).expect("the folder").map(|entry| entry.unwrap().path());
    let compiled = protox::compile(files, [proto.clone()]).expect("compiled");
    DescriptorPool::from_file_descriptor_set(compiled).expect("a pool")
}

fn write(number: u32, content: &[u8], wire: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, wire);
    encode_varint(content.len() as u64, wire);
    wire.extend_from_slice(content);
}

/// The path of field numbers from a message to a repeated field.
type Route = Vec<u32>;

fn routes(message: &MessageDescriptor, depth: usize) -> Vec<Route> {
    let mut routes = Vec::new();
    for field in message.fields() {
        if field.is_list() || field.is_map() {
            routes.push(vec![field.number()]);
        }
        if let Kind::Message(inner) = field.kind()
            && depth > 0
        {
            let further = self::routes(&inner, depth - 1).into_iter();
            routes.extend(further.map(|rest| [&[field.number()], &rest[..]].concat()));
        }
    }
    routes
}

/// Encodes the shortest message in which every field with content is set.
fn small(message: &MessageDescriptor, depth: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for field in message.fields() {
        match field.kind() {
            Kind::String | Kind::Bytes => write(field.number(), b"x", &mut wire),
            Kind::Message(inner) if depth > 0 => {
                write(field.number(), &small(&inner, depth - 1), &mut wire);
            }
            _ => {}
        }
        // Sets all alternatives of a oneof; the decoder keeps the last.
    }
    wire
}

/// Repeats the field at the end of a route until the message has about `size` bytes: all items in one
/// message, or with `spread` one item in each of as many messages as possible.
fn flood(
    message: &MessageDescriptor,
    route: &[u32],
    item: &[u8],
    size: usize,
    spread: bool,
) -> Vec<u8> {
    let [number, rest @ ..] = route else { return Vec::new() };
    let field = message.get_field(*number).expect("a field");
    let mut wire = Vec::new();
    if rest.is_empty() {
        let content = match field.kind() {
            Kind::Message(_) | Kind::String | Kind::Bytes => item.to_vec(),
            _ => vec![0; size],
        };
        write(*number, &content, &mut wire);
    } else {
        let Kind::Message(inner) = field.kind() else { panic!("a message") };
        let inner_size = if spread && field.is_list() { 0 } else { size };
        write(*number, &flood(&inner, rest, item, inner_size, spread), &mut wire);
    }
    let is_many = (field.is_list() || field.is_map()) && wire.len() < size;
    if is_many { wire.repeat(size / wire.len()) } else { wire }
}

/// Decodes and returns the outcome with the increase of the peak heap size.
fn measured(decode: Decode, wire: Vec<u8>) -> (Result<(), Refusal>, usize) {
    let wire = Bytes::from(wire);
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let outcome = decode(wire);
    (outcome, HEAP.peak_usage() - before)
}

#[test]
fn decoding_takes_at_most_four_times_the_wire_size_plus_1_mib() {
    let pool = pool();
    let mut floods = 0;
    for (name, decode) in types() {
        let message = pool.get_message_by_name(&name).expect("a message");
        let routes = routes(&message, DEPTH);
        assert!(!routes.is_empty(), "{name} has no repeated field");
        for route in routes {
            let end = route_end(&message, &route);
            let items =
                [Vec::new(), end.map(|end| small(&end, 3)).unwrap_or_else(|| b"x".to_vec())];
            for (item, spread) in items.iter().flat_map(|item| [(item, false), (item, true)]) {
                let mut size = MESSAGE_LIMIT;
                while size > 256 {
                    let wire = flood(&message, &route, item, size, spread);
                    let limit = MEMORY_PER_BYTE * wire.len() + MEMORY_BASE;
                    let is_large = wire.len() > MESSAGE_LIMIT / 2;
                    let (outcome, peak) = measured(decode, wire);
                    let what = format!("{name} {route:?} {} {spread} {size}", item.len());
                    assert!(peak <= limit + SLACK, "{what}: {peak} of {limit}, {outcome:?}");
                    assert!(!matches!(outcome, Err(Refusal::Malformed(_))), "{what}: {outcome:?}");
                    let must_fail = is_large && item.is_empty();
                    assert!(!must_fail || outcome.is_err(), "{what}: {peak} bytes");
                    floods += 1;
                    size = size * 2 / 5;
                }
            }
        }
    }
    println!("{floods} messages");
    assert!(floods > 1000, "{floods}");

    let known: Vec<String> = types().map(|(name, _)| name).collect();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        for message in [method.input(), method.output()] {
            let is_known = known.iter().any(|name| name == message.full_name());
            let has_list = !routes(&message, DEPTH).is_empty();
            assert_eq!(is_known, has_list, "{}", message.full_name());
        }
    }
}

/// Returns the message type of the items at the end of a route.
fn route_end(message: &MessageDescriptor, route: &[u32]) -> Option<MessageDescriptor> {
    let (number, rest) = route.split_first()?;
    match message.get_field(*number)?.kind() {
        Kind::Message(inner) if rest.is_empty() => Some(inner),
        Kind::Message(inner) => route_end(&inner, rest),
        _ => None,
    }
}
