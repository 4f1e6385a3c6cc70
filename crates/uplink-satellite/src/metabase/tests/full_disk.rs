//! Writes on a full disk, and after space is freed.

use uplink_rpc::status::Code;

use super::*;

/// More than fits into the free pages of the database.
const LARGE: usize = 100_000;

impl Store {
    /// Prevents the database from growing, on the current writer connection.
    async fn fill_disk(&self) {
        let mut writer = self.metabase.writer.acquire().await.unwrap();
        sqlx::query("PRAGMA max_page_count = 1").execute(&mut *writer).await.unwrap();
    }

    async fn free_disk(&self) {
        let mut writer = self.metabase.writer.acquire().await.unwrap();
        sqlx::query("PRAGMA max_page_count = 1000000").execute(&mut *writer).await.unwrap();
    }

    async fn create_large(&self, name: &[u8]) -> Result<()> {
        let user_agent = Some(vec![1; LARGE]);
        let bucket = Bucket { name: name.to_vec(), created: NOW, user_agent };
        self.metabase.create_bucket(&PROJECT, &bucket, 10).await
    }
}

#[tokio::test]
async fn freed_disk_lets_writes_succeed_without_restart() {
    let store = Store::open().await;
    for round in [b"one", b"two"] {
        store.fill_disk().await;
        let full = store.create_large(round).await.unwrap_err();
        let failure = crate::failure::database(full);
        assert_eq!(failure.code, Code::RESOURCE_EXHAUSTED);
        assert_eq!(failure.message, "satellite has no disk space left");
        assert!(store.metabase.bucket(&PROJECT, round).await.is_err());
        store.free_disk().await;
        store.create_large(round).await.unwrap();
        assert!(store.metabase.bucket(&PROJECT, round).await.is_ok());
    }
}

#[tokio::test]
async fn reader_rolled_back_by_engine_sees_later_changes() {
    let store = Store::open().await;
    // All read connections lose their transaction, as when the disk fails.
    let mut snapshots = Vec::new();
    for _ in 0..READERS {
        let mut snapshot = store.metabase.snapshot().await.unwrap();
        sqlx::query("ROLLBACK").execute(&mut *snapshot.tx).await.unwrap();
        snapshots.push(snapshot);
    }
    drop(snapshots);
    for key in [b"one", b"two"] {
        let stream = store.begin(key, None).await;
        store.commit(stream, Precondition::None).await.unwrap();
        for _ in 0..READERS {
            assert_eq!(store.object(key).await.unwrap().stream_id, stream);
        }
    }
}
