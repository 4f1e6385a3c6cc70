//! `uplink rm`: removes objects and aborts pending uploads.

use futures_util::TryStreamExt as _;
use uplink::{ErrorKind, Project};

use crate::args::location::Url;
use crate::args::objects::Remove;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::pending;
use crate::record::Record;
use crate::walk::{self, CONCURRENCY, SharedTally};

/// Runs the command.
pub(crate) async fn run(args: Remove, context: &Context) -> Outcome {
    let url = Url::parse(&args.url)?;
    if !args.recursive && url.key.is_empty() {
        return Err(Failure::usage(format!(
            "{url} is a bucket: use `uplink rb` to remove it, or --recursive to remove its objects"
        )));
    }
    let project = context.project(&args.access)?;
    match args {
        Remove { pending: true, recursive, .. } => {
            pending::abort(&project, &url, recursive, context).await
        }
        Remove { recursive: true, .. } => remove_all(&project, &url, context).await,
        _ => remove_object(&project, &url).await,
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

async fn remove_all(project: &Project, url: &Url, context: &Context) -> Outcome {
    let prefix = url.as_prefix();
    let tally = SharedTally::default();
    let batch = &context.batch;
    walk::objects(project, &prefix, &tally)?
        .try_for_each_concurrent(CONCURRENCY, |object| async move {
            let removed = match project.delete_object(&url.bucket, &object.key).await {
                Ok(_) => context.out.object(&Record::object(&object)),
                Err(error) => Err(error.into()),
            };
            batch.record(url.with_key(object.key.clone()), removed)
        })
        .await?;
    walk::finish(project, &prefix, tally.get(), batch, "removed").await
}
