//! The store of everything a satellite must not forget: projects, API keys, buckets, objects,
//! segments, storage nodes.
//!
//! SQL with one dialect-neutral set of statements. The embedded engine has one writer connection
//! and a pool of readers: a write is one immediate transaction, retried a few times when another
//! process holds the file, and nothing is answered before its commit returned. Reads never wait for
//! writers; an answer that needs more than one of them takes them all from one [`Snapshot`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Connection as _, Row, Sqlite};

use crate::time::Time;

mod buckets;
mod copy;
mod list;
mod migrate;
mod nodes;
mod objects;
mod pending;
mod projects;
mod segments;
mod settlements;
mod snapshot;
mod update;
mod usage;
mod walk;

#[cfg(test)]
mod tests;

pub(crate) use self::buckets::Bucket;
pub(crate) use self::copy::{NewMetadata, SegmentKey, Transfer};
pub(crate) use self::list::{ListQuery, ListStatus, ListedEntry, MAX_PAGE};
pub(crate) use self::nodes::{CheckIn, NodeRow, NodeState};
pub(crate) use self::objects::{Commit, Metadata, NewObject, Object, Precondition, Status};
pub(crate) use self::projects::{KeyRow, Project};
pub(crate) use self::segments::{Piece, Pieces, PutSegment, Remote, Segment, pending_missing};
pub(crate) use self::settlements::Sums;
pub(crate) use self::snapshot::Snapshot;
pub(crate) use self::update::{Includes, MetadataUpdate};
pub(crate) use self::usage::Stored;
pub(crate) use self::walk::SegmentPieces;

/// The database engine in use.
type Engine = Sqlite;
type Connection = sqlx::SqliteConnection;
type Transaction = sqlx::Transaction<'static, Engine>;
type DatabaseRow = SqliteRow;

/// Attempts of one write before the engine's "busy" or "conflict" is given to the caller.
const WRITE_ATTEMPTS: u32 = 5;
/// How long one attempt waits for a lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for one of the connections.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Read transactions at once.
const READERS: u32 = 8;

/// A connected store whose schema is the current one. Clones share the connections.
#[derive(Clone, Debug)]
pub(crate) struct Metabase {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// Why the store cannot be opened, or does not do what it is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetabaseError {
    /// Something of that name or id exists already.
    #[error("{what} already exists")]
    AlreadyExists {
        /// The kind and name.
        what: String,
    },
    /// The store holds a value that no version of this program writes.
    #[error("database is damaged: {what}")]
    Damaged {
        /// The place of the value.
        what: &'static str,
    },
    /// The database engine failed.
    #[error("database: {0}")]
    Engine(sqlx::Error),
    /// The database belongs to a satellite with another identity.
    #[error("database belongs to another satellite identity ({found}), not to {own}")]
    ForeignIdentity {
        /// The node id that the database holds.
        found: String,
        /// The node id of this process.
        own: String,
    },
    /// The database does not exist.
    #[error("database {path} does not exist")]
    Missing {
        /// The file.
        path: String,
    },
    /// The schema was written by a newer program.
    #[error("database schema has number {found}, this program knows up to {known}")]
    NewerSchema {
        /// Number of the schema in the database.
        found: i64,
        /// The newest number that this program knows.
        known: i64,
    },
    /// The disk has no space left for the change.
    #[error("database: no disk space left: {0}")]
    NoSpace(sqlx::Error),
    /// Something does not exist; the text begins with its kind.
    #[error("{what}")]
    NotFound {
        /// What is missing.
        what: String,
    },
    /// An update would leave metadata behind that its new key does not open.
    #[error("object not found: it has metadata that the update leaves out")]
    Incomplete,
    /// The request does not fit what it is about.
    #[error("{reason}")]
    Invalid {
        /// What does not fit.
        reason: String,
    },
    /// The caller lacks the right to replace an object.
    #[error("no right to replace an existing object")]
    Overwrite,
    /// The state of the store forbids the change.
    #[error("{reason}")]
    Precondition {
        /// What forbids it.
        reason: String,
    },
    /// A project reached one of its limits.
    #[error("{reason}")]
    LimitReached {
        /// Which limit.
        reason: String,
    },
}

