//! Objects that the reference client wrote.

use uplink::{Config, DownloadOptions, ErrorKind, Project};

use super::clients::Clients;
use super::expected::{PARTS, STREAMS};
use super::material::Shape;
use super::subject::{Cut, Deed, Origin, Subject, Writer};
use super::verdict::Outcomes;
use super::world::{BUCKET, SEGMENT};

const STREAM: [(Deed, Shape); 8] = [
    (Deed::Nothing, Shape::new(1, 0)),
    (Deed::Nothing, Shape::new(1, 4096)),
    (Deed::Nothing, Shape::new(1, 20_000)),
    (Deed::Nothing, Shape::new(2, 100)),
    (Deed::Nothing, Shape::new(3, SEGMENT)),
    (Deed::Copied, Shape::new(3, 30_000)),
    (Deed::Moved, Shape::new(2, 100)),
    (Deed::Updated, Shape::new(3, SEGMENT)),
];

/// Numbers and sizes of parts: one, and some of one and of several segments.
const IN_PARTS: [(Deed, Cut); 6] = [
    (Deed::Nothing, Cut::Parts(&[(1, 20_000)], true)),
    (Deed::Nothing, Cut::Parts(&[(1, SEGMENT + 10_000), (2, 20_000), (7, 100)], true)),
    (Deed::Copied, Cut::Parts(&[(1, SEGMENT + 10_000), (2, 100)], true)),
    (Deed::Updated, Cut::Parts(&[(0, 20_000), (2, SEGMENT)], true)),
    (Deed::Nothing, Cut::Parts(&[(1, 20_000)], false)),
    (Deed::Nothing, Cut::Parts(&[(1, SEGMENT + 10_000), (2, 20_000), (7, 100)], false)),
];

/// What takes too long for the slow tests.
mod soak {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "soak: the reference Go client, nearly all attacks on its objects"]
    async fn attacks_on_its_streams_fool_our_client_only_where_they_fool_it() {
        let clients = Clients::start().await;
        let mut outcomes = Outcomes::default();
        for (then, shape) in STREAM {
            let origin = Origin { by: Writer::Reference, then };
            let subject = Subject::make(&clients, origin, Cut::Stream(shape)).await;
            outcomes.attack(&clients, &subject).await;
        }
        outcomes.finish(STREAMS);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "soak: the reference Go client, nearly all attacks on its objects"]
    async fn attacks_on_its_objects_in_parts_fool_our_client_only_where_they_fool_it() {
        let clients = Clients::start().await;
        let mut outcomes = Outcomes::default();
        for (then, cut) in IN_PARTS {
            let origin = Origin { by: Writer::Reference, then };
            let subject = Subject::make(&clients, origin, cut).await;
            outcomes.attack(&clients, &subject).await;
        }
        outcomes.finish(PARTS);
    }
}

/// R7: as segments of a stream whose envelope is missing they would look the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: the reference Go client"]
async fn its_parts_without_metadata_are_read_by_default_only_if_none_is_part_0() {
    let clients = Clients::start().await;
    let origin = Origin { by: Writer::Reference, then: Deed::Nothing };
    let cut = Cut::Parts(&[(0, 20_000), (1, 100)], false);
    let subject = Subject::make(&clients, origin, cut).await;
    let key = &subject.material.known.key;
    let stat = clients.ours.stat_object(BUCKET, key).await.expect_err("refused");
    assert_eq!(stat.kind(), ErrorKind::LayoutUnauthenticated, "{stat}");
    let read = clients.world.get(BUCKET, key).await.expect_err("refused");
    assert_eq!(read.kind(), ErrorKind::LayoutUnauthenticated, "{read}");
    let config = Config::new().allow_unauthenticated_layout(true);
    let allowed = Project::open_with(&clients.world.honest_access, &config).expect("a project");
    let mut download =
        allowed.download_object(BUCKET, key, DownloadOptions::new()).await.expect("opened");
    let read = download.read_to_vec().await.expect("read");
    assert!(read == *subject.material.known.contents[0]);
}
