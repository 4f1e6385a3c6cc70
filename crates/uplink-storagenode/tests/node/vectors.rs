//! Replays recorded conversations between the reference client and a storage node, with the same
//! identities and the same time.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use prost::encoding::decode_varint;
use serde_json::Value;
use tempfile::TempDir;
use tonic::service::Routes;
use uplink_core::id::NodeId;
use uplink_core::order::{
    Order, OrderLimit, PieceAction, PieceHash, PieceHashAlgorithm, PiecePrivateKey,
};
use uplink_rpc::r#gen::piecestore::{
    PieceDownloadRequest, PieceDownloadResponse, PieceUploadRequest, PieceUploadResponse,
};
use uplink_rpc::time::system_time;
use uplink_rpc::tls::Identity;
use uplink_storagenode::{Clock, Disk};

use crate::world::{Draft, World, chunk, done, noise};

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/transport.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn conversation<'a>(vectors: &'a Value, name: &str) -> &'a Value {
    let all = vectors["piecestore"].as_array().unwrap();
    all.iter().find(|conversation| conversation["name"] == name).unwrap()
}

/// Decodes the messages of one side. The recording is a sequence of frames: control byte (kind in
/// bits 1 to 6, done in bit 0), stream, message and length as varints, data. Kind 2 is a message.
fn messages<M: Message + Default>(conversation: &Value, side: &str) -> Vec<M> {
    let recorded = bytes(&conversation[side]);
    let mut rest = recorded.as_slice();
    let mut messages = Vec::new();
    let mut partial = Vec::new();
    while let Some((control, after)) = rest.split_first() {
        rest = after;
        let [_stream, _message, length] = [(); 3].map(|()| decode_varint(&mut rest).unwrap());
        let (data, after) = rest.split_at(usize::try_from(length).unwrap());
        rest = after;
        if control >> 1 & 0x3F == 2 {
            partial.extend_from_slice(data);
            if control & 1 == 1 {
                messages.push(M::decode(&*std::mem::take(&mut partial)).unwrap());
            }
        }
    }
    messages
}

/// Returns one of the published identities, whose private keys are known.
fn identity(vectors: &Value, id: &Value) -> Identity {
    let all = vectors["identity"]["pregenerated"].as_array().unwrap();
    let it = all.iter().find(|it| it["node_id"] == *id).unwrap();
    let directory = TempDir::new().unwrap();
    let chain = it["chain_pem"].as_str().unwrap();
    let key = STANDARD.encode(bytes(&it["leaf_key_pkcs8_der"]));
    let key = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
    fs::write(directory.path().join("identity.cert"), chain).unwrap();
    fs::write(directory.path().join("identity.key"), key).unwrap();
    Identity::load(directory.path()).unwrap()
}

/// Starts the node of the recordings at the time of `limit`.
async fn world(vectors: &Value, limit: &OrderLimit) -> World {
    let satellite = identity(vectors, &vectors["orders"]["satellite"]["node_id"]);
    let node = identity(vectors, &vectors["orders"]["storage_node"]["node_id"]);
    let created = system_time(limit.order_creation.as_ref()).unwrap();
    let files = Arc::new(Disk::default());
    World::start_as(satellite, Routes::default(), node, files, |config| {
        config.clock = Clock::new(move || created + Duration::from_secs(1));
    })
    .await
}

fn piece_key(vectors: &Value) -> PiecePrivateKey {
    PiecePrivateKey::from_bytes(&bytes(&vectors["orders"]["piece_private_key"])).unwrap()
}

#[tokio::test]
async fn recorded_uploads_get_the_recorded_replies() {
    let vectors = vectors();
    for name in ["upload-small-plain", "upload-small-aggregated"] {
        let conversation = conversation(&vectors, name);
        let sent: Vec<PieceUploadRequest> = messages(conversation, "client_bytes");
        assert_eq!(sent.len(), conversation["messages_from_client"].as_array().unwrap().len());
        let limit = sent[0].limit.as_ref().unwrap().decode_typed().unwrap();
        let world = world(&vectors, &limit).await;
        let reply = world.send(sent).await.unwrap();
        let ours: PieceHash = reply.done.unwrap().decode_typed().unwrap();
        let recorded: Vec<PieceUploadResponse> = messages(conversation, "server_bytes");
        let theirs = recorded[0].done.as_ref().unwrap().decode_typed().unwrap();
        let unsigned =
            |hash: &PieceHash| PieceHash { signature: Vec::new(), timestamp: None, ..hash.clone() };
        assert_eq!(unsigned(&ours), unsigned(&theirs), "{name}");
        assert_eq!(reply.node_certchain, recorded[0].node_certchain, "{name}");
        assert_eq!(world.node.usage().unwrap().used, 512 + 100);
    }
}

