//! `uplink cp`: objects and files, up, down and across.

pub(crate) mod transfer;
pub(crate) mod tree;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use uplink::Project;

use self::transfer::{Attributes, Expires};
use crate::Context;
use crate::args::location::{Location, Url};
use crate::args::{AccessArgs, expiry};
use crate::failure::{Failure, Outcome};
use crate::local;
use crate::local::place::Place;
use crate::local::source::Source;
use crate::progress::Progress;

#[derive(Debug, clap::Args)]
pub(crate) struct Copy {
    #[command(flatten)]
    access: AccessArgs,
    /// A file, an object like sj://bucket/key, or - for standard input
    #[arg(value_name = "SRC")]
    source: OsString,
    /// A file or directory, an object or a prefix like sj://bucket/prefix/, or - for standard output
    #[arg(value_name = "DST")]
    target: OsString,
    /// Copy everything below a directory or prefix
    #[arg(long, short)]
    recursive: bool,
    /// Let uploaded objects disappear: at 2030-01-31T12:00:00Z, or after 90s, 15m, 24h, 7d. Copies of
    /// objects keep their own expiry if this is not given; `never` removes it
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Custom metadata of uploaded objects, as often as needed. Copies of objects keep their own if
    /// none is given
    #[arg(long, value_name = "NAME=VALUE")]
    metadata: Vec<String>,
    /// Leave out links, pipes, sockets and devices below a source directory without counting them as
    /// failures
    #[arg(long, requires = "recursive")]
    skip_special: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Copy, context: &Context) -> Outcome {
    let (source, target) = (Location::parse(&args.source)?, Location::parse(&args.target)?);
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
        (Location::Remote(from), Location::Remote(to), true) => {
            tree::across(&job, &from, &to).await
        }
        (_, _, true) => Err(Failure::usage("standard input and output hold one object only")),
        (source, target, false) => one(&job, source, target).await,
    }
}

async fn one(job: &Job<'_>, source: Location, target: Location) -> Outcome {
    match (source, target) {
        (Location::Stdio, Location::Remote(to)) => job.upload_stdin(&to).await,
        (Location::Local(from), Location::Remote(to)) => {
            let to = named_like(to, local_name(&from)?);
            job.upload_file(&from, &to).await
        }
        (Location::Remote(from), Location::Stdio) => job.download_to_stdout(&from).await,
        (Location::Remote(from), Location::Local(to)) if Place::is_stdout(&to) => {
            job.download_to_stdout(&from).await
        }
        (Location::Remote(from), Location::Local(to)) => {
            job.download_file(&from, &file_in(to, &from)?, true).await
        }
        (Location::Remote(from), Location::Remote(to)) => {
            let from = single(from)?;
            let name = from.file_name().to_vec();
            job.across(&from, &named_like(to, &name)).await
        }
        _ => Err(Failure::usage("neither side is an object: write it like sj://bucket/key")),
    }
}

/// What all copies of one command share.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    attributes: Attributes,
    project: &'a Project,
    progress: Progress,
    skip_special: bool,
    context: &'a Context,
}

/// A finished copy for scripts.
#[derive(Serialize)]
struct Copied<'a> {
    source: &'a str,
    target: &'a str,
    size: u64,
}

impl Job<'_> {
    async fn upload_file(&self, path: &Path, url: &Url) -> Outcome {
        let source = Source::open(path).await?;
        self.upload(source, &path.display().to_string(), url).await
    }

    async fn upload_stdin(&self, url: &Url) -> Outcome {
        if url.is_prefix() {
            return Err(Failure::usage(format!("{url} needs a key for what standard input holds")));
        }
        self.upload(Source::stdin()?, "-", url).await
    }

    async fn upload(&self, mut source: Source, name: &str, url: &Url) -> Outcome {
        let bar = self.progress.transfer(name, source.size());
        let Self { attributes, project, context, .. } = self;
        let size = transfer::upload(project, &mut source, url, attributes, context, &bar).await?;
        bar.finish();
        self.report(name, &url.to_string(), size)
    }

    async fn download_file(&self, url: &Url, path: &Path, follow: bool) -> Outcome {
        let bar = self.progress.transfer(&url.to_string(), None);
        let size = transfer::to_file(self.project, url, path, follow, &bar).await?;
        bar.finish();
        self.report(&url.to_string(), &path.display().to_string(), size)
    }

    async fn download_to_stdout(&self, url: &Url) -> Outcome {
        let url = single(url.clone())?;
        let mut download = transfer::open(self.project, &url).await?;
        let bar = match std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            true => indicatif::ProgressBar::hidden(),
            false => self.progress.transfer(&url.to_string(), Some(download.object().size)),
        };
        transfer::to_stdout(&mut download, &bar).await?;
        bar.finish();
        Ok(())
    }

    async fn across(&self, from: &Url, to: &Url) -> Outcome {
        let bar = self.progress.transfer(&from.to_string(), None);
        let Self { attributes, project, context, .. } = self;
        let size = transfer::across(project, from, to, attributes, context, &bar).await?;
        bar.finish();
        self.report(&from.to_string(), &to.to_string(), size)
    }

    fn report(&self, source: &str, target: &str, size: u64) -> Outcome {
        self.context.out.object(&Copied { source, target, size })
    }
}

/// Reads what is to go with uploads, which downloads have no use for.
fn attributes(args: &Copy, target: &Location) -> Outcome<Attributes> {
    if !matches!(target, Location::Remote(_))
        && (args.expires.is_some() || !args.metadata.is_empty())
    {
        return Err(Failure::usage("--expires and --metadata are for uploads"));
    }
    let expires = match args.expires.as_deref() {
        None => Expires::AsBefore,
        Some("never") => Expires::Never,
        Some(text) => Expires::At(expiry::parse(text, SystemTime::now())?),
    };
    let mut metadata = BTreeMap::new();
    for text in &args.metadata {
        let entry = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) = entry.ok_or_else(|| {
            Failure::usage(format!("{text:?} is no metadata: write it like NAME=VALUE"))
        })?;
        if metadata.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::usage(format!("metadata {name:?} is given twice")));
        }
    }
    Ok(Attributes { expires, metadata })
}

/// Refuses a bucket or prefix where one object is meant.
fn single(url: Url) -> Outcome<Url> {
    if url.is_prefix() {
        return Err(Failure::usage(format!(
            "{url} can be many objects: copy them with --recursive"
        )));
    }
    Ok(url)
}

/// The name that an uploaded file gives to an object.
fn local_name(path: &Path) -> Outcome<&[u8]> {
    let name = path.file_name().map(std::ffi::OsStr::as_encoded_bytes);
    name.ok_or_else(|| Failure::usage(format!("{path:?} is a directory: copy it with --recursive")))
}

/// Puts a name at the end of a prefix; an object's key stays as it is.
fn named_like(to: Url, name: &[u8]) -> Url {
    if to.is_prefix() { to.with_key([&to.key, name].concat()) } else { to }
}

/// The file to download an object to: in a directory one with the last component of its key.
fn file_in(to: PathBuf, from: &Url) -> Outcome<PathBuf> {
    let from = single(from.clone())?;
    let ends_with_separator = to
        .as_os_str()
        .as_encoded_bytes()
        .last()
        .is_some_and(|last| *last == b'/' || (cfg!(windows) && *last == b'\\'));
    if !to.is_dir() && !ends_with_separator {
        return Ok(to);
    }
    let name = local::relative_path(from.file_name()).map_err(|why| {
        Failure::usage(format!("{from} needs a file name here: as a path the key {why}"))
    })?;
    Ok(to.join(name))
}
