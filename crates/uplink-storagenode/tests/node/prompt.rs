//! Extreme values (0, −1, minimum, maximum) in every number of a streaming message: a client that
//! keeps its side open gets a reply or a status promptly.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use uplink_core::order::{PieceAction, PieceHash, PieceHashAlgorithm};
use uplink_rpc::client;
use uplink_rpc::r#gen::piecestore::{PieceDownloadRequest, PieceUploadRequest, RetainRequest};
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::time::timestamp;

use crate::world::{Draft, World, chunk, done, noise};

const SIZE: i64 = 1000;
const BLAKE3: PieceHashAlgorithm = PieceHashAlgorithm::Blake3;
const NUMBERS: [i64; 5] = [0, -1, i64::MIN, i64::MAX, i32::MAX as i64];
/// Far below every timeout of the node.
const PROMPT: Duration = Duration::from_secs(5);

/// Returns the bytes and outcome of a download while the client's side stays open.
async fn download(
    world: &World,
    messages: Vec<PieceDownloadRequest>,
) -> (Vec<u8>, Result<(), Failure>) {
    let (sender, requests) = mpsc::channel(messages.len().max(1));
    for message in messages {
        sender.send(message).await.unwrap();
    }
    let mut client = client::piecestore(world.channel());
    let download = async {
        let mut replies = match client.download(ReceiverStream::new(requests)).await {
            Ok(replies) => replies.into_inner(),
            Err(status) => return (Vec::new(), Err(status.into())),
        };
        let mut data = Vec::new();
        loop {
            match replies.message().await {
                Ok(Some(message)) => data.extend(message.chunk.into_iter().flat_map(|c| c.data)),
                Ok(None) => return (data, Ok(())),
                Err(status) => return (data, Err(status.into())),
            }
        }
    };
    let outcome = timeout(PROMPT, download).await.expect("the node ends the download");
    drop(sender);
    outcome
}

/// Returns the outcome of an upload while the client's side stays open.
async fn upload(world: &World, messages: Vec<PieceUploadRequest>) -> Result<(), Failure> {
    let (sender, requests) = mpsc::channel(messages.len().max(1));
    for message in messages {
        sender.send(message).await.unwrap();
    }
    let mut client = client::piecestore(world.channel());
    let reply = timeout(PROMPT, client.upload(ReceiverStream::new(requests))).await;
    drop(sender);
    reply.expect("the node answers the upload").map(drop).map_err(Failure::from)
}

#[tokio::test]
async fn empty_download_ends_promptly() {
    let world = World::start().await;
    let (piece, _) = world.stored(SIZE as usize).await;
    for (offset, order) in [(0, None), (0, Some(0)), (SIZE, None), (0, Some(SIZE))] {
        let get = world.limit_for(&piece, PieceAction::Get, SIZE);
        let (data, end) = download(&world, vec![get.range(offset, 0, order)]).await;
        assert!(data.is_empty(), "{offset} {order:?}");
        if order != Some(0) {
            assert_eq!(end, Ok(()), "{offset} {order:?}");
        }
    }
}

#[tokio::test]
async fn completed_download_ends_without_a_client_close() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE as usize).await;
    let get = world.limit_for(&piece, PieceAction::Get, SIZE);
    let served = download(&world, vec![get.range(0, 10, Some(SIZE))]).await;
    assert_eq!(served, (data[..10].to_vec(), Ok(())));
}

#[tokio::test]
async fn extreme_number_in_a_download_gets_a_prompt_reply() {
    let world = World::start().await;
    let (piece, data) = world.stored(SIZE as usize).await;
    type Change = fn(&mut Draft, &mut PieceDownloadRequest, i64);
    let fields: [(&str, Change); 4] = [
        ("offset", |_, message, number| message.chunk.as_mut().unwrap().offset = number),
        ("chunk_size", |_, message, number| message.chunk.as_mut().unwrap().chunk_size = number),
        ("order", |draft, message, number| message.order = Some(draft.order(number).into())),
        ("maximum_chunk_size", |_, message, number| {
            message.maximum_chunk_size = i32::try_from(number).unwrap_or(i32::MIN);
        }),
    ];
    for (field, change) in fields {
        for number in NUMBERS {
            let mut draft = world.limit_for(&piece, PieceAction::Get, SIZE);
            let mut message = draft.range(0, SIZE, Some(SIZE));
            change(&mut draft, &mut message, number);
            let (served, end) = download(&world, vec![message]).await;
            assert!(data.starts_with(&served), "{field} {number}");
            assert!(end.is_err() || served.len() as i64 == SIZE || number == 0, "{field} {number}");
        }
    }
    for number in NUMBERS {
        let mut draft = world.limit_for(&piece, PieceAction::Get, SIZE);
        draft.limit.limit = number;
        draft.sign(&world.satellite);
        let (_, end) = download(&world, vec![draft.range(0, SIZE, Some(SIZE))]).await;
        assert!(end.is_err() || number >= SIZE, "limit {number}");
    }
}