#[tokio::test]
async fn recorded_download_gets_the_recorded_data() {
    let vectors = vectors();
    let conversation = conversation(&vectors, "download-small");
    let sent: Vec<PieceDownloadRequest> = messages(conversation, "client_bytes");
    assert_eq!(sent.len(), conversation["messages_from_client"].as_array().unwrap().len());
    let recorded: Vec<PieceDownloadResponse> = messages(conversation, "server_bytes");
    let data: Vec<u8> = recorded
        .iter()
        .filter_map(|reply| reply.chunk.as_ref())
        .flat_map(|c| c.data.clone())
        .collect();
    assert_eq!(data.len(), 100);
    let limit = sent[0].limit.as_ref().unwrap().decode_typed().unwrap();
    let world = world(&vectors, &limit).await;
    let time = system_time(limit.order_creation.as_ref()).unwrap();
    let node = NodeId::from_slice(&limit.storage_node_id).unwrap();
    let mut put = Draft::new(&world.satellite, node, time, PieceAction::Put, 100);
    put.limit.piece_id.clone_from(&limit.piece_id);
    put.sign(&world.satellite);
    world.upload(&put, &data).await.unwrap();
    assert_eq!(world.collect(sent).await, (data, Ok(())));
}

/// Returns a draft whose orders are signed with the key of the recordings.
fn draft(vectors: &Value, world: &World, action: PieceAction, size: i64) -> Draft {
    let mut draft = world.limit(action, size);
    draft.key = piece_key(vectors);
    draft.limit.uplink_public_key = draft.key.public().as_bytes().to_vec();
    draft.sign(&world.satellite);
    draft
}

#[tokio::test]
async fn large_piece_transfers_with_the_reference_order_steps() {
    let vectors = vectors();
    let world = World::start().await;
    let up = conversation(&vectors, "upload-2MiB");
    let size = up["size"].as_i64().unwrap();
    let data = noise(size as usize, 1);
    let put = draft(&vectors, &world, PieceAction::Put, size);
    let listed = up["messages_from_client"].as_array().unwrap();
    assert_eq!(listed.len(), 33);
    let sent = listed.iter().map(|listed| {
        let mut message = match listed["chunk_offset"].as_i64() {
            Some(offset) => {
                let end = offset + listed["chunk_len"].as_i64().unwrap();
                chunk(offset, &data[offset as usize..end as usize])
            }
            None => done(put.hash(&data, PieceHashAlgorithm::Blake3)),
        };
        if listed["limit"] == true {
            message.limit = Some(put.limit.clone().into());
            message.hash_algorithm = listed["hash_algorithm"].as_i64().unwrap() as i32;
        }
        message.order = listed["order_amount"].as_i64().map(|amount| put.order(amount).into());
        message
    });
    world.send(sent.collect()).await.unwrap();

    let down = conversation(&vectors, "download-2MiB");
    let mut get = draft(&vectors, &world, PieceAction::Get, size);
    get.limit.piece_id.clone_from(&put.limit.piece_id);
    get.sign(&world.satellite);
    let listed = down["messages_from_client"].as_array().unwrap();
    assert_eq!(listed.len(), 6);
    let sent = listed.iter().map(|listed| match listed["order_amount"].as_i64() {
        Some(amount) => get.grant(amount),
        None => get.range(0, listed["chunk_size"].as_i64().unwrap(), None),
    });
    let (received, end) = world.collect(sent.collect()).await;
    assert_eq!(end, Ok(()));
    assert!(received == data);
}

#[test]
fn every_recorded_conversation_is_replayed() {
    let vectors = vectors();
    let names: Vec<_> = vectors["piecestore"]
        .as_array()
        .unwrap()
        .iter()
        .map(|conversation| conversation["name"].as_str().unwrap().to_owned())
        .collect();
    let replayed = [
        "upload-small-plain",
        "upload-small-aggregated",
        "upload-2MiB",
        "download-small",
        "download-2MiB",
    ];
    assert_eq!(names, replayed);
    let orders = vectors["orders"]["orders"].as_array().unwrap();
    assert_eq!(orders.len(), 4);
    for order in orders {
        let order = Order::verify(&bytes(&order["wire"]), &piece_key(&vectors).public());
        assert!(order.is_ok());
    }
}
