//! Copies, moves and metadata updates that race with other changes of the object: each ends as
//! [`ErrorKind::ObjectChanged`] or with a whole version, and leaves no object that cannot be read.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use prost::Message;
use tokio::sync::Notify;
use uplink::{
    Access, Authenticity, BeginUploadOptions, CommitUploadOptions, Config, Error, ErrorKind,
    Project,
};
use uplink_rpc::r#gen::metainfo::BatchRequest;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_testnet::{Call, MaliciousSatellite};

use super::world::{BUCKET, PASSPHRASE, World, bytes, config};

/// A change of the object at `source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Copy,
    Move,
    Update,
}

/// When the other change happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// After the object was read, and before its keys are.
    BetweenReads,
    /// Before the segments are listed.
    BeforeList,
    /// Before the call that completes the change.
    BeforeFinish,
}

/// What another client does to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Deleted,
    Moved,
    Replaced,
    Updated,
}

/// How the object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Parts,
    Stream,
}

type Action = Pin<Box<dyn Future<Output = ()> + Send>>;

const SEGMENT: u64 = 64 << 10;
/// Two segments, the last one inline.
const SIZE: u64 = SEGMENT + 100;
const SOURCE: &str = "source";
/// The key to which the object is copied or moved.
const TARGET: &str = "target";
/// The key to which the other client moves the object.
const AWAY: &str = "away";
const CHANGES: [Change; 3] = [Change::Copy, Change::Move, Change::Update];
const MEANWHILE: [Meanwhile; 4] =
    [Meanwhile::Deleted, Meanwhile::Moved, Meanwhile::Replaced, Meanwhile::Updated];

/// A network, its proxy, and a project on either.
struct Race {
    proxy: MaliciousSatellite,
    delayed: Project,
    direct: Project,
    _world: World,
}

impl Race {
    async fn start() -> Self {
        let world = World::start().await;
        let proxy = MaliciousSatellite::start(&world.network).await.expect("the proxy starts");
        let delayed = Access::request(&proxy.url(), &world.api_key, PASSPHRASE).await;
        let delayed = open(&delayed.expect("an access grant"));
        let direct = open(&world.access);
        Self { proxy, delayed, direct, _world: world }
    }

    /// Runs `action` once, at a moment of the next change. Returns whether it ran.
    fn at(&self, moment: Moment, action: Action) -> Arc<AtomicBool> {
        let action = Arc::new(Mutex::new(Some(action)));
        let reached = Arc::new(AtomicBool::new(false));
        let reaching = Arc::clone(&reached);
        let read = Arc::new(Notify::new());
        self.proxy.intercept(move |call, upstream| {
            let taken = is_at(moment, &call).then(|| action.lock().unwrap().take()).flatten();
            reaching.fetch_or(taken.is_some(), Ordering::Relaxed);
            let read = Arc::clone(&read);
            async move {
                if let Some(action) = taken {
                    if moment == Moment::BetweenReads {
                        read.notified().await;
                    }
                    action.await;
                }
                let answer = upstream.call(&call).await;
                if reads_object(&call) {
                    read.notify_one();
                }
                answer
            }
        });
        reached
    }

    async fn perform(&self, change: Change) -> Result<(), Error> {
        let project = &self.delayed;
        match change {
            Change::Copy => project.copy_object(BUCKET, SOURCE, BUCKET, TARGET).await.map(drop),
            Change::Move => project.move_object(BUCKET, SOURCE, BUCKET, TARGET).await,
            Change::Update => {
                project.update_object_metadata(BUCKET, SOURCE, metadata("updated")).await
            }
        }
    }

    /// Asserts that whatever exists is a whole version, and returns the keys.
    async fn whole_objects(&self) -> Vec<&'static str> {
        let mut keys = Vec::new();
        for key in [SOURCE, TARGET, AWAY] {
            match read(&self.direct, key).await {
                Ok(_) => keys.push(key),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ObjectNotFound, "{key}: {error}"),
            }
        }
        keys
    }

    async fn clear(&self) {
        self.proxy.pass_through();
        for key in [SOURCE, TARGET, AWAY] {
            self.direct.delete_object(BUCKET, key).await.expect("deleted");
        }
    }
}

fn open(access: &Access) -> Project {
    let config: Config = config().segment_size(SEGMENT).require_seal(true);
    Project::open_with(access, &config).expect("a project")
}

fn metadata(value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("state".to_owned(), value.to_owned())])
}

fn reads_object(call: &Call) -> bool {
    if call.method != "Batch" {
        return false;
    }
    let batch = BatchRequest::decode(call.request.clone()).expect("a batch");
    batch.requests.iter().any(|item| matches!(item.request, Some(Request::ObjectGet(_))))
}

fn is_at(moment: Moment, call: &Call) -> bool {
    let methods: &[&str] = match moment {
        Moment::BetweenReads => &["BeginCopyObject", "BeginMoveObject"],
        Moment::BeforeList => &["ListSegments"],
        Moment::BeforeFinish => &["FinishCopyObject", "FinishMoveObject", "UpdateObjectMetadata"],
    };
    methods.contains(&call.method.as_str())
}

