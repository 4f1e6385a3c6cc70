//! Projects and their API keys.

use sqlx::Row;
use uplink_core::secret::Secret;

use super::{DatabaseRow, Metabase, MetabaseError, Result, Snapshot, exact, is_duplicate};
use crate::time::Time;

/// A project: owns buckets and API keys, and has limits.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    pub(crate) id: [u8; 16],
    pub(crate) public_id: [u8; 16],
    pub(crate) name: String,
    /// Salt of the root keys that clients derive from passphrases.
    pub(crate) salt: [u8; 16],
    pub(crate) bucket_limit: Option<i64>,
    pub(crate) created: Time,
    pub(crate) disabled: bool,
}

/// An API key as stored. Verifies macaroons with this head.
#[derive(Clone, Debug)]
pub(crate) struct KeyRow {
    pub(crate) head: Vec<u8>,
    pub(crate) project: [u8; 16],
    pub(crate) secret: Secret<Vec<u8>>,
    pub(crate) name: String,
    /// Bit mask of permissions beyond the first version of the format: 1 object lock, 4 eventing.
    pub(crate) version: i64,
    pub(crate) created: Time,
}

const PROJECT_BY_ID: &str =
    "SELECT id, public_id, name, salt, bucket_limit, created_at, disabled_at
     FROM projects WHERE id = $1";
const PROJECT_BY_NAME: &str = "SELECT id, public_id, name, salt, bucket_limit, created_at,
     disabled_at FROM projects WHERE name = $1";
const ALL_PROJECTS: &str = "SELECT id, public_id, name, salt, bucket_limit, created_at, disabled_at
     FROM projects ORDER BY created_at, name";

impl Metabase {
    pub(crate) async fn create_project(&self, project: &Project) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            sqlx::query(
                "INSERT INTO projects (id, public_id, name, salt, bucket_limit, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(&project.id[..])
            .bind(&project.public_id[..])
            .bind(project.name.as_bytes())
            .bind(&project.salt[..])
            .bind(project.bucket_limit)
            .bind(project.created.0)
            .execute(&mut *tx)
            .await
            .map_err(|error| duplicate(error, "project", &project.name))?;
            Ok(tx.commit().await?)
        })
        .await
    }

    pub(crate) async fn project_named(&self, name: &str) -> Result<Option<Project>> {
        let query = sqlx::query(PROJECT_BY_NAME).bind(name.as_bytes());
        query.fetch_optional(&self.readers).await?.as_ref().map(project_of).transpose()
    }

    pub(crate) async fn projects(&self) -> Result<Vec<Project>> {
        let rows = sqlx::query(ALL_PROJECTS).fetch_all(&self.readers).await?;
        rows.iter().map(project_of).collect()
    }

    /// Disables all keys of a project at a time, or enables them again for `None`.
    pub(crate) async fn disable_project(&self, id: &[u8; 16], now: Option<Time>) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            sqlx::query("UPDATE projects SET disabled_at = $2 WHERE id = $1")
                .bind(&id[..])
                .bind(now.map(|time| time.0))
                .execute(&mut *tx)
                .await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    pub(crate) async fn create_key(&self, key: &KeyRow) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            sqlx::query(
                "INSERT INTO api_keys (head, project, secret, name, version, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(&key.head)
            .bind(&key.project[..])
            .bind(key.secret.expose())
            .bind(key.name.as_bytes())
            .bind(key.version)
            .bind(key.created.0)
            .execute(&mut *tx)
            .await
            .map_err(|error| duplicate(error, "API key", &key.name))?;
            Ok(tx.commit().await?)
        })
        .await
    }

    pub(crate) async fn keys(&self, project: &[u8; 16]) -> Result<Vec<KeyRow>> {
        let rows = sqlx::query(
            "SELECT head, project, secret, name, version, created_at
             FROM api_keys WHERE project = $1 ORDER BY name",
        )
        .bind(&project[..])
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(key_of).collect()
    }

    /// Deletes a key and so invalidates every macaroon derived from it. Returns false if there is
    /// none.
    pub(crate) async fn delete_key(&self, project: &[u8; 16], name: &str) -> Result<bool> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            let done = sqlx::query("DELETE FROM api_keys WHERE project = $1 AND name = $2")
                .bind(&project[..])
                .bind(name.as_bytes())
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(done.rows_affected() > 0)
        })
        .await
    }

    /// Revokes every API key whose chain contains this tail.
    pub(crate) async fn revoke(&self, tail: &[u8; 32], head: &[u8], now: Time) -> Result<()> {
        self.write(|| async {
            let mut tx = self.begin().await?;
            sqlx::query(
                "INSERT INTO revocations (tail, head, revoked_at) VALUES ($1, $2, $3)
                 ON CONFLICT (tail) DO NOTHING",
            )
            .bind(&tail[..])
            .bind(head)
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
            Ok(tx.commit().await?)
        })
        .await
    }
}

impl Snapshot {
    pub(crate) async fn project(&mut self, id: &[u8; 16]) -> Result<Option<Project>> {
        let row = sqlx::query(PROJECT_BY_ID).bind(&id[..]).fetch_optional(&mut *self.tx).await?;
        row.as_ref().map(project_of).transpose()
    }

    pub(crate) async fn key(&mut self, head: &[u8]) -> Result<Option<KeyRow>> {
        let row = sqlx::query(
            "SELECT head, project, secret, name, version, created_at FROM api_keys WHERE head = $1",
        )
        .bind(head)
        .fetch_optional(&mut *self.tx)
        .await?;
        row.as_ref().map(key_of).transpose()
    }

    /// Whether any of the tails is revoked.
    pub(crate) async fn any_revoked(&mut self, tails: &[[u8; 32]]) -> Result<bool> {
        for tail in tails {
            let row = sqlx::query("SELECT 1 FROM revocations WHERE tail = $1")
                .bind(&tail[..])
                .fetch_optional(&mut *self.tx)
                .await?;
            if row.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn project_of(row: &DatabaseRow) -> Result<Project> {
    Ok(Project {
        id: exact(row.try_get(0)?, "project id")?,
        public_id: exact(row.try_get(1)?, "public project id")?,
        name: String::from_utf8_lossy(row.try_get(2)?).into_owned(),
        salt: exact(row.try_get(3)?, "project salt")?,
        bucket_limit: row.try_get(4)?,
        created: Time(row.try_get(5)?),
        disabled: row.try_get::<Option<i64>, _>(6)?.is_some(),
    })
}

fn key_of(row: &DatabaseRow) -> Result<KeyRow> {
    Ok(KeyRow {
        head: row.try_get(0)?,
        project: exact(row.try_get(1)?, "project of an API key")?,
        secret: Secret::new(row.try_get(2)?),
        name: String::from_utf8_lossy(row.try_get(3)?).into_owned(),
        version: row.try_get(4)?,
        created: Time(row.try_get(5)?),
    })
}

fn duplicate(error: sqlx::Error, kind: &str, name: &str) -> MetabaseError {
    if is_duplicate(&error) {
        return MetabaseError::AlreadyExists { what: format!("{kind} {name:?}") };
    }
    error.into()
}
