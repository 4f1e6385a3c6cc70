//! The satellite's persistent state: projects, API keys, buckets, objects, segments, storage nodes.
//!
//! SQL in one dialect-neutral set of statements. The embedded engine has one writer connection and
//! a pool of readers. A write is one immediate transaction, retried a few times when another process
//! has locked the file; a call returns only after its commit. Reads never wait for writers. A call
//! that needs more than one read takes all of them from one [`Snapshot`].

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
mod rows;
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
pub(crate) use self::objects::{Commit, NewObject, Precondition};
pub(crate) use self::projects::{KeyRow, Project};
pub(crate) use self::rows::{
    Metadata, Object, Piece, Pieces, Remote, Segment, Status, pending_missing,
};
pub(crate) use self::segments::NewSegment;
pub(crate) use self::settlements::Sums;
pub(crate) use self::snapshot::Snapshot;
pub(crate) use self::update::{MetadataParts, MetadataUpdate};
pub(crate) use self::usage::Stored;
pub(crate) use self::walk::SegmentPieces;

/// The database engine in use.
type Engine = Sqlite;
type Connection = sqlx::SqliteConnection;
type Transaction = sqlx::Transaction<'static, Engine>;
type DatabaseRow = SqliteRow;
type Query<'q> = sqlx::query::Query<'q, Engine, <Engine as sqlx::Database>::Arguments>;

/// Attempts of one write before the engine's "busy" or "conflict" error is returned.
const WRITE_ATTEMPTS: u32 = 5;
/// Time that one attempt waits for the lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that a call waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of concurrent read transactions.
const READERS: u32 = 8;

/// An open database with the current schema. Clones share the connections.
#[derive(Clone, Debug)]
pub(crate) struct Metabase {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// Why a database cannot be opened, or an operation on it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetabaseError {
    /// An item of that name or id already exists.
    #[error("{what} already exists")]
    AlreadyExists {
        /// The kind and name.
        what: String,
    },
    /// The database contains a value that no version of this program writes.
    #[error("database is corrupt: invalid {what}")]
    Damaged {
        /// What the value describes.
        what: &'static str,
    },
    /// The database engine failed.
    #[error("database: {0}")]
    Engine(sqlx::Error),
    /// The database belongs to a satellite with another identity.
    #[error("database belongs to satellite {found}, not to {own}")]
    ForeignIdentity {
        /// The node id in the database.
        found: String,
        /// The node id of this process.
        own: String,
    },
    /// The database does not exist.
    #[error("database \"{path}\" does not exist")]
    Missing {
        /// The file.
        path: String,
    },
    /// The schema was written by a newer program.
    #[error("database schema {found} is newer than the latest supported schema {known}")]
    NewerSchema {
        /// Number of the schema in the database.
        found: i64,
        /// The newest number that this program supports.
        known: i64,
    },
    /// The disk has no space left for the change.
    #[error("database: no disk space left: {0}")]
    NoSpace(sqlx::Error),
    /// An item does not exist.
    #[error("{what}")]
    NotFound {
        /// The error text; starts with the kind of item.
        what: String,
    },
    /// An update would leave metadata that its new key cannot decrypt.
    #[error("object not found: it has metadata that the update does not include")]
    Incomplete,
    /// The request does not match the stored item.
    #[error("{reason}")]
    Invalid {
        /// The error text.
        reason: String,
    },
    /// The caller lacks the permission to replace an object.
    #[error("permission denied: cannot replace an existing object")]
    Overwrite,
    /// The state of the database forbids the change.
    #[error("{reason}")]
    Precondition {
        /// The error text.
        reason: String,
    },
    /// A project reached one of its limits.
    #[error("{reason}")]
    LimitReached {
        /// The error text.
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
    /// Opens the database file, creates it if `create` is set, and upgrades its schema.
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

    /// Waits for running statements and closes the database.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Stores the node id on first use. Fails if the database belongs to another node id.
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

    /// Runs a write transaction and retries it after a conflict.
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

/// Builds a pool of `connections` connections. A connection with an open transaction is closed
/// instead of returned.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_release(|connection, _| {
            Box::pin(async move {
                // Dropping a transaction only queues its rollback; a ping executes it.
                if connection.is_in_transaction() {
                    connection.ping().await?;
                }
                // When the disk is full or fails, the engine rolls back on its own. The queued
                // rollback then fails, and the connection counts an open transaction permanently: a
                // writer could not begin another, and a reader would stay on an old snapshot.
                let reusable = !connection.is_in_transaction();
                if !reusable {
                    tracing::warn!("transaction was not rolled back, closing its connection");
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

/// Whether a retry of the transaction may succeed: the database file is locked, or an engine that
/// uses SQLSTATE codes reports a serialization failure or a deadlock.
fn is_conflict(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    let code = error.code().unwrap_or_default();
    // The low byte of an extended code is the primary one: 5 busy, 6 locked.
    let busy = code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6));
    busy || matches!(code.as_ref(), "40001" | "40P01")
}

/// Whether an insert violated a unique key.
fn is_duplicate(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}

/// Returns the path of the database of `location`: a path, optionally after `sqlite:`.
pub(crate) fn database_file(location: &str, folder: &Path) -> PathBuf {
    let path = location.strip_prefix("sqlite:").unwrap_or(location);
    let path = path.strip_prefix("//").unwrap_or(path);
    folder.join(path)
}

/// Reads a byte string of exactly `N` bytes.
fn exact<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| MetabaseError::Damaged { what })
}
