//! Revoking API keys.

use uplink_core::macaroon::ApiKey;
use uplink_rpc::r#gen::metainfo as messages;

use super::State;
use crate::auth::Caller;
use crate::failure::{RpcResult, invalid};

impl State {
    /// Revokes a key derived from the caller's, and all keys derived from it.
    ///
    /// Takes effect before the response. Other processes accept the key until their cached look-up
    /// expires.
    pub(super) async fn revoke_api_key(
        &self,
        caller: &Caller,
        request: messages::RevokeApiKeyRequest,
    ) -> RpcResult<messages::RevokeApiKeyResponse> {
        let target = ApiKey::from_exact_bytes(&request.api_key)
            .map_err(|_| invalid("invalid API key to revoke"))?;
        self.authority.revoke(caller, &target).await?;
        Ok(messages::RevokeApiKeyResponse {})
    }
}
