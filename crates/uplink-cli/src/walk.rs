//! Walks over listings: which names could be decrypted, and what an empty listing means.
//!
//! Names are encrypted. With the wrong passphrase none of them can be decrypted, and a listing must
//! say so instead of looking empty.

use std::sync::{Mutex, PoisonError};

use futures_util::TryStreamExt as _;
use futures_util::stream::{self, Stream};
use uplink::{ErrorKind, ListItem, ListOptions, Object, ObjectList, Project};

use crate::args::location::Url;
use crate::failure::{Exit, Failure, Outcome};
use crate::filter::Filter;

/// Objects that a command works on concurrently, except for `cp`, which has an option for it.
pub(crate) const CONCURRENCY: usize = 4;

/// An entry of a batch: the URL that its failure is reported under, and what is done, or why it cannot
/// be.
pub(crate) type Entry<T> = (Url, Outcome<T>);

/// Lists the selected objects below a prefix. Names that cannot be decrypted are one failure, the last entry.
///
/// # Errors
/// An item is an error if the listing fails, there is nothing to list, or no name can be decrypted.
pub(crate) fn objects<'a>(
    project: &'a Project,
    prefix: Url,
    filter: &'a Filter,
) -> impl Stream<Item = Outcome<Entry<Object>>> + Send + 'a {
    let walk = async move { Walk::begin(project, prefix, filter) };
    let entries = stream::once(walk).map_ok(|walk| {
        stream::try_unfold(Some(walk), |walk| async move {
            match walk {
                Some(walk) => walk.next().await,
                None => Ok(None),
            }
        })
    });
    entries.try_flatten()
}

/// Lists the selected objects below a prefix and where each goes below a target, as [`objects`]. An object whose
/// target is below the prefix itself is a failure.
///
/// # Errors
/// As [`objects`].
pub(crate) fn pairs<'a>(
    project: &'a Project,
    prefix: Url,
    target: Url,
    filter: &'a Filter,
) -> impl Stream<Item = Outcome<Entry<(Object, Url)>>> + Send + 'a {
    objects(project, prefix.clone(), filter).map_ok(move |(url, found)| {
        let found = found.and_then(|object| {
            let to = target.with_name(prefix.relative(&object.key));
            prefix.require_outside(&to).map(|()| (object, to))
        });
        (url, found)
    })
}

/// Turns the failure of the walk over one of several sources into an entry, so that the others are
/// still walked over.
pub(crate) fn contain<'a, T: Send + 'a>(
    entries: impl Stream<Item = Outcome<Entry<T>>> + Send + 'a,
    source: Url,
    contains: bool,
) -> impl Stream<Item = Outcome<Entry<T>>> + Send + 'a {
    entries.or_else(move |failure| {
        let entry = match contains {
            true => Ok((source.clone(), Err(failure.outside_bucket()))),
            false => Err(failure),
        };
        std::future::ready(entry)
    })
}

/// Limits a missing bucket to one source, unless it is the bucket that all sources go to.
pub(crate) async fn narrow(failure: Failure, project: &Project, target: &Url) -> Failure {
    match project.stat_bucket(&target.bucket).await {
        Err(error) if error.kind() == ErrorKind::BucketNotFound => failure,
        _ => failure.outside_bucket(),
    }
}

/// A listing in progress.
struct Walk<'a> {
    project: &'a Project,
    prefix: Url,
    filter: &'a Filter,
    list: ObjectList,
    tally: Tally,
}

impl<'a> Walk<'a> {
    fn begin(project: &'a Project, prefix: Url, filter: &'a Filter) -> Outcome<Self> {
        let options = ListOptions::new().prefix(&prefix.key).recursive(true);
        let list = project.list_objects_with(&prefix.bucket, &options)?;
        Ok(Self { project, prefix, filter, list, tally: Tally::default() })
    }

    /// Returns the next entry, and the listing unless it is the last one.
    async fn next(mut self) -> Outcome<Option<(Entry<Object>, Option<Self>)>> {
        while let Some(item) = self.list.try_next().await? {
            self.tally.count(is_decrypted(&item));
            if let ListItem::Object(object) = item
                && self.filter.selects(self.prefix.relative(&object.key))
            {
                let url = self.prefix.with_key(object.key.clone());
                return Ok(Some(((url, Ok(object)), Some(self))));
            }
        }
        if self.tally.is_empty() && !self.prefix.key.is_empty() {
            return Err(nothing_below(self.project, &self.prefix).await);
        }
        self.tally.require_any_decrypted(&self.prefix)?;
        let failure = self.tally.require_all_decrypted().err();
        Ok(failure.map(|failure| ((self.prefix, Err(failure)), None)))
    }
}

/// Explains why a prefix is empty: it does not exist, or no name can be decrypted.
pub(crate) async fn nothing_below(project: &Project, url: &Url) -> Failure {
    match check_passphrase(project, url).await {
        Err(failure) => failure,
        Ok(()) => Failure::new(Exit::NotFound, format!("nothing found at {url}")),
    }
}

/// Fails if none of the first names in the bucket can be decrypted. A grant for a prefix cannot
/// list them, which is not a failure.
async fn check_passphrase(project: &Project, url: &Url) -> Outcome {
    const SAMPLE_SIZE: usize = 10;
    let root = url.with_key(Vec::new());
    let Ok(mut list) = project.list_objects(&root.bucket) else {
        return Ok(());
    };
    let mut tally = Tally::default();
    for _ in 0..SAMPLE_SIZE {
        let Ok(Some(item)) = list.try_next().await else { break };
        tally.count(is_decrypted(&item));
    }
    tally.require_any_decrypted(&root)
}

/// Returns whether the name of an item was decrypted.
pub(crate) fn is_decrypted(item: &ListItem) -> bool {
    !matches!(item, ListItem::Undecryptable(_))
}

/// How many names of a listing were decrypted with the keys of the access grant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    decrypted: u64,
    undecryptable: u64,
}

impl Tally {
    /// Counts an item of the listing.
    pub(crate) fn count(&mut self, is_decrypted: bool) {
        if is_decrypted {
            self.decrypted += 1;
        } else {
            self.undecryptable += 1;
        }
    }

    /// Returns whether the listing was empty.
    pub(crate) fn is_empty(self) -> bool {
        self.decrypted + self.undecryptable == 0
    }

    /// Fails if there were names and none of them was decrypted.
    pub(crate) fn require_any_decrypted(self, url: &Url) -> Outcome {
        if self.decrypted > 0 || self.undecryptable == 0 {
            return Ok(());
        }
        let text =
            format!("cannot decrypt any of the names in {url}: wrong passphrase or encryption key");
        Err(Failure::new(Exit::Decryption, text))
    }

    /// Fails if any name was not decrypted.
    pub(crate) fn require_all_decrypted(self) -> Outcome {
        let text = match self.undecryptable {
            0 => return Ok(()),
            1 => "1 name cannot be decrypted with this access grant".to_owned(),
            count => format!("{count} names cannot be decrypted with this access grant"),
        };
        Err(Failure::new(Exit::Decryption, text))
    }
}

/// A [`Tally`] of a listing that concurrent tasks consume.
#[derive(Debug, Default)]
pub(crate) struct SharedTally(Mutex<Tally>);

impl SharedTally {
    /// Counts an item of the listing.
    pub(crate) fn count(&self, is_decrypted: bool) {
        // A panic cannot leave the counts half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count(is_decrypted);
    }

    /// Returns the current counts.
    pub(crate) fn get(&self) -> Tally {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