#[tokio::test]
async fn order_for_zero_bytes_is_rejected_in_a_download() {
    let world = World::start().await;
    let (piece, _) = world.stored(SIZE as usize).await;
    for later in [false, true] {
        let get = world.limit_for(&piece, PieceAction::Get, SIZE);
        let messages = match later {
            false => vec![get.range(0, SIZE, Some(0))],
            true => vec![get.range(0, SIZE, None), get.grant(0)],
        };
        let (served, end) = download(&world, messages).await;
        let rejected = end.unwrap_err();
        assert!(served.is_empty() && rejected.message.contains("0 bytes"), "{rejected}");
    }
}

#[tokio::test]
async fn empty_upload_message_is_rejected() {
    let world = World::start().await;
    let empty = [chunk(0, &[]), PieceUploadRequest::default()];
    for message in empty {
        let draft = world.limit(PieceAction::Put, SIZE);
        let rejected = upload(&world, vec![draft.opening(BLAKE3), message]).await.unwrap_err();
        assert_eq!(rejected.code, Code::INVALID_ARGUMENT, "{rejected}");
    }
    let draft = world.limit(PieceAction::Put, SIZE);
    let first = PieceUploadRequest { chunk: chunk(0, &[]).chunk, ..draft.opening(BLAKE3) };
    let rejected = upload(&world, vec![first]).await.unwrap_err();
    assert_eq!(rejected.code, Code::INVALID_ARGUMENT, "{rejected}");
}

#[tokio::test]
async fn empty_chunk_with_the_piece_hash_is_accepted() {
    let world = World::start().await;
    let draft = world.limit(PieceAction::Put, 0);
    let last = PieceUploadRequest { chunk: chunk(0, &[]).chunk, ..done(draft.hash(&[], BLAKE3)) };
    upload(&world, vec![draft.opening(BLAKE3), last]).await.unwrap();
}

#[tokio::test]
async fn extreme_number_in_an_upload_gets_a_prompt_reply() {
    let world = World::start().await;
    let data = noise(SIZE as usize, 1);
    type Change = fn(&World, &mut Draft, &mut Vec<PieceUploadRequest>, i64);
    let changed_hash = |draft: &Draft, change: &dyn Fn(&mut PieceHash)| {
        let mut hash = draft.hash(&noise(SIZE as usize, 1), BLAKE3);
        change(&mut hash);
        hash.sign_as_uplink(&draft.key).unwrap();
        done(hash)
    };
    let fields: [(&str, Change); 4] = [
        ("limit", |world, draft, messages, number| {
            draft.limit.limit = number;
            draft.sign(&world.satellite);
            messages[0] = draft.opening(BLAKE3);
        }),
        ("hash_algorithm", |_, _, messages, number| {
            messages[0].hash_algorithm = i32::try_from(number).unwrap_or(i32::MIN);
        }),
        ("order", |_, draft, messages, number| {
            messages[1].order = Some(draft.order(number).into());
        }),
        ("offset", |_, _, messages, number| {
            messages[2].chunk.as_mut().unwrap().offset = number;
        }),
    ];
    for number in NUMBERS {
        for (field, change) in fields {
            let mut draft = world.limit(PieceAction::Put, SIZE);
            let mut messages = draft.messages(&data, BLAKE3);
            change(&world, &mut draft, &mut messages, number);
            let valid = field == "offset" && number == 0;
            assert_eq!(upload(&world, messages).await.is_ok(), valid, "{field} {number}");
        }
        let draft = world.limit(PieceAction::Put, SIZE);
        let mut messages = draft.messages(&data, BLAKE3);
        messages[3] = changed_hash(&draft, &|hash| hash.piece_size = number);
        assert!(upload(&world, messages).await.is_err(), "piece_size {number}");
    }
}

#[tokio::test]
async fn empty_filter_part_is_rejected() {
    let world = World::start().await;
    let mut node = client::piecestore(world.peer(&world.satellite).channel());
    let (sender, parts) = mpsc::channel(1);
    let creation_date = Some(timestamp(world.now()));
    sender.send(RetainRequest { creation_date, ..RetainRequest::default() }).await.unwrap();
    let reply = timeout(PROMPT, node.retain_big(ReceiverStream::new(parts))).await;
    drop(sender);
    let rejected = Failure::from(reply.expect("the node answers").unwrap_err());
    assert_eq!(rejected.code, Code::INVALID_ARGUMENT, "{rejected}");
}
