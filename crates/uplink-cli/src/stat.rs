//! `uplink stat`: shows the properties of a bucket or an object.

use crate::args::location::Url;
use crate::args::objects::Stat;
use crate::context::Context;
use crate::failure::Outcome;
use crate::record::Record;
use crate::text::printable;

/// Runs the command.
pub(crate) async fn run(args: Stat, context: &Context) -> Outcome {
    let url = Url::parse(&args.url)?;
    let project = context.project(&args.access)?;
    if url.key.is_empty() {
        let bucket = project.stat_bucket(&url.bucket).await?;
        return print(&Record::bucket(&bucket), context);
    }
    let object = project.stat_object(&url.bucket, &url.key).await?;
    print(&Record::object_with_metadata(&object), context)
}

fn print(record: &Record<'_>, context: &Context) -> Outcome {
    context.out.object(record)?;
    for (name, value) in record.rows() {
        let name = context.out.bold(format_args!("{:<14}", printable(&name)));
        context.out.line(format_args!("{name}  {}", printable(&value)))?;
    }
    Ok(())
}
