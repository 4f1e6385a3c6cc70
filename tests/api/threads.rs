//! Handles of the module `blocking` among threads and runtimes: shared, dropped, closed, nested.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use uplink::blocking::{
    BucketList, Download, ObjectList, PartList, PartUpload, Project, Upload, UploadList, runtime,
};
use uplink::grant::{AccessGrant, ApiKey, EncryptionStore};
use uplink::{Access, Error, ErrorKind, ListUploadsOptions};

use super::blocking::{open, with_project};
use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

/// Time after which a call that should have ended counts as stuck.
const TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn blocking_handles_can_be_shared_by_threads() {
    fn shareable<T: Send + Sync>() {}
    shareable::<Project>();
    shareable::<Upload>();
    shareable::<PartUpload>();
    shareable::<Download>();
    shareable::<BucketList>();
    shareable::<ObjectList>();
    shareable::<PartList>();
    shareable::<UploadList>();
}

#[test]
fn eight_threads_transfer_with_one_project() {
    with_project(|_, project| {
        thread::scope(|scope| {
            for seed in 0..8 {
                scope.spawn(move || transfer(project, seed));
            }
        });
        assert_eq!(project.list_objects(BUCKET).expect("a listing").count(), 8);
    });
}

/// Uploads an object in small writes, reads it back, and replaces it.
fn transfer(project: &Project, seed: u8) {
    let key = format!("key {seed}");
    let plain = bytes(seed, SMALL_SEGMENT + 300_000);
    let mut upload = project.upload_object(BUCKET, &key).expect("an upload");
    for part in plain.chunks(60_000) {
        upload.write_all(part).expect("written");
    }
    upload.commit().expect("committed");
    let mut read = Vec::new();
    let mut download = project.download_object(BUCKET, &key).expect("opened");
    Read::read_to_end(&mut download, &mut read).expect("read");
    assert!(read == plain, "{key}");
    project.put(BUCKET, &key, "small").expect("stored");
    assert_eq!(project.stat_object(BUCKET, &key).expect("exists").size, 5);
}

#[test]
fn handle_moves_between_threads_during_a_transfer() {
    with_project(|_, project| {
        let plain = bytes(1, 2 * SMALL_SEGMENT);
        let mut upload = project.upload_object(BUCKET, "key").expect("an upload");
        for part in plain.chunks(plain.len() / 4) {
            let part = part.to_vec();
            let thread = thread::spawn(move || upload.write_all(&part).map(|()| upload));
            upload = thread.join().expect("no panic").expect("written");
        }
        upload.commit().expect("committed");
        assert!(project.get(BUCKET, "key").expect("read") == plain);
    });
}

