//! Addresses of the nodes that store an object.

use std::collections::{BTreeSet, HashMap};

use uplink_rpc::r#gen::metainfo as messages;

use super::State;
use crate::auth::Caller;
use crate::failure::{RpcResult, database};
use crate::metabase::NodeState;

/// Segments per read.
const PAGE: i64 = 250;

impl State {
    /// Returns the addresses of all online nodes that store pieces of an object.
    pub(super) async fn get_object_i_ps(
        &self,
        caller: &Caller,
        request: messages::GetObjectIPsRequest,
    ) -> RpcResult<messages::GetObjectIPsResponse> {
        let location = (&request.bucket[..], &request.encrypted_object_key[..]);
        let (nodes, rules) = self.nodes(caller.now).await?;
        let online =
            nodes.iter().filter(|node| node.state == NodeState::Normal && rules.is_online(node));
        let online: HashMap<_, _> = online.map(|node| (node.id, &node.last_address)).collect();
        let (mut snapshot, object) =
            self.visible_object(caller, location, &request.object_version).await?;
        let mut response = messages::GetObjectIPsResponse {
            segment_count: object.segment_count,
            ..messages::GetObjectIPsResponse::default()
        };
        let mut addresses = BTreeSet::new();
        let mut cursor = None;
        loop {
            let page =
                snapshot.segments_after(&object.stream_id, cursor, PAGE).await.map_err(database)?;
            let Some(last) = page.last() else { break };
            cursor = Some(last.position);
            for piece in page
                .iter()
                .filter_map(|segment| segment.remote.as_ref())
                .flat_map(|remote| &remote.pieces.0)
            {
                response.piece_count = response.piece_count.saturating_add(1);
                if let Some(address) = online.get(&piece.node) {
                    response.reliable_piece_count = response.reliable_piece_count.saturating_add(1);
                    addresses.insert(*address);
                }
            }
        }
        response.ips = addresses.into_iter().map(|address| address.clone().into()).collect();
        Ok(response)
    }
}
