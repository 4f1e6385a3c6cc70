//! `uplink ls`: what there is.
//!
//! Names are encrypted, so that with another passphrase none of them can be read. A listing says so
//! instead of looking empty.

use std::ffi::OsString;

use uplink::{ListItem, ListOptions, Project};

use crate::Context;
use crate::args::AccessArgs;
use crate::args::location::Url;
use crate::failure::{Exit, Failure, Outcome};
use crate::pending;
use crate::record::Record;

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    access: AccessArgs,
    /// A bucket, a prefix or an object, like sj://bucket/prefix; all buckets if not given
    #[arg(value_name = "URL")]
    url: Option<OsString>,
    /// List everything below, instead of collapsing names at the next slash
    #[arg(long, short)]
    recursive: bool,
    /// List uploads that are begun and not committed, instead of objects
    #[arg(long)]
    pending: bool,
}

/// Runs the command.
pub(crate) async fn run(args: List, context: &Context) -> Outcome {
    let url = args.url.as_deref().filter(|url| *url != "sj://").map(Url::parse).transpose()?;
    let project = context.project(&args.access)?;
    match url {
        None if args.pending => Err(Failure::usage("--pending needs a bucket: sj://bucket")),
        None => buckets(&project, context).await,
        Some(url) if args.pending => pending::list(&project, &url, args.recursive, context).await,
        Some(url) => objects(&project, &url, args.recursive, context).await,
    }
}

async fn buckets(project: &Project, context: &Context) -> Outcome {
    let mut list = project.list_buckets("");
    while let Some(bucket) = list.next().await? {
        show(&Record::bucket(&bucket), context)?;
    }
    Ok(())
}

async fn objects(project: &Project, url: &Url, recursive: bool, context: &Context) -> Outcome {
    let prefix = url.as_prefix();
    let options = ListOptions::new().prefix(&prefix.key).recursive(recursive);
    let mut list = project.list_objects(&url.bucket, options)?;
    let mut tally = Tally::default();
    while let Some(item) = list.next().await? {
        tally.count(opens(&item));
        match &item {
            ListItem::Object(object) => show(&Record::object(object), context)?,
            ListItem::Prefix(key) => show(&Record::prefix(key), context)?,
            ListItem::Undecryptable(key) => context.out.object(&Record::undecryptable(key))?,
            _ => {}
        }
    }
    if tally.is_empty() && !url.key.is_empty() {
        return object_instead(project, url, context).await;
    }
    tally.nothing_opened(&prefix)?;
    if tally.closed > 0 {
        context.out.warning(tally.closed_names());
    }
    Ok(())
}

/// Shows the object of a name below which nothing is, or tells why there is none.
async fn object_instead(project: &Project, url: &Url, context: &Context) -> Outcome {
    if !url.is_prefix() {
        match project.stat_object(&url.bucket, &url.key).await {
            Ok(object) => return show(&Record::object(&object), context),
            Err(error) if Exit::from(error.kind()) != Exit::NotFound => return Err(error.into()),
            Err(_) => {}
        }
    }
    Err(nothing_below(project, url).await)
}

/// Tells why a prefix is empty: nothing has this name, or no name can be read.
pub(crate) async fn nothing_below(project: &Project, url: &Url) -> Failure {
    match first_names(project, url).await {
        Err(failure) => failure,
        Ok(()) => Failure::new(Exit::NotFound, format!("nothing is found at {url}")),
    }
}

/// Looks whether names at the top of the bucket open. With a key for a prefix alone that cannot be
/// told, and nothing is wrong.
async fn first_names(project: &Project, url: &Url) -> Outcome {
    const SAMPLE: usize = 10;
    let root = url.with_key(Vec::new());
    let Ok(mut list) = project.list_objects(&root.bucket, ListOptions::new()) else {
        return Ok(());
    };
    let mut tally = Tally::default();
    for _ in 0..SAMPLE {
        let Ok(Some(item)) = list.next().await else { break };
        tally.count(opens(&item));
    }
    tally.nothing_opened(&root)
}

/// How many names of a listing open with the access grant's keys.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    opened: u64,
    closed: u64,
}

impl Tally {
    /// Counts an item, whose name opens or not.
    pub(crate) fn count(&mut self, opens: bool) {
        *(if opens { &mut self.opened } else { &mut self.closed }) += 1;
    }

    /// Tells whether nothing was listed.
    pub(crate) fn is_empty(self) -> bool {
        self.opened + self.closed == 0
    }

    /// Fails if there were names and none of them opened.
    pub(crate) fn nothing_opened(self, url: &Url) -> Outcome {
        if self.opened > 0 || self.closed == 0 {
            return Ok(());
        }
        let text = format!(
            "none of the names in {url} can be decrypted: the passphrase or encryption key is \
             another one"
        );
        Err(Failure::new(Exit::Decryption, text))
    }

    /// Fails if any name did not open.
    pub(crate) fn all_opened(self) -> Outcome {
        match self.closed {
            0 => Ok(()),
            _ => Err(Failure::new(Exit::Decryption, self.closed_names())),
        }
    }

    fn closed_names(self) -> String {
        match self.closed {
            1 => "1 name cannot be decrypted with this access grant".to_owned(),
            count => format!("{count} names cannot be decrypted with this access grant"),
        }
    }
}

/// Returns whether the name of an item opens.
pub(crate) fn opens(item: &ListItem) -> bool {
    !matches!(item, ListItem::Undecryptable(_))
}

pub(crate) fn show(record: &Record<'_>, context: &Context) -> Outcome {
    context.out.object(record)?;
    context.out.line(record.line())
}
