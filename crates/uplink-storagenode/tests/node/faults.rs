//! Disconnecting, stalled and too many clients, and a full disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use uplink_core::order::{PieceAction, PieceHashAlgorithm};
use uplink_rpc::client;
use uplink_rpc::r#gen::piecestore::PieceUploadRequest;
use uplink_rpc::status::{Code, Failure};

use crate::files::{LoggedFiles, Step};
use crate::world::{Draft, World, noise, until};

const SIZE: usize = 300_000;
const BLAKE3: PieceHashAlgorithm = PieceHashAlgorithm::Blake3;

/// An upload in flight. Aborting the task resets the stream.
struct Upload {
    messages: mpsc::Sender<PieceUploadRequest>,
    call: JoinHandle<()>,
    outcome: oneshot::Receiver<Result<(), Failure>>,
}

/// Sends all but the last message of an upload and waits until the node has reserved its space.
async fn unfinished(world: &World, draft: &Draft) -> Upload {
    let (messages, requests) = mpsc::channel(1);
    let mut client = client::piecestore(world.channel());
    let (sender, outcome) = oneshot::channel();
    let call = tokio::spawn(async move {
        let reply = client.upload(ReceiverStream::new(requests)).await;
        let _ = sender.send(reply.map(|_| ()).map_err(Failure::from));
    });
    let mut all = draft.messages(&noise(SIZE, 1), BLAKE3);
    all.pop();
    for message in all {
        messages.send(message).await.unwrap();
    }
    until("the upload has started", || world.node.usage().unwrap().reserved > 0).await;
    Upload { messages, call, outcome }
}

#[tokio::test]
async fn reset_upload_keeps_only_its_order_and_serial() {
    let world = World::start().await;
    let draft = world.limit(PieceAction::Put, SIZE as i64);
    let upload = unfinished(&world, &draft).await;
    upload.call.abort();
    let usage = world.settled().await;
    assert_eq!((usage.used, usage.pieces), (0, 0));
    let again = world.upload(&draft, &noise(SIZE, 1)).await.unwrap_err();
    assert_eq!(again.code, Code::UNAUTHENTICATED, "{again}");
    let missing = world.download(&draft, 0, 1).await.unwrap_err();
    assert_eq!(missing.code, Code::NOT_FOUND);
    let world = world.restart(|_| {}).await;
    let orders = world.kept_orders();
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].0, draft.limit);
    assert_eq!(orders[0].1, draft.order(SIZE as i64));
}

#[tokio::test]
async fn largest_order_of_every_transfer_is_stored() {
    let world = World::start().await;
    let (piece, _) = world.stored(SIZE).await;
    let get = world.limit_for(&piece, PieceAction::Get, SIZE as i64);
    let messages = vec![get.range(0, 1000, Some(10)), get.grant(500), get.grant(1000)];
    let (data, end) = world.collect(messages).await;
    assert_eq!((data.len(), end), (1000, Ok(())));
    let world = world.restart(|_| {}).await;
    let amounts: Vec<_> = world
        .kept_orders()
        .into_iter()
        .map(|(limit, order)| (limit.action(), order.amount))
        .collect();
    assert_eq!(amounts, [(PieceAction::Put, SIZE as i64), (PieceAction::Get, 1000)]);
}

#[tokio::test]
async fn uploads_above_the_limit_are_rejected_until_one_ends() {
    let world = World::start_with(|config| config.max_uploads = 1).await;
    let first = unfinished(&world, &world.limit(PieceAction::Put, SIZE as i64)).await;
    let second = world.limit(PieceAction::Put, SIZE as i64);
    let rejected = world.upload(&second, &noise(SIZE, 1)).await.unwrap_err();
    assert_eq!(rejected.code, Code::UNAVAILABLE, "{rejected}");
    first.call.abort();
    world.settled().await;
    world.upload(&second, &noise(SIZE, 1)).await.unwrap();
}

#[tokio::test]
async fn idle_client_is_aborted() {
    let world = World::start_with(|config| config.idle_limit = Duration::from_millis(100)).await;
    let upload = unfinished(&world, &world.limit(PieceAction::Put, SIZE as i64)).await;
    let failure = upload.outcome.await.unwrap().unwrap_err();
    assert_eq!(failure.code, Code::ABORTED, "{failure}");
    drop(upload.messages);
    world.settled().await;
    let (piece, _) = world.stored(SIZE).await;
    let get = world.limit_for(&piece, PieceAction::Get, SIZE as i64);
    let (sender, requests) = mpsc::channel(1);
    sender.send(get.range(0, 10, None)).await.unwrap();
    let mut client = client::piecestore(world.channel());
    let reply = client.download(ReceiverStream::new(requests)).await.unwrap();
    let status = reply.into_inner().message().await.unwrap_err();
    assert_eq!(Failure::from(status).code, Code::INTERNAL);
    drop(sender);
}

#[tokio::test]
async fn reply_follows_sync_rename_and_directory_sync() {
    let files = LoggedFiles::default();
    let world = World::start_on(Arc::new(files.clone()), |_| {}).await;
    for size in [1, SIZE] {
        files.take_log();
        world.stored(size).await;
        let log = files.take_log();
        let last = |step: Step| log.iter().rposition(|(logged, _)| *logged == step).unwrap();
        let order = [Step::Write, Step::Sync, Step::Rename, Step::SyncDirectory].map(last);
        assert!(order.is_sorted(), "{log:?}");
        let renamed = &log[order[2]].1;
        let synced = &log[order[3]].1;
        assert_eq!(renamed.parent(), Some(synced.as_path()));
    }
}

#[tokio::test]
async fn full_disk_rejects_uploads_and_recovers() {
    let files = LoggedFiles::default();
    let world = World::start_on(Arc::new(files.clone()), |_| {}).await;
    let (kept, data) = world.stored(SIZE).await;
    for (number, step) in [
        Step::Create,
        Step::Write,
        Step::Sync,
        Step::CreateDirectory,
        Step::Rename,
        Step::SyncDirectory,
    ]
    .into_iter()
    .enumerate()
    {
        let before = world.settled().await;
        let mut draft = world.limit(PieceAction::Put, SIZE as i64);
        // A new directory for each piece, so that every step occurs.
        draft.limit.piece_id[0] = kept.limit.piece_id[0].wrapping_add(1 + number as u8);
        draft.sign(&world.satellite);
        files.fill(Some(step));
        let rejected = world.upload(&draft, &noise(SIZE, 1)).await.unwrap_err();
        assert_eq!(rejected.code, Code::ABORTED, "{step:?}: {rejected}");
        assert!(rejected.message.contains("space"), "{rejected}");
        let missing = world.download(&draft, 0, 1).await.unwrap_err();
        assert_eq!(missing.code, Code::NOT_FOUND, "{step:?}");
        assert!(world.download(&kept, 0, SIZE as i64).await.unwrap() == data);
        files.fill(None);
        let after = world.settled().await;
        assert_eq!((after.used, after.pieces), (before.used, before.pieces), "{step:?}");
        let again = world.limit_for(&draft, PieceAction::Put, SIZE as i64);
        world.upload(&again, &noise(SIZE, 1)).await.unwrap();
    }
}
