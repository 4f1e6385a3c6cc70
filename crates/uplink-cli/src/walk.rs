//! Walks over listings: which names could be decrypted, and what an empty listing means.
//!
//! Names are encrypted. With the wrong passphrase none of them can be decrypted, and a listing must
//! say so instead of looking empty.

use std::sync::{Mutex, PoisonError};

use futures_util::TryStreamExt as _;
use futures_util::stream::{self, Stream};
use uplink::{ListItem, ListOptions, Object, Project};

use crate::args::location::Url;
use crate::batch::Batch;
use crate::failure::{Exit, Failure, Outcome};

/// Objects that a command works on concurrently. Each of them transfers many pieces, and all share
/// the project's memory.
pub(crate) const CONCURRENCY: usize = 4;

/// Lists the objects below a prefix, and counts in `tally` which names are decrypted.
pub(crate) fn objects<'a>(
    project: &Project,
    prefix: &Url,
    tally: &'a SharedTally,
) -> Outcome<impl Stream<Item = Outcome<Object>> + Send + 'a> {
    let options = ListOptions::new().prefix(&prefix.key).recursive(true);
    let list = project.list_objects_with(&prefix.bucket, &options)?;
    let items = stream::try_unfold(list, move |mut list| async move {
        let Some(item) = list.try_next().await? else { return Ok(None) };
        tally.count(is_decrypted(&item));
        Ok::<_, Failure>(Some((item, list)))
    });
    Ok(items.try_filter_map(|item| async move {
        Ok(match item {
            ListItem::Object(object) => Some(object),
            _ => None,
        })
    }))
}

/// Returns the outcome of a command on all objects below a prefix. `action` is what was done to
/// them, like `copied`.
pub(crate) async fn finish(
    project: &Project,
    prefix: &Url,
    tally: Tally,
    batch: &Batch,
    action: &str,
) -> Outcome {
    if tally.is_empty() && !prefix.key.is_empty() {
        return Err(nothing_below(project, prefix).await);
    }
    tally.require_any_decrypted(prefix)?;
    if let Err(failure) = tally.require_all_decrypted() {
        batch.record(prefix, Err(failure))?;
    }
    batch.outcome(action)
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
