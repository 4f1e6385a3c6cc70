//! `uplink ls`: lists buckets, objects and pending uploads.

use futures_util::TryStreamExt;
use uplink::{ListItem, ListOptions, Project};

use crate::args::location::Url;
use crate::args::objects::List;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::pending;
use crate::record::Record;
use crate::walk::{self, Tally, is_decrypted};

/// Runs the command.
pub(crate) async fn run(args: List, context: &Context) -> Outcome {
    let url = args.url.as_deref().filter(|url| *url != "sj://").map(Url::parse).transpose()?;
    let project = context.project(&args.access)?;
    match url {
        None if args.recursive && !args.pending => {
            Err(Failure::usage("--recursive needs a bucket: sj://bucket"))
        }
        None if args.pending => Err(Failure::usage("--pending needs a bucket: sj://bucket")),
        None => list_buckets(&project, context).await,
        Some(url) if args.pending => pending::list(&project, &url, args.recursive, context).await,
        Some(url) => list_objects(&project, &url, args.recursive, context).await,
    }
}

async fn list_buckets(project: &Project, context: &Context) -> Outcome {
    let mut list = project.list_buckets();
    while let Some(bucket) = list.try_next().await? {
        Record::bucket(&bucket).print(context.out)?;
    }
    Ok(())
}

async fn list_objects(project: &Project, url: &Url, recursive: bool, context: &Context) -> Outcome {
    let prefix = url.as_prefix();
    let options = ListOptions::new().prefix(&prefix.key).recursive(recursive);
    let mut list = project.list_objects_with(&url.bucket, &options)?;
    let mut tally = Tally::default();
    while let Some(item) = list.try_next().await? {
        tally.count(is_decrypted(&item));
        match &item {
            ListItem::Object(object) => Record::object(object).print(context.out)?,
            ListItem::Prefix(key) => Record::prefix(key).print(context.out)?,
            ListItem::Undecryptable(key) => context.out.object(&Record::undecryptable(key))?,
            _ => {}
        }
    }
    if tally.is_empty() && !url.key.is_empty() {
        return list_object(project, url, context).await;
    }
    tally.require_any_decrypted(&prefix)?;
    if let Err(failure) = tally.require_all_decrypted() {
        context.out.warning(failure);
    }
    Ok(())
}

/// Lists the object with this key, when there is nothing below it.
async fn list_object(project: &Project, url: &Url, context: &Context) -> Outcome {
    if !url.is_prefix() {
        match project.stat_object(&url.bucket, &url.key).await {
            Ok(object) => return Record::object(&object).print(context.out),
            Err(error) if Exit::from(error.kind()) != Exit::NotFound => return Err(error.into()),
            Err(_) => {}
        }
    }
    Err(walk::nothing_below(project, url).await)
}
