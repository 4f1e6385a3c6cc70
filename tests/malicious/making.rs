//! How the objects under attack are made: as one stream or in parts, and changed afterwards or not.

use std::collections::BTreeMap;

use uplink::{
    BeginUploadOptions, CommitUploadOptions, Config, Error, Object, PartReceipt, Permission,
    Project,
};

use super::fixture::put;
use super::world::{BUCKET, Kind, Known, SEGMENT, World};

/// Numbers and plain sizes of parts.
pub(crate) type Parts = &'static [(u32, u64)];

/// A part of two segments, one of one segment, and an inline last one.
pub(crate) const PARTS: Parts = &[(1, SEGMENT + 10_000), (3, 20_000), (7, 100)];
/// A single part of one segment.
pub(crate) const ONE_PART: Parts = &[(1, 20_000)];

/// How an object is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Making {
    pub(crate) way: Way,
    pub(crate) then: Then,
}

/// How the content of an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Stream,
    /// A multipart upload, sealed from the satellite's list.
    Parts(Parts),
    /// A multipart upload by an access grant that may not read, sealed from the receipts.
    Receipts(Parts),
}

/// What is done with an object afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    Copied,
    Moved,
    /// Its metadata is replaced.
    Updated,
}

impl Making {
    pub(crate) const STREAM: Self = Self::new(Way::Stream, Then::Nothing);

    pub(crate) const fn new(way: Way, then: Then) -> Self {
        Self { way, then }
    }

    /// Writes a version of an object at `key`.
    pub(crate) async fn write(
        self,
        world: &World,
        project: &Project,
        known: &Known,
        key: &str,
        version: usize,
    ) {
        let elsewhere = format!("{key}-source");
        let at = match self.then {
            Then::Copied | Then::Moved => elsewhere.as_str(),
            Then::Nothing | Then::Updated => key,
        };
        let before = Known {
            custom: match self.then {
                Then::Updated => [known.custom[1].clone(), known.custom[0].clone()],
                _ => known.custom.clone(),
            },
            ..known.clone()
        };
        self.way.write(world, project, &before, at, version).await;
        let changed = match self.then {
            Then::Nothing => Ok(()),
            Then::Copied => project.copy_object(BUCKET, at, BUCKET, key).await.map(drop),
            Then::Moved => project.move_object(BUCKET, at, BUCKET, key).await,
            Then::Updated => {
                let custom = known.custom[version].clone();
                project.update_object_metadata(BUCKET, key, custom).await
            }
        };
        changed.expect("changed");
    }
}

impl Way {
    async fn write(
        self,
        world: &World,
        project: &Project,
        known: &Known,
        key: &str,
        version: usize,
    ) {
        let plain = &known.contents[version];
        let custom = &known.custom[version];
        let written = match self {
            Self::Stream => return put(project, known, key, version).await,
            Self::Parts(parts) => put_parts(project, key, (parts, plain), custom, false).await,
            Self::Receipts(parts) => {
                let writer = world.honest_access.share(&Permission::write_only(), &[]);
                let writer = writer.expect("shared");
                let config = Config::new().segment_size(SEGMENT);
                let writer = Project::open_with(&writer, &config).expect("a project");
                put_parts(&writer, key, (parts, plain), custom, true).await
            }
        };
        written.expect("uploaded");
    }
}

impl Kind {
    /// Returns how objects of this kind are made.
    pub(crate) fn making(self) -> Making {
        match self {
            Self::Empty | Self::Inline | Self::OneSegment | Self::ThreeSegments => Making::STREAM,
            Self::Parts => Making::new(Way::Parts(PARTS), Then::Nothing),
            Self::OnePart => Making::new(Way::Receipts(ONE_PART), Then::Nothing),
            Self::Copied => Making::new(Way::Stream, Then::Copied),
            Self::Moved => Making::new(Way::Parts(PARTS), Then::Moved),
            Self::Updated => Making::new(Way::Stream, Then::Updated),
        }
    }
}

/// Returns the ETag that [`upload_parts`] gives a part.
pub(crate) fn etag(number: u32) -> Vec<u8> {
    format!("etag {number}").into_bytes()
}

/// Uploads the parts of a begun upload, one after another.
pub(crate) async fn upload_parts(
    project: &Project,
    key: &str,
    id: &str,
    (parts, plain): (Parts, &[u8]),
) -> Result<Vec<PartReceipt>, Error> {
    let mut rest = plain;
    let mut receipts = Vec::new();
    for (number, size) in parts {
        let mut part = project.upload_part(BUCKET, key, id, *number)?;
        part.set_etag(etag(*number));
        let (content, later) = rest.split_at(*size as usize);
        part.write(content).await?;
        receipts.push(part.commit().await?);
        rest = later;
    }
    Ok(receipts)
}

/// Uploads an object in parts. With `by_receipts` the commit names the receipts and the metadata;
/// otherwise both come from the satellite.
pub(crate) async fn put_parts(
    project: &Project,
    key: &str,
    content: (Parts, &[u8]),
    custom: &BTreeMap<String, String>,
    by_receipts: bool,
) -> Result<Object, Error> {
    let begin = BeginUploadOptions::new().custom_metadata(custom.clone());
    let id = project.begin_upload_with(BUCKET, key, &begin).await?;
    let receipts = upload_parts(project, key, &id, content).await?;
    let options = match by_receipts {
        true => CommitUploadOptions::new().receipts(receipts).custom_metadata(custom.clone()),
        false => CommitUploadOptions::new(),
    };
    project.commit_upload_with(BUCKET, key, &id, &options).await
}
