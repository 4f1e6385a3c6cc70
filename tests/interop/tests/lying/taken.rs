//! What the two clients take for an object under attack.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use uplink::{Authenticity, DownloadOptions, Error, Object, Project};

use super::clients::{Clients, b64};
use super::judging::uplink_error;
use super::material::Material;
use super::ways::{Read, options, range, sought};
use super::world::BUCKET;

/// What a read took for the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Length and SHA-256 of each piece of it.
    Bytes(Vec<(u64, String)>),
    /// Its size and its metadata.
    Object(i64, BTreeMap<String, String>),
}

impl Taken {
    /// Reads with our client.
    pub(crate) async fn by_ours(
        project: &Project,
        material: &Material,
        read: Read,
    ) -> Result<Self, Error> {
        let key = &material.known.key;
        let claimed = |object: &Object| {
            assert_eq!(object.authenticity, Authenticity::Claimed, "{}", material.title);
        };
        if read == Read::Stat {
            let object = project.stat_object(BUCKET, key).await?;
            claimed(&object);
            return Ok(Self::Object(object.size as i64, object.custom));
        }
        if read != Read::Seek {
            let options = options(read, &range(material, read));
            let mut download = project.download_object(BUCKET, key, options).await?;
            claimed(download.object());
            return Ok(Self::Bytes(vec![digest(&download.read_to_vec().await?)]));
        }
        let mut download = project.download_object(BUCKET, key, DownloadOptions::new()).await?;
        claimed(download.object());
        let mut pieces = Vec::new();
        for range in sought(material.size() as usize) {
            let start = SeekFrom::Start(range.start as u64);
            download.seek(start).await.map_err(uplink_error)?;
            let mut piece = Vec::new();
            let mut part = (&mut download).take(range.len() as u64);
            part.read_to_end(&mut piece).await.map_err(uplink_error)?;
            pieces.push(digest(&piece));
        }
        Ok(Self::Bytes(pieces))
    }

    /// Reads with the reference client, which has no seek: each piece is a range of its own.
    pub(crate) async fn by_theirs(
        clients: &Clients,
        material: &Material,
        read: Read,
    ) -> Result<Self, String> {
        let mut command = json!({"key": b64(&material.known.key)});
        let range = range(material, read);
        match read {
            Read::Stat => {
                let stat = clients.ask_lied_to("stat", command).await?;
                let custom = serde_json::from_value(stat["custom"].clone()).unwrap_or_default();
                return Ok(Self::Object(stat["size"].as_i64().expect("a size"), custom));
            }
            Read::Seek => {
                let mut pieces = Vec::new();
                for range in sought(material.size() as usize) {
                    let mut piece = command.clone();
                    piece["offset"] = range.start.into();
                    piece["length"] = range.len().into();
                    pieces.push(received(&clients.ask_lied_to("download", piece).await?));
                }
                return Ok(Self::Bytes(pieces));
            }
            // The last 0 bytes would be all of them.
            Read::Suffix if !range.is_empty() => {
                command["offset"] = (-((range.end - range.start) as i64)).into();
            }
            Read::Segment(_) | Read::Suffix => {
                command["offset"] = range.start.into();
                command["length"] = (range.end - range.start).into();
            }
            Read::Whole => {}
        }
        Ok(Self::Bytes(vec![received(&clients.ask_lied_to("download", command).await?)]))
    }

    /// Whether nothing but what the satellite claims is false: a size, and that there is no metadata.
    pub(crate) fn is_right(&self, material: &Material, read: Read) -> bool {
        let known = &material.known;
        match self {
            Self::Object(_, custom) => custom.is_empty() || known.custom.contains(custom),
            Self::Bytes(pieces) => known.contents.iter().any(|content| {
                places(material, read)
                    .into_iter()
                    .map(|range| digest(&content[range]))
                    .eq(pieces.iter().cloned())
            }),
        }
    }
}

/// The pieces that a read takes of the object.
fn places(material: &Material, read: Read) -> Vec<Range<usize>> {
    if read == Read::Seek {
        return sought(material.size() as usize).to_vec();
    }
    let range = range(material, read);
    std::iter::once(range.start as usize..range.end as usize).collect()
}

fn received(answer: &Value) -> (u64, String) {
    let length = answer["length"].as_u64().expect("a length");
    (length, answer["sha256"].as_str().expect("a digest").to_owned())
}

fn digest(bytes: &[u8]) -> (u64, String) {
    (bytes.len() as u64, hex::encode(Sha256::digest(bytes)))
}
