//! `--dry-run`: what can be known about a change without making it.

use tokio::sync::OnceCell;
use uplink::{ErrorKind, Object, Project};

use crate::args::location::Url;
use crate::failure::Outcome;

/// Checks once that the target bucket of a command exists.
#[derive(Debug, Default)]
pub(crate) struct BucketCheck(OnceCell<()>);

impl BucketCheck {
    /// Fails if the bucket is missing. A grant that permits writing may not permit querying, which
    /// is not a failure.
    pub(crate) async fn require(&self, project: &Project, bucket: &str) -> Outcome {
        let check = || async {
            match project.stat_bucket(bucket).await {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
                found => Ok(found.map(drop)?),
            }
        };
        self.0.get_or_try_init(check).await.copied()
    }
}

/// Returns an object that would be read.
pub(crate) async fn find(project: &Project, url: &Url) -> Outcome<Object> {
    Ok(project.stat_object(&url.bucket, &url.key).await?)
}

/// Returns an object that would be removed; `None` if the access grant does not permit querying it.
pub(crate) async fn find_removable(project: &Project, url: &Url) -> Outcome<Option<Object>> {
    match project.stat_object(&url.bucket, &url.key).await {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
        found => Ok(found.map(Some)?),
    }
}
