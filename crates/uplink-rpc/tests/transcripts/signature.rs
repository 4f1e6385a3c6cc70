//! Every signature in the recording verifies.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uplink_core::id::NodeId;
use uplink_core::identity::{PeerIdentity, split_chain, verify_chain};
use uplink_core::order::{Order, OrderLimit, PieceHash, PiecePrivateKey, PiecePublicKey};
use uplink_core::signature::VerifyingKey;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_rpc::r#gen::metainfo::{AddressedOrderLimit, SegmentPieceUploadResult};
use uplink_rpc::r#gen::piecestore::PieceUploadResponse;
use uplink_rpc::raw;

use super::message::Content;
use super::recording::{RECORDING, SETS, array, scenarios, text};

/// Number of verified signatures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Order limits in the satellite's responses.
    issued: usize,
    /// Private piece keys in those responses that match the order limits' public keys.
    piece_keys: usize,
    /// Order limits in calls to storage nodes.
    limits: usize,
    orders: usize,
    hashes_of_client: usize,
    hashes_of_node: usize,
    /// Certificate chains sent with them.
    chains: usize,
    /// Hashes of nodes that the client sent to the satellite.
    reported: usize,
}

struct Checker {
    satellite: VerifyingKey,
    nodes: HashMap<NodeId, VerifyingKey>,
    /// The order limit of the current call.
    transfer: Option<Transfer>,
    counts: Counts,
}

struct Transfer {
    node: NodeId,
    piece_key: PiecePublicKey,
}

#[test]
fn every_signature_verifies_with_its_signers_key() {
    let counts = SETS.map(|set| {
        let address = text(&RECORDING[set]["project"]["satellite_node_url"]);
        let (id, address) = address.split_once('@').expect("a node URL");
        let satellite = peer(address);
        assert_eq!(satellite.node_id(), id.parse().expect("a node id"));
        let satellite = satellite.leaf_key().clone();
        let mut checker =
            Checker { satellite, nodes: nodes(), transfer: None, counts: Counts::default() };
        for call in scenarios(set).iter().flat_map(|scenario| &scenario.calls) {
            checker.transfer = None;
            for content in call.contents() {
                checker.check(content);
            }
            // Nodes that used another transport for pieces have no certificates at their address.
            if let (Some(transfer), true) = (&checker.transfer, is_known(call.peer)) {
                assert_eq!(transfer.node, peer(call.peer).node_id());
            }
        }
        checker.counts
    });
    let plain = Counts {
        issued: 100,
        piece_keys: 100,
        limits: 96,
        orders: 131,
        hashes_of_client: 59,
        hashes_of_node: 47,
        chains: 47,
        reported: 40,
    };
    let compressed = Counts {
        issued: 24,
        piece_keys: 24,
        limits: 24,
        orders: 24,
        hashes_of_client: 16,
        hashes_of_node: 12,
        chains: 12,
        reported: 12,
    };
    let noise = Counts { hashes_of_client: 15, ..compressed };
    assert_eq!(counts, [plain, compressed, noise]);
}

impl Checker {
    fn check(&mut self, content: Content) {
        match content {
            Content::Upload(message) => {
                self.limit_and_order(message.limit, message.order);
                if let Some(hash) = message.done {
                    let key = &self.transfer().piece_key;
                    PieceHash::verify_from_uplink(hash.wire(), key).expect("the client's");
                    self.counts.hashes_of_client += 1;
                }
            }
            Content::Uploaded(message) => self.uploaded(message),
            Content::Download(message) => self.limit_and_order(message.limit, message.order),
            Content::Downloaded(message) => {
                assert!(message.hash.is_none() && message.limit.is_none(), "only audits get these");
            }
            Content::Requests(requests) => requests.into_iter().for_each(|it| self.request(it)),
            Content::Responses(responses) => responses.into_iter().for_each(|it| self.response(it)),
            Content::Other => {}
        }
    }

