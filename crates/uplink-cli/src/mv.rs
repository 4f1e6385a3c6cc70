//! `uplink mv`: moves objects. No content is transferred.

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use uplink::Project;

use crate::args::location::{Location, Url};
use crate::args::objects::Move;
use crate::context::Context;
use crate::failure::{Failure, Outcome, Scope};
use crate::filter::Filter;
use crate::several;
use crate::walk::{self, CONCURRENCY, Entry};

/// The moves of one command.
struct Job<'a> {
    project: &'a Project,
    context: &'a Context,
    filter: &'a Filter,
    recursive: bool,
    /// Whether the command has more than one source.
    has_several: bool,
}

/// A moved object as JSON.
#[derive(Serialize)]
struct Report<'a> {
    source: &'a str,
    target: &'a str,
}

/// Runs the command.
pub(crate) async fn run(args: Move, context: &Context) -> Outcome {
    let (sources, target) = args.locations()?;
    let filter = &Filter::new(&args.patterns)?;
    let pairs = pairs(&sources, &target, args.recursive)?;
    let project = &context.project(&args.access)?;
    let has_several = pairs.len() > 1;
    let job = Job { project, context, filter, recursive: args.recursive, has_several };
    match pairs.as_slice() {
        [(from, to)] if !args.recursive => job.move_object(from, to).await,
        _ => job.move_all(pairs).await,
    }
}

/// Returns the target of each source: an object, or with `recursive` a prefix.
fn pairs(sources: &[Location], target: &Location, recursive: bool) -> Outcome<Vec<(Url, Url)>> {
    let froms = sources.iter().map(require_remote).collect::<Outcome<Vec<_>>>()?;
    let to = require_remote(target)?;
    let targets = match froms.as_slice() {
        [from] => vec![if recursive { to } else { to.with_name(from.file_name()) }],
        _ => {
            several::require_disjoint(&froms, recursive)?;
            let targets = several::targets(sources, target)?;
            targets.iter().map(require_remote).collect::<Outcome<_>>()?
        }
    };
    let pairs = froms.into_iter().zip(targets).map(|(from, to)| match recursive {
        true => tree(&from, &to),
        false => object(from, to),
    });
    pairs.collect()
}

fn require_remote(location: &Location) -> Outcome<Url> {
    match location {
        Location::Remote(url) => Ok(url.clone()),
        Location::Local(_) | Location::Stdio => Err(Failure::usage(format!(
            "cannot move {location}: source and target must be objects, like sj://bucket/key; use \
             `uplink cp` for files"
        ))),
    }
}

fn tree(from: &Url, to: &Url) -> Outcome<(Url, Url)> {
    let pair = (from.as_prefix(), to.as_prefix());
    pair.0.require_outside(&pair.1)?;
    Ok(pair)
}

fn object(from: Url, to: Url) -> Outcome<(Url, Url)> {
    if from.is_prefix() {
        let text = format!("{from} is not a single object: use --recursive");
        return Err(Failure::usage(text));
    }
    if from == to {
        return Err(Failure::usage(format!("{from} is source and target")));
    }
    Ok((from, to))
}

impl<'a> Job<'a> {
    async fn move_object(&self, from: &Url, to: &Url) -> Outcome {
        self.project.move_object(&from.bucket, &from.key, &to.bucket, &to.key).await?;
        self.context.out.object(&Report { source: &from.to_string(), target: &to.to_string() })
    }

    async fn move_all(&self, pairs: Vec<(Url, Url)>) -> Outcome {
        stream::iter(pairs)
            .flat_map(|(from, to)| self.entries(from, to))
            .try_for_each_concurrent(CONCURRENCY, |(from, to)| async move {
                let moved = match to {
                    Ok(to) => self.move_one_of_many(&from, &to).await,
                    Err(failure) => Err(failure),
                };
                self.context.batch.record(from, moved)
            })
            .await?;
        self.context.batch.outcome("moved")
    }

    /// Returns the objects of a source, each with its target.
    fn entries(&self, from: Url, to: Url) -> BoxStream<'a, Outcome<Entry<Url>>> {
        if !self.recursive {
            return stream::iter([Ok((from, Ok(to)))]).boxed();
        }
        let pairs = walk::pairs(self.project, from.clone(), to, self.filter);
        let entries = pairs.map_ok(|(url, found)| (url, found.map(|(_, to)| to)));
        walk::contain(entries, from, self.has_several).boxed()
    }

    async fn move_one_of_many(&self, from: &Url, to: &Url) -> Outcome {
        match self.move_object(from, to).await {
            Err(failure) if failure.scope() == Scope::Bucket && self.has_several => {
                Err(walk::narrow(failure, self.project, to).await)
            }
            moved => moved,
        }
    }
}
