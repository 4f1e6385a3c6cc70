//! The calls of [`Access`], and revoking.

use super::bridge::Bridge;
use super::project::Project;
use crate::access::{Access, AccessOptions};
use crate::edge::{EdgeConfig, EdgeCredentials};
use crate::error::Result;

/// Creates an access grant for a whole project from an API key and a passphrase; see
/// [`Access::request`].
pub fn request(satellite: &str, api_key: &str, passphrase: &str) -> Result<Access> {
    request_with(satellite, api_key, passphrase, &AccessOptions::default())
}

/// Creates an access grant for a whole project with options; see [`Access::request_with`].
pub fn request_with(
    satellite: &str,
    api_key: &str,
    passphrase: &str,
    options: &AccessOptions,
) -> Result<Access> {
    Bridge::open()?.block_on(Access::request_with(satellite, api_key, passphrase, options))
}

/// Registers a grant with an authentication service; see [`Access::register`].
pub fn register(access: &Access, config: &EdgeConfig, public: bool) -> Result<EdgeCredentials> {
    Bridge::open()?.block_on(access.register(config, public))
}

impl Project {
    /// Revokes an access grant that was shared from this project's grant; see
    /// [`revoke_access`](crate::Project::revoke_access).
    pub fn revoke_access(&self, access: &Access) -> Result<()> {
        self.handle.call(async |project| project.revoke_access(access).await)
    }
}
