//! `uplink mb`: creates a bucket.

use crate::args::location::Url;
use crate::args::objects::MakeBucket;
use crate::context::Context;
use crate::failure::Outcome;
use crate::record::Record;

/// Runs the command.
pub(crate) async fn run(args: MakeBucket, context: &Context) -> Outcome {
    let url = Url::parse_bucket(&args.url)?;
    let bucket = context.project(&args.access)?.create_bucket(&url.bucket).await?;
    context.out.object(&Record::bucket(&bucket))?;
    context.out.line(format_args!("Created bucket {url}."))
}