#[test]
fn dropped_upload_leaves_no_object_and_is_not_pending() {
    with_project(|_, project| {
        for size in [100, 300_000, 2_500_000] {
            let mut upload = project.upload_object(BUCKET, "key").expect("an upload");
            upload.write_all(&bytes(1, size)).expect("written");
            drop(upload);
            let mut upload = project.upload_object(BUCKET, "key").expect("an upload");
            upload.write_all(&bytes(1, size)).expect("written");
            upload.abort().expect("aborted");
            let error = project.get(BUCKET, "key").expect_err("nothing is committed");
            assert_eq!(error.kind(), ErrorKind::ObjectNotFound);
        }
        let options = ListUploadsOptions::new().recursive(true);
        let began = Instant::now();
        while project.list_uploads_with(BUCKET, &options).expect("a listing").count() > 0 {
            assert!(began.elapsed() < TIMEOUT, "the satellite was not notified");
            thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn calls_inside_other_runtimes_work() {
    with_project(|_, project| {
        let flavors = [Builder::new_current_thread(), Builder::new_multi_thread()];
        for (mut builder, seed) in flavors.into_iter().zip(1..) {
            let outer = builder.enable_all().build().expect("a runtime");
            outer.block_on(async { transfer(project, seed) });
            let project = project.clone();
            let task = outer.spawn(async move {
                // More messages than one poll of the task may receive.
                transfer(&project, seed);
                transfer(&project, seed);
            });
            outer.block_on(task).expect("no panic");
        }
    });
}

#[test]
fn async_calls_run_on_the_runtime_of_the_module() {
    with_project(|world, project| {
        let runtime = runtime().expect("a runtime");
        let asynchronous = world.project.clone();
        let put = async move { asynchronous.put(BUCKET, "key", "content").await };
        runtime.block_on(runtime.spawn(put)).expect("no panic").expect("stored");
        assert_eq!(project.get(BUCKET, "key").expect("read"), "content");
    });
}

#[test]
fn closing_cancels_a_call_that_waits_for_a_silent_satellite() {
    with_project(|world, _| {
        let satellite = TcpListener::bind("127.0.0.1:0").expect("a port");
        let access = silent(world, &satellite);
        let config = config().dial_timeout(10 * TIMEOUT);
        let project = Project::open_with(&access, &config).expect("a project");
        let mut list = project.list_buckets();
        let closer = project.clone();
        let waiting = thread::spawn(move || project.stat_bucket(BUCKET));
        let (_socket, _) = satellite.accept().expect("the call connects");
        let began = Instant::now();
        closer.close();
        let outcome = waiting.join().expect("no panic");
        assert_eq!(outcome.expect_err("cancelled").kind(), ErrorKind::Cancelled);
        assert!(began.elapsed() < TIMEOUT, "the call outlived its project");
        assert_eq!(list.next().expect("an item").expect_err("closed").kind(), ErrorKind::Cancelled);
        let error = closer.upload_object(BUCKET, "key").expect_err("closed");
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    });
}

/// Returns a grant for a satellite that accepts connections and does not reply.
fn silent(world: &World, satellite: &TcpListener) -> Access {
    let url = world.access.satellite_address();
    let id = url.split('@').next().expect("a node id");
    let address = format!("{id}@{}", satellite.local_addr().expect("an address"));
    let api_key = ApiKey::parse(&world.api_key).expect("an API key");
    let grant = AccessGrant::new(address, api_key, &EncryptionStore::default()).expect("a grant");
    Access::parse(&grant.serialize().expect("a text")).expect("a grant")
}

#[test]
fn closing_ends_open_handles_and_publishes_nothing() {
    with_project(|world, project| {
        let closed = open(world);
        closed.put(BUCKET, "stored", bytes(1, 3 * SMALL_SEGMENT)).expect("stored");
        let mut download = closed.download_object(BUCKET, "stored").expect("opened");
        let mut upload = closed.upload_object(BUCKET, "key").expect("an upload");
        upload.write_all(&bytes(1, 300_000)).expect("written");
        closed.close();
        closed.close();
        assert_cancelled(upload.write_all(b"more"));
        assert_cancelled(download.read_exact(&mut [0; 1]));
        assert_eq!(upload.commit().expect_err("closed").kind(), ErrorKind::Cancelled);
        let error = project.stat_object(BUCKET, "key").expect_err("nothing is committed");
        assert_eq!(error.kind(), ErrorKind::ObjectNotFound, "other projects stay open");
    });
}

fn assert_cancelled(outcome: io::Result<()>) {
    let error = outcome.expect_err("closed");
    let error = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    assert_eq!(error.expect("an error of the client").kind(), ErrorKind::Cancelled);
}

/// Set for a child of [`process_exits_cleanly_during_transfers`]: its access grant.
const GRANT_OF_CHILD: &str = "UPLINK_EXIT_GRANT";
/// Set for a child: the milliseconds after which it exits.
const EXIT_AFTER: &str = "UPLINK_EXIT_AFTER";

#[test]
fn process_exits_cleanly_during_transfers() {
    with_project(|world, _| {
        let grant = world.access.serialize().expect("a grant");
        for milliseconds in (0..40).chain(0..40) {
            let program = std::env::current_exe().expect("this program");
            let ended = Command::new(program)
                .args(["--exact", "api::threads::child_that_exits", "--nocapture"])
                .env(GRANT_OF_CHILD, &grant)
                .env(EXIT_AFTER, milliseconds.to_string())
                .output()
                .expect("a child");
            let errors = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(7), "after {milliseconds} ms: {errors}");
        }
    });
}

/// The entry point of a child process; does nothing in the test program itself.
#[test]
fn child_that_exits() {
    let Ok(grant) = std::env::var(GRANT_OF_CHILD) else { return };
    let milliseconds = std::env::var(EXIT_AFTER).expect("a time").parse().expect("a number");
    let access = Access::parse(&grant).expect("a grant");
    let project = Project::open_with(&access, &config()).expect("a project");
    // From here on, connections to storage nodes are the next ones.
    project.stat_bucket(BUCKET).expect("connected to the satellite");
    for number in 0..4 {
        let project = project.clone();
        thread::spawn(move || project.put(BUCKET, format!("key {number}"), vec![7; 100_000]));
    }
    thread::sleep(Duration::from_millis(milliseconds));
    std::process::exit(7);
}
