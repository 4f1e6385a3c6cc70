//! `uplink mb` and `uplink rb`: buckets come and go.

use std::ffi::OsString;

use uplink::ErrorKind;

use crate::Context;
use crate::args::AccessArgs;
use crate::args::location::Url;
use crate::failure::Outcome;
use crate::pending;
use crate::record::Record;

#[derive(Debug, clap::Args)]
pub(crate) struct Make {
    #[command(flatten)]
    access: AccessArgs,
    /// The bucket, like sj://bucket
    #[arg(value_name = "URL")]
    url: OsString,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    access: AccessArgs,
    /// The bucket, like sj://bucket
    #[arg(value_name = "URL")]
    url: OsString,
    /// Remove all objects in it, too
    #[arg(long)]
    force: bool,
}

/// Runs `mb`.
pub(crate) async fn make(args: Make, context: &Context) -> Outcome {
    let url = Url::parse_bucket(&args.url)?;
    let bucket = context.project(&args.access)?.create_bucket(&url.bucket).await?;
    context.out.object(&Record::bucket(&bucket))?;
    context.out.line(format_args!("Bucket {url} is made."))
}

/// Runs `rb`.
pub(crate) async fn remove(args: Remove, context: &Context) -> Outcome {
    let url = Url::parse_bucket(&args.url)?;
    let project = context.project(&args.access)?;
    if args.force {
        project.delete_bucket_with_objects(&url.bucket).await?;
    } else if let Err(error) = project.delete_bucket(&url.bucket).await {
        return Err(match error.kind() {
            ErrorKind::BucketNotEmpty => pending::explain(error.into(), &project, &url).await,
            _ => error.into(),
        });
    }
    context.out.line(format_args!("Bucket {url} is removed."))
}
