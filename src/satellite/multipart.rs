//! Calls about pending uploads.

use uplink_rpc::r#gen::metainfo;

use super::Satellite;
use super::call::Call;
use crate::error::Result;

impl Satellite {
    /// Lists the pending uploads of one key.
    pub(crate) async fn list_pending_streams(
        &self,
        request: metainfo::ListPendingObjectStreamsRequest,
    ) -> Result<metainfo::ListPendingObjectStreamsResponse> {
        let request =
            metainfo::ListPendingObjectStreamsRequest { header: self.header(), ..request };
        self.call(Call::ListPendingStreams, |mut client| {
            let request = request.clone();
            async move { client.list_pending_object_streams(request).await }
        })
        .await
    }
}
