//! Buckets and objects: names, metadata, expiry, replacing, ranges, deleting.

use std::time::{Duration, UNIX_EPOCH};

use prost_types::Timestamp;
use uplink_core::encryption::metadata::StreamMeta;
use uplink_core::macaroon::{Caveat, Operation};
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::status::{Code, Failure};
use uplink_satellite::Config;

use crate::network::{Network, begin_object, header, inline_segment};

async fn network() -> Network {
    let network = Network::start(0).await;
    network.create_bucket("bucket").await;
    network
}

async fn begin(network: &Network, mut request: BeginObjectRequest) -> Result<(), Failure> {
    request.header = network.header();
    network.client().begin_object(request).await.map(drop).map_err(Failure::from)
}

/// Changes one field of a request.
type Mutation = fn(&mut BeginObjectRequest);

fn invalid(text: &str) -> Failure {
    Failure::new(Code::INVALID_ARGUMENT, text)
}

#[tokio::test]
async fn buckets_are_created_once_listed_and_deleted_when_empty() {
    let network = network().await;
    network.create_bucket("abc").await;
    network.create_bucket("xyz").await;
    let create = |name: &'static str| CreateBucketRequest {
        name: name.into(),
        header: network.header(),
        ..Default::default()
    };
    let twice = network.client().create_bucket(create("abc")).await.unwrap_err();
    assert_eq!(Failure::from(twice).code, Code::ALREADY_EXISTS);
    let bad = network.client().create_bucket(create("Abc")).await.unwrap_err();
    assert_eq!(Failure::from(bad).code, Code::INVALID_ARGUMENT);

    let list = async |cursor: &'static str, limit, direction| {
        let request = ListBucketsRequest {
            cursor: cursor.into(),
            limit,
            direction,
            header: network.header(),
        };
        let page = network.client().list_buckets(request).await.map_err(Failure::from)?;
        let page = page.into_inner();
        let names: Vec<_> = page.items.iter().map(|item| item.name.clone()).collect();
        Ok::<_, Failure>((names, page.more))
    };
    let names = |names: &[&'static str]| names.iter().map(|name| (*name).into()).collect();
    assert_eq!(list("", 0, 2).await, Ok((names(&["abc", "bucket", "xyz"]), false)));
    assert_eq!(list("abc", 1, 2).await, Ok((names(&["bucket"]), true)));
    assert_eq!(list("abc", 1, 1).await, Ok((names(&["abc"]), true)));
    assert_eq!(list("bucket", 1, 2).await, Ok((names(&["xyz"]), false)));
    assert_eq!(list("", 0, 0).await.unwrap_err().code, Code::UNKNOWN);
    assert_eq!(list("", -1, 2).await.unwrap_err().code, Code::INVALID_ARGUMENT);

    network.put_inline("bucket", b"key", b"data").await;
    let delete = async |name: &'static str, delete_all| {
        let request = DeleteBucketRequest {
            name: name.into(),
            delete_all,
            header: network.header(),
            ..Default::default()
        };
        let answer = network.client().delete_bucket(request).await;
        answer.map(|answer| answer.into_inner().deleted_objects_count).map_err(Failure::from)
    };
    assert_eq!(delete("bucket", false).await.unwrap_err().code, Code::FAILED_PRECONDITION);
    assert_eq!(delete("bucket", true).await, Ok(1));
    assert_eq!(delete("abc", false).await, Ok(0));
    let text = "bucket not found: abc";
    assert_eq!(delete("abc", true).await, Err(Failure::new(Code::NOT_FOUND, text)));
    network.stop().await;
}

#[tokio::test]
async fn configured_bucket_limit_is_enforced() {
    let mut config = Config::dev();
    config.buckets_per_project = 1;
    let network = Network::start_with(0, config, std::time::SystemTime::now).await;
    network.create_bucket("first").await;
    let request = CreateBucketRequest {
        name: "second".into(),
        header: network.header(),
        ..Default::default()
    };
    let rejected = network.client().create_bucket(request).await.unwrap_err();
    assert_eq!(Failure::from(rejected).code, Code::RESOURCE_EXHAUSTED);
    network.stop().await;
}

