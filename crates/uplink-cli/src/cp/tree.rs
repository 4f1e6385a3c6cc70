//! Directories up, prefixes down and across, several objects at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use futures_util::TryStreamExt as _;
use futures_util::stream::{self, Stream};
use uplink::{ListItem, ListOptions, Object, Project};

use super::Job;
use crate::args::location::Url;
use crate::failure::{Exit, Failure, Outcome};
use crate::local;
use crate::ls::{self, Tally};

/// Objects on their way at once. Within each of them many pieces move, and memory is shared.
pub(crate) const AT_ONCE: usize = 4;

/// Uploads every file below a directory. Links and special files are failures unless they are to be
/// skipped.
pub(crate) async fn upload(job: &Job<'_>, directory: &Path, to: &Url) -> Outcome {
    let batch = &job.context.batch;
    let found = Walk::below(directory, to)?;
    for (url, failure) in found.failures {
        batch.record(url, Err(failure))?;
    }
    let special = found.special.len();
    for (url, what) in found.special.into_iter().filter(|_| !job.skip_special) {
        batch.record(url, Err(Failure::new(Exit::Other, format!("not copied: {what}"))))?;
    }
    if job.skip_special && special > 0 {
        job.context.out.note(format_args!(
            "{special} entries below {directory:?} are neither files nor directories and were left \
             out."
        ));
    }
    stream::iter(found.files.into_iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, |relative| async move {
            let url = to.with_key(key_below(to, &relative));
            let uploaded = job.upload_file(&directory.join(&relative), &url).await;
            batch.record(&url, uploaded)
        })
        .await?;
    batch.outcome("copied")
}

/// Downloads everything below a prefix. Objects whose names would lead out of the directory, or
/// name no file, are failures.
pub(crate) async fn download(job: &Job<'_>, from: &Url, directory: &Path) -> Outcome {
    let (prefix, tally) = (&from.as_prefix(), Mutex::default());
    let objects = objects(job.project, prefix, &tally)?;
    objects
        .try_for_each_concurrent(AT_ONCE, |object| async move {
            let url = prefix.with_key(object.key);
            let downloaded = download_below(job, prefix, &url, directory).await;
            job.context.batch.record(&url, downloaded)
        })
        .await?;
    finish(job, prefix, counted(&tally)).await
}

/// Downloads an object below a prefix to its place below a directory.
async fn download_below(job: &Job<'_>, prefix: &Url, url: &Url, directory: &Path) -> Outcome {
    let name = url.key.strip_prefix(prefix.key.as_slice()).unwrap_or(&url.key);
    let relative = local::relative_path(name).map_err(|why| {
        let text = format!("not written below {directory:?}: as a path the key {why}");
        Failure::new(Exit::Other, text)
    })?;
    local::create_parents(directory, &relative)?;
    job.download_file(url, &directory.join(relative), false).await
}

/// Copies everything below a prefix to below another.
pub(crate) async fn across(job: &Job<'_>, from: &Url, to: &Url) -> Outcome {
    let tally = Mutex::default();
    let (prefix, target) = (&from.as_prefix(), &to.as_prefix());
    if prefix.bucket == target.bucket && target.key.starts_with(&prefix.key) {
        return Err(Failure::usage(format!("{target} lies within {prefix}")));
    }
    objects(job.project, prefix, &tally)?
        .try_for_each_concurrent(AT_ONCE, |object| async move {
            let name = object.key.strip_prefix(prefix.key.as_slice()).unwrap_or(&object.key);
            let to = target.with_key(below(target, name));
            let url = prefix.with_key(object.key);
            let copied = job.across(&url, &to).await;
            job.context.batch.record(&url, copied)
        })
        .await?;
    finish(job, prefix, counted(&tally)).await
}

async fn finish(job: &Job<'_>, prefix: &Url, tally: Tally) -> Outcome {
    if tally.is_empty() && !prefix.key.is_empty() {
        return Err(ls::nothing_below(job.project, prefix).await);
    }
    tally.nothing_opened(prefix)?;
    let batch = &job.context.batch;
    if let Err(failure) = tally.all_opened() {
        batch.record(prefix, Err(failure))?;
    }
    batch.outcome("copied")
}

