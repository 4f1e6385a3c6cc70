//! `uplink cp`: uploads, downloads, and copies between objects.

mod job;
mod tree;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use self::job::{Job, require_object};
use crate::args::expiry;
use crate::args::location::{Location, Url};
use crate::args::objects::Copy;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::local::path;
use crate::local::resolve::ResolvedPath;
use crate::progress::Progress;
use crate::transfer::{Attributes, Expires};

/// Runs the command.
pub(crate) async fn run(args: Copy, context: &Context) -> Outcome {
    let source = Location::parse(&args.source)?;
    let target = Location::parse(&args.target)?;
    let job = Job {
        attributes: attributes(&args, &target)?,
        project: &context.project(&args.access)?,
        progress: Progress::new(context.out),
        skip_special: args.skip_special,
        context,
    };
    match (source, target, args.recursive) {
        (Location::Local(from), Location::Remote(to), true) => tree::upload(&job, &from, &to).await,
        (Location::Remote(from), Location::Local(to), true) => {
            tree::download(&job, &from, &to).await
        }
        (Location::Remote(from), Location::Remote(to), true) => tree::copy(&job, &from, &to).await,
        (_, _, true) => {
            Err(Failure::usage("--recursive does not work with standard input and output"))
        }
        (source, target, false) => transfer_one(&job, source, target).await,
    }
}

async fn transfer_one(job: &Job<'_>, source: Location, target: Location) -> Outcome {
    match (source, target) {
        (Location::Stdio, Location::Remote(to)) => job.upload_stdin(&to).await,
        (Location::Local(from), Location::Remote(to)) => {
            job.upload_file(&from, &to.with_name(file_name(&from)?)).await
        }
        (Location::Remote(from), Location::Stdio) => job.download_to_stdout(&from).await,
        (Location::Remote(from), Location::Local(to)) if ResolvedPath::is_stdout(&to) => {
            job.download_to_stdout(&from).await
        }
        (Location::Remote(from), Location::Local(to)) => {
            job.download_file(&from, &file_path(to, &from)?, true).await
        }
        (Location::Remote(from), Location::Remote(to)) => {
            let from = require_object(from)?;
            job.copy(&from, &to.with_name(from.file_name())).await
        }
        _ => Err(Failure::usage("source or target must be an object, like sj://bucket/key")),
    }
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
