//! Objects under attack, by writer and by later change.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::clients::{Clients, b64};
use super::fixture::{Fixture, Shape, put};
use super::forgery::Forgery;
use super::raw::Raw;
use super::world::{Known, SEGMENT, content, known};

/// The writer of an object and the later change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) by: Writer,
    /// Change by the reference client.
    pub(crate) then: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    Ours,
    Reference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Copied,
    Moved,
    Nothing,
    /// Its metadata was replaced.
    Updated,
}

/// Layout of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Stream(Shape),
    /// Numbers and sizes of parts, and whether the commit had metadata.
    Parts(&'static [(u32, u64)], bool),
}

/// An object, with other versions at the same key that a satellite could serve in its place.
pub(crate) struct Subject {
    pub(crate) cut: Cut,
    pub(crate) origin: Origin,
    pub(crate) fixture: Fixture,
    /// An earlier version of another size, with segments of other sizes.
    pub(crate) resized: Forgery,
    /// The earlier version as written by our client.
    pub(crate) ours: Forgery,
}

/// Bytes by which the last segment of the other version is larger.
const RESIZED: u64 = 777;

impl Cut {
    pub(crate) fn size(self) -> u64 {
        match self {
            Self::Stream(shape) => shape.size(),
            Self::Parts(parts, _) => parts.iter().map(|(_, size)| size).sum(),
        }
    }

    /// Returns a shape with three more segments, so that even an empty object has an earlier
    /// version with some.
    fn resized(self) -> Shape {
        let last = match self {
            Self::Stream(shape) => (shape.last + RESIZED) % SEGMENT,
            Self::Parts(..) => RESIZED,
        };
        Shape::new(self.size() / SEGMENT + 3, last)
    }

    fn title(self) -> String {
        match self {
            Self::Stream(shape) => format!("{} segments, last {}", shape.count, shape.last),
            Self::Parts(parts, metadata) => format!("parts {parts:?}, metadata: {metadata}"),
        }
    }

    fn has_metadata(self) -> bool {
        !matches!(self, Self::Parts(_, false))
    }
}

impl Subject {
    pub(crate) async fn create(clients: &Clients, origin: Origin, cut: Cut) -> Self {
        Self::create_with(clients, origin, cut, |_| {}).await
    }

    /// Creates a subject whose content is edited by `change`.
    pub(crate) async fn create_with(
        clients: &Clients,
        origin: Origin,
        cut: Cut,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        let key = format!("{origin:?} {cut:?}");
        let mut known = known(&key, cut.size());
        change(Arc::make_mut(&mut known.contents[0]));
        if !cut.has_metadata() {
            known.custom = [BTreeMap::new(), BTreeMap::new()];
        }
        let raw = Raw::new(&clients.world);
        let encrypted_key = raw.encrypted_key(&key);
        let shape = cut.resized();
        let other_size = Known {
            contents: [2, 3].map(|version| content(&key, version, shape.size()).into()),
            ..known.clone()
        };
        write(clients, origin, Cut::Stream(shape), &other_size, &key, 0).await;
        let resized = Forgery::move_aside(&raw, &encrypted_key, "resized").await;
        put(&clients.ours, &known, &key, 1).await;
        let ours = Forgery::move_aside(&raw, &encrypted_key, "ours").await;
        let title = format!("{:?} {:?}: {}", origin.by, origin.then, cut.title());
        let write = async |key: &str, version| {
            write(clients, origin, cut, &known, key, version).await;
        };
        let fixture = Fixture::written(&clients.world, title, known.clone(), write).await;
        Self { cut, origin, fixture, resized, ours }
    }
}

/// Writes a version of an object at `key`.
async fn write(
    clients: &Clients,
    origin: Origin,
    cut: Cut,
    known: &Known,
    key: &str,
    version: usize,
) {
    let elsewhere = format!("{key}-source");
    let at = if matches!(origin.then, Change::Copied | Change::Moved) { &elsewhere } else { key };
    match (origin.by, cut) {
        (Writer::Ours, Cut::Stream(_)) => put(&clients.ours, known, at, version).await,
        (Writer::Reference, Cut::Stream(_)) => {
            let data = b64(&*known.contents[version]);
            let custom = &known.custom[version];
            let upload = json!({"key": b64(at), "data": data, "custom": custom});
            clients.call("upload", upload).await;
        }
        (_, Cut::Parts(parts, metadata)) => {
            put_parts(clients, parts, metadata, known, at, version).await;
        }
    }
    match origin.then {
        Change::Copied => clients.copy_or_move("copy", at, key).await,
        Change::Moved => clients.copy_or_move("move", at, key).await,
        Change::Nothing => {}
        Change::Updated => {
            let custom = &known.custom[version];
            let command = json!({"key": b64(key), "custom": custom});
            clients.call("update_metadata", command).await;
        }
    }
}

async fn put_parts(
    clients: &Clients,
    parts: &[(u32, u64)],
    metadata: bool,
    known: &Known,
    key: &str,
    version: usize,
) {
    let started = clients.call("begin_upload", json!({"key": b64(key)})).await;
    let id = &started["upload_id"];
    let mut rest = &known.contents[version][..];
    for (number, size) in parts {
        let (now, later) = rest.split_at(*size as usize);
        rest = later;
        let part = json!({"key": b64(key), "upload_id": id, "part": number, "data": b64(now)});
        clients.call("upload_part", part).await;
    }
    let mut commit = json!({"key": b64(key), "upload_id": id});
    if metadata {
        commit["custom"] = json!(known.custom[version]);
    }
    clients.call("commit_upload", commit).await;
}
