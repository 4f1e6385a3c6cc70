//! One object up, down or across.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use indicatif::ProgressBar;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use uplink::{Download, DownloadOptions, Project, Upload, UploadOptions};

use crate::Context;
use crate::args::location::Url;
use crate::failure::{Failure, Outcome};
use crate::local::Target;
use crate::progress;

/// What goes with the bytes of an upload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    /// When the object disappears.
    pub(crate) expires: Option<SystemTime>,
    /// Custom metadata; an object that is copied keeps its own unless there is some here.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Uploads what `source` yields until it ends, and returns the number of bytes. `name` is what errors
/// of the source are reported with.
///
/// Dropping the future leaves nothing visible.
pub(crate) async fn upload(
    project: &Project,
    source: impl AsyncRead + Send,
    name: &str,
    url: &Url,
    attributes: &Attributes,
    context: &Context,
    bar: &ProgressBar,
) -> Outcome<u64> {
    let mut upload = begin(project, url, attributes, context)?;
    upload.set_metadata(attributes.metadata.clone())?;
    let mut source = std::pin::pin!(source);
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = source.read(&mut buffer).await;
        let count =
            read.map_err(|error| Failure::io(format_args!("cannot read {name}"), &error))?;
        match buffer.get(..count) {
            None | Some([]) => break,
            Some(bytes) => upload.write(bytes).await?,
        }
        bar.inc(count as u64);
    }
    finish(upload).await
}

/// Copies an object by downloading and uploading it.
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
    let mut upload = begin(project, to, attributes, context)?;
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
    let mut target = Target::create(path, follow)?;
    let mut total = 0;
    while let Some(bytes) = download.next().await? {
        target.write(&bytes).await?;
        bar.inc(bytes.len() as u64);
        total += bytes.len() as u64;
    }
    target.finish().await?;
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
    attributes: &Attributes,
    context: &Context,
) -> Outcome<Upload> {
    context.leaves_work_behind();
    let mut options = UploadOptions::new();
    if let Some(expires) = attributes.expires {
        options = options.expires(expires);
    }
    Ok(project.upload_object(&url.bucket, &url.key, options)?)
}

async fn finish(upload: Upload) -> Outcome<u64> {
    Ok(upload.commit().await?.object.size)
}

/// Bytes read at once from what is uploaded.
const BUFFER: usize = 256 << 10;
