//! `uplink cat`: writes an object, or a range of it, to standard output.

use indicatif::ProgressBar;

use crate::args::location::Url;
use crate::args::objects::Cat;
use crate::args::range;
use crate::context::Context;
use crate::failure::Outcome;
use crate::transfer;

/// Runs the command.
pub(crate) async fn run(args: Cat, context: &Context) -> Outcome {
    let url = Url::parse_object(&args.url)?;
    let options = args.range.as_deref().map(range::parse).transpose()?.unwrap_or_default();
    let project = context.project(&args.access)?;
    let mut download = project.download_object_with(&url.bucket, &url.key, &options).await?;
    transfer::to_stdout(&mut download, &ProgressBar::hidden()).await.map(drop)
}
