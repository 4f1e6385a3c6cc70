//! `uplink rb`: removes a bucket.

use uplink::ErrorKind;

use crate::args::location::Url;
use crate::args::objects::RemoveBucket;
use crate::context::Context;
use crate::failure::Outcome;
use crate::pending;

/// Runs the command.
pub(crate) async fn run(args: RemoveBucket, context: &Context) -> Outcome {
    let url = Url::parse_bucket(&args.url)?;
    let project = context.project(&args.access)?;
    if args.force {
        project.delete_bucket_with_objects(&url.bucket).await?;
    } else if let Err(error) = project.delete_bucket(&url.bucket).await {
        return Err(match error.kind() {
            ErrorKind::BucketNotEmpty => {
                pending::explain_not_empty(error.into(), &project, &url).await
            }
            _ => error.into(),
        });
    }
    context.out.line(format_args!("Removed bucket {url}."))
}
