//! The ways in which a client reads an object.

use std::ops::Range;

use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use uplink::{DownloadOptions, Error, Project};

use super::judging::{Judged, check_bytes, check_object, uplink_error, wrong_unless};
use super::material::Material;
use super::world::BUCKET;

/// One way to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Read {
    Whole,
    /// Some bytes within a segment.
    Segment(usize),
    Suffix,
    Seek,
    Stat,
}

/// Bytes that are taken after a seek.
const SOUGHT: usize = 100;

/// The ways to read an object: beyond a few segments the last one stands for all.
pub(crate) fn ways(material: &Material) -> Vec<Read> {
    let count = material.b.segments.len();
    let segments = (0..count).filter(|place| [0, 1, count - 1].contains(place));
    let all = [Read::Whole, Read::Suffix, Read::Seek, Read::Stat];
    all.into_iter().chain(segments.map(Read::Segment)).collect()
}

/// Bytes that a read takes.
pub(crate) fn length(material: &Material, read: Read) -> u64 {
    let range = range(material, read);
    range.end - range.start
}

/// The part of the object that a read takes.
pub(crate) fn range(material: &Material, read: Read) -> Range<u64> {
    let size = material.size();
    match read {
        Read::Stat => 0..0,
        Read::Whole | Read::Seek => 0..size,
        Read::Suffix => size - size / 3..size,
        Read::Segment(place) => {
            let Range { start, end } = material.segment(place);
            let quarter = (end - start) / 4;
            start + quarter..end - quarter
        }
    }
}

/// Reads, and judges what comes.
pub(crate) async fn perform(project: &Project, material: &Material, read: Read) -> Judged {
    let known = &material.known;
    let range = range(material, read);
    if read == Read::Stat {
        return Ok(check_object(known, &project.stat_object(BUCKET, &known.key).await?));
    }
    if read == Read::Seek {
        return seek(project, material).await;
    }
    let options = options(read, &range);
    let mut download = project.download_object(BUCKET, &known.key, options).await?;
    // Bytes first: they matter more than what is said of them.
    let wrong = check_bytes(&mut download, known, range.start as usize..range.end as usize).await?;
    Ok(wrong.or_else(|| check_object(known, download.object())))
}

/// How a read asks for its range.
pub(crate) fn options(read: Read, range: &Range<u64>) -> DownloadOptions {
    let length = range.end - range.start;
    match read {
        Read::Segment(_) => DownloadOptions::new().range(range.start, length),
        Read::Suffix => DownloadOptions::new().last(length),
        Read::Seek | Read::Stat | Read::Whole => DownloadOptions::new(),
    }
}

/// Where a seeking read goes, and how much it takes there, of an object of this size.
pub(crate) fn sought(size: usize) -> [Range<usize>; 4] {
    [0, size - size / 10, size / 3, 0].map(|start| start..size.min(start + SOUGHT))
}

/// Reads a little of the first segment, then of the last, then of the first again: an answer of one
/// version may not be followed by one of another.
async fn seek(project: &Project, material: &Material) -> Judged {
    let known = &material.known;
    let options = DownloadOptions::new();
    let mut download = project.download_object(BUCKET, &known.key, options).await?;
    let size = known.contents[0].len();
    let mut possible = known.contents.to_vec();
    for Range { start, end } in sought(size) {
        let sought = download.seek(SeekFrom::Start(start as u64)).await.map_err(uplink_error)?;
        let length = end - start;
        let mut read = Vec::new();
        let mut part = (&mut download).take(length as u64);
        while read_some(&mut part, &mut read).await? {
            let end = start + read.len();
            possible.retain(|content| content.get(start..end) == Some(&read[..]));
            if possible.is_empty() {
                return Ok(Some(format!("wrong bytes after a seek to {start}")));
            }
        }
        if sought != start as u64 || read.len() != length {
            let got = read.len();
            return Ok(wrong_unless(false, || format!("{got} of {length} bytes from {start}")));
        }
    }
    Ok(None)
}

async fn read_some<R: AsyncReadExt + Unpin>(
    from: &mut R,
    into: &mut Vec<u8>,
) -> Result<bool, Error> {
    Ok(from.read_buf(into).await.map_err(uplink_error)? > 0)
}
