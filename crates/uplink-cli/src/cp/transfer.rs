//! One object up, down or across.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use indicatif::ProgressBar;
use tokio::io::AsyncWriteExt as _;
use uplink::{Download, DownloadOptions, Project, Upload, UploadOptions};

use crate::Context;
use crate::args::location::Url;
use crate::failure::{Failure, Outcome};
use crate::local::Target;
use crate::local::source::Source;
use crate::progress;

/// What goes with the bytes of an upload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    /// When the object disappears.
    pub(crate) expires: Expires,
    /// Custom metadata; an object that is copied keeps its own unless there is some here.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// When an uploaded or copied object disappears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expires {
    /// When the source does; an upload stays.
    #[default]
    AsBefore,
    /// At this moment.
    At(SystemTime),
    /// It stays.
    Never,
}

impl Expires {
    /// Returns the expiry of a copy of something that expires at `before`.
    fn instead_of(self, before: Option<SystemTime>) -> Option<SystemTime> {
        match self {
            Self::AsBefore => before,
            Self::At(moment) => Some(moment),
            Self::Never => None,
        }
    }
}

/// Uploads what `source` yields until it ends, and returns the number of bytes.
///
/// A source that changes meanwhile is an error. Dropping the future leaves nothing visible.
pub(crate) async fn upload(
    project: &Project,
    source: &mut Source,
    url: &Url,
    attributes: &Attributes,
    context: &Context,
    bar: &ProgressBar,
) -> Outcome<u64> {
    let mut upload = begin(project, url, attributes.expires.instead_of(None), context)?;
    upload.set_metadata(attributes.metadata.clone())?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = source.read(&mut buffer).await?;
        match buffer.get(..count) {
            None | Some([]) => break,
            Some(bytes) => upload.write(bytes).await?,
        }
        bar.inc(count as u64);
    }
    finish(upload).await
}

/// Copies an object by downloading and uploading it. The copy has the custom metadata and the expiry
/// of the object unless `attributes` say otherwise.
pub(crate) async fn across(
    project: &Project,
    from: &Url,
    to: &Url,
    attributes: &Attributes,
    context: &Context,
    bar: &ProgressBar,
) -> Outcome<u64> {
    let mut download = open(project, from).await?;
    progress::expect(bar, download.object().size);
    let expires = attributes.expires.instead_of(download.object().expires);
    let mut upload = begin(project, to, expires, context)?;
    upload.set_metadata(match attributes.metadata.is_empty() {
        true => download.object().custom.clone(),
        false => attributes.metadata.clone(),
    })?;
    while let Some(bytes) = download.next().await? {
        upload.write(&bytes).await?;
        bar.inc(bytes.len() as u64);
    }
    finish(upload).await
}

/// Downloads an object into a file, which appears when all of it is there.
pub(crate) async fn to_file(
    project: &Project,
    url: &Url,
    path: &Path,
    follow: bool,
    bar: &ProgressBar,
) -> Outcome<u64> {
    let mut download = open(project, url).await?;
    progress::expect(bar, download.object().size);
    let mut target = Target::create(path, follow).await?;
    let written = write(&mut download, &mut target, bar).await;
    let total = written.map_err(|failure| match target.is_partly_written() {
        true => failure.followed_by(format_args!("{path:?} holds a part of it only")),
        false => failure,
    })?;
    target.finish().await?;
    Ok(total)
}

async fn write(download: &mut Download, target: &mut Target, bar: &ProgressBar) -> Outcome<u64> {
    let mut total = 0;
    while let Some(bytes) = download.next().await? {
        target.write(&bytes).await?;
        bar.inc(bytes.len() as u64);
        total += bytes.len() as u64;
    }
    Ok(total)
}

/// Writes a download to standard output.
pub(crate) async fn to_stdout(download: &mut Download, bar: &ProgressBar) -> Outcome<u64> {
    let failure = |error| Failure::io("cannot write to standard output", &error);
    let mut stdout = tokio::io::stdout();
    let mut total = 0;
    while let Some(bytes) = download.next().await? {
        stdout.write_all(&bytes).await.map_err(failure)?;
        bar.inc(bytes.len() as u64);
        total += bytes.len() as u64;
    }
    stdout.flush().await.map_err(failure)?;
    Ok(total)
}

/// Opens a whole object.
pub(crate) async fn open(project: &Project, url: &Url) -> Outcome<Download> {
    Ok(project.download_object(&url.bucket, &url.key, DownloadOptions::new()).await?)
}

fn begin(
    project: &Project,
    url: &Url,
    expires: Option<SystemTime>,
    context: &Context,
) -> Outcome<Upload> {
    context.leaves_work_behind();
    let mut options = UploadOptions::new();
    if let Some(expires) = expires {
        options = options.expires(expires);
    }
    Ok(project.upload_object(&url.bucket, &url.key, options)?)
}

async fn finish(upload: Upload) -> Outcome<u64> {
    Ok(upload.commit().await?.object.size)
}

/// Bytes read at once from what is uploaded.
const BUFFER: usize = 256 << 10;
