//! `uplink mv`: moves objects. No content is transferred.

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use uplink::Project;

use crate::action::Action;
use crate::args::location::{Location, Url};
use crate::args::objects::Move;
use crate::context::Context;
use crate::dry_run::{self, BucketCheck};
use crate::failure::{Failure, Outcome, Scope};
use crate::filter::Filter;
use crate::several;
use crate::text::printable;
use crate::walk::{self, CONCURRENCY, Entry};

/// The moves of one command.
struct Job<'a> {
    project: &'a Project,
    context: &'a Context,
    filter: &'a Filter,
    /// Whether moves are only checked and reported.
    dry_run: bool,
    bucket_check: BucketCheck,
    recursive: bool,
    /// Whether the command has more than one source.
    has_several: bool,
}

/// The target of an object, and its size if it was listed.
type Destination = (Url, Option<u64>);

/// A moved object as JSON.
#[derive(Serialize)]
struct Report<'a> {
    source: &'a str,
    target: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Move, context: &Context) -> Outcome {
    let (sources, target) = args.locations()?;
    let filter = &Filter::new(&args.patterns)?;
    let pairs = pairs(&sources, &target, args.recursive)?;
    let project = &context.project(&args.access)?;
    let has_several = pairs.len() > 1;
    let job = Job {
        project,
        context,
        filter,
        dry_run: args.dry_run,
        bucket_check: BucketCheck::default(),
        recursive: args.recursive,
        has_several,
    };
    match pairs.as_slice() {
        [(from, to)] if !args.recursive => job.move_object(from, to, None).await.map(drop),
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
            let targets = several::targets(sources, target, recursive)?;
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
    /// Moves an object, or with `--dry-run` only checks it. Returns its size if it is known.
    async fn move_object(&self, from: &Url, to: &Url, listed: Option<u64>) -> Outcome<Option<u64>> {
        let size = match self.dry_run {
            true => Some(self.check(from, to, listed).await?),
            false => {
                self.project.move_object(&from.bucket, &from.key, &to.bucket, &to.key).await?;
                listed
            }
        };
        let source = from.to_string();
        let target = to.to_string();
        let dry_run = self.dry_run;
        if dry_run {
            let line = format!("Would move {source} to {target}");
            self.context.out.line(printable(&line))?;
        }
        self.context.out.object(&Report { source: &source, target: &target, dry_run })?;
        Ok(size)
    }

    /// Fails if a move is certain to, and returns the size of the object.
    async fn check(&self, from: &Url, to: &Url, listed: Option<u64>) -> Outcome<u64> {
        let size = match listed {
            Some(size) => size,
            None => dry_run::find(self.project, from).await?.size,
        };
        self.bucket_check.require(self.project, &to.bucket).await?;
        Ok(size)
    }

    async fn move_all(&self, pairs: Vec<(Url, Url)>) -> Outcome {
        self.context.batch.begin(Action::Move, self.dry_run);
        stream::iter(pairs)
            .flat_map(|(from, to)| self.entries(from, to))
            .try_for_each_concurrent(CONCURRENCY, |(from, found)| async move {
                let moved = match found {
                    Ok((to, size)) => self.move_one_of_many(&from, &to, size).await,
                    Err(failure) => Err(failure),
                };
                self.context.batch.record(from, moved)
            })
            .await?;
        self.context.batch.outcome(Action::Move)
    }

    /// Returns the objects of a source, each with its target, and with its size if it was listed.
    fn entries(&self, from: Url, to: Url) -> BoxStream<'a, Outcome<Entry<Destination>>> {
        if !self.recursive {
            return stream::iter([Ok((from, Ok((to, None))))]).boxed();
        }
        let pairs = walk::pairs(self.project, from.clone(), to, self.filter);
        let entries =
            pairs.map_ok(|(url, found)| (url, found.map(|(object, to)| (to, Some(object.size)))));
        walk::contain(entries, from, self.has_several).boxed()
    }

    async fn move_one_of_many(
        &self,
        from: &Url,
        to: &Url,
        listed: Option<u64>,
    ) -> Outcome<Option<u64>> {
        match self.move_object(from, to, listed).await {
            Err(failure) if failure.scope() == Scope::Bucket && self.has_several => {
                Err(walk::narrow(failure, self.project, to).await)
            }
            moved => moved,
        }
    }
}
