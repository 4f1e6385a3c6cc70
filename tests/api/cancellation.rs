//! Futures that are dropped at any of their polls, runtimes that end, and tasks that panic.
//!
//! Each trial runs one operation, drops it at one poll, and checks with the same project that it took
//! effect completely or not at all. The budgets of that project have room for one transfer, so that one
//! lost permit stops the trials. In the end no task of the client is left.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use tokio::runtime::{Builder, Runtime};
use uplink::{DownloadOptions, Error, ErrorKind, Project, Upload};

use super::world::{BUCKET, SMALL_SEGMENT, World, bytes, config};

/// Enough for any trial, also on a machine that is busy.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(60);

/// What is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Commit,
    CommitUpload,
    Copy,
    CreateBucket,
    Delete,
    DeleteMany,
    Get,
    GetRange,
    List,
    Move,
    /// A part of this many bytes.
    Part(u64),
    /// An object of this many bytes.
    Put(u64),
    Stat,
    UpdateMetadata,
}

const OPERATIONS: [Operation; 17] = [
    Operation::Commit,
    Operation::CommitUpload,
    Operation::Copy,
    Operation::CreateBucket,
    Operation::Delete,
    Operation::DeleteMany,
    Operation::Get,
    Operation::GetRange,
    Operation::List,
    Operation::Move,
    Operation::Part(100),
    Operation::Part(SMALL_SEGMENT + 100_000),
    Operation::Put(100),
    Operation::Put(100_000),
    Operation::Put(2 * SMALL_SEGMENT + 100),
    Operation::Stat,
    Operation::UpdateMetadata,
];

/// Drops a future before it is polled once more than `polls` times.
struct DropAt<F> {
    future: Option<Pin<Box<F>>>,
    polls: usize,
    count: usize,
}

impl<F: Future> DropAt<F> {
    fn new(future: F, polls: usize) -> Self {
        Self { future: Some(Box::pin(future)), polls, count: 0 }
    }
}

