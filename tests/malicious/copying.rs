//! The table of attacks on copies, moves and updates: whatever the satellite answers, the client sends
//! it only keys and seals of one whole version, and never an object that reads as anything else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use uplink::{Error, ErrorKind, Project};
use uplink_rpc::r#gen::metainfo as messages;
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response;
use uplink_testnet::{Answer, Call};

use super::checks::{Checked, TransportKind, wrong_unless};
use super::fixture::{Fixture, Shape};
use super::forgery::{Forgery, encoded, requests_of};
use super::making::{ONE_PART, PARTS, Then, Way};
use super::reader::{Attack, TRUTH};
use super::subjects::Subject;
use super::table;
use super::versions::Versions;
use super::world::{BUCKET, SEGMENT, World};

/// A change of the object under attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Copy,
    Move,
    Update,
}

/// Requests that complete changes.
type Sent = Arc<Mutex<Vec<Request>>>;

/// Time limit of a change.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// Findings that are printed.
const MAX_PRINTED: usize = 20;
/// Two segments, the last one inline.
const STREAM: Shape = Shape::new(2, 100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_on_changes_send_no_key_of_another_version() {
    let subjects =
        [Subject::stream(STREAM, Then::Nothing), Subject::parts(Way::Parts(PARTS), Then::Nothing)];
    let changes = [
        (Change::Copy, TransportKind::Grpc),
        (Change::Move, TransportKind::Drpc),
        (Change::Update, TransportKind::Grpc),
    ];
    check(&subjects, &changes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak: every attack on every change of more objects, over both transports"]
async fn attacks_on_changes_of_more_objects_soak() {
    let shapes = [Shape::new(1, 0), Shape::new(1, 4096), STREAM, Shape::new(3, SEGMENT)];
    let mut subjects = Vec::new();
    for then in [Then::Nothing, Then::Copied, Then::Moved, Then::Updated] {
        subjects.extend(shapes.map(|shape| Subject::stream(shape, then)));
        subjects.extend([PARTS, ONE_PART].map(|parts| Subject::parts(Way::Parts(parts), then)));
        subjects.push(Subject::parts(Way::Receipts(PARTS), then));
    }
    let over =
        |transport| [Change::Copy, Change::Move, Change::Update].map(|change| (change, transport));
    check(&subjects, &[over(TransportKind::Grpc), over(TransportKind::Drpc)].concat()).await;
}

/// Changes each object under every attack and fails with the attacks that succeeded.
async fn check(subjects: &[Subject], changes: &[(Change, TransportKind)]) {
    let world = World::start().await;
    let mut findings = Vec::new();
    let mut count = 0;
    for subject in subjects {
        let fixture = subject.create(&world).await;
        let versions = Versions::of(&fixture);
        let truth = fixture.attack(TRUTH, vec![fixture.b.clone()]);
        let attacks: Vec<Attack> =
            std::iter::once(truth).chain(table::all(&fixture).await).collect();
        for (change, transport) in changes {
            let project = world.project(transport.get());
            let attacked =
                Attacked { world: &world, project, fixture: &fixture, versions: &versions };
            for attack in &attacks {
                count += 1;
                let title = format!("{change:?} of {}: {}", fixture.title, attack.name);
                let found = attacked.check(attack, *change).await;
                findings.extend(found.map(|wrong| format!("{title}: {wrong}")));
            }
        }
    }
    println!("{count} changes under attack");
    let shown = findings[..findings.len().min(MAX_PRINTED)].join("\n");
    assert!(findings.is_empty(), "{} attacks succeeded:\n{shown}", findings.len());
}

/// An object under attack, and the client that changes it.
struct Attacked<'a> {
    world: &'a World,
    project: Project,
    fixture: &'a Fixture,
    versions: &'a Versions,
}

impl Attacked<'_> {
    /// Performs a change under attack and returns what is wrong, if anything is.
    async fn check(&self, attack: &Attack, change: Change) -> Option<String> {
        let to = self.world.fresh_name();
        let sent = self.install(attack);
        let begun = Instant::now();
        let changing = timeout(3 * TIME_LIMIT, self.perform(change, &to));
        let Ok(outcome) = changing.await else { return Some("not finished in time".to_owned()) };
        let time = begun.elapsed();
        self.world.satellite.pass_through();
        let sent = std::mem::take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner));
        let content_key = self.fixture.raw.content_key(&to);
        let mixed = sent.iter().find_map(|request| self.versions.check(request, &content_key));
        let found = match outcome {
            _ if mixed.is_some() => mixed,
            _ if time > TIME_LIMIT => Some(format!("it took {time:?}")),
            Ok(_) if attack.is_refused() => Some("accepted".to_owned()),
            Ok(wrong) => wrong,
            Err(error) if error.kind() == ErrorKind::Internal || attack.name == TRUTH => {
                Some(format!("refused: {error}"))
            }
            Err(error) => return self.check_refused(change, &to, &error).await,
        };
        match found {
            None => self.check_accepted(attack, change, &to, &sent).await,
            found => found,
        }
    }

    /// Makes the proxy answer with the forgeries. It forwards copies. It records moves and updates and
    /// answers them by itself, so that the object stays for the next attack.
    fn install(&self, attack: &Attack) -> Sent {
        let forger = attack.forger(self.fixture);
        let sent = Sent::default();
        let recorder = Arc::clone(&sent);
        self.world.satellite.intercept(move |call, upstream| {
            let forger = Arc::clone(&forger);
            let answer = record(&recorder, &call);
            async move {
                match answer {
                    Some(answer) => answer,
                    None => forger.answer(call, upstream).await,
                }
            }
        });
        sent
    }

    async fn perform(&self, change: Change, to: &str) -> Checked {
        let known = &self.fixture.known;
        let key = known.key.as_str();
        match change {
            Change::Copy => {
                let copy = self.project.copy_object(BUCKET, key, BUCKET, to).await?;
                let is_known = known.custom.contains(&copy.custom_metadata);
                let is_right =
                    copy.key.to_text() == to && copy.size == self.fixture.size() && is_known;
                Ok(wrong_unless(is_right, || format!("the copy is {copy:?}")))
            }
            Change::Move => self.project.move_object(BUCKET, key, BUCKET, to).await.map(|()| None),
            Change::Update => {
                let entries = known.custom[0].clone();
                self.project.update_object_metadata(BUCKET, key, entries).await.map(|()| None)
            }
        }
    }

    /// Checks that a refused copy left no object behind, unless its outcome is unknown.
    async fn check_refused(&self, change: Change, to: &str, error: &Error) -> Option<String> {
        if change != Change::Copy || error.kind() == ErrorKind::OutcomeUnknown {
            return None;
        }
        let left = self.world.honest.stat_object(BUCKET, to).await;
        let is_absent = left.is_err_and(|error| error.kind() == ErrorKind::ObjectNotFound);
        wrong_unless(is_absent, || format!("an object is left after the error: {error}"))
    }

    /// Checks that the changed object reads as a whole version, or not at all.
    async fn check_accepted(
        &self,
        attack: &Attack,
        change: Change,
        to: &str,
        sent: &[Request],
    ) -> Option<String> {
        let read = match (change, sent) {
            (Change::Copy, _) => self.world.get(BUCKET, to).await,
            (Change::Move, [_]) => return None,
            (Change::Update, [Request::ObjectUpdateMetadata(update)]) => {
                self.read_updated(update).await
            }
            (_, sent) => return Some(format!("{} requests complete it", sent.len())),
        };
        let contents = &self.fixture.known.contents;
        match read {
            Ok(bytes) => wrong_unless(contents.iter().any(|known| **known == bytes), || {
                format!("reads as {} other bytes", bytes.len())
            }),
            Err(error) => {
                wrong_unless(attack.name != TRUTH && error.kind() != ErrorKind::Internal, || {
                    format!("cannot be read: {error}")
                })
            }
        }
    }

    /// Reads the object as an honest satellite would return it after an update.
    async fn read_updated(
        &self,
        update: &messages::UpdateObjectMetadataRequest,
    ) -> Result<Vec<u8>, Error> {
        let object = messages::Object {
            encrypted_metadata: update.encrypted_metadata.clone(),
            encrypted_metadata_encrypted_key: update.encrypted_metadata_encrypted_key.clone(),
            encrypted_metadata_nonce: update.encrypted_metadata_nonce.clone(),
            encrypted_etag: update.encrypted_etag.clone(),
            ..self.fixture.b.object.clone()
        };
        let updated = Forgery { object, ..self.fixture.b.clone() };
        let updated = self.fixture.attack("updated", vec![updated]);
        updated.install(self.world, self.fixture);
        let read = async {
            let key = &self.fixture.known.key;
            let mut download = self.project.download_object(BUCKET, key).await?;
            download.read_to_end(u64::MAX).await.map(Vec::from)
        };
        let read = read.await;
        self.world.satellite.pass_through();
        read
    }
}

/// Records a request that completes a change. Returns the answer to those that are not forwarded.
fn record(sent: &Sent, call: &Call) -> Option<Answer> {
    let request = requests_of(call).into_iter().find(|request| {
        matches!(
            request,
            Request::ObjectFinishCopy(_)
                | Request::ObjectFinishMove(_)
                | Request::ObjectUpdateMetadata(_)
        )
    })?;
    let response = match &request {
        Request::ObjectFinishMove(_) => Some(Response::ObjectFinishMove(Default::default())),
        Request::ObjectUpdateMetadata(_) => {
            Some(Response::ObjectUpdateMetadata(Default::default()))
        }
        _ => None,
    };
    sent.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    Some(Ok(encoded(&response?)))
}
