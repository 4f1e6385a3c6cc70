use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;

const PROJECT: [u8; 16] = [1; 16];
const NOW: Time = Time(1_000_000);

struct Store {
    metabase: Metabase,
    folder: tempfile::TempDir,
}

impl Store {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let metabase = Metabase::open(&folder.path().join("test.db"), true, NOW).await.unwrap();
        let bucket = Bucket { name: b"bucket".to_vec(), created: NOW, user_agent: None };
        metabase.create_bucket(&PROJECT, &bucket, 10).await.unwrap();
        Self { metabase, folder }
    }

    /// Begins an upload and returns its stream id.
    async fn begin(&self, key: &[u8], expires: Option<Time>) -> [u8; 16] {
        let new = NewObject {
            project: &PROJECT,
            bucket: b"bucket",
            key,
            stream_id: crate::random::bytes(),
            multipart: true,
            created: NOW,
            expires,
            drop_pending_at: Time(2_000_000),
            encryption: 0,
            metadata: Metadata::default(),
        };
        self.metabase.begin_object(&new).await.unwrap();
        new.stream_id
    }

    async fn put(&self, stream: &[u8; 16], part: u32, index: u32, plain_size: i64) -> Result<()> {
        self.put_at(stream, (part, index), plain_size, (NOW, None)).await
    }

    async fn put_at(
        &self,
        stream: &[u8; 16],
        (part, index): (u32, u32),
        plain_size: i64,
        (created, replaces): (Time, Option<Time>),
    ) -> Result<()> {
        let segment = Segment {
            position: uplink_core::id::SegmentPosition { part, index },
            encrypted_key_nonce: vec![1; 24],
            encrypted_key: vec![2; 48],
            encrypted_size: plain_size + 16,
            plain_size,
            plain_offset: 0,
            encrypted_etag: None,
            created,
            expires: None,
            inline_data: Some(vec![3; 16]),
            remote: None,
        };
        let new = NewSegment {
            project: &PROJECT,
            stream,
            segment: &segment,
            drop_pending_at: Time(3_000_000),
            replaces,
        };
        self.metabase.put_segment(&new).await
    }

    async fn commit(&self, stream: [u8; 16], precondition: Precondition) -> Result<Object> {
        self.commit_with_parts(stream, precondition, 0).await
    }

    async fn commit_with_parts(
        &self,
        stream_id: [u8; 16],
        precondition: Precondition,
        min_part_size: i64,
    ) -> Result<Object> {
        self.commit_at(NOW, stream_id, precondition, min_part_size).await
    }

    async fn commit_at(
        &self,
        now: Time,
        stream_id: [u8; 16],
        precondition: Precondition,
        min_part_size: i64,
    ) -> Result<Object> {
        let commit = Commit {
            project: &PROJECT,
            stream_id,
            metadata: None,
            precondition,
            min_part_size,
            now,
        };
        self.metabase.commit_object(&commit).await
    }

    /// Replaces all objects: these keys with `status`, and others that a listing of that status must
    /// not show. Writes the table directly, in one transaction instead of hundreds.
    async fn replace_objects(&self, keys: &BTreeSet<Vec<u8>>, status: ListStatus) {
        let mut tx = self.metabase.begin().await.unwrap();
        sqlx::query("DELETE FROM objects").execute(&mut *tx).await.unwrap();
        let (shown, hidden) = if status == ListStatus::Pending { (1, 3) } else { (3, 1) };
        for key in keys {
            insert(&mut tx, key, (1, shown, None)).await;
            let other = [&key[..], b"x"].concat();
            insert(&mut tx, &other, (2, hidden, None)).await;
            insert(&mut tx, &other, (3, shown, Some(NOW.0))).await;
        }
        tx.commit().await.unwrap();
    }

    async fn count(&self, table: &'static str) -> i64 {
        let sql = match table {
            "objects" => "SELECT COUNT(*) FROM objects",
            _ => "SELECT COUNT(*) FROM segments",
        };
        sqlx::query(sql).fetch_one(&self.metabase.readers).await.unwrap().try_get(0).unwrap()
    }

    async fn object(&self, key: &[u8]) -> Result<Object> {
        self.object_version(key, None).await
    }

    async fn object_version(&self, key: &[u8], version: Option<[u8; 16]>) -> Result<Object> {
        let mut snapshot = self.metabase.snapshot().await?;
        snapshot.object((&PROJECT, b"bucket", key), version, NOW).await
    }

    /// The segments of a stream, as a client lists them.
    async fn segments(
        &self,
        stream: &[u8; 16],
        range: Option<std::ops::Range<i64>>,
    ) -> Vec<Segment> {
        let mut snapshot = self.metabase.snapshot().await.unwrap();
        snapshot.list_segments(stream, None, range, 10).await.unwrap()
    }
}