    fn transfer(&self) -> &Transfer {
        self.transfer.as_ref().expect("an order limit in an earlier message")
    }

    fn limit_and_order(&mut self, limit: Option<raw::OrderLimit>, order: Option<raw::Order>) {
        if let Some(limit) = limit {
            let limit = OrderLimit::verify(limit.wire(), &self.satellite).expect("the satellite's");
            let node = NodeId::from_slice(&limit.storage_node_id).expect("a node id");
            let piece_key = PiecePublicKey::from_bytes(&limit.uplink_public_key).expect("a key");
            self.transfer = Some(Transfer { node, piece_key });
            self.counts.limits += 1;
        }
        if let Some(order) = order {
            Order::verify(order.wire(), &self.transfer().piece_key).expect("the client's");
            self.counts.orders += 1;
        }
    }

    fn uploaded(&mut self, message: PieceUploadResponse) {
        let node = self.transfer().node;
        let hash = message.done.expect("a hash");
        PieceHash::verify_from_node(hash.wire(), &self.nodes[&node]).expect("the node's");
        self.counts.hashes_of_node += 1;
        if !message.node_certchain.is_empty() {
            let chain = split_chain(&message.node_certchain).expect("certificates");
            assert_eq!(verify_chain(&chain).expect("a chain").node_id(), node);
            self.counts.chains += 1;
        }
    }

    fn request(&mut self, request: Request) {
        let Request::SegmentCommit(commit) = request else { return };
        for SegmentPieceUploadResult { node_id, hash, .. } in commit.upload_result {
            let node = NodeId::from_slice(&node_id).expect("a node id");
            let hash = hash.expect("a hash");
            PieceHash::verify_from_node(hash.wire(), &self.nodes[&node]).expect("the node's");
            self.counts.reported += 1;
        }
    }

    fn response(&mut self, response: Response) {
        match response {
            Response::SegmentBegin(begin) => {
                self.issued(&begin.addressed_limits, &begin.private_key)
            }
            Response::SegmentBeginRetryPieces(retry) => self.issued(&retry.addressed_limits, &[]),
            Response::SegmentDownload(segment) => {
                self.issued(&segment.addressed_limits, &segment.private_key);
            }
            Response::ObjectDownload(object) => {
                for segment in object.segment_download {
                    self.issued(&segment.addressed_limits, &segment.private_key);
                }
            }
            _ => {}
        }
    }

    fn issued(&mut self, limits: &[AddressedOrderLimit], private_key: &[u8]) {
        let private = PiecePrivateKey::from_bytes(private_key).ok();
        for limit in limits.iter().filter_map(|addressed| addressed.limit.as_ref()) {
            let limit = OrderLimit::verify(limit.wire(), &self.satellite).expect("the satellite's");
            let node = NodeId::from_slice(&limit.storage_node_id).expect("a node id");
            assert!(self.nodes.contains_key(&node));
            self.counts.issued += 1;
            if let Some(private) = &private {
                let public = PiecePublicKey::from_bytes(&limit.uplink_public_key).expect("a key");
                assert_eq!(private.public(), public);
                self.counts.piece_keys += 1;
            }
        }
    }
}

fn peer(address: &str) -> PeerIdentity {
    let chain = array(&RECORDING["peers"][address]["chain"]);
    let chain: Vec<_> =
        chain.iter().map(|der| STANDARD.decode(text(der)).expect("Base64")).collect();
    verify_chain(&chain).expect("a chain")
}

fn is_known(address: &str) -> bool {
    !RECORDING["peers"][address].is_null()
}

fn nodes() -> HashMap<NodeId, VerifyingKey> {
    let peers = RECORDING["peers"].as_object().expect("peers by address");
    let nodes = peers.iter().filter(|(_, peer)| peer["role"] == "node");
    nodes.map(|(address, _)| (peer(address).node_id(), peer(address).leaf_key().clone())).collect()
}
