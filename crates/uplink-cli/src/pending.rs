//! Pending uploads: `ls --pending`, `rm --pending`, and why a bucket that looks empty is not.

use std::fmt;
use std::sync::Mutex;

use futures_util::TryStreamExt as _;
use futures_util::stream;
use uplink::{
    ErrorKind, ListOptions, ListUploadsOptions, PendingUpload, Project, UploadItem, UploadList,
};

use crate::Context;
use crate::args::location::Url;
use crate::cp::tree::{self, AT_ONCE};
use crate::failure::{Exit, Failure, Outcome};
use crate::ls::{self, Tally};
use crate::record::Record;

/// Lists the pending uploads of a bucket, below a prefix, or of a key.
pub(crate) async fn list(
    project: &Project,
    url: &Url,
    recursive: bool,
    context: &Context,
) -> Outcome {
    let mut tally = Tally::default();
    let prefix = url.as_prefix();
    for place in [Some(&prefix), Some(url).filter(|url| !url.is_prefix())].into_iter().flatten() {
        let mut items = items_at(project, place, recursive)?;
        while let Some(item) = items.next().await? {
            tally.count(opens(&item));
            show(&item, context)?;
        }
    }
    if tally.is_empty() && !url.key.is_empty() {
        return Err(nothing_at(url));
    }
    tally.nothing_opened(url)?;
    if let Err(failure) = tally.all_opened() {
        context.out.warning(failure);
    }
    Ok(())
}

fn show(item: &UploadItem, context: &Context) -> Outcome {
    match item {
        UploadItem::Upload(upload) => ls::show(&Record::upload(upload), context),
        UploadItem::Prefix(key) => ls::show(&Record::prefix(key), context),
        UploadItem::Undecryptable(key) => context.out.object(&Record::undecryptable(key)),
        _ => Ok(()),
    }
}

/// Aborts the pending uploads of a key, or with `recursive` all in a bucket or below a prefix.
pub(crate) async fn abort(
    project: &Project,
    url: &Url,
    recursive: bool,
    context: &Context,
) -> Outcome {
    let (tally, batch) = (&Mutex::new(Tally::default()), &context.batch);
    let place = if recursive { url.as_prefix() } else { url.clone() };
    let items = items_at(project, &place, recursive)?;
    let uploads = stream::try_unfold(items, move |mut items| async move {
        let Some(item) = items.next().await? else { return Ok(None) };
        tree::lock(tally).count(opens(&item));
        Ok::<_, Failure>(Some((item, items)))
    });
    uploads
        .try_for_each_concurrent(AT_ONCE, |item| async move {
            let UploadItem::Upload(upload) = item else { return Ok(()) };
            let aborted = abort_one(project, &url.bucket, &upload, context).await;
            batch.record(url.with_key(upload.key), aborted)
        })
        .await?;
    let tally = tree::counted(tally);
    if tally.is_empty() && !url.key.is_empty() {
        return Err(nothing_at(url));
    }
    tally.nothing_opened(url)?;
    if let Err(failure) = tally.all_opened() {
        batch.record(url, Err(failure))?;
    }
    batch.outcome("aborted")
}

fn items_at(project: &Project, place: &Url, recursive: bool) -> Outcome<UploadList> {
    let options = ListUploadsOptions::new().prefix(&place.key).recursive(recursive);
    Ok(project.list_uploads(&place.bucket, options)?)
}

fn opens(item: &UploadItem) -> bool {
    !matches!(item, UploadItem::Undecryptable(_))
}

async fn abort_one(
    project: &Project,
    bucket: &str,
    upload: &PendingUpload,
    context: &Context,
) -> Outcome {
    match project.abort_upload(bucket, &upload.key, &upload.upload_id).await {
        // It was committed or aborted meanwhile: nothing is pending.
        Err(error) if error.kind() == ErrorKind::ObjectNotFound => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => context.out.object(&Record::upload(upload)),
    }
}

fn nothing_at(url: &Url) -> Failure {
    Failure::new(Exit::NotFound, format!("no pending uploads at {url}"))
}

/// Explains why a bucket that may look empty is not: names its pending uploads and the command that
/// aborts them. Returns the failure as it is if that cannot be learned.
pub(crate) async fn explain(failure: Failure, project: &Project, url: &Url) -> Failure {
    let Ok(Some(found)) = Found::below(project, url).await else { return failure };
    let objects = match project.list_objects(&url.bucket, ListOptions::new()) {
        Ok(mut list) => list.next().await,
        Err(_) => return failure,
    };
    let also = if matches!(objects, Ok(None)) { "" } else { "objects and " };
    let text = format!(
        "bucket {:?} is not empty: it holds {also}{found}; `uplink rm --pending --recursive {url}` \
         aborts them",
        url.bucket
    );
    Failure::new(failure.exit(), text)
}

/// Some of the pending uploads in a bucket.
struct Found {
    keys: Vec<String>,
    more: bool,
}

impl Found {
    async fn below(project: &Project, url: &Url) -> uplink::Result<Option<Self>> {
        let options = ListUploadsOptions::new().recursive(true);
        let mut items = project.list_uploads(&url.bucket, options)?;
        let mut found = Self { keys: Vec::new(), more: false };
        while let Some(item) = items.next().await? {
            if found.keys.len() == MAX_NAMED {
                found.more = true;
                break;
            }
            found.keys.push(match item {
                UploadItem::Upload(upload) => url.with_key(upload.key).to_string(),
                _ => "one whose name cannot be decrypted".to_owned(),
            });
        }
        Ok((!found.keys.is_empty()).then_some(found))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.more { " and more" } else { "" };
        write!(f, "pending uploads ({}{more})", self.keys.join(", "))
    }
}

/// Pending uploads that an error names.
const MAX_NAMED: usize = 3;