#[tokio::test]
async fn begin_validates_its_arguments() {
    let network = network().await;
    let mutated = |mutate: fn(&mut BeginObjectRequest)| {
        let mut request = begin_object("bucket", b"key");
        mutate(&mut request);
        request
    };
    let cases: [(Mutation, Failure); 10] = [
        (|r| r.bucket.clear(), invalid("metainfo: no bucket specified")),
        (|r| r.bucket = "no".into(), invalid("invalid bucket name: must have 3 to 63 bytes")),
        (
            |r| r.bucket = "missing".into(),
            Failure::new(Code::NOT_FOUND, "bucket not found: missing"),
        ),
        (
            |r| r.encrypted_object_key.clear(),
            invalid("metabase: invalid request: ObjectKey missing"),
        ),
        (
            |r| r.encrypted_object_key = vec![1; 4_001].into(),
            invalid("key length is too big, got 4001, maximum allowed is 4000"),
        ),
        (|r| r.encryption_parameters = None, invalid("encryption parameters are missing")),
        (
            |r| r.expires_at = Some(Timestamp::default()),
            invalid("invalid expiration time, cannot be in the past"),
        ),
        (
            |r| r.encrypted_metadata = vec![1].into(),
            invalid("encrypted metadata has no key and nonce"),
        ),
        (|r| r.checksum_algorithm = 1, Failure::new(Code(10_027), "checksums are not supported")),
        (
            |r| r.legal_hold = true,
            Failure::new(
                Code::OBJECT_LOCK_BUCKET_CONFIGURATION_MISSING,
                "Object Lock is not enabled for this bucket",
            ),
        ),
    ];
    for (mutate, expected) in cases {
        assert_eq!(begin(&network, mutated(mutate)).await, Err(expected));
    }
    assert_eq!(begin(&network, begin_object("bucket", &[1; 4_000])).await, Ok(()));
    let unset = mutated(|r| {
        r.expires_at = Some(Timestamp { seconds: -62_135_596_800, nanos: 0 });
    });
    assert_eq!(begin(&network, unset).await, Ok(()));
    network.stop().await;
}

#[tokio::test]
async fn missing_submessages_are_invalid_arguments() {
    let network = network().await;
    let begun = network.batch(vec![Request::ObjectBegin(begin_object("bucket", b"key"))]).await;
    let [Response::ObjectBegin(begun)] = begun.as_deref().unwrap() else { panic!("{begun:?}") };
    let stream_id = &begun.stream_id;
    let mut inline = inline_segment(0, 0, b"data");
    inline.position = None;
    inline.stream_id = stream_id.clone();
    let mut negative = inline.clone();
    negative.position = Some(SegmentPosition { part_number: 0, index: -1 });
    for request in [
        Request::SegmentMakeInline(inline),
        Request::SegmentMakeInline(negative),
        Request::SegmentBegin(BeginSegmentRequest {
            stream_id: stream_id.clone(),
            max_order_limit: 1,
            ..Default::default()
        }),
        Request::SegmentDownload(DownloadSegmentRequest {
            stream_id: stream_id.clone(),
            ..Default::default()
        }),
        Request::ObjectList(ListObjectsRequest {
            bucket: "bucket".into(),
            use_object_includes: true,
            ..Default::default()
        }),
        Request::ObjectList(ListObjectsRequest {
            bucket: "bucket".into(),
            limit: -1,
            ..Default::default()
        }),
    ] {
        let name = format!("{request:?}");
        let rejected = network.batch(vec![request]).await.unwrap_err();
        assert_eq!(rejected.code, Code::INVALID_ARGUMENT, "{name}");
    }
    network.stop().await;
}

#[tokio::test]
async fn inline_segment_size_is_limited() {
    let network = network().await;
    let put = async |size: usize, plain_size: i64| {
        let mut inline = inline_segment(0, 0, &vec![1; size]);
        inline.plain_size = plain_size;
        let requests = vec![
            Request::ObjectBegin(begin_object("bucket", b"key")),
            Request::SegmentMakeInline(inline),
        ];
        network.batch(requests).await.map(drop).map_err(|failure| failure.code)
    };
    assert_eq!(put(4_736, 4_720).await, Ok(()));
    assert_eq!(put(0, 0).await, Ok(()));
    for (size, plain_size) in [(4_737, 4_720), (16, 17), (16, -1)] {
        assert_eq!(put(size, plain_size).await, Err(Code::INVALID_ARGUMENT));
    }
    network.stop().await;
}

