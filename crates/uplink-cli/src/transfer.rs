//! Transfers of one object: upload, download, and copy between objects.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use indicatif::ProgressBar;
use tokio::io::AsyncWriteExt as _;
use uplink::{CopyOptions, Download, ErrorKind, Project, Upload, UploadOptions};

use crate::args::location::Url;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::local::source::Source;
use crate::local::target::Target;
use crate::progress;

/// Attributes of an uploaded object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) expires: Expires,
    /// Custom metadata. If empty, a copy keeps the metadata of its source.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Expiry of an uploaded or copied object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expires {
    /// At this time.
    At(SystemTime),
    /// With the source object; never for an upload of a file.
    #[default]
    Inherit,
    /// Never.
    Never,
}

impl Expires {
    /// Returns the expiry of a copy of an object with expiry `source`.
    fn resolve(self, source: Option<SystemTime>) -> Option<SystemTime> {
        match self {
            Self::At(time) => Some(time),
            Self::Inherit => source,
            Self::Never => None,
        }
    }
}

/// Uploads all of `source` and returns the number of bytes.
///
/// Fails if the source changes during the upload. Dropping the future aborts the upload.
pub(crate) async fn upload(
    project: &Project,
    source: &mut Source,
    url: &Url,
    attributes: &Attributes,
    context: &Context,
    bar: &ProgressBar,
) -> Outcome<u64> {
    let mut upload = begin(project, url, attributes.expires.resolve(None), context)?;
    upload.set_custom_metadata(attributes.metadata.clone())?;
    let mut buffer = vec![0; BUFFER_SIZE];
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

/// Copies an object. The copy keeps the custom metadata and the expiry of the source unless
/// `attributes` override them.
///
/// The satellite copies without transferring content, unless the copy gets another expiry or replaces
/// its own source, or the satellite rejects it, for example between buckets in different places.
pub(crate) async fn copy(
    project: &Project,
    from: &Url,
    to: &Url,
    attributes: &Attributes,
    context: &Context,
    bar: &ProgressBar,
) -> Outcome<u64> {
    if attributes.expires != Expires::Inherit || from == to {
        return rewrite(project, from, to, attributes, context, bar).await;
    }
    let mut options = CopyOptions::new();
    if !attributes.metadata.is_empty() {
        options = options.custom_metadata(attributes.metadata.clone());
    }
    let Url { bucket, key } = from;
    let copied = project.copy_object_with(bucket, key, &to.bucket, &to.key, &options).await;
    let copied = match copied {
        Err(error) if error.kind() == ErrorKind::Rejected => {
            return rewrite(project, from, to, attributes, context, bar).await;
        }
        copied => copied?,
    };
    progress::set_size(bar, copied.size);
    bar.inc(copied.size);
    Ok(copied.size)
}

/// Copies an object by downloading and uploading it.
async fn rewrite(
    project: &Project,
    from: &Url,
    to: &Url,
    attributes: &Attributes,
    context: &Context,
    bar: &ProgressBar,
) -> Outcome<u64> {
    let mut download = open(project, from).await?;
    progress::set_size(bar, download.object().size);
    let expires = attributes.expires.resolve(download.object().expires_at);
    let mut upload = begin(project, to, expires, context)?;
    let metadata = if attributes.metadata.is_empty() {
        download.object().custom_metadata.clone()
    } else {
        attributes.metadata.clone()
    };
    upload.set_custom_metadata(metadata)?;
    while let Some(bytes) = download.chunk().await? {
        upload.write(&bytes).await?;
        bar.inc(bytes.len() as u64);
    }
    finish(upload).await
}

/// Downloads an object to a file, which becomes visible when it is complete.
pub(crate) async fn to_file(
    project: &Project,
    url: &Url,
    path: &Path,
    follow_links: bool,
    bar: &ProgressBar,
) -> Outcome<u64> {
    let mut download = open(project, url).await?;
    progress::set_size(bar, download.object().size);
    let mut target = Target::create(path, follow_links).await?;
    let total = match write(&mut download, &mut target, bar).await {
        Ok(total) => total,
        Err(failure) if target.is_partly_written() => {
            return Err(failure.followed_by(format_args!("{path:?} is incomplete")));
        }
        Err(failure) => return Err(failure),
    };
    target.finish().await?;
    Ok(total)
}

async fn write(download: &mut Download, target: &mut Target, bar: &ProgressBar) -> Outcome<u64> {
    let mut total = 0;
    while let Some(bytes) = download.chunk().await? {
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
    while let Some(bytes) = download.chunk().await? {
        stdout.write_all(&bytes).await.map_err(failure)?;
        bar.inc(bytes.len() as u64);
        total += bytes.len() as u64;
    }
    stdout.flush().await.map_err(failure)?;
    Ok(total)
}

/// Starts the download of a whole object.
pub(crate) async fn open(project: &Project, url: &Url) -> Outcome<Download> {
    Ok(project.download_object(&url.bucket, &url.key).await?)
}

fn begin(
    project: &Project,
    url: &Url,
    expires: Option<SystemTime>,
    context: &Context,
) -> Outcome<Upload> {
    context.wait_for_tasks();
    let mut options = UploadOptions::new();
    if let Some(expires) = expires {
        options = options.expires_at(expires);
    }
    Ok(project.upload_object_with(&url.bucket, &url.key, &options)?)
}

async fn finish(upload: Upload) -> Outcome<u64> {
    Ok(upload.commit().await?.object.size)
}

/// Bytes per read of the source.
const BUFFER_SIZE: usize = 256 << 10;
