//! The modes in which a client reads an object.

use std::ops::Range;

use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use uplink::{DownloadOptions, Error, Project};

use super::checks::{Checked, check_bytes, check_object, into_uplink_error, wrong_unless};
use super::fixture::Fixture;
use super::world::BUCKET;

/// One mode of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ReadMode {
    Whole,
    /// Some bytes within a segment.
    Segment(usize),
    Suffix,
    Seek,
    Stat,
}

/// Bytes read after a seek.
const SEEK_LENGTH: usize = 100;

/// Returns the modes to read an object; of many segments only the first two and the last.
pub(crate) fn read_modes(fixture: &Fixture) -> Vec<ReadMode> {
    let count = fixture.b.segments.len();
    let segments = (0..count).filter(|index| [0, 1, count - 1].contains(index));
    let all = [ReadMode::Whole, ReadMode::Suffix, ReadMode::Seek, ReadMode::Stat];
    all.into_iter().chain(segments.map(ReadMode::Segment)).collect()
}

/// Returns the number of bytes that a read returns.
pub(crate) fn length(fixture: &Fixture, read: ReadMode) -> u64 {
    let range = range(fixture, read);
    range.end - range.start
}

/// Returns the range of the object that a read returns.
pub(crate) fn range(fixture: &Fixture, read: ReadMode) -> Range<u64> {
    let size = fixture.size();
    match read {
        ReadMode::Stat => 0..0,
        ReadMode::Whole | ReadMode::Seek => 0..size,
        ReadMode::Suffix => size - size / 3..size,
        ReadMode::Segment(index) => {
            let Range { start, end } = fixture.segment(index);
            let quarter = (end - start) / 4;
            start + quarter..end - quarter
        }
    }
}

/// Reads and checks the result.
pub(crate) async fn perform(project: &Project, fixture: &Fixture, read: ReadMode) -> Checked {
    let known = &fixture.known;
    let range = range(fixture, read);
    if read == ReadMode::Stat {
        return Ok(check_object(known, &project.stat_object(BUCKET, &known.key).await?));
    }
    if read == ReadMode::Seek {
        return seek(project, fixture).await;
    }
    let options = options(read, &range);
    let mut download = project.download_object_with(BUCKET, &known.key, &options).await?;
    // Bytes first: wrong content matters more than wrong metadata.
    let wrong = check_bytes(&mut download, known, range.start as usize..range.end as usize).await?;
    Ok(wrong.or_else(|| check_object(known, download.object())))
}

/// Returns the download options of a read.
pub(crate) fn options(read: ReadMode, range: &Range<u64>) -> DownloadOptions {
    let length = range.end - range.start;
    match read {
        ReadMode::Segment(_) => DownloadOptions::new().range(range.start..range.start + length),
        ReadMode::Suffix => DownloadOptions::new().suffix(length),
        ReadMode::Seek | ReadMode::Stat | ReadMode::Whole => DownloadOptions::new(),
    }
}

/// Returns the ranges that a seeking read covers in an object of this size.
pub(crate) fn seek_ranges(size: usize) -> [Range<usize>; 4] {
    [0, size - size / 10, size / 3, 0].map(|start| start..size.min(start + SEEK_LENGTH))
}

/// Reads from the first segment, then from the last, then from the first again: all responses must be
/// of one version.
async fn seek(project: &Project, fixture: &Fixture) -> Checked {
    let known = &fixture.known;
    let mut download = project.download_object(BUCKET, &known.key).await?;
    let size = known.contents[0].len();
    let mut possible = known.contents.to_vec();
    for Range { start, end } in seek_ranges(size) {
        let sought =
            download.seek(SeekFrom::Start(start as u64)).await.map_err(into_uplink_error)?;
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
    Ok(from.read_buf(into).await.map_err(into_uplink_error)? > 0)
}
