//! Consistent reads.

use super::*;

#[tokio::test]
async fn snapshot_shows_whole_object_despite_replacement() {
    let store = Store::open().await;
    let old = store.begin(b"key", None).await;
    store.put(&old, 0, 0, 10).await.unwrap();
    store.commit(old, Precondition::None).await.unwrap();
    let mut snapshot = store.metabase.snapshot().await.unwrap();
    let found = snapshot.object((&PROJECT, b"bucket", b"key"), None, NOW).await.unwrap();
    let new = store.begin(b"key", None).await;
    store.commit(new, Precondition::None).await.unwrap();
    assert_eq!(store.object(b"key").await.unwrap().stream_id, new);
    let listed = snapshot.list_segments(&found.stream_id, None, None, 10).await.unwrap();
    assert_eq!((found.stream_id, listed.len()), (old, 1));
    assert_eq!(snapshot.segment(&old, None).await.unwrap().plain_size, found.plain_size);
}