/// Inserts an object of a version, status and time of expiry.
async fn insert(
    tx: &mut Connection,
    key: &[u8],
    (version, status, expires): (i64, i64, Option<i64>),
) {
    sqlx::query(
        "INSERT INTO objects (project, bucket, object_key, version, stream_id, status, expires_at,
             multipart, created_at, encryption, segment_count, plain_size, encrypted_size,
             fixed_segment_size)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, 0, 0, 0, 0)",
    )
    .bind(&PROJECT[..])
    .bind(&b"bucket"[..])
    .bind(key)
    .bind(version)
    .bind(&crate::random::bytes::<16>()[..])
    .bind(status)
    .bind(expires)
    .execute(tx)
    .await
    .unwrap();
}

#[tokio::test]
async fn schema_is_created_once_and_newer_schema_is_rejected() {
    let store = Store::open().await;
    let file = store.folder.path().join("test.db");
    store.metabase.close().await;
    let again = Metabase::open(&file, false, Time(5)).await.unwrap();
    let row = sqlx::query("SELECT COUNT(*), MAX(applied_at) FROM schema_version");
    let row = row.fetch_one(&again.readers).await.unwrap();
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (migrate::NEWEST, NOW.0));
    assert!(again.bucket(&PROJECT, b"bucket").await.is_ok());
    sqlx::query("INSERT INTO schema_version (number, applied_at) VALUES (77, 0)")
        .execute(&again.writer)
        .await
        .unwrap();
    again.close().await;
    let error = Metabase::open(&file, false, NOW).await.unwrap_err().to_string();
    assert!(error.contains("77") && error.contains(&migrate::NEWEST.to_string()), "{error}");
}

#[tokio::test]
async fn first_schema_is_upgraded_with_its_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let old = SqlitePool::connect_with(options).await.unwrap();
    let mut tx = old.begin().await.unwrap();
    migrate::upgrade(&mut tx, &migrate::STEPS[..1], NOW).await.unwrap();
    for (id, state) in [(1, 0), (2, 1)] {
        sqlx::query(
            "INSERT INTO nodes VALUES ($1, x'', x'', x'', x'', 0, x'', $2, 77, NULL, NULL)",
        )
        .bind(&[id; 32][..])
        .bind(state)
        .execute(&mut *tx)
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    old.close().await;
    let new = Metabase::open(&file, false, NOW).await.unwrap();
    for (id, disqualified) in [(1, None), (2, Some(Time(77)))] {
        let node = new.node(&uplink_core::id::NodeId::new([id; 32])).await.unwrap().unwrap();
        assert_eq!((node.created, node.disqualified), (Time(77), disqualified));
    }
}

#[tokio::test]
async fn revocation_survives_restart() {
    let store = Store::open().await;
    let file = store.folder.path().join("test.db");
    store.metabase.revoke(&[7; 32], b"head", NOW).await.unwrap();
    store.metabase.revoke(&[7; 32], b"head", Time(5)).await.unwrap();
    store.metabase.close().await;
    let again = Metabase::open(&file, false, NOW).await.unwrap();
    let mut snapshot = again.snapshot().await.unwrap();
    assert!(snapshot.any_revoked(&[[6; 32], [7; 32]]).await.unwrap());
    assert!(!snapshot.any_revoked(&[[6; 32], [8; 32]]).await.unwrap());
}