#[tokio::test]
async fn metadata_is_returned_with_layout_filled_in() {
    let network = network().await;
    let stored = StreamMeta { encrypted_stream_info: vec![5; 40], ..StreamMeta::default() };
    let commit = CommitObjectRequest {
        encrypted_metadata: stored.encode().into(),
        encrypted_metadata_nonce: vec![6; 24].into(),
        encrypted_metadata_encrypted_key: vec![7; 48].into(),
        encrypted_etag: vec![8; 20].into(),
        ..Default::default()
    };
    let responses = network
        .batch(vec![
            Request::ObjectBegin(begin_object("bucket", b"key")),
            Request::SegmentMakeInline(inline_segment(0, 0, b"data")),
            Request::ObjectCommit(commit.clone()),
        ])
        .await
        .unwrap();
    let Response::ObjectCommit(answer) = &responses[2] else { panic!("{responses:?}") };
    let object = answer.object.as_ref().unwrap();
    let meta = StreamMeta::decode(&object.encrypted_metadata).unwrap();
    assert_eq!(meta.encrypted_stream_info, stored.encrypted_stream_info);
    assert_eq!((meta.encryption_type, meta.encryption_block_size), (2, 7424));
    assert_eq!(meta.number_of_segments, 1);
    let segment = meta.last_segment_meta.unwrap();
    assert_eq!((segment.encrypted_key, segment.key_nonce), (vec![7; 48], vec![6; 24]));
    assert_eq!(object.encrypted_etag, vec![8; 20]);
    check_listed_metadata(&network).await;

    for mutate in [
        |r: &mut CommitObjectRequest| r.encrypted_metadata = vec![0; 2_029].into(),
        |r: &mut CommitObjectRequest| r.encrypted_metadata_encrypted_key.truncate(47),
        |r: &mut CommitObjectRequest| r.encrypted_metadata_nonce.truncate(23),
    ] {
        let mut request = commit.clone();
        mutate(&mut request);
        let begin = Request::ObjectBegin(begin_object("bucket", b"key"));
        let rejected =
            network.batch(vec![begin, Request::ObjectCommit(request)]).await.unwrap_err();
        assert_eq!(rejected.code, Code::INVALID_ARGUMENT);
    }
    network.stop().await;
}

async fn check_listed_metadata(network: &Network) {
    let list = async |includes: ObjectListItemIncludes| {
        let request = ListObjectsRequest {
            bucket: "bucket".into(),
            use_object_includes: true,
            object_includes: Some(includes),
            header: network.header(),
            ..Default::default()
        };
        let page = network.client().list_objects(request).await.unwrap().into_inner();
        page.items.into_iter().next().unwrap()
    };
    let none = ObjectListItemIncludes { exclude_system_metadata: true, ..Default::default() };
    let item = list(none).await;
    assert!(item.created_at.is_none() && item.encrypted_metadata.is_empty());
    assert!(item.encrypted_metadata_encrypted_key.is_empty() && item.plain_size == 0);
    let item = list(ObjectListItemIncludes::default()).await;
    assert!(item.encrypted_metadata.is_empty());
    assert_eq!(item.plain_size, 4);
    let etag = ObjectListItemIncludes { include_etag: true, ..Default::default() };
    let item = list(etag).await;
    let meta = StreamMeta::decode(&item.encrypted_metadata).unwrap();
    assert_eq!((meta.encrypted_stream_info.len(), meta.number_of_segments), (0, 1));
    assert_eq!((meta.encryption_type, item.encrypted_etag.len()), (2, 20));
    let custom = ObjectListItemIncludes {
        metadata: true,
        exclude_system_metadata: true,
        ..Default::default()
    };
    let item = list(custom).await;
    let meta = StreamMeta::decode(&item.encrypted_metadata).unwrap();
    assert_eq!((meta.encrypted_stream_info.len(), meta.number_of_segments), (40, 0));
    assert_eq!(meta.encryption_block_size, 7424);
    assert!(item.encrypted_etag.is_empty() && item.encrypted_metadata_encrypted_key.len() == 48);
    let either = ObjectListItemIncludes {
        include_etag_or_custom_metadata: true,
        exclude_system_metadata: true,
        ..Default::default()
    };
    let item = list(either).await;
    let meta = StreamMeta::decode(&item.encrypted_metadata).unwrap();
    assert_eq!((meta.encrypted_stream_info.len(), meta.number_of_segments), (0, 0));
    assert_eq!((meta.encryption_type, item.encrypted_etag.len()), (2, 20));
}