pub(crate) type Result<T, E = MetabaseError> = std::result::Result<T, E>;

impl From<sqlx::Error> for MetabaseError {
    fn from(error: sqlx::Error) -> Self {
        if is_out_of_space(&error) { Self::NoSpace(error) } else { Self::Engine(error) }
    }
}

impl Metabase {
    /// Opens the database file, creates it when `create` is set, and brings its schema up to date.
    pub(crate) async fn open(file: &Path, create: bool, now: Time) -> Result<Self> {
        if !create && !file.exists() {
            return Err(MetabaseError::Missing { path: file.display().to_string() });
        }
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(false);
        let writer = pool(1).connect_with(options.clone()).await?;
        let readers = pool(READERS).connect_lazy_with(options);
        let metabase = Self { writer, readers };
        metabase.migrate(now).await?;
        Ok(metabase)
    }

    /// Waits for running statements and closes the files.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Compares the node id with the one this database was first used with, which it keeps.
    pub(crate) async fn claim(&self, node_id: &str) -> Result<()> {
        let found = self
            .write(|| async {
                let mut tx = self.begin().await?;
                sqlx::query(
                    "INSERT INTO settings (name, value) VALUES ($1, $2)
                     ON CONFLICT (name) DO NOTHING",
                )
                .bind(&b"satellite node id"[..])
                .bind(node_id.as_bytes())
                .execute(&mut *tx)
                .await?;
                let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
                    .bind(&b"satellite node id"[..])
                    .fetch_one(&mut *tx)
                    .await?;
                tx.commit().await?;
                Ok(String::from_utf8_lossy(row.try_get(0)?).into_owned())
            })
            .await?;
        if found == node_id {
            return Ok(());
        }
        Err(MetabaseError::ForeignIdentity { found, own: node_id.to_owned() })
    }

    async fn begin(&self) -> Result<Transaction> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Runs a whole write transaction, again when another one was in its way.
    async fn write<T, F>(&self, transaction: impl Fn() -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let mut attempt = 1;
        loop {
            match transaction().await {
                Err(MetabaseError::Engine(error))
                    if attempt < WRITE_ATTEMPTS && is_conflict(&error) =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }
}

/// A pool of so many connections, to which only connections without a transaction return.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_release(|connection, _| {
            Box::pin(async move {
                // The rollback of a dropped transaction is only queued until the connection answers.
                if connection.is_in_transaction() {
                    connection.ping().await?;
                }
                // The engine rolls back by itself when the disk is full or fails. The rollback that
                // follows then fails, and the connection counts a transaction for ever: a writer
                // could not begin another, a reader would see the same old state again and again.
                let reusable = !connection.is_in_transaction();
                if !reusable {
                    tracing::warn!("a transaction was not rolled back, its connection is closed");
                }
                Ok(reusable)
            })
        })
}

/// Whether the disk is full: 13 (`SQLITE_FULL`) when the database or its log cannot grow, 4874
/// (`SQLITE_IOERR_SHMSIZE`) when the index of the log cannot.
fn is_out_of_space(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    let code = error.code().unwrap_or_default();
    code.parse::<u32>().is_ok_and(|code| code & 0xff == 13 || code == 4874)
}

/// Whether the same transaction may succeed when repeated: a locked database file, or the
/// serialization failure and deadlock of the engines that number them so.
fn is_conflict(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    let code = error.code().unwrap_or_default();
    // The low byte of an extended code is the primary one: 5 busy, 6 locked.
    let busy = code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6));
    busy || matches!(code.as_ref(), "40001" | "40P01")
}

/// Whether an insert met a row with the same key.
fn is_duplicate(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}

/// Where the database of `location` lies: a path, or a path after `sqlite:`.
pub(crate) fn database_file(location: &str, folder: &Path) -> PathBuf {
    let path = location.strip_prefix("sqlite:").unwrap_or(location);
    let path = path.strip_prefix("//").unwrap_or(path);
    folder.join(path)
}

/// Reads a byte string of exactly `N` bytes.
fn exact<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| MetabaseError::Damaged { what })
}