impl<F: Future> Future for DropAt<F> {
    /// The output, unless the future was dropped, and the number of polls.
    type Output = (Option<F::Output>, usize);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.count == self.polls {
            self.future = None;
            return Poll::Ready((None, self.count));
        }
        self.count += 1;
        let future = self.future.as_mut().expect("not polled again");
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready((Some(output), self.count)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// What an operation needs before it runs.
#[derive(Default)]
struct Prepared {
    upload: Option<Upload>,
    upload_id: String,
}

struct Trials<'a> {
    project: &'a Project,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Trials<'_> {
    /// Runs an operation and drops it at a poll. Returns the polls it took.
    async fn run(&self, operation: Operation, key: &str, polls: usize) -> usize {
        let prepared = self.prepare(operation, key).await.expect("prepared");
        let id = prepared.upload_id.clone();
        let (outcome, polls) = DropAt::new(self.execute(operation, key, prepared), polls).await;
        if let Some(outcome) = outcome {
            outcome.unwrap_or_else(|error| panic!("{operation:?} was not cancelled: {error:?}"));
        }
        self.check(operation, key, &id).await.unwrap_or_else(|error| panic!("{error:?}"));
        polls
    }

    fn content(&self, size: u64) -> &[u8] {
        &self.new[..size as usize]
    }

    async fn prepare(&self, operation: Operation, key: &str) -> Result<Prepared, Error> {
        let mut prepared = Prepared::default();
        match operation {
            Operation::Commit => {
                let mut upload = self.project.upload_object(BUCKET, key)?;
                upload.write(&self.new).await?;
                prepared.upload = Some(upload);
            }
            Operation::CommitUpload | Operation::Part(_) => {
                prepared.upload_id = self.project.begin_upload(BUCKET, key).await?;
                let mut part = self.project.upload_part(BUCKET, key, &prepared.upload_id, 1)?;
                part.write(&self.new).await?;
                part.commit().await?;
            }
            Operation::CreateBucket => {}
            _ => {
                self.project.put(BUCKET, key, self.old.clone()).await?;
            }
        }
        Ok(prepared)
    }

    async fn execute(
        &self,
        operation: Operation,
        key: &str,
        prepared: Prepared,
    ) -> Result<(), Error> {
        let project = self.project;
        let other = format!("{key}-other");
        let Prepared { upload, upload_id } = prepared;
        match operation {
            Operation::Commit => {
                upload.expect("an upload").commit().await?;
            }
            Operation::CommitUpload => {
                project.commit_upload(BUCKET, key, &upload_id).await?;
            }
            Operation::Copy => {
                project.copy_object(BUCKET, key, BUCKET, &other).await?;
            }
            Operation::CreateBucket => {
                project.create_bucket(&key.replace('/', "-")).await?;
            }
            Operation::Delete => {
                project.delete_object(BUCKET, key).await?;
            }
            Operation::DeleteMany => {
                project.delete_objects(BUCKET, [key, &other]).await?;
            }
            Operation::Get => {
                project.get(BUCKET, key).await?;
            }
            Operation::GetRange => {
                let options = DownloadOptions::new().range(10..20_000);
                let mut download = project.download_object_with(BUCKET, key, &options).await?;
                download.read_to_end(u64::MAX).await?;
            }
            Operation::List => {
                project.list_objects(BUCKET)?.try_collect::<Vec<_>>().await?;
            }
            Operation::Move => {
                project.move_object(BUCKET, key, BUCKET, &other).await?;
            }
            Operation::Part(size) => {
                let mut part = project.upload_part(BUCKET, key, &upload_id, 2)?;
                part.write(self.content(size)).await?;
                part.commit().await?;
            }
            Operation::Put(size) => {
                let mut upload = project.upload_object(BUCKET, key)?;
                upload.write(self.content(size)).await?;
                upload.commit().await?;
            }
            Operation::Stat => {
                project.stat_object(BUCKET, key).await?;
            }
            Operation::UpdateMetadata => {
                let entries = BTreeMap::from([("new".to_owned(), "entry".to_owned())]);
                project.update_object_metadata(BUCKET, key, entries).await?;
            }
        }
        Ok(())
    }

    /// Reads an object; `None` if there is none.
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.project.get(BUCKET, key).await {
            Ok(content) => Ok(Some(content.into())),
            Err(error) if error.kind() == ErrorKind::ObjectNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks that the operation took effect completely or not at all. It may still take effect while
    /// this checks.
    async fn check(&self, operation: Operation, key: &str, upload_id: &str) -> Result<(), Error> {
        let other = format!("{key}-other");
        let found = self.read(key).await?;
        let is_old = found.as_ref() == Some(&self.old);
        match operation {
            Operation::Commit | Operation::CommitUpload => {
                assert!(found.is_none_or(|found| found == self.new), "{operation:?}");
            }
            Operation::Put(size) => {
                assert!(is_old || found.as_deref() == Some(self.content(size)), "{operation:?}");
            }
            Operation::Copy => {
                let copy = self.read(&other).await?;
                assert!(is_old && copy.is_none_or(|copy| copy == self.old), "{operation:?}");
            }
            Operation::CreateBucket => {
                self.project.ensure_bucket(&key.replace('/', "-")).await?;
            }
            Operation::Delete | Operation::DeleteMany => {
                assert!(is_old || found.is_none(), "{operation:?}");
            }
            Operation::Move => {
                assert!(is_old || found.is_none(), "{operation:?}");
                let moved = self.read(&other).await?;
                assert!(is_old || moved.as_ref() == Some(&self.old), "{operation:?}");
            }
            Operation::Part(size) => {
                let parts = self.project.list_parts(BUCKET, key, upload_id)?;
                let sizes: Vec<u64> =
                    parts.map_ok(|part| part.size).try_collect::<Vec<_>>().await?;
                let complete = [self.new.len() as u64, size];
                assert!(sizes == complete[..1] || sizes == complete, "{operation:?}: {sizes:?}");
                self.project.abort_upload(BUCKET, key, upload_id).await?;
            }
            Operation::UpdateMetadata => {
                assert!(is_old);
                let object = self.project.stat_object(BUCKET, key).await?;
                assert!(object.custom_metadata.len() <= 1);
            }
            Operation::Get | Operation::GetRange | Operation::List | Operation::Stat => {
                assert!(is_old, "{operation:?}");
            }
        }
        Ok(())
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A project with room for one transfer: one segment, and as many transfers as a segment has pieces.
fn tight_project(world: &World) -> Project {
    let config = config().segment_size(SMALL_SEGMENT).memory(1).transfers(10);
    Project::open_with(&world.access, &config).expect("a project")
}

/// F60 and F62.
#[test]
fn operation_dropped_at_any_poll_takes_effect_or_does_not() {
    let servers = runtime();
    let world = servers.block_on(World::start());
    let client = runtime();
    let mut count = 0;
    client.block_on(async {
        let project = tight_project(&world);
        let new = bytes(2, 2 * SMALL_SEGMENT + 100);
        let trials = Trials { project: &project, old: bytes(1, 100_000), new };
        for operation in OPERATIONS {
            for at in 0.. {
                let key = format!("trial-{count}");
                let trial = trials.run(operation, &key, at);
                let polls = tokio::time::timeout(TRIAL_TIMEOUT, trial).await;
                let polls = polls.unwrap_or_else(|_| panic!("{operation:?} at poll {at}: stuck"));
                count += 1;
                if polls < at {
                    break;
                }
            }
        }
    });
    assert_no_task_left(&client);
    assert!(count > 2 * OPERATIONS.len(), "only {count} trials: nothing was dropped while it ran");
    println!("{count} trials");
}

/// Connections and unused buffers are freed within seconds after the project is dropped.
fn assert_no_task_left(client: &Runtime) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let alive = client.metrics().num_alive_tasks();
        if alive == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{alive} tasks are left");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// F61: how the task that uploads ends before its commit.
#[derive(Clone, Copy, Debug)]
enum End {
    Panic,
    RuntimeInBackground,
    RuntimeShutdown,
    Select,
    Timeout,
}

const ENDS: [End; 5] =
    [End::Panic, End::RuntimeInBackground, End::RuntimeShutdown, End::Select, End::Timeout];

/// Writes an object without committing it, in steps.
async fn write_without_commit(project: Project, key: String) {
    let mut upload = project.upload_object(BUCKET, &key).expect("an upload");
    for chunk in bytes(3, 3 * SMALL_SEGMENT).chunks(50_000) {
        upload.write(chunk).await.expect("written");
        tokio::task::yield_now().await;
    }
    std::future::pending().await
}

/// Ends an upload after `delay`. Returns its runtime unless that has ended.
fn end_upload(world: &World, key: &str, end: End, delay: Duration) -> Option<Runtime> {
    let client = runtime();
    let project = {
        let _guard = client.enter();
        tight_project(world)
    };
    let writing = write_without_commit(project, key.to_owned());
    match end {
        End::Panic => {
            let task = client.spawn(async move {
                tokio::select! {
                    () = writing => {}
                    () = tokio::time::sleep(delay) => panic!("a test of panics"),
                }
            });
            assert!(client.block_on(task).expect_err("it panics").is_panic());
        }
        End::RuntimeInBackground | End::RuntimeShutdown => {
            client.spawn(writing);
            std::thread::sleep(delay);
        }
        End::Select => client.block_on(async {
            tokio::select! {
                () = writing => {}
                () = tokio::time::sleep(delay) => {}
            }
        }),
        End::Timeout => {
            client.block_on(async { tokio::time::timeout(delay, writing).await }).unwrap_err();
        }
    }
    let started = Instant::now();
    match end {
        End::RuntimeInBackground => client.shutdown_background(),
        End::RuntimeShutdown => client.shutdown_timeout(TRIAL_TIMEOUT),
        _ => return Some(client),
    }
    assert!(started.elapsed() < TRIAL_TIMEOUT, "{end:?} hangs");
    None
}

fn end_uploads(rounds: u64) {
    let servers = runtime();
    let world = servers.block_on(World::start());
    for round in 0..rounds {
        let delay = Duration::from_millis(round * 13 % 60);
        let end = |end| end_upload(&world, &format!("{end:?}-{round}"), end, delay);
        let runtimes: Vec<Runtime> = ENDS.into_iter().filter_map(end).collect();
        if round % 4 == 3 {
            runtimes.iter().for_each(assert_no_task_left);
        }
    }
    servers.block_on(async {
        let objects: Vec<_> =
            world.project.list_objects(BUCKET).unwrap().try_collect().await.expect("listed");
        assert_eq!(objects, [], "nothing was published");
        world.put("after", b"the network still works").await;
    });
}

#[test]
fn upload_whose_task_or_runtime_ends_is_not_published() {
    end_uploads(4);
}

#[test]
#[ignore = "soak: 1,000 ends"]
fn upload_whose_task_or_runtime_ends_soak() {
    end_uploads(200);
}
