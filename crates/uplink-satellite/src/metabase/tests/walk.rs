//! Walks over all segments with pieces.

use std::collections::BTreeSet;

use uplink_core::id::{NodeId, PieceId, SegmentPosition};

use super::*;

impl Store {
    /// Commits a segment with two pieces to a pending upload.
    async fn put_remote(&self, stream: &[u8; 16], index: u32, root: u8) {
        let piece = |number| Piece { number, node: NodeId::new([number as u8; 32]) };
        let remote = Remote {
            root_piece_id: PieceId::new([root; 32]),
            scheme: "1/1/1/2-64".parse().unwrap(),
            pieces: Pieces(vec![piece(0), piece(1)]),
        };
        let segment = Segment {
            position: SegmentPosition { part: 0, index },
            encrypted_key_nonce: vec![1; 24],
            encrypted_key: vec![2; 48],
            encrypted_size: 16,
            plain_size: 1,
            plain_offset: 0,
            encrypted_etag: None,
            created: NOW,
            expires: None,
            inline_data: None,
            remote: Some(remote),
        };
        let new = NewSegment {
            project: &PROJECT,
            stream,
            segment: &segment,
            drop_pending_at: Time(3_000_000),
            replaces: None,
        };
        self.metabase.put_segment(&new).await.unwrap();
    }

    /// Copies an object and deletes the original.
    async fn copy_and_delete(&self, key: &[u8], to: &[u8]) {
        let location = (&PROJECT, &b"bucket"[..], key);
        let found = self.metabase.transferable(location, None, b"bucket", NOW).await.unwrap();
        let transfer = Transfer {
            project: &PROJECT,
            source: found.0.stream_id,
            metadata_nonce: None,
            bucket: b"bucket",
            key: to,
            metadata: NewMetadata::Rewrapped { nonce: None, key: None },
            segment_keys: found.1,
            precondition: Precondition::None,
            now: NOW,
        };
        self.metabase.copy_object(&transfer, crate::random::bytes()).await.unwrap();
        self.metabase.delete_object(&PROJECT, b"bucket", key, None, NOW).await.unwrap();
    }
}

fn roots(page: &[SegmentPieces]) -> Vec<u8> {
    page.iter().map(|segment| segment.root_piece_id.as_bytes()[0]).collect()
}

#[tokio::test]
async fn walk_finds_every_segment_with_pieces_once() {
    let store = Store::open().await;
    let mut expected = BTreeSet::new();
    for object in 0..10u8 {
        let stream = store.begin(&[object], None).await;
        for index in 0..4 {
            let root = 4 * object + index as u8;
            store.put_remote(&stream, index, root).await;
            expected.insert(root);
        }
        store.put(&stream, 0, 4, 5).await.unwrap();
        if object % 2 == 0 {
            store.commit(stream, Precondition::None).await.unwrap();
        }
    }
    let mut walk = store.metabase.walk().await.unwrap();
    let mut found = Vec::new();
    let mut pages = 0;
    loop {
        let page = walk.next().await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.iter().all(|segment| segment.pieces.0.len() == 2));
        found.extend(roots(&page));
        pages += 1;
    }
    assert!(pages > 10 && found.len() == expected.len(), "{pages} pages, {found:?}");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    assert!(walk.next().await.unwrap().is_empty());
}

#[tokio::test]
async fn walk_finds_segments_copied_and_deleted_meanwhile() {
    let store = Store::open().await;
    for root in 0..20u8 {
        let stream = store.begin(&[root], None).await;
        store.put_remote(&stream, 0, root).await;
        store.commit(stream, Precondition::None).await.unwrap();
    }
    let mut walk = store.metabase.walk().await.unwrap();
    let mut found = walk.next().await.unwrap();
    assert_eq!(found.len(), 3);
    // About half of the copies sort before the current position of the walk.
    for root in 0..20u8 {
        store.copy_and_delete(&[root], &[root, 1]).await;
    }
    loop {
        let page = walk.next().await.unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    let mut found = roots(&found);
    found.sort_unstable();
    assert_eq!(found, (0..20).collect::<Vec<_>>());
    assert_eq!(store.count("segments").await, 20);
}

#[tokio::test]
async fn damaged_segment_fails_the_walk() {
    for damage in [
        "UPDATE segments SET pieces = x'00'",
        "UPDATE segments SET pieces = NULL",
        "UPDATE segments SET root_piece_id = x'00'",
    ] {
        let store = Store::open().await;
        let stream = store.begin(b"key", None).await;
        store.put_remote(&stream, 0, 1).await;
        sqlx::query(damage).execute(&store.metabase.writer).await.unwrap();
        let failed = store.metabase.walk().await.unwrap().next().await;
        assert!(matches!(failed, Err(MetabaseError::Damaged { .. })), "{damage}: {failed:?}");
    }
}

#[tokio::test]
async fn time_of_last_collection_survives_restart() {
    let store = Store::open().await;
    let file = store.folder.path().join("test.db");
    assert_eq!(store.metabase.garbage_collected().await.unwrap(), None);
    for at in [Time(7), Time(-5)] {
        store.metabase.set_garbage_collected(at).await.unwrap();
    }
    store.metabase.close().await;
    let again = Metabase::open(&file, false, NOW).await.unwrap();
    assert_eq!(again.garbage_collected().await.unwrap(), Some(Time(-5)));
}