#[tokio::test]
async fn settlement_survives_restart() {
    let store = Store::open().await;
    let node = uplink_core::id::NodeId::new([3; 32]);
    let sums = Sums::from([(1, 10), (2, 0)]);
    let file = store.folder.path().join("test.db");
    assert!(store.metabase.settle(&node, 490_000, &sums).await.unwrap());
    store.metabase.close().await;
    let again = Metabase::open(&file, false, NOW).await.unwrap();
    assert!(again.settle(&node, 490_000, &sums).await.unwrap());
    for other in [Sums::from([(1, 10)]), Sums::from([(1, 11), (2, 0)])] {
        assert!(!again.settle(&node, 490_000, &other).await.unwrap());
        assert!(again.settle(&node, 490_001, &sums).await.unwrap());
    }
    let hours = [490_000, 490_001].map(|hour| [(hour, 1, 10), (hour, 2, 0)]);
    assert_eq!(again.settlements(&node).await.unwrap(), hours.concat());
}

#[tokio::test]
async fn copies_and_moves_leave_no_orphaned_rows() {
    let store = Store::open().await;
    let source = store.begin(b"key", None).await;
    store.put(&source, 0, 0, 10).await.unwrap();
    store.put(&source, 0, 1, 11).await.unwrap();
    store.commit(source, Precondition::None).await.unwrap();
    let location = (&PROJECT, &b"bucket"[..], &b"key"[..]);
    let found = store.metabase.transferable(location, None, b"bucket", NOW).await.unwrap();
    let transfer = |key| Transfer {
        project: &PROJECT,
        source,
        metadata_nonce: None,
        bucket: b"bucket",
        key,
        metadata: NewMetadata::Rewrapped { nonce: None, key: None },
        segment_keys: found.1.clone(),
        precondition: Precondition::None,
        now: NOW,
    };
    // Copies twice to the same key, then moves to a used key, then to its own key.
    for (stream, key) in [([1; 16], &b"copy"[..]), ([2; 16], b"copy")] {
        let copied = store.metabase.copy_object(&transfer(key), stream).await.unwrap();
        assert_eq!((copied.segment_count, copied.plain_size), (2, 21));
        assert_eq!((store.count("objects").await, store.count("segments").await), (2, 4));
    }
    store.metabase.move_object(&transfer(b"copy")).await.unwrap();
    assert_eq!((store.count("objects").await, store.count("segments").await), (1, 2));
    assert_eq!(store.object(b"copy").await.unwrap().stream_id, source);
    store.metabase.move_object(&transfer(b"copy")).await.unwrap();
    assert_eq!((store.count("objects").await, store.count("segments").await), (1, 2));
    let gone = store.metabase.transferable(location, None, b"bucket", NOW).await.unwrap_err();
    assert!(gone.to_string().starts_with("object not found: "), "{gone}");
    let missing = store.metabase.transferable(location, None, b"none", NOW).await.unwrap_err();
    assert_eq!(missing.to_string(), "bucket not found: none");
}

#[tokio::test]
async fn failed_migration_leaves_nothing_behind() {
    let store = Store::open().await;
    let steps = ["CREATE TABLE one (a BIGINT)", "CREATE TABLE two (a BIGINT); NOT SQL"];
    let mut tx = store.metabase.begin().await.unwrap();
    sqlx::query("DELETE FROM schema_version").execute(&mut *tx).await.unwrap();
    assert!(migrate::upgrade(&mut tx, &steps, NOW).await.is_err());
    tx.rollback().await.unwrap();
    for table in ["SELECT * FROM one", "SELECT * FROM two"] {
        assert!(sqlx::query(table).fetch_all(&store.metabase.readers).await.is_err());
    }
    assert!(store.metabase.bucket(&PROJECT, b"bucket").await.is_ok());
}

#[tokio::test]
async fn missing_database_is_not_created_and_garbage_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.db");
    let missing = Metabase::open(&file, false, NOW).await;
    assert!(matches!(missing, Err(MetabaseError::Missing { .. })));
    assert!(!file.exists());
    std::fs::write(&file, "this is not a database, whatever its name says".repeat(100)).unwrap();
    assert!(matches!(Metabase::open(&file, true, NOW).await, Err(MetabaseError::Engine(_))));
}

