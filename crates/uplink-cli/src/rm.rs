//! `uplink rm`: objects go.

use std::ffi::OsString;
use std::sync::Mutex;

use futures_util::TryStreamExt as _;
use uplink::{ErrorKind, Project};

use crate::Context;
use crate::args::AccessArgs;
use crate::args::location::Url;
use crate::cp::tree::{self, AT_ONCE};
use crate::failure::{Failure, Outcome};
use crate::ls;
use crate::pending;
use crate::record::Record;

#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    access: AccessArgs,
    /// The object, like sj://bucket/key; with --recursive a bucket or prefix
    #[arg(value_name = "URL")]
    url: OsString,
    /// Remove all objects below
    #[arg(long, short)]
    recursive: bool,
    /// Abort uploads that are begun and not committed, instead of removing objects
    #[arg(long)]
    pending: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Remove, context: &Context) -> Outcome {
    let url = Url::parse(&args.url)?;
    if !args.recursive && url.key.is_empty() {
        return Err(Failure::usage(format!(
            "{url} is a bucket: `uplink rb` removes it, --recursive the objects in it"
        )));
    }
    let project = context.project(&args.access)?;
    match args {
        Remove { pending: true, recursive, .. } => {
            pending::abort(&project, &url, recursive, context).await
        }
        Remove { recursive: true, .. } => all(&project, &url, context).await,
        _ => one(&project, &url).await,
    }
}

async fn one(project: &Project, url: &Url) -> Outcome {
    if project.delete_object(&url.bucket, &url.key).await? {
        return Ok(());
    }
    // Grants that may neither read nor list are not told what was there.
    match project.stat_object(&url.bucket, &url.key).await {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

async fn all(project: &Project, url: &Url, context: &Context) -> Outcome {
    let (prefix, tally, batch) = (url.as_prefix(), Mutex::default(), &context.batch);
    tree::objects(project, &prefix, &tally)?
        .try_for_each_concurrent(AT_ONCE, |object| async move {
            let removed = match project.delete_object(&url.bucket, &object.key).await {
                Ok(_) => context.out.object(&Record::object(&object)),
                Err(error) => Err(error.into()),
            };
            batch.record(url.with_key(object.key.clone()), removed)
        })
        .await?;
    let tally = tree::counted(&tally);
    if tally.is_empty() && !url.key.is_empty() {
        return Err(ls::nothing_below(project, &prefix).await);
    }
    tally.nothing_opened(&prefix)?;
    if let Err(failure) = tally.all_opened() {
        batch.record(&prefix, Err(failure))?;
    }
    batch.outcome("removed")
}
