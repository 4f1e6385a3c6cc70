//! `uplink rm`: removes objects and aborts pending uploads.

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use uplink::{ErrorKind, Object, Project};

use crate::action::Action;
use crate::args::location::Url;
use crate::args::objects::Remove;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::filter::Filter;
use crate::record::Record;
use crate::selection::Selection;
use crate::text::printable;
use crate::walk::{self, CONCURRENCY, Entry};
use crate::{dry_run, pending, several};

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
    let selection = Selection { recursive: args.recursive, filter, dry_run: args.dry_run };
    let project = &context.project(&args.access)?;
    if args.pending {
        return pending::abort(project, &urls, &selection, context).await;
    }
    let job = Job { project, context, has_several: urls.len() > 1, selection: &selection };
    match urls.as_slice() {
        [url] if !args.recursive => job.remove_named(url).await.map(drop),
        _ => job.remove_all(urls).await,
    }
}

/// The removals of one command.
struct Job<'a> {
    project: &'a Project,
    context: &'a Context,
    /// Whether the command has more than one target.
    has_several: bool,
    selection: &'a Selection,
}

impl<'a> Job<'a> {
    async fn remove_all(&self, urls: Vec<Url>) -> Outcome {
        self.context.batch.begin(Action::Remove, self.selection.dry_run);
        stream::iter(urls)
            .flat_map(|url| self.entries(url))
            .try_for_each_concurrent(CONCURRENCY, |(url, found)| async move {
                let removed = match found {
                    Ok(Some(object)) => self.remove_listed(&url, &object).await,
                    Ok(None) => self.remove_named(&url).await,
                    Err(failure) => Err(failure),
                };
                let removed = removed.map_err(|failure| match self.has_several {
                    true => failure.outside_bucket(),
                    false => failure,
                });
                self.context.batch.record(url, removed)
            })
            .await?;
        self.context.batch.outcome(Action::Remove)
    }

    /// Returns what is removed for one target: its objects, or without `recursive` itself.
    fn entries(&self, url: Url) -> BoxStream<'a, Outcome<Entry<Option<Object>>>> {
        if !self.selection.recursive {
            return stream::iter([Ok((url, Ok(None)))]).boxed();
        }
        let prefix = url.as_prefix();
        let objects = walk::objects(self.project, prefix.clone(), &self.selection.filter);
        let entries = objects.map_ok(|(url, found)| (url, found.map(Some)));
        walk::contain(entries, prefix, self.has_several).boxed()
    }

    /// Removes an object from a listing and returns its size. One that is already removed counts as
    /// removed.
    async fn remove_listed(&self, url: &Url, object: &Object) -> Outcome<Option<u64>> {
        if !self.selection.dry_run {
            self.project.delete_object(&url.bucket, &url.key).await?;
        }
        self.report(url, Record::object(object))?;
        Ok(Some(object.size))
    }

    /// Removes the object with this key, and returns its size if it is known.
    async fn remove_named(&self, url: &Url) -> Outcome<Option<u64>> {
        if self.selection.dry_run {
            let found = dry_run::find_removable(self.project, url).await?;
            let record = found.as_ref().map_or_else(|| Record::key(&url.key), Record::object);
            self.report(url, record)?;
            return Ok(found.as_ref().map(|object| object.size));
        }
        remove_object(self.project, url).await?;
        if self.has_several {
            self.report(url, Record::key(&url.key))?;
        }
        Ok(None)
    }

    fn report(&self, url: &Url, record: Record<'_>) -> Outcome {
        let dry_run = self.selection.dry_run;
        if dry_run {
            self.context.out.line(printable(&format!("Would remove {url}")))?;
        }
        self.context.out.object(&record.with_dry_run(dry_run))
    }
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
