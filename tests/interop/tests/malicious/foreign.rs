//! Objects that the reference client wrote.

use uplink::{Config, ErrorKind, Project};

use super::clients::Clients;
use super::expected::{PARTS, STREAMS};
use super::fixture::Shape;
use super::outcomes::Outcomes;
use super::subject::{Change, Cut, Origin, Subject, Writer};
use super::world::{BUCKET, SEGMENT};

const STREAM: [(Change, Shape); 8] = [
    (Change::Nothing, Shape::new(1, 0)),
    (Change::Nothing, Shape::new(1, 4096)),
    (Change::Nothing, Shape::new(1, 20_000)),
    (Change::Nothing, Shape::new(2, 100)),
    (Change::Nothing, Shape::new(3, SEGMENT)),
    (Change::Copied, Shape::new(3, 30_000)),
    (Change::Moved, Shape::new(2, 100)),
    (Change::Updated, Shape::new(3, SEGMENT)),
];

/// Part numbers and sizes: one part, and several of one and more segments.
const IN_PARTS: [(Change, Cut); 6] = [
    (Change::Nothing, Cut::Parts(&[(1, 20_000)], true)),
    (Change::Nothing, Cut::Parts(&[(1, SEGMENT + 10_000), (2, 20_000), (7, 100)], true)),
    (Change::Copied, Cut::Parts(&[(1, SEGMENT + 10_000), (2, 100)], true)),
    (Change::Updated, Cut::Parts(&[(0, 20_000), (2, SEGMENT)], true)),
    (Change::Nothing, Cut::Parts(&[(1, 20_000)], false)),
    (Change::Nothing, Cut::Parts(&[(1, SEGMENT + 10_000), (2, 20_000), (7, 100)], false)),
];

/// Too long for the slow tests.
mod soak {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "soak: the reference Go client, nearly all attacks on its objects"]
    async fn attacks_on_foreign_streams_work_equally_on_both_clients() {
        let clients = Clients::start().await;
        let mut outcomes = Outcomes::default();
        for (then, shape) in STREAM {
            let origin = Origin { by: Writer::Reference, then };
            let subject = Subject::create(&clients, origin, Cut::Stream(shape)).await;
            outcomes.attack(&clients, &subject).await;
        }
        outcomes.finish(STREAMS);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "soak: the reference Go client, nearly all attacks on its objects"]
    async fn attacks_on_foreign_multipart_work_equally_on_both_clients() {
        let clients = Clients::start().await;
        let mut outcomes = Outcomes::default();
        for (then, cut) in IN_PARTS {
            let origin = Origin { by: Writer::Reference, then };
            let subject = Subject::create(&clients, origin, cut).await;
            outcomes.attack(&clients, &subject).await;
        }
        outcomes.finish(PARTS);
    }
}

/// R7: they are indistinguishable from segments of a stream whose envelope is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn foreign_part_0_without_metadata_is_refused_by_default() {
    let clients = Clients::start().await;
    let origin = Origin { by: Writer::Reference, then: Change::Nothing };
    let cut = Cut::Parts(&[(0, 20_000), (1, 100)], false);
    let subject = Subject::create(&clients, origin, cut).await;
    let key = &subject.fixture.known.key;
    let stat = clients.ours.stat_object(BUCKET, key).await.expect_err("refused");
    assert_eq!(stat.kind(), ErrorKind::LayoutUnauthenticated, "{stat}");
    let read = clients.world.get(BUCKET, key).await.expect_err("refused");
    assert_eq!(read.kind(), ErrorKind::LayoutUnauthenticated, "{read}");
    let config = Config::new().allow_unauthenticated_layout(true);
    let allowed = Project::open_with(&clients.world.honest_access, &config).expect("a project");
    let mut download = allowed.download_object(BUCKET, key).await.expect("opened");
    let read = download.read_to_end(u64::MAX).await.expect("read");
    assert!(read == *subject.fixture.known.contents[0]);
}