#[tokio::test]
async fn database_rejects_a_second_identity() {
    let store = Store::open().await;
    store.metabase.claim("one").await.unwrap();
    store.metabase.claim("one").await.unwrap();
    let error = store.metabase.claim("two").await.unwrap_err();
    assert!(matches!(error, MetabaseError::ForeignIdentity { .. }));
    assert!(error.to_string().contains("one") && error.to_string().contains("two"));
}

#[tokio::test]
async fn commit_sets_offsets_in_order_of_positions() {
    let store = Store::open().await;
    let stream = store.begin(b"key", None).await;
    for (part, index, size) in [(2, 0, 30), (0, 1, 20), (0, 0, 10), (0, 1, 21)] {
        store.put(&stream, part, index, size).await.unwrap();
    }
    let object = store.commit(stream, Precondition::None).await.unwrap();
    assert_eq!((object.segment_count, object.plain_size), (3, 61));
    assert_eq!((object.encrypted_size, object.fixed_segment_size), (61 + 3 * 16, -1));
    let listed = store.segments(&stream, None).await;
    let offsets: Vec<_> = listed.iter().map(|segment| segment.plain_offset).collect();
    assert_eq!(offsets, [0, 10, 31]);
    for (range, expected) in
        [(0..1, vec![0]), (9..11, vec![0, 10]), (10..31, vec![10]), (31..61, vec![31])]
    {
        let listed = store.segments(&stream, Some(range)).await;
        let offsets: Vec<_> = listed.iter().map(|segment| segment.plain_offset).collect();
        assert_eq!(offsets, expected);
    }
}

#[tokio::test]
async fn segments_and_commits_need_a_pending_object() {
    let store = Store::open().await;
    let stream = store.begin(b"key", None).await;
    assert!(store.put(&[9; 16], 0, 0, 1).await.is_err());
    store.commit(stream, Precondition::None).await.unwrap();
    let late = store.put(&stream, 0, 0, 1).await.unwrap_err();
    assert_eq!(late.to_string(), "pending object missing");
    let twice = store.commit(stream, Precondition::None).await.unwrap_err();
    assert!(twice.to_string().starts_with("object not found: "), "{twice}");
    let foreign = store.metabase.object_of_stream(&[2; 16], &stream).await.unwrap();
    assert!(foreign.is_none());
}

#[tokio::test]
async fn upload_that_expires_before_its_commit_replaces_nothing() {
    let store = Store::open().await;
    let kept = store.begin(b"key", None).await;
    store.commit(kept, Precondition::None).await.unwrap();
    let expired = store.begin(b"key", Some(NOW)).await;
    let error = store.commit(expired, Precondition::None).await.unwrap_err();
    assert!(error.to_string().starts_with("object not found: "), "{error}");
    assert_eq!(store.object(b"key").await.unwrap().stream_id, kept);
}

#[tokio::test]
async fn commit_replaces_according_to_precondition() {
    let store = Store::open().await;
    let first = store.begin(b"key", None).await;
    let second = store.begin(b"key", None).await;
    let third = store.begin(b"key", None).await;
    for stream in [&first, &second, &third] {
        store.put(stream, 0, 0, 1).await.unwrap();
    }
    store.commit(second, Precondition::MustNotExist).await.unwrap();
    let rejected = store.commit(first, Precondition::MustNotExist).await.unwrap_err();
    assert!(matches!(rejected, MetabaseError::Precondition { .. }));
    let rejected = store.commit(first, Precondition::MayNotReplace).await.unwrap_err();
    assert!(matches!(rejected, MetabaseError::Overwrite));
    assert_eq!(store.object(b"key").await.unwrap().stream_id, second);
    store.commit(first, Precondition::None).await.unwrap();
    assert_eq!(store.object(b"key").await.unwrap().stream_id, first);
    assert_eq!((store.count("objects").await, store.count("segments").await), (2, 2));
}