#[tokio::test]
async fn replacing_needs_delete_permission_or_unused_key() {
    let network = network().await;
    network.put_inline("bucket", b"key", b"old").await;
    let no_delete =
        Caveat { disallowed: [Operation::Delete].into_iter().collect(), ..Caveat::default() };
    let writer = network.api_key.restrict(&no_delete).unwrap();
    let put = async |key: &'static [u8], if_none_match: &[&str]| {
        let commit = CommitObjectRequest {
            if_none_match: if_none_match.iter().map(|&text| text.to_owned()).collect(),
            ..Default::default()
        };
        let requests = vec![
            Request::ObjectBegin(begin_object("bucket", key)),
            Request::SegmentMakeInline(inline_segment(0, 0, b"newer")),
            Request::ObjectCommit(commit),
        ];
        network.batch_as(&writer, requests).await.map(drop).map_err(|failure| failure.code)
    };
    assert_eq!(put(b"key", &[]).await, Err(Code::PERMISSION_DENIED));
    assert_eq!(put(b"other", &[]).await, Ok(()));
    assert_eq!(put(b"other", &["*"]).await, Err(Code::FAILED_PRECONDITION));
    assert_eq!(put(b"third", &["*"]).await, Ok(()));
    assert_eq!(put(b"third", &["etag"]).await, Err(Code::UNIMPLEMENTED));
    assert_eq!(put(b"third", &["*", "*"]).await, Err(Code::UNIMPLEMENTED));
    network.put_inline("bucket", b"key", b"newer").await;
    let request = GetObjectRequest {
        bucket: "bucket".into(),
        encrypted_object_key: "key".into(),
        header: network.header(),
        ..Default::default()
    };
    let object = network.client().get_object(request).await.unwrap().into_inner().object.unwrap();
    assert_eq!(object.plain_size, 5);
    network.stop().await;
}

