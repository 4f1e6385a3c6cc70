//! `uplink stat`: what is known of a bucket or an object.

use std::ffi::OsString;

use crate::Context;
use crate::args::AccessArgs;
use crate::args::location::Url;
use crate::failure::Outcome;
use crate::output::printable;
use crate::record::Record;

#[derive(Debug, clap::Args)]
pub(crate) struct Stat {
    #[command(flatten)]
    access: AccessArgs,
    /// A bucket or an object, like sj://bucket/key
    #[arg(value_name = "URL")]
    url: OsString,
}

/// Runs the command.
pub(crate) async fn run(args: Stat, context: &Context) -> Outcome {
    let url = Url::parse(&args.url)?;
    let project = context.project(&args.access)?;
    if url.key.is_empty() {
        let bucket = project.stat_bucket(&url.bucket).await?;
        return show(&Record::bucket(&bucket), context);
    }
    let object = project.stat_object(&url.bucket, &url.key).await?;
    show(&Record::whole_object(&object), context)
}

fn show(record: &Record<'_>, context: &Context) -> Outcome {
    context.out.object(record)?;
    for (name, value) in record.rows() {
        let name = context.out.bold(format_args!("{:<14}", printable(&name)));
        context.out.line(format_args!("{name}  {}", printable(&value)))?;
    }
    Ok(())
}