#[tokio::test]
async fn expired_object_is_hidden_and_can_be_replaced() {
    let store = Store::open().await;
    let stream = store.begin(b"key", Some(NOW)).await;
    store.commit_at(Time(NOW.0 - 1), stream, Precondition::None, 0).await.unwrap();
    assert!(store.object(b"key").await.is_err());
    let fresh = store.begin(b"key", Some(Time(NOW.0 + 1))).await;
    store.commit(fresh, Precondition::MustNotExist).await.unwrap();
    assert_eq!(store.object(b"key").await.unwrap().stream_id, fresh);
    assert_eq!(store.count("objects").await, 1);
}

#[tokio::test]
async fn version_identifies_exactly_one_object() {
    let store = Store::open().await;
    let stream = store.begin(b"key", None).await;
    let object = store.commit(stream, Precondition::None).await.unwrap();
    let version = object.object_version();
    let find = |version| store.object_version(b"key", Some(version));
    assert_eq!(find(version).await.unwrap().stream_id, stream);
    for index in [7, 15] {
        let mut other = version;
        other[index] ^= 1;
        assert!(find(other).await.is_err());
    }
}

#[tokio::test]
async fn small_part_is_rejected_unless_last() {
    let store = Store::open().await;
    let stream = store.begin(b"key", None).await;
    for (part, index, size) in [(1, 0, 60), (1, 1, 40), (3, 0, 5)] {
        store.put(&stream, part, index, size).await.unwrap();
    }
    store.put(&stream, 2, 0, 99).await.unwrap();
    let rejected = store.commit_with_parts(stream, Precondition::None, 100).await.unwrap_err();
    assert_eq!(
        rejected.to_string(),
        "metabase: failed precondition: size of part number 2 is below minimum threshold, \
         got: 99 B, min: 100 B"
    );
    store.put(&stream, 2, 0, 100).await.unwrap();
    store.commit_with_parts(stream, Precondition::None, 100).await.unwrap();
}

#[tokio::test]
async fn shorter_second_upload_of_part_drops_old_segments() {
    let store = Store::open().await;
    let stream = store.begin(b"key", None).await;
    let sizes = async || {
        let listed = store.segments(&stream, None).await;
        listed.iter().map(|segment| segment.plain_size).collect::<Vec<_>>()
    };
    let put = async |position, size, created, replaces: Option<i64>| {
        let times = (Time(created), replaces.map(Time));
        store.put_at(&stream, position, size, times).await.unwrap();
    };
    for (index, size) in [(0, 10), (1, 11), (2, 12)] {
        put((1, index), size, 5 + i64::from(index), None).await;
    }
    put((2, 1), 99, 5, None).await;
    let newest = async |part| {
        let mut snapshot = store.metabase.snapshot().await.unwrap();
        snapshot.newest_of_part(&stream, part).await.unwrap()
    };
    assert_eq!(
        (newest(1).await, newest(2).await, newest(3).await),
        (Some(Time(7)), Some(Time(5)), None)
    );
    // The second segment of the new upload arrives before its first one and is kept.
    put((1, 1), 21, 8, None).await;
    put((1, 0), 20, 9, Some(7)).await;
    assert_eq!(sizes().await, [20, 21, 99]);
    put((1, 0), 30, 10, Some(i64::MAX)).await;
    assert_eq!(sizes().await, [30, 99]);
}

#[tokio::test]
async fn deletion_deletes_segments() {
    let store = Store::open().await;
    for key in [b"a", b"b", b"c"] {
        let stream = store.begin(key, None).await;
        store.put(&stream, 0, 0, 1).await.unwrap();
        if key != b"c" {
            store.commit(stream, Precondition::None).await.unwrap();
        }
    }
    let metabase = &store.metabase;
    let deleted = metabase.delete_object(&PROJECT, b"bucket", b"a", None, NOW).await.unwrap();
    assert_eq!(deleted.unwrap().key, b"a");
    assert_eq!((store.count("objects").await, store.count("segments").await), (2, 2));
    let not_empty = metabase.delete_bucket(&PROJECT, b"bucket", NOW).await.unwrap_err();
    assert!(matches!(not_empty, MetabaseError::Precondition { .. }));
    assert_eq!(metabase.delete_some_objects(&PROJECT, b"bucket", None).await.unwrap(), 2);
    assert_eq!((store.count("objects").await, store.count("segments").await), (0, 0));
    metabase.delete_bucket(&PROJECT, b"bucket", NOW).await.unwrap();
}

