//! `uplink rm`: removes objects and aborts pending uploads.

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use uplink::{ErrorKind, Object, Project};

use crate::args::location::Url;
use crate::args::objects::Remove;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::filter::Filter;
use crate::record::Record;
use crate::walk::{self, CONCURRENCY, Entry};
use crate::{pending, several};

/// Runs the command.
pub(crate) async fn run(args: Remove, context: &Context) -> Outcome {
    let urls = args.urls.iter().map(|text| Url::parse(text)).collect::<Outcome<Vec<_>>>()?;
    if let Some(url) = urls.iter().find(|url| !args.recursive && url.key.is_empty()) {
        return Err(Failure::usage(format!(
            "{url} is a bucket: use `uplink rb` to remove it, or --recursive to remove its objects"
        )));
    }
    several::require_disjoint(&urls, args.recursive)?;
    let filter = Filter::new(&args.patterns)?;
    let selection = Selection { has_several: urls.len() > 1, recursive: args.recursive, filter };
    let project = context.project(&args.access)?;
    match urls.as_slice() {
        urls if args.pending => {
            pending::abort(&project, urls, args.recursive, &selection.filter, context).await
        }
        [url] if !args.recursive => remove_object(&project, url).await,
        _ => remove_all(&project, urls, &selection, context).await,
    }
}

/// Which objects are removed.
struct Selection {
    /// Whether the command has more than one target.
    has_several: bool,
    recursive: bool,
    filter: Filter,
}

async fn remove_object(project: &Project, url: &Url) -> Outcome {
    if project.delete_object(&url.bucket, &url.key).await? {
        return Ok(());
    }
    // The satellite does not report deleted objects to grants that may neither read nor list.
    match project.stat_object(&url.bucket, &url.key).await {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

async fn remove_all(
    project: &Project,
    urls: Vec<Url>,
    selection: &Selection,
    context: &Context,
) -> Outcome {
    stream::iter(urls)
        .flat_map(|url| entries(project, url, selection))
        .try_for_each_concurrent(CONCURRENCY, |(url, found)| async move {
            let removed = match found {
                Ok(object) => remove_entry(project, &url, object, context).await,
                Err(failure) => Err(failure),
            };
            let removed = removed.map_err(|failure| match selection.has_several {
                true => failure.outside_bucket(),
                false => failure,
            });
            context.batch.record(url, removed)
        })
        .await?;
    context.batch.outcome("removed")
}

/// Returns what is removed for one target: its objects, or without `recursive` itself.
fn entries<'a>(
    project: &'a Project,
    url: Url,
    selection: &'a Selection,
) -> BoxStream<'a, Outcome<Entry<Option<Object>>>> {
    if !selection.recursive {
        return stream::iter([Ok((url, Ok(None)))]).boxed();
    }
    let prefix = url.as_prefix();
    let objects = walk::objects(project, prefix.clone(), &selection.filter);
    let entries = objects.map_ok(|(url, found)| (url, found.map(Some)));
    walk::contain(entries, prefix, selection.has_several).boxed()
}

/// Removes an object that was listed or named.
async fn remove_entry(
    project: &Project,
    url: &Url,
    listed: Option<Object>,
    context: &Context,
) -> Outcome {
    let Some(object) = listed else { return remove_object(project, url).await };
    // An object that is already removed counts as removed.
    project.delete_object(&url.bucket, &url.key).await?;
    context.out.object(&Record::object(&object))
}
