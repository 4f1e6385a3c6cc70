//! Copies, moves and metadata updates under attack, and checks of what they leave behind.

use uplink::{CopyOptions, Error, ErrorKind, Project};

use super::checks::{Checked, wrong_unless};
use super::operations::{End, Operation, Setting, target};
use super::world::{BUCKET, Kind, Known, World, custom, known};

/// The object that a copy with other metadata copies.
const COPIED_WITH: Kind = Kind::ThreeSegments;

/// Writes the object that is moved or updated.
pub(crate) async fn prepare(world: &World, kind: Kind, name: &str) {
    let object = known(name, kind.size());
    kind.making().write(world, &world.honest, &object, name, 0).await;
}

/// Performs a change. Copies are made at `name`; the object at `name` is moved or updated.
pub(crate) async fn perform(project: &Project, setting: Setting, name: &str) -> Checked {
    match setting.operation {
        Operation::Copy => copy(project, &target(setting.kind), name).await,
        Operation::CopyWith => copy_with(project, &target(COPIED_WITH), name).await,
        Operation::Move => {
            project.move_object(BUCKET, name, BUCKET, moved(name)).await.map(|()| None)
        }
        _ => {
            let updated = project.update_object_metadata(BUCKET, name, custom(name, 2)).await;
            updated.map(|()| None)
        }
    }
}

/// Checks directly on the satellite what a change left behind.
pub(crate) async fn verify(
    world: &World,
    setting: Setting,
    name: &str,
    end: End,
) -> Option<String> {
    let object = known(name, setting.kind.size());
    match setting.operation {
        Operation::Copy => verify_copy(world, &target(setting.kind), name, end).await,
        Operation::CopyWith => verify_copy(world, &target(COPIED_WITH), name, end).await,
        Operation::Move => verify_move(world, &object, end).await,
        _ => verify_update(world, &object, end).await,
    }
}

async fn copy(project: &Project, source: &Known, to: &str) -> Checked {
    let copy = project.copy_object(BUCKET, &source.key, BUCKET, to).await?;
    let is_known = source.custom.contains(&copy.custom_metadata);
    let is_right = copy.size == source.contents[0].len() as u64 && copy.key.to_text() == to;
    Ok(wrong_unless(is_right && is_known, || format!("the copy is {copy:?}")))
}

async fn copy_with(project: &Project, source: &Known, to: &str) -> Checked {
    let options = CopyOptions::new().custom_metadata(custom(to, 2));
    let copied = project.copy_object_with(BUCKET, &source.key, BUCKET, to, &options);
    let copy = copied.await?;
    let is_right = copy.size == source.contents[0].len() as u64 && copy.key.to_text() == to;
    let is_new = copy.custom_metadata == custom(to, 2);
    Ok(wrong_unless(is_right && is_new, || format!("the copy is {copy:?}")))
}

/// Returns the key to which the object at `name` is moved.
fn moved(name: &str) -> String {
    format!("{name}-moved")
}

/// A copy is exact or unreadable, and there is none after an error.
async fn verify_copy(world: &World, source: &Known, to: &str, end: End) -> Option<String> {
    match (end, world.get(BUCKET, to).await) {
        (End::Failed, Ok(_)) => Some("an error, but the copy is visible".to_owned()),
        (End::Failed, Err(error)) => {
            wrong_unless(error.kind() == ErrorKind::ObjectNotFound, || {
                format!("an error, but the copy is visible and corrupt: {error}")
            })
        }
        (_, Ok(read)) => wrong_content(source, &read),
        (End::Succeeded, Err(error)) => unless_refused(&error),
        (End::Unknown, Err(_)) => None,
    }
}

/// A moved object is exact or unreadable, and there is none at the old key. After an error it is where
/// it was.
async fn verify_move(world: &World, object: &Known, end: End) -> Option<String> {
    let old = world.get(BUCKET, &object.key).await;
    let new = world.get(BUCKET, &moved(&object.key)).await;
    let wrong = [&old, &new].into_iter().flatten().find_map(|read| wrong_content(object, read));
    match (end, old, new) {
        _ if wrong.is_some() => wrong,
        (End::Succeeded, Ok(_), _) => Some("moved, but still there".to_owned()),
        (End::Succeeded, _, Err(error)) => unless_refused(&error),
        (End::Failed, Err(error), _) => Some(format!("an error, but it was moved: {error}")),
        _ => None,
    }
}

/// An updated object is exact or unreadable, with the new metadata. After an error it is as it was.
async fn verify_update(world: &World, object: &Known, end: End) -> Option<String> {
    let read = match (end, world.get(BUCKET, &object.key).await) {
        (_, Ok(read)) => read,
        (End::Failed, Err(error)) => return Some(format!("an error, but it is corrupt: {error}")),
        (_, Err(error)) => return unless_refused(&error),
    };
    let found = world.honest.stat_object(BUCKET, &object.key).await;
    let found = found.map(|found| found.custom_metadata);
    let is_right = match end {
        End::Succeeded => found.is_ok_and(|found| found == custom(&object.key, 2)),
        End::Failed => found.is_ok_and(|found| found == object.custom[0]),
        End::Unknown => true,
    };
    let wrong = wrong_unless(is_right, || "metadata does not match the outcome".to_owned());
    wrong_content(object, &read).or(wrong)
}

fn wrong_content(object: &Known, read: &Vec<u8>) -> Option<String> {
    let is_known = object.contents.iter().any(|content| **content == *read);
    wrong_unless(is_known, || format!("{} other bytes are stored", read.len()))
}

/// Accepts an object that the rules of the layout refuse: the satellite made the change false.
fn unless_refused(error: &Error) -> Option<String> {
    let kinds = [ErrorKind::LayoutUnauthenticated, ErrorKind::Decryption];
    wrong_unless(kinds.contains(&error.kind()), || {
        format!("success, but the object cannot be read: {error}")
    })
}