#[tokio::test]
async fn overdue_uploads_and_expired_objects_are_deleted() {
    let store = Store::open().await;
    let idle = store.begin(b"idle", None).await;
    let busy = store.begin(b"busy", None).await;
    store.put(&busy, 0, 0, 1).await.unwrap();
    let expired = store.begin(b"expired", Some(Time(2_100_000))).await;
    store.commit(expired, Precondition::None).await.unwrap();
    assert_eq!(store.metabase.delete_overdue(Time(2_000_000), 10).await.unwrap(), 0);
    assert_eq!(store.metabase.delete_overdue(Time(2_500_000), 10).await.unwrap(), 2);
    let left = store.metabase.object_of_stream(&PROJECT, &busy).await.unwrap();
    assert!(left.is_some());
    assert!(store.metabase.object_of_stream(&PROJECT, &idle).await.unwrap().is_none());
}

/// A listed entry, for comparison.
#[derive(Debug, PartialEq, Eq, Clone)]
enum Shown {
    Key(Vec<u8>),
    Prefix(Vec<u8>),
}

/// Reference implementation of a listing: filter, cut, collapse.
fn model(keys: &BTreeSet<Vec<u8>>, prefix: &[u8], delimiter: Option<&[u8]>) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    for key in keys.iter().filter_map(|key| key.strip_prefix(prefix)) {
        let cut = delimiter.and_then(|delimiter| {
            let at = key.windows(delimiter.len()).position(|part| part == delimiter)?;
            Some(Shown::Prefix(key[..at + delimiter.len()].to_vec()))
        });
        let entry = cut.unwrap_or_else(|| Shown::Key(key.to_vec()));
        if shown.last() != Some(&entry) {
            shown.push(entry);
        }
    }
    shown
}

async fn pages(
    store: &Store,
    prefix: &[u8],
    delimiter: Option<&[u8]>,
    status: ListStatus,
    (mut cursor, limit): (Vec<u8>, usize),
) -> Vec<Shown> {
    let mut shown = Vec::new();
    let mut version_cursor = None;
    for _ in 0..1_000 {
        let query = ListQuery {
            project: &PROJECT,
            bucket: b"bucket",
            prefix,
            cursor: &cursor,
            version_cursor,
            delimiter,
            status,
            limit,
            now: NOW,
        };
        let page = store.metabase.list_objects(&query).await.unwrap();
        let has_empty_key =
            matches!(page.entries.first(), Some(ListedEntry::Object(key, _)) if key.is_empty());
        assert!(page.entries.len() <= limit + usize::from(has_empty_key));
        for entry in page.entries {
            let (key, version, entry) = match entry {
                ListedEntry::Object(key, object) => {
                    (key.clone(), Some(object.object_version()), Shown::Key(key))
                }
                ListedEntry::Prefix(prefix) => (prefix.clone(), None, Shown::Prefix(prefix)),
            };
            (cursor, version_cursor) = (key, version.filter(|_| status == ListStatus::Pending));
            shown.push(entry);
        }
        if !page.more {
            return shown;
        }
    }
    panic!("listing does not end");
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0), Just(b'a'), Just(b'/'), Just(b'0'), Just(0xfe), Just(0xff)]
}

/// Shared by all cases: creating a database takes longer than a case.
static SHARED: LazyLock<(Runtime, Store)> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let store = runtime.block_on(Store::open());
    (runtime, store)
});

