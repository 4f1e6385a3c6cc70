//! Revoking shared access grants.

use super::Access;
use crate::error::Result;
use crate::project::Project;

impl Project {
    /// Revokes an access grant that was shared from this project's grant, and all grants that were
    /// shared from it.
    ///
    /// The satellite needs the API key of `access`, which contains no encryption key. Revoking takes
    /// effect within minutes, because satellites keep replies to recent checks. Doing it twice is no
    /// error.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied): `access` was not shared
    /// from this project's grant.
    pub async fn revoke_access(&self, access: &Access) -> Result<()> {
        self.session().satellite().revoke(access.api_key()).await
    }
}