/// Lists the objects below a prefix, and counts into `tally` what is listed and whether it opens.
pub(crate) fn objects<'a>(
    project: &Project,
    prefix: &Url,
    tally: &'a Mutex<Tally>,
) -> Outcome<impl Stream<Item = Outcome<Object>> + Send + 'a> {
    let options = ListOptions::new().prefix(&prefix.key).recursive(true);
    let list = project.list_objects(&prefix.bucket, options)?;
    let items = stream::try_unfold(list, move |mut list| async move {
        let Some(item) = list.next().await? else { return Ok(None) };
        lock(tally).count(ls::opens(&item));
        Ok::<_, Failure>(Some((item, list)))
    });
    Ok(items.try_filter_map(|item| async move {
        Ok(match item {
            ListItem::Object(object) => Some(object),
            _ => None,
        })
    }))
}

/// Reads what [`objects`] counted.
pub(crate) fn counted(tally: &Mutex<Tally>) -> Tally {
    *lock(tally)
}

/// Locks what a task that panicked cannot have left half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is below a directory.
#[derive(Debug, Default)]
struct Walk {
    /// Files, relative to the directory, sorted.
    files: Vec<PathBuf>,
    /// Where links and special files would have been copied to, and what they are.
    special: Vec<(Url, &'static str)>,
    /// Where directories and entries that cannot be read would have been copied to.
    failures: Vec<(Url, Failure)>,
}

impl Walk {
    /// Looks for everything below a directory that is to be copied to `to`.
    ///
    /// # Errors
    /// The directory itself cannot be read. Directories below it that cannot are among the failures.
    fn below(directory: &Path, to: &Url) -> Outcome<Self> {
        let mut walk = Self::default();
        let mut pending = walk.list(directory, Path::new(""), to)?;
        while let Some(relative) = pending.pop() {
            match walk.list(directory, &relative, to) {
                Ok(directories) => pending.extend(directories),
                Err(failure) => {
                    walk.failures.push((to.with_key(key_below(to, &relative)), failure));
                }
            }
        }
        walk.files.sort();
        Ok(walk)
    }

    /// Adds the entries of one directory, and returns the directories among them.
    fn list(&mut self, root: &Path, relative: &Path, to: &Url) -> Outcome<Vec<PathBuf>> {
        // Joining an empty path would add a slash.
        let empty = relative.as_os_str().is_empty();
        let path = if empty { root.to_owned() } else { root.join(relative) };
        let failure =
            |error: std::io::Error| Failure::io(format_args!("cannot read {path:?}"), &error);
        let mut directories = Vec::new();
        for entry in fs::read_dir(&path).map_err(failure)? {
            let entry = entry.map_err(failure)?;
            let relative = relative.join(entry.file_name());
            let url = || to.with_key(key_below(to, &relative));
            match entry.file_type() {
                Err(error) => self.failures.push((url(), failure(error))),
                Ok(kind) if kind.is_dir() => directories.push(relative),
                Ok(kind) if kind.is_file() => self.files.push(relative),
                Ok(kind) if kind.is_symlink() => self.special.push((url(), "a symbolic link")),
                Ok(_) => self.special.push((url(), "neither a file nor a directory")),
            }
        }
        Ok(directories)
    }
}

/// Makes a key of a relative path: components joined by slashes.
fn key_below(to: &Url, relative: &Path) -> Vec<u8> {
    let components: Vec<_> =
        relative.components().map(|part| part.as_os_str().as_encoded_bytes()).collect();
    below(to, &components.join(&b'/'))
}

fn below(prefix: &Url, name: &[u8]) -> Vec<u8> {
    match prefix.key.as_slice() {
        [] => name.to_vec(),
        _ => [&prefix.as_prefix().key, name].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_below_their_prefix() {
        let url = |key: &str| Url { bucket: "b".to_owned(), key: key.as_bytes().to_vec() };
        assert_eq!(key_below(&url(""), Path::new("x/y")), b"x/y");
        assert_eq!(key_below(&url("a"), Path::new("x/y")), b"a/x/y");
        assert_eq!(key_below(&url("a/"), Path::new("x")), b"a/x");
    }

    #[test]
    fn files_are_found_at_every_depth_and_links_left_out() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("d/e")).unwrap();
        for file in ["a", "d/b", "d/e/c"] {
            fs::write(root.path().join(file), file).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("/", root.path().join("link")).unwrap();
        let to = Url { bucket: "b".to_owned(), key: b"p".to_vec() };
        let walk = Walk::below(root.path(), &to).unwrap();
        assert_eq!(walk.files, [Path::new("a"), Path::new("d/b"), Path::new("d/e/c")]);
        if cfg!(unix) {
            assert_eq!(walk.special, [(to.with_key(b"p/link".to_vec()), "a symbolic link")]);
        }
        assert!(walk.failures.is_empty());
        assert!(Walk::below(&root.path().join("none"), &to).is_err());
    }
}
