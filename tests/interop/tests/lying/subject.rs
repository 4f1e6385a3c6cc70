//! Objects to lie about, by who wrote them and what the reference client did with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::clients::{Clients, b64};
use super::material::{Material, Shape, put};
use super::raw::Raw;
use super::story::Story;
use super::world::{Known, SEGMENT, content, known};

/// How an object came to be where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) by: Writer,
    /// What the reference client did with it afterwards.
    pub(crate) then: Deed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    Ours,
    Reference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Copied,
    Moved,
    Nothing,
    /// Its metadata was replaced.
    Updated,
}

/// How an object is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Stream(Shape),
    /// Numbers and sizes of parts, and whether their commit had metadata.
    Parts(&'static [(u32, u64)], bool),
}

/// An object with others at the same key that a satellite could serve in its place.
pub(crate) struct Subject {
    pub(crate) cut: Cut,
    pub(crate) origin: Origin,
    pub(crate) material: Material,
    /// An earlier version of another size, in which the segments are of other sizes too.
    pub(crate) resized: Story,
    /// The earlier version as our client wrote it.
    pub(crate) ours: Story,
}

/// By how much the last segment of the other version is larger.
const RESIZED: u64 = 777;

impl Cut {
    pub(crate) fn size(self) -> u64 {
        match self {
            Self::Stream(shape) => shape.size(),
            Self::Parts(parts, _) => parts.iter().map(|(_, size)| size).sum(),
        }
    }

    /// Three segments more, so that even an empty object has an earlier version with some.
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
    pub(crate) async fn make(clients: &Clients, origin: Origin, cut: Cut) -> Self {
        Self::holding(clients, origin, cut, |_| {}).await
    }

    /// The same, with a content that `change` changes.
    pub(crate) async fn holding(
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
        let resized = Story::put_aside(&raw, &encrypted_key, "resized").await;
        put(&clients.ours, &known, &key, 1).await;
        let ours = Story::put_aside(&raw, &encrypted_key, "ours").await;
        let title = format!("{:?} {:?}: {}", origin.by, origin.then, cut.title());
        let write = async |key: &str, version| {
            write(clients, origin, cut, &known, key, version).await;
        };
        let material = Material::written(&clients.world, title, known.clone(), write).await;
        Self { cut, origin, material, resized, ours }
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
    let at = if matches!(origin.then, Deed::Copied | Deed::Moved) { &elsewhere } else { key };
    match (origin.by, cut) {
        (Writer::Ours, Cut::Stream(_)) => put(&clients.ours, known, at, version).await,
        (Writer::Reference, Cut::Stream(_)) => {
            let (data, custom) = (b64(&*known.contents[version]), &known.custom[version]);
            let upload = json!({"key": b64(at), "data": data, "custom": custom});
            clients.ask("upload", upload).await;
        }
        (_, Cut::Parts(parts, metadata)) => {
            put_parts(clients, parts, metadata, known, at, version).await;
        }
    }
    match origin.then {
        Deed::Copied => clients.carry("copy", at, key).await,
        Deed::Moved => clients.carry("move", at, key).await,
        Deed::Nothing => {}
        Deed::Updated => {
            let custom = &known.custom[version];
            let command = json!({"key": b64(key), "custom": custom});
            clients.ask("update_metadata", command).await;
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
    let begun = clients.ask("begin_upload", json!({"key": b64(key)})).await;
    let id = &begun["upload_id"];
    let mut rest = &known.contents[version][..];
    for (number, size) in parts {
        let (now, later) = rest.split_at(*size as usize);
        rest = later;
        let part = json!({"key": b64(key), "upload_id": id, "part": number, "data": b64(now)});
        clients.ask("upload_part", part).await;
    }
    let mut commit = json!({"key": b64(key), "upload_id": id});
    if metadata {
        commit["custom"] = json!(known.custom[version]);
    }
    clients.ask("commit_upload", commit).await;
}
