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

/// Uploads every file below a directory. Links and special files are left out.
pub(crate) async fn upload(job: &Job<'_>, directory: &Path, to: &Url) -> Outcome {
    let (files, left_out) = files_below(directory)?;
    let uploads = stream::iter(files.into_iter().map(Ok));
    uploads
        .try_for_each_concurrent(AT_ONCE, |relative| async move {
            let key = key_below(to, &relative);
            job.upload_file(&directory.join(&relative), &to.with_key(key)).await
        })
        .await?;
    if left_out > 0 {
        job.context.out.note(format_args!(
            "{left_out} entries below {directory:?} are neither files nor directories and were left \
             out."
        ));
    }
    Ok(())
}

/// Downloads everything below a prefix. Objects whose names would lead out of the directory, or
/// name no file, are left out, and reported at the end.
pub(crate) async fn download(job: &Job<'_>, from: &Url, directory: &Path) -> Outcome {
    let (tally, refused) = (Mutex::default(), Mutex::new(Refused::default()));
    let (prefix, refused_ref) = (from.as_prefix(), &refused);
    objects(job.project, &prefix, &tally)?
        .try_for_each_concurrent(AT_ONCE, |object| {
            let prefix = &prefix;
            async move {
                let name = object.key.strip_prefix(prefix.key.as_slice()).unwrap_or(&object.key);
                let url = prefix.with_key(object.key.clone());
                match local::relative_path(name) {
                    Ok(relative) => {
                        local::create_parents(directory, &relative)?;
                        job.download_file(&url, &directory.join(relative), false).await
                    }
                    Err(why) => {
                        lock(refused_ref).add(&url, why);
                        Ok(())
                    }
                }
            }
        })
        .await?;
    finish(job, &prefix, counted(&tally)).await?;
    let refused = refused.into_inner().unwrap_or_else(PoisonError::into_inner);
    refused.into_outcome(directory)
}

/// Copies everything below a prefix to below another.
pub(crate) async fn across(job: &Job<'_>, from: &Url, to: &Url) -> Outcome {
    let tally = Mutex::default();
    let (prefix, target) = (from.as_prefix(), to.as_prefix());
    if prefix.bucket == target.bucket && target.key.starts_with(&prefix.key) {
        return Err(Failure::usage(format!("{target} lies within {prefix}")));
    }
    objects(job.project, &prefix, &tally)?
        .try_for_each_concurrent(AT_ONCE, |object| {
            let (prefix, target) = (&prefix, &target);
            async move {
                let name = object.key.strip_prefix(prefix.key.as_slice()).unwrap_or(&object.key);
                let key = below(target, name);
                job.across(&prefix.with_key(object.key.clone()), &target.with_key(key)).await
            }
        })
        .await?;
    finish(job, &prefix, counted(&tally)).await
}

async fn finish(job: &Job<'_>, prefix: &Url, tally: Tally) -> Outcome {
    if tally.is_empty() && !prefix.key.is_empty() {
        return Err(ls::nothing_below(job.project, prefix).await);
    }
    tally.all_opened(prefix)
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
        lock(tally).count(&item);
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Objects that were not written, for the sentence at the end.
#[derive(Debug, Default)]
struct Refused {
    count: u64,
    first: Option<(Url, &'static str)>,
}

impl Refused {
    fn add(&mut self, url: &Url, why: &'static str) {
        self.count += 1;
        self.first.get_or_insert_with(|| (url.clone(), why));
    }

    fn into_outcome(self, directory: &Path) -> Outcome {
        let Some((url, why)) = self.first else { return Ok(()) };
        let others = match self.count {
            1 => String::new(),
            count => format!(" and {} others", count - 1),
        };
        let text =
            format!("{url}{others} were not written below {directory:?}: as a path the key {why}");
        Err(Failure::new(Exit::Other, text))
    }
}

/// Lists the files below a directory, relative to it, sorted; and counts what is left out.
fn files_below(directory: &Path) -> Outcome<(Vec<PathBuf>, u64)> {
    let mut files = Vec::new();
    let mut left_out = 0;
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        let path = directory.join(&relative);
        let failure =
            |error: std::io::Error| Failure::io(format_args!("cannot read {path:?}"), &error);
        for entry in fs::read_dir(&path).map_err(failure)? {
            let entry = entry.map_err(failure)?;
            let kind = entry.file_type().map_err(failure)?;
            let relative = relative.join(entry.file_name());
            match kind {
                kind if kind.is_dir() => pending.push(relative),
                kind if kind.is_file() => files.push(relative),
                _ => left_out += 1,
            }
        }
    }
    files.sort();
    Ok((files, left_out))
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
        let (files, left_out) = files_below(root.path()).unwrap();
        assert_eq!(files, [Path::new("a"), Path::new("d/b"), Path::new("d/e/c")]);
        assert_eq!(left_out, u64::from(cfg!(unix)));
    }
}
