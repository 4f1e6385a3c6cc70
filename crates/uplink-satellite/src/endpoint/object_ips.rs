//! Where an object's pieces are.

use std::collections::{BTreeSet, HashMap};

use uplink_rpc::r#gen::metainfo as messages;

use super::{Answer, State};
use crate::auth::Caller;
use crate::failure::database;
use crate::metabase::NodeState;

/// Segments read at once.
const READ: i64 = 250;

impl State {
    /// Lists the addresses of all nodes that hold pieces of an object and are online.
    pub(super) async fn get_object_i_ps(
        &self,
        caller: &Caller,
        request: messages::GetObjectIPsRequest,
    ) -> Answer<messages::GetObjectIPsResponse> {
        let place = (&request.bucket[..], &request.encrypted_object_key[..]);
        let (nodes, rules) = self.nodes(caller.now).await?;
        let online =
            nodes.iter().filter(|node| node.state == NodeState::Normal && rules.is_online(node));
        let online: HashMap<_, _> = online.map(|node| (node.id, &node.last_address)).collect();
        let (mut snapshot, object) =
            self.visible_object(caller, place, &request.object_version).await?;
        let mut response = messages::GetObjectIPsResponse {
            segment_count: object.segment_count,
            ..messages::GetObjectIPsResponse::default()
        };
        let mut addresses = BTreeSet::new();
        let mut cursor = None;
        loop {
            let page = snapshot.segments_after(&object.stream_id, cursor, READ).await;
            let page = page.map_err(database)?;
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
