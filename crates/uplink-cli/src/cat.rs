//! `uplink cat`: an object, or a part of one, on standard output.

use std::ffi::OsString;

use crate::Context;
use crate::args::location::Url;
use crate::args::{AccessArgs, range};
use crate::cp::transfer;
use crate::failure::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct Cat {
    #[command(flatten)]
    access: AccessArgs,
    /// The object, like sj://bucket/key
    #[arg(value_name = "URL")]
    url: OsString,
    /// Only these bytes, counted from 0: 0-99 with both ends, 100- to the end, -5 the last five
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    range: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: Cat, context: &Context) -> Outcome {
    let url = Url::parse_object(&args.url)?;
    let options = args.range.as_deref().map(range::parse).transpose()?.unwrap_or_default();
    let project = context.project(&args.access)?;
    let mut download = project.download_object(&url.bucket, &url.key, options).await?;
    let silent = indicatif::ProgressBar::hidden();
    transfer::to_stdout(&mut download, &silent).await.map(drop)
}