/// Writes an object whose bytes all depend on the version.
async fn write(project: &Project, key: &str, way: Way, version: u8) -> Result<(), Error> {
    let content = bytes(version, SIZE);
    let custom = metadata(&version.to_string());
    if way == Way::Stream {
        let mut upload = project.upload_object(BUCKET, key)?;
        upload.set_custom_metadata(custom)?;
        upload.write(&content).await?;
        return upload.commit().await.map(drop);
    }
    let begin = BeginUploadOptions::new().custom_metadata(custom);
    let id = project.begin_upload_with(BUCKET, key, &begin).await?;
    let mut receipts = Vec::new();
    for (number, content) in (1..).zip(content.chunks(20_000)) {
        let mut part = project.upload_part(BUCKET, key, &id, number)?;
        part.write(content).await?;
        receipts.push(part.commit().await?);
    }
    let options = CommitUploadOptions::new().receipts(receipts);
    project.commit_upload_with(BUCKET, key, &id, &options).await.map(drop)
}

/// Reads an object and asserts that it is a whole version. Returns its metadata.
async fn read(project: &Project, key: &str) -> Result<BTreeMap<String, String>, Error> {
    let mut download = project.download_object(BUCKET, key).await?;
    let read = download.read_to_end(u64::MAX).await?;
    assert_eq!(read.len() as u64, SIZE, "{key}");
    assert!(read == bytes(read[0], SIZE), "{key}: a mixture of versions");
    assert_eq!(download.object().authenticity, Authenticity::Sealed, "{key}");
    Ok(download.object().custom_metadata.clone())
}

fn meanwhile(project: &Project, what: Meanwhile, way: Way) -> Action {
    let project = project.clone();
    Box::pin(async move {
        let done = match what {
            Meanwhile::Deleted => project.delete_object(BUCKET, SOURCE).await.map(drop),
            Meanwhile::Moved => project.move_object(BUCKET, SOURCE, BUCKET, AWAY).await,
            Meanwhile::Replaced => write(&project, SOURCE, way, 2).await,
            Meanwhile::Updated => {
                project.update_object_metadata(BUCKET, SOURCE, metadata("meanwhile")).await
            }
        };
        done.expect("done meanwhile");
    })
}

fn moments(way: Way, change: Change) -> &'static [Moment] {
    match (way, change) {
        (Way::Stream, Change::Update) => &[Moment::BeforeFinish],
        (Way::Stream, _) => &[Moment::BetweenReads, Moment::BeforeFinish],
        (Way::Parts, _) => &[Moment::BeforeList, Moment::BeforeFinish],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_during_another_change_leaves_whole_versions() {
    let race = Race::start().await;
    for way in [Way::Stream, Way::Parts] {
        for change in CHANGES {
            for moment in moments(way, change) {
                for what in MEANWHILE {
                    check(&race, way, change, *moment, what).await;
                }
            }
        }
    }
}

async fn check(race: &Race, way: Way, change: Change, moment: Moment, what: Meanwhile) {
    let title = format!("{change:?} of {way:?}, {what:?} {moment:?}");
    write(&race.direct, SOURCE, way, 1).await.expect("written");
    let reached = race.at(moment, meanwhile(&race.direct, what, way));
    let outcome = race.perform(change).await;
    assert!(reached.load(Ordering::Relaxed), "{title}: the moment did not come");
    println!("{title}: {:?}", outcome.as_ref().map_err(|error| error.to_string()));
    let keys = race.whole_objects().await;
    match &outcome {
        Ok(()) => {
            let key = if change == Change::Update { SOURCE } else { TARGET };
            assert!(keys.contains(&key), "{title}: nothing at {key:?}");
            assert_ne!(what, Meanwhile::Replaced, "{title}: which version?");
        }
        Err(error) => {
            let is_missing = error.kind() == ErrorKind::ObjectNotFound
                && matches!(what, Meanwhile::Deleted | Meanwhile::Moved);
            assert!(is_missing || error.kind() == ErrorKind::ObjectChanged, "{title}: {error}");
            assert!(!keys.contains(&TARGET), "{title}: an object after {error}");
        }
    }
    assert_eq!(keys.is_empty(), what == Meanwhile::Deleted, "{title}: {keys:?}");
    race.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_beside_a_writer_leave_whole_versions() {
    let race = Race::start().await;
    for (way, change) in
        [Way::Stream, Way::Parts].into_iter().flat_map(|way| CHANGES.map(|change| (way, change)))
    {
        write(&race.direct, SOURCE, way, 1).await.expect("written");
        let done = Arc::new(AtomicBool::new(false));
        let writer = tokio::spawn(keep_writing(race.direct.clone(), way, Arc::clone(&done)));
        let mut changed = 0;
        for _ in 0..ATTEMPTS {
            match race.perform(change).await {
                Ok(()) if change == Change::Update => changed += 1,
                Ok(()) => {
                    changed += 1;
                    read(&race.direct, TARGET).await.expect("a whole version");
                }
                Err(error) => {
                    let kinds = [ErrorKind::ObjectChanged, ErrorKind::ObjectNotFound];
                    assert!(kinds.contains(&error.kind()), "{way:?}, {change:?}: {error:?}");
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        let written = writer.await.expect("a writer");
        println!("{change:?} of {way:?}: {changed} of {ATTEMPTS} beside {written} writes");
        let keys = race.whole_objects().await;
        assert!(keys.contains(&SOURCE) || change == Change::Move, "{keys:?}");
        race.clear().await;
    }
}

/// Changes beside a writer, for each way and change.
const ATTEMPTS: u32 = 25;

/// Replaces the object until `done`. Returns how often.
async fn keep_writing(project: Project, way: Way, done: Arc<AtomicBool>) -> u32 {
    let mut written = 0;
    while !done.load(Ordering::Relaxed) {
        write(&project, SOURCE, way, written as u8).await.expect("written");
        written += 1;
    }
    written
}
