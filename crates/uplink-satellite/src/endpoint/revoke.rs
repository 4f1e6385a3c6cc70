//! Revoking API keys.

use uplink_core::macaroon::ApiKey;
use uplink_rpc::r#gen::metainfo as messages;

use super::{Answer, State};
use crate::auth::Caller;
use crate::failure::invalid;

impl State {
    /// Revokes a key that was narrowed from the caller's, with all that were narrowed from it.
    ///
    /// It counts from the answer on; other processes that remember the key let it pass until they
    /// look it up again.
    pub(super) async fn revoke_api_key(
        &self,
        caller: &Caller,
        request: messages::RevokeApiKeyRequest,
    ) -> Answer<messages::RevokeApiKeyResponse> {
        let target = ApiKey::from_exact_bytes(&request.api_key);
        let target = target.map_err(|_| invalid("API key to revoke is malformed"))?;
        self.authority.revoke(caller, &target).await?;
        Ok(messages::RevokeApiKeyResponse {})
    }
}
