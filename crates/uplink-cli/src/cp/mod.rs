//! `uplink cp`: uploads, downloads, and copies between objects.

mod job;
mod rehearsal;
mod step;
mod tree;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use self::job::Job;
use self::step::{Step, require_key, require_object};
use self::tree::{Root, Tree};
use crate::args::expiry;
use crate::args::location::{Location, Url};
use crate::args::objects::Copy;
use crate::context::Context;
use crate::dry_run::BucketCheck;
use crate::failure::{Failure, Outcome};
use crate::filter::Filter;
use crate::local::path;
use crate::local::resolve::ResolvedPath;
use crate::progress::Progress;
use crate::several;
use crate::transfer::{Attributes, Expires};

/// Runs the command.
pub(crate) async fn run(args: Copy, context: &Context) -> Outcome {
    let (sources, target) = args.locations()?;
    let job = Job {
        attributes: attributes(&args, &target)?,
        filter: Filter::new(&args.patterns)?,
        project: &context.project(&args.access)?,
        progress: Progress::new(context.out),
        skip_special: args.skip_special,
        bucket_check: BucketCheck::default(),
        dry_run: args.dry_run,
        parallelism: args.parallelism.into(),
        has_several: sources.len() > 1,
        context,
    };
    match <[Location; 1]>::try_from(sources) {
        Ok([source]) if args.recursive => tree::run(&job, vec![tree(source, target)?]).await,
        Ok([source]) => job.run(&step(source, target)?).await.map(drop),
        Err(sources) => tree::run(&job, roots(sources, &target, args.recursive)?).await,
    }
}

/// Returns the transfer of a single source.
fn step(source: Location, target: Location) -> Outcome<Step> {
    Ok(match (source, target) {
        (Location::Stdio, Location::Remote(to)) => Step::UploadStdin { to: require_key(to)? },
        (Location::Local(from), Location::Remote(to)) => {
            let to = to.with_name(file_name(&from)?);
            Step::Upload { from, to }
        }
        (Location::Remote(from), Location::Stdio) => {
            Step::DownloadToStdout { from: require_object(from)? }
        }
        (Location::Remote(from), Location::Local(to)) if ResolvedPath::is_stdout(&to) => {
            Step::DownloadToStdout { from: require_object(from)? }
        }
        (Location::Remote(from), Location::Local(to)) => {
            let to = file_path(to, &from)?;
            Step::Download { from, to }
        }
        (Location::Remote(from), Location::Remote(to)) => {
            let from = require_object(from)?;
            let to = to.with_name(from.file_name());
            Step::Copy { from, to, size: None }
        }
        _ => return Err(neither_is_remote()),
    })
}

/// Returns the copy of everything below a directory or prefix.
fn tree(source: Location, target: Location) -> Outcome<Root> {
    Ok(Root::Tree(match (source, target) {
        (Location::Local(from), Location::Remote(to)) => Tree::Upload { from, to },
        (Location::Remote(from), Location::Local(to)) => {
            Tree::Download { from: from.as_prefix(), root: to, name: PathBuf::new() }
        }
        (Location::Remote(from), Location::Remote(to)) => {
            let from = from.as_prefix();
            let to = to.as_prefix();
            from.require_outside(&to)?;
            Tree::Copy { from, to }
        }
        _ => {
            let text = "--recursive does not work with standard input and output";
            return Err(Failure::usage(text));
        }
    }))
}

/// Returns the copies of several sources below one target.
fn roots(sources: Vec<Location>, target: &Location, recursive: bool) -> Outcome<Vec<Root>> {
    let targets = several::targets(&sources, target, recursive)?;
    let roots = sources.into_iter().zip(targets).map(|pair| match pair {
        (Location::Local(_), Location::Local(_)) => Err(neither_is_remote()),
        // With --recursive, files and directories can be mixed, as in `cp -r * sj://bucket`.
        (Location::Local(from), to) if recursive && from.is_dir() => {
            tree(Location::Local(from), to)
        }
        (Location::Local(from), Location::Remote(to)) if recursive && is_special(&from) => {
            Ok(Root::Special(to))
        }
        (Location::Local(from), Location::Remote(to)) => Ok(Root::Step(Step::Upload { from, to })),
        (Location::Remote(from), Location::Local(to)) => {
            // What another user may have put into the directory is not followed.
            let (root, name) = split(&to);
            Ok(match recursive {
                true => Root::Tree(Tree::Download { from: from.as_prefix(), root, name }),
                false => {
                    let from = require_object(from)?;
                    Root::Step(Step::DownloadBelow { from, root, relative: name, size: None })
                }
            })
        }
        (from, to) if recursive => tree(from, to),
        (Location::Remote(from), Location::Remote(to)) => {
            Ok(Root::Step(Step::Copy { from: require_object(from)?, to, size: None }))
        }
        _ => Err(neither_is_remote()),
    });
    roots.collect()
}

/// Splits the path of an entry of a directory.
fn split(path: &Path) -> (PathBuf, PathBuf) {
    let name = path.file_name().unwrap_or_default();
    (path.parent().unwrap_or(path).to_owned(), name.into())
}

/// Returns whether a path is a pipe, a device or a socket, not a file. A missing one is not.
fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_file())
}

fn neither_is_remote() -> Failure {
    Failure::usage("source or target must be an object, like sj://bucket/key")
}

/// Parses the attributes of uploaded objects, which are rejected for downloads.
fn attributes(args: &Copy, target: &Location) -> Outcome<Attributes> {
    if !matches!(target, Location::Remote(_))
        && (args.expires.is_some() || !args.metadata.is_empty())
    {
        return Err(Failure::usage("--expires and --metadata are only for uploads"));
    }
    let expires = match args.expires.as_deref() {
        None => Expires::Inherit,
        Some("never") => Expires::Never,
        Some(text) => {
            let parsed = expiry::parse_future("expiry", text, SystemTime::now());
            Expires::At(parsed.map_err(|failure| failure.followed_by("`never` removes an expiry"))?)
        }
    };
    let mut metadata = BTreeMap::new();
    for text in &args.metadata {
        let entry = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) = entry.ok_or_else(|| {
            Failure::usage(format!("invalid metadata {text:?}: must be like NAME=VALUE"))
        })?;
        if metadata.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::usage(format!("metadata {name:?} is given twice")));
        }
    }
    Ok(Attributes { expires, metadata })
}

/// Returns the file name of an upload's source.
fn file_name(path: &Path) -> Outcome<&[u8]> {
    let name = path.file_name().map(OsStr::as_encoded_bytes);
    name.ok_or_else(|| Failure::usage(format!("{path:?} is a directory: use --recursive")))
}

/// Returns the path of the target file: in a directory, the last component of the key.
fn file_path(to: PathBuf, from: &Url) -> Outcome<PathBuf> {
    let from = require_object(from.clone())?;
    let ends_with_separator = to
        .as_os_str()
        .as_encoded_bytes()
        .last()
        .is_some_and(|last| *last == b'/' || (cfg!(windows) && *last == b'\\'));
    if !to.is_dir() && !ends_with_separator {
        return Ok(to);
    }
    let name = path::from_key(from.file_name()).map_err(|why| {
        Failure::usage(format!("cannot use {from} as a file name: the key {why}"))
    })?;
    Ok(to.join(name))
}