#[tokio::test]
async fn objects_expire_and_api_keys_limit_their_lifetime() {
    const NOW: u64 = 1_750_000_000;
    let offset = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let seconds = std::sync::Arc::clone(&offset);
    let network = Network::start_with(0, Config::dev(), move || {
        let offset = seconds.load(std::sync::atomic::Ordering::SeqCst);
        UNIX_EPOCH + Duration::from_secs(NOW + offset)
    })
    .await;
    network.create_bucket("bucket").await;
    let ttl = Caveat { max_object_ttl_nanos: Some(60_000_000_000), ..Caveat::default() };
    let key = network.api_key.restrict(&ttl).unwrap();
    let at = |seconds: i64| Some(Timestamp { seconds: 1_750_000_000 + seconds, nanos: 0 });
    let put = async |expires_at| {
        let begin = BeginObjectRequest { expires_at, ..begin_object("bucket", b"key") };
        let commit = Request::ObjectCommit(CommitObjectRequest::default());
        let responses = network.batch_as(&key, vec![Request::ObjectBegin(begin), commit]).await?;
        match responses.into_iter().last() {
            Some(Response::ObjectCommit(answer)) => {
                Ok::<_, Failure>(answer.object.unwrap().expires_at)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(put(at(61)).await.unwrap_err().code, Code::INVALID_ARGUMENT);
    assert_eq!(put(at(0)).await.unwrap_err().code, Code::INVALID_ARGUMENT);
    assert_eq!(put(at(30)).await, Ok(at(30)));
    assert_eq!(put(None).await, Ok(at(60)));
    let get = async || {
        let request = GetObjectRequest {
            bucket: "bucket".into(),
            encrypted_object_key: "key".into(),
            header: network.header(),
            ..Default::default()
        };
        network.client().get_object(request).await.map(drop).map_err(|e| Failure::from(e).code)
    };
    assert_eq!(get().await, Ok(()));
    offset.store(60, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(get().await, Err(Code::NOT_FOUND));
    let forbidden = Caveat { max_object_ttl_nanos: Some(0), ..Caveat::default() };
    let key = network.api_key.restrict(&forbidden).unwrap();
    let begin = Request::ObjectBegin(begin_object("bucket", b"key"));
    let rejected = network.batch_as(&key, vec![begin]).await.unwrap_err();
    assert_eq!(rejected.code, Code::INVALID_ARGUMENT);
    network.stop().await;
}

#[tokio::test]
async fn download_lists_the_segments_of_its_range() {
    let network = network().await;
    let mut requests = vec![Request::ObjectBegin(begin_object("bucket", b"key"))];
    for index in 0..3 {
        let data = vec![u8::try_from(index).unwrap(); 10];
        requests.push(Request::SegmentMakeInline(inline_segment(0, index, &data)));
    }
    requests.push(Request::ObjectCommit(CommitObjectRequest::default()));
    network.batch(requests).await.unwrap();
    network.put_inline("bucket", b"empty", b"").await;
    let download = async |key: &'static str, range: Option<range::Range>| {
        let request = DownloadObjectRequest {
            bucket: "bucket".into(),
            encrypted_object_key: key.into(),
            range: range.map(|range| Range { range: Some(range) }),
            header: network.header(),
            ..Default::default()
        };
        let answer = network.client().download_object(request).await.map_err(Failure::from)?;
        let answer = answer.into_inner();
        let listed = answer.segment_list.unwrap().items.into_iter();
        let listed: Vec<i32> = listed.map(|item| item.position.unwrap().index).collect();
        let first = answer.segment_download.first().map(|first| first.position.unwrap().index);
        Ok::<_, Failure>((listed, first))
    };
    let start = |plain_start| Some(range::Range::Start(RangeStart { plain_start }));
    let limit = |plain_start, plain_limit| {
        Some(range::Range::StartLimit(RangeStartLimit { plain_start, plain_limit }))
    };
    let suffix = |plain_suffix| Some(range::Range::Suffix(RangeSuffix { plain_suffix }));
    for (range, listed, first) in [
        (None, vec![0, 1, 2], Some(0)),
        (start(0), vec![0, 1, 2], Some(0)),
        (start(10), vec![1, 2], Some(1)),
        (start(29), vec![2], Some(2)),
        (start(30), vec![], None),
        (limit(9, 10), vec![0], Some(0)),
        (limit(9, 11), vec![0, 1], Some(0)),
        (limit(15, 15), vec![1], Some(1)),
        (suffix(11), vec![1, 2], Some(1)),
        (suffix(900), vec![0, 1, 2], Some(0)),
    ] {
        assert_eq!(download("key", range).await, Ok((listed, first)), "{range:?}");
    }
    for range in [start(31), start(-1), limit(5, 4), suffix(-1)] {
        let rejected = download("key", range).await.unwrap_err();
        assert_eq!(rejected.code, Code::INVALID_ARGUMENT, "{range:?}");
    }
    assert_eq!(download("empty", None).await, Ok((vec![0], Some(0))));
    let missing = download("none", None).await.unwrap_err();
    assert!(missing.message.starts_with("object not found: "), "{missing}");
    network.stop().await;
}

#[tokio::test]
async fn abort_requires_stream_id_to_match_request() {
    let network = network().await;
    let begun = network.batch(vec![Request::ObjectBegin(begin_object("bucket", b"key"))]).await;
    let [Response::ObjectBegin(begun)] = begun.as_deref().unwrap() else { panic!("{begun:?}") };
    let abort = async |key: &'static str, stream_id: bytes::Bytes| {
        let request = BeginDeleteObjectRequest {
            bucket: "bucket".into(),
            encrypted_object_key: key.into(),
            status: 1,
            stream_id,
            header: network.header(),
            ..Default::default()
        };
        let answer = network.client().begin_delete_object(request).await;
        answer.map(|answer| answer.into_inner().object).map_err(|e| Failure::from(e).code)
    };
    let stream_id = &begun.stream_id;
    assert_eq!(abort("other", stream_id.clone()).await, Err(Code::INVALID_ARGUMENT));
    assert_eq!(abort("key", bytes::Bytes::new()).await, Err(Code::INVALID_ARGUMENT));
    assert!(abort("key", stream_id.clone()).await.unwrap().is_some());
    assert_eq!(abort("key", stream_id.clone()).await, Err(Code::NOT_FOUND));
    network.stop().await;
}

#[tokio::test]
async fn deletion_without_read_permission_reports_nothing() {
    let network = network().await;
    network.put_inline("bucket", b"key", b"data").await;
    let disallowed = [Operation::Read, Operation::List].into_iter().collect();
    let key = network.api_key.restrict(&Caveat { disallowed, ..Caveat::default() }).unwrap();
    let delete = async |name: &'static str| {
        let request = BeginDeleteObjectRequest {
            bucket: "bucket".into(),
            encrypted_object_key: name.into(),
            header: header(&key),
            ..Default::default()
        };
        network.client().begin_delete_object(request).await.unwrap().into_inner()
    };
    assert_eq!(delete("key").await, BeginDeleteObjectResponse::default());
    assert_eq!(delete("none").await, BeginDeleteObjectResponse::default());
    let request = ListObjectsRequest {
        bucket: "bucket".into(),
        header: network.header(),
        ..Default::default()
    };
    assert!(network.client().list_objects(request).await.unwrap().into_inner().items.is_empty());
    network.stop().await;
}

#[tokio::test]
async fn listing_collapses_at_delimiter_and_resumes_after_cursor() {
    let network = network().await;
    for key in ["a", "b/1", "b/2", "b/c/3", "c", "d|e|1", "d|e|2"] {
        network.put_inline("bucket", key.as_bytes(), b"data").await;
    }
    let list = async |request: ListObjectsRequest| {
        let request =
            ListObjectsRequest { bucket: "bucket".into(), header: network.header(), ..request };
        let page = network.client().list_objects(request).await.unwrap().into_inner();
        let items = page.items.iter().map(|item| {
            let prefix = item.status() == object::Status::Prefix;
            assert_eq!(
                prefix,
                item.encrypted_object_key.ends_with(b"/")
                    || item.encrypted_object_key.ends_with(b"|")
            );
            String::from_utf8_lossy(&item.encrypted_object_key).into_owned()
        });
        (items.collect::<Vec<_>>(), page.more)
    };
    let of = |prefix: &'static str, cursor: &'static str| ListObjectsRequest {
        encrypted_prefix: prefix.into(),
        encrypted_cursor: cursor.into(),
        ..Default::default()
    };
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(list(of("", "")).await, (names(&["a", "b/", "c", "d|e|1", "d|e|2"]), false));
    assert_eq!(list(of("b", "")).await, (names(&["1", "2", "c/"]), false));
    assert_eq!(list(of("", "b/1")).await, (names(&["c", "d|e|1", "d|e|2"]), false));
    let recursive = ListObjectsRequest { recursive: true, limit: 3, ..of("", "a") };
    assert_eq!(list(recursive).await, (names(&["b/1", "b/2", "b/c/3"]), true));
    let bars = ListObjectsRequest { delimiter: "|".into(), ..of("d", "") };
    assert_eq!(list(bars).await, (names(&["e|"]), false));
    let arbitrary = ListObjectsRequest { arbitrary_prefix: true, recursive: true, ..of("b/c", "") };
    assert_eq!(list(arbitrary).await, (names(&["/3"]), false));
    let missing = ListObjectsRequest {
        bucket: "missing".into(),
        header: network.header(),
        ..Default::default()
    };
    let missing = network.client().list_objects(missing).await.unwrap_err();
    let text = "bucket not found: missing";
    assert_eq!(Failure::from(missing), Failure::new(Code::NOT_FOUND, text));
    network.stop().await;
}
