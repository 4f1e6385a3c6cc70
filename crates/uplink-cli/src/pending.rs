//! Pending uploads, neither committed nor aborted: `ls --pending`, `rm --pending`, and the error of
//! `rb` for a bucket that has some.

use std::fmt;

use futures_util::{TryStreamExt as _, stream};
use uplink::{ErrorKind, ListUploadsOptions, PendingUpload, Project, UploadItem, UploadList};

use crate::action::Action;
use crate::args::location::Url;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome, Scope};
use crate::record::Record;
use crate::selection::Selection;
use crate::text::printable;
use crate::walk::{CONCURRENCY, SharedTally, Tally};

/// Lists the pending uploads in a bucket, below a prefix, or of a key.
pub(crate) async fn list(
    project: &Project,
    url: &Url,
    recursive: bool,
    context: &Context,
) -> Outcome {
    let mut tally = Tally::default();
    let prefix = url.as_prefix();
    let key = Some(url).filter(|url| !url.is_prefix());
    for location in [Some(&prefix), key].into_iter().flatten() {
        let mut items = uploads_at(project, location, recursive)?;
        while let Some(item) = items.try_next().await? {
            tally.count(is_decrypted(&item));
            print(&item, context)?;
        }
    }
    if tally.is_empty() && !url.key.is_empty() {
        return Err(nothing_at(url));
    }
    tally.require_any_decrypted(url)?;
    if let Err(failure) = tally.require_all_decrypted() {
        context.out.warning(failure);
    }
    Ok(())
}

fn print(item: &UploadItem, context: &Context) -> Outcome {
    match item {
        UploadItem::Upload(upload) => Record::upload(upload).print(context.out),
        UploadItem::Prefix(key) => Record::prefix(key).print(context.out),
        UploadItem::Undecryptable(key) => context.out.object(&Record::undecryptable(key)),
        _ => Ok(()),
    }
}

/// Aborts the pending uploads of keys, or with `recursive` the selected ones of buckets or prefixes.
pub(crate) async fn abort(
    project: &Project,
    urls: &[Url],
    selection: &Selection,
    context: &Context,
) -> Outcome {
    if selection.recursive || urls.len() > 1 {
        context.batch.begin(Action::Abort, selection.dry_run);
    }
    for url in urls {
        let aborted = abort_at(project, url, selection, context).await;
        match aborted {
            Err(failure) if urls.len() > 1 && failure.scope() != Scope::Command => {
                context.batch.record(url, Err(failure.outside_bucket()))?;
            }
            aborted => aborted?,
        }
    }
    context.batch.outcome(Action::Abort)
}

async fn abort_at(
    project: &Project,
    url: &Url,
    selection: &Selection,
    context: &Context,
) -> Outcome {
    let Selection { recursive, filter, dry_run } = selection;
    let tally = &SharedTally::default();
    let batch = &context.batch;
    let location = &if *recursive { url.as_prefix() } else { url.clone() };
    let items = uploads_at(project, location, *recursive)?;
    let uploads = stream::try_unfold(items, move |mut items| async move {
        let Some(item) = items.try_next().await? else { return Ok(None) };
        tally.count(is_decrypted(&item));
        Ok::<_, Failure>(Some((item, items)))
    });
    uploads
        .try_for_each_concurrent(CONCURRENCY, |item| async move {
            let UploadItem::Upload(upload) = item else { return Ok(()) };
            if *recursive && !filter.selects(location.relative(&upload.key)) {
                return Ok(());
            }
            let aborted = match dry_run {
                true => report_dry_run(url, &upload, context),
                false => abort_upload(project, &url.bucket, &upload, context).await,
            };
            batch.record(url.with_key(upload.key), aborted.map(|()| None))
        })
        .await?;
    let tally = tally.get();
    if tally.is_empty() && !url.key.is_empty() {
        return Err(nothing_at(url));
    }
    tally.require_any_decrypted(url)?;
    match tally.require_all_decrypted() {
        Err(failure) => batch.record(url, Err(failure)),
        Ok(()) => Ok(()),
    }
}

fn uploads_at(project: &Project, location: &Url, recursive: bool) -> Outcome<UploadList> {
    let options = ListUploadsOptions::new().prefix(&location.key).recursive(recursive);
    Ok(project.list_uploads_with(&location.bucket, &options)?)
}

fn is_decrypted(item: &UploadItem) -> bool {
    !matches!(item, UploadItem::Undecryptable(_))
}

async fn abort_upload(
    project: &Project,
    bucket: &str,
    upload: &PendingUpload,
    context: &Context,
) -> Outcome {
    match project.abort_upload(bucket, &upload.key, &upload.upload_id).await {
        // Committed or aborted concurrently.
        Err(error) if error.kind() == ErrorKind::ObjectNotFound => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => context.out.object(&Record::upload(upload)),
    }
}

fn report_dry_run(url: &Url, upload: &PendingUpload, context: &Context) -> Outcome {
    let url = url.with_key(upload.key.clone());
    context.out.line(printable(&format!("Would abort {url}")))?;
    context.out.object(&Record::upload(upload).with_dry_run(true))
}

fn nothing_at(url: &Url) -> Failure {
    Failure::new(Exit::NotFound, format!("no pending uploads at {url}"))
}

/// Explains why a bucket that may look empty is not: names its pending uploads and the command that
/// aborts them. Returns `failure` unchanged if there are none or they cannot be listed.
pub(crate) async fn explain_not_empty(failure: Failure, project: &Project, url: &Url) -> Failure {
    let Ok(Some(sample)) = PendingSample::read(project, url).await else { return failure };
    let objects = match project.list_objects(&url.bucket) {
        Ok(mut list) => list.try_next().await,
        Err(_) => return failure,
    };
    let also = if matches!(objects, Ok(None)) { "" } else { "objects and " };
    let text = format!(
        "bucket {:?} is not empty: it contains {also}{sample}; `uplink rm --pending --recursive \
         {url}` aborts them",
        url.bucket
    );
    Failure::new(failure.exit(), text)
}

/// The first pending uploads in a bucket.
struct PendingSample {
    keys: Vec<String>,
    is_truncated: bool,
}

impl PendingSample {
    async fn read(project: &Project, url: &Url) -> uplink::Result<Option<Self>> {
        let options = ListUploadsOptions::new().recursive(true);
        let mut items = project.list_uploads_with(&url.bucket, &options)?;
        let mut sample = Self { keys: Vec::new(), is_truncated: false };
        while let Some(item) = items.try_next().await? {
            if sample.keys.len() == MAX_NAMED {
                sample.is_truncated = true;
                break;
            }
            sample.keys.push(match item {
                UploadItem::Upload(upload) => url.with_key(upload.key).to_string(),
                _ => "a key that cannot be decrypted".to_owned(),
            });
        }
        Ok((!sample.keys.is_empty()).then_some(sample))
    }
}

impl fmt::Display for PendingSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.is_truncated { " and more" } else { "" };
        write!(f, "pending uploads ({}{more})", self.keys.join(", "))
    }
}

/// Pending uploads named in an error.
const MAX_NAMED: usize = 3;
