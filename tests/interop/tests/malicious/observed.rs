//! What the two clients return for an object under attack.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use uplink::{Authenticity, Error, Object, Project};

use super::checks::into_uplink_error;
use super::clients::{Clients, b64};
use super::fixture::Fixture;
use super::read_modes::{ReadMode, options, range, seek_ranges};
use super::world::BUCKET;

/// The result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    /// Length and SHA-256 of each range read.
    Bytes(Vec<(u64, String)>),
    /// Size and metadata.
    Object(i64, BTreeMap<String, String>),
}

impl Observed {
    /// Reads with our client.
    pub(crate) async fn by_ours(
        project: &Project,
        fixture: &Fixture,
        read: ReadMode,
    ) -> Result<Self, Error> {
        let key = &fixture.known.key;
        let claimed = |object: &Object| {
            assert_eq!(object.authenticity, Authenticity::Claimed, "{}", fixture.title);
        };
        if read == ReadMode::Stat {
            let object = project.stat_object(BUCKET, key).await?;
            claimed(&object);
            return Ok(Self::Object(object.size as i64, object.custom_metadata));
        }
        if read != ReadMode::Seek {
            let options = options(read, &range(fixture, read));
            let mut download = project.download_object_with(BUCKET, key, &options).await?;
            claimed(download.object());
            return Ok(Self::Bytes(vec![digest(&download.read_to_end(u64::MAX).await?)]));
        }
        let mut download = project.download_object(BUCKET, key).await?;
        claimed(download.object());
        let mut pieces = Vec::new();
        for range in seek_ranges(fixture.size() as usize) {
            let start = SeekFrom::Start(range.start as u64);
            download.seek(start).await.map_err(into_uplink_error)?;
            let mut piece = Vec::new();
            let mut part = (&mut download).take(range.len() as u64);
            part.read_to_end(&mut piece).await.map_err(into_uplink_error)?;
            pieces.push(digest(&piece));
        }
        Ok(Self::Bytes(pieces))
    }

    /// Reads with the reference client, which has no seek: each range is a separate download.
    pub(crate) async fn by_reference(
        clients: &Clients,
        fixture: &Fixture,
        read: ReadMode,
    ) -> Result<Self, String> {
        let mut command = json!({"key": b64(&fixture.known.key)});
        let range = range(fixture, read);
        match read {
            ReadMode::Stat => {
                let stat = clients.call_through_proxy("stat", command).await?;
                let custom = serde_json::from_value(stat["custom"].clone()).unwrap_or_default();
                return Ok(Self::Object(stat["size"].as_i64().expect("a size"), custom));
            }
            ReadMode::Seek => {
                let mut pieces = Vec::new();
                for range in seek_ranges(fixture.size() as usize) {
                    let mut piece = command.clone();
                    piece["offset"] = range.start.into();
                    piece["length"] = range.len().into();
                    pieces.push(received(&clients.call_through_proxy("download", piece).await?));
                }
                return Ok(Self::Bytes(pieces));
            }
            // A suffix of 0 bytes would be the whole object.
            ReadMode::Suffix if !range.is_empty() => {
                command["offset"] = (-((range.end - range.start) as i64)).into();
            }
            ReadMode::Segment(_) | ReadMode::Suffix => {
                command["offset"] = range.start.into();
                command["length"] = (range.end - range.start).into();
            }
            ReadMode::Whole => {}
        }
        Ok(Self::Bytes(vec![received(&clients.call_through_proxy("download", command).await?)]))
    }

    /// Returns whether only unauthenticated properties are wrong: the size, and that there is no
    /// metadata.
    pub(crate) fn is_right(&self, fixture: &Fixture, read: ReadMode) -> bool {
        let known = &fixture.known;
        match self {
            Self::Object(_, custom) => custom.is_empty() || known.custom.contains(custom),
            Self::Bytes(pieces) => known.contents.iter().any(|content| {
                places(fixture, read)
                    .into_iter()
                    .map(|range| digest(&content[range]))
                    .eq(pieces.iter().cloned())
            }),
        }
    }
}

/// Returns the ranges of the object that a read returns.
fn places(fixture: &Fixture, read: ReadMode) -> Vec<Range<usize>> {
    if read == ReadMode::Seek {
        return seek_ranges(fixture.size() as usize).to_vec();
    }
    let range = range(fixture, read);
    std::iter::once(range.start as usize..range.end as usize).collect()
}

fn received(answer: &Value) -> (u64, String) {
    let length = answer["length"].as_u64().expect("a length");
    (length, answer["sha256"].as_str().expect("a digest").to_owned())
}

fn digest(bytes: &[u8]) -> (u64, String) {
    (bytes.len() as u64, hex::encode(Sha256::digest(bytes)))
}
