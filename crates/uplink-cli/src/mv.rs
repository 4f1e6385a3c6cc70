//! `uplink mv`: moves objects. No content is transferred.

use std::ffi::OsStr;

use futures_util::TryStreamExt as _;
use serde::Serialize;
use uplink::Project;

use crate::args::location::{Location, Url};
use crate::args::objects::Move;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::walk::{self, CONCURRENCY, SharedTally};

/// A moved object as JSON.
#[derive(Serialize)]
struct Report<'a> {
    source: &'a str,
    target: &'a str,
}

/// Runs the command.
pub(crate) async fn run(args: Move, context: &Context) -> Outcome {
    let from = parse(&args.source)?;
    let to = parse(&args.target)?;
    let project = context.project(&args.access)?;
    if args.recursive {
        return move_all(&project, &from, &to, context).await;
    }
    if from.is_prefix() {
        let text = format!("{from} is not a single object: use --recursive");
        return Err(Failure::usage(text));
    }
    move_object(&project, &from, &to.with_name(from.file_name()), context).await
}

fn parse(text: &OsStr) -> Outcome<Url> {
    match Location::parse(text)? {
        Location::Remote(url) => Ok(url),
        Location::Local(_) | Location::Stdio => Err(Failure::usage(format!(
            "cannot move {text:?}: source and target must be objects, like sj://bucket/key; use `uplink \
             cp` for files"
        ))),
    }
}

async fn move_object(project: &Project, from: &Url, to: &Url, context: &Context) -> Outcome {
    if from == to {
        return Err(Failure::usage(format!("{from} is source and target")));
    }
    project.move_object(&from.bucket, &from.key, &to.bucket, &to.key).await?;
    context.out.object(&Report { source: &from.to_string(), target: &to.to_string() })
}

async fn move_all(project: &Project, from: &Url, to: &Url, context: &Context) -> Outcome {
    let prefix = &from.as_prefix();
    let target = &to.as_prefix();
    prefix.require_outside(target)?;
    let tally = SharedTally::default();
    walk::objects(project, prefix, &tally)?
        .try_for_each_concurrent(CONCURRENCY, |object| async move {
            let to = target.with_name(prefix.relative(&object.key));
            let url = prefix.with_key(object.key);
            let moved = match prefix.require_outside(&to) {
                Ok(()) => move_object(project, &url, &to, context).await,
                Err(failure) => Err(failure),
            };
            context.batch.record(&url, moved)
        })
        .await?;
    walk::finish(project, prefix, tally.get(), &context.batch, "moved").await
}