/// Returns a configuration with `usual` cases, scaled by how much `PROPTEST_CASES` exceeds ten
/// thousand.
fn cases(usual: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = usual.saturating_mul((default.cases / 10_000).max(1));
    println!("{cases} cases"); // `cargo xtask soak` reads it
    ProptestConfig { cases, ..default }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn listing_matches_reference_implementation(
        keys in proptest::collection::btree_set(vec(byte(), 1..6), 0..40),
        prefix in vec(byte(), 0..3),
        cursor in vec(byte(), 0..4),
        delimiter in prop_oneof![
            Just(None), Just(Some(vec![b'/'])), Just(Some(vec![0xff])), Just(Some(vec![b'a', b'/'])),
        ],
        limit in 1..8usize,
        pending: bool,
    ) {
        let delimiter = delimiter.as_deref();
        let status = if pending { ListStatus::Pending } else { ListStatus::Committed };
        let all = model(&keys, &prefix, delimiter);
        // Entries after the cursor, without the prefix that contains the cursor.
        let rest: Vec<Shown> = all.iter().filter(|entry| match entry {
            Shown::Key(key) => key > &cursor || cursor.is_empty(),
            Shown::Prefix(prefix) => prefix > &cursor && !cursor.starts_with(prefix),
        }).cloned().collect();
        let (runtime, store) = &*SHARED;
        let listed = runtime.block_on(async {
            store.replace_objects(&keys, status).await;
            pages(store, &prefix, delimiter, status, (cursor, limit)).await
        });
        prop_assert_eq!(listed, rest);
    }
}

#[tokio::test]
async fn pending_uploads_of_one_key_are_listed_across_pages() {
    let store = Store::open().await;
    let mut begun: BTreeMap<&[u8], usize> = BTreeMap::new();
    for key in [&b"a"[..], b"a", b"a", b"b/1", b"c", b"c"] {
        store.begin(key, None).await;
        *begun.entry(key).or_default() += 1;
    }
    for limit in 1..7 {
        let status = ListStatus::Pending;
        let shown = pages(&store, b"", Some(b"/"), status, (Vec::new(), limit)).await;
        let key = |key: &[u8]| Shown::Key(key.to_vec());
        let prefix = Shown::Prefix(b"b/".to_vec());
        let all = [key(b"a"), key(b"a"), key(b"a"), prefix, key(b"c"), key(b"c")];
        assert_eq!(shown, all, "{limit} a page");
    }
}

#[tokio::test]
async fn collapsed_prefixes_are_skipped() {
    let store = Store::open().await;
    let mut tx = store.metabase.begin().await.unwrap();
    for folder in 0..4 {
        for number in 0..5_000 {
            insert(&mut tx, format!("{folder}/{number:05}").as_bytes(), (1, 3, None)).await;
        }
    }
    tx.commit().await.unwrap();
    let query = ListQuery {
        project: &PROJECT,
        bucket: b"bucket",
        prefix: b"",
        cursor: b"",
        version_cursor: None,
        delimiter: Some(b"/"),
        status: ListStatus::Committed,
        limit: MAX_PAGE,
        now: NOW,
    };
    let page = store.metabase.list_objects(&query).await.unwrap();
    assert_eq!((page.entries.len(), page.more), (4, false));
    assert!(page.rows <= 4 * 16, "{} rows", page.rows);
    let all = pages(&store, b"", None, ListStatus::Committed, (Vec::new(), MAX_PAGE)).await;
    assert_eq!(all.len(), 20_000);
}

#[tokio::test]
async fn listings_search_the_primary_key() {
    let store = Store::open().await;
    for sql in [list::COMMITTED_AFTER, list::PENDING_AFTER] {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
        for _ in 0..7 {
            query = query.bind(0);
        }
        let rows = query.fetch_all(&store.metabase.readers).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let searched = "(project=? AND bucket=? AND (object_key,version)>(?,?) AND object_key<?)";
        assert!(plan.len() == 1 && plan[0].contains(searched), "{plan:?}");
    }
}

#[test]
fn successor_is_first_key_after_prefix() {
    assert_eq!(list::successor(b"a/"), Some(b"a0".to_vec()));
    assert_eq!(list::successor(b"a\xff\xff"), Some(b"b".to_vec()));
    assert_eq!(list::successor(b"\xff"), None);
    assert_eq!(list::successor(b""), None);
}

mod full_disk;
mod snapshot;
mod walk;
