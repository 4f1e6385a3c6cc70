//! Recursive copies: directories and prefixes, several objects concurrently.

use std::path::{Path, PathBuf};
use std::{fs, io};

use futures_util::{TryStreamExt as _, stream};

use super::job::Job;
use crate::args::location::Url;
use crate::failure::{Exit, Failure, Outcome};
use crate::local::path;
use crate::walk::{self, CONCURRENCY, SharedTally};

/// Uploads every file below a directory. Symbolic links and special files are failures unless
/// `skip_special` is set.
pub(super) async fn upload(job: &Job<'_>, directory: &Path, to: &Url) -> Outcome {
    let batch = &job.context.batch;
    let found = DirectoryScan::new(directory, to)?;
    for (url, failure) in found.failures {
        batch.record(url, Err(failure))?;
    }
    let special_count = found.special.len();
    for (url, what) in found.special.into_iter().filter(|_| !job.skip_special) {
        batch.record(url, Err(Failure::new(Exit::Other, format!("not copied: {what}"))))?;
    }
    if job.skip_special && special_count > 0 {
        job.context.out.note(format_args!(
            "Skipped {special_count} entries below {directory:?} that are neither files nor \
             directories."
        ));
    }
    stream::iter(found.files.into_iter().map(Ok))
        .try_for_each_concurrent(CONCURRENCY, |relative| async move {
            let url = to.with_key(key_of(to, &relative));
            let uploaded = job.upload_file(&directory.join(&relative), &url).await;
            batch.record(&url, uploaded)
        })
        .await?;
    batch.outcome("copied")
}

/// Downloads everything below a prefix. Objects whose keys are unsafe or invalid as paths are
/// failures.
pub(super) async fn download(job: &Job<'_>, from: &Url, directory: &Path) -> Outcome {
    let prefix = &from.as_prefix();
    let tally = SharedTally::default();
    walk::objects(job.project, prefix, &tally)?
        .try_for_each_concurrent(CONCURRENCY, |object| async move {
            let url = prefix.with_key(object.key);
            let downloaded = download_below(job, prefix, &url, directory).await;
            job.context.batch.record(&url, downloaded)
        })
        .await?;
    walk::finish(job.project, prefix, tally.get(), &job.context.batch, "copied").await
}

/// Downloads an object below a prefix to its path below a directory.
async fn download_below(job: &Job<'_>, prefix: &Url, url: &Url, directory: &Path) -> Outcome {
    let relative = path::from_key(prefix.relative(&url.key)).map_err(|why| {
        let text = format!("cannot write below {directory:?}: the key {why}");
        Failure::new(Exit::Other, text)
    })?;
    path::create_parents(directory, &relative)?;
    job.download_file(url, &directory.join(relative), false).await
}

/// Copies everything below a prefix to another prefix.
pub(super) async fn copy(job: &Job<'_>, from: &Url, to: &Url) -> Outcome {
    let prefix = &from.as_prefix();
    let target = &to.as_prefix();
    prefix.require_outside(target)?;
    let tally = SharedTally::default();
    walk::objects(job.project, prefix, &tally)?
        .try_for_each_concurrent(CONCURRENCY, |object| async move {
            let to = target.with_name(prefix.relative(&object.key));
            let url = prefix.with_key(object.key);
            let copied = match prefix.require_outside(&to) {
                Ok(()) => job.copy(&url, &to).await,
                Err(failure) => Err(failure),
            };
            job.context.batch.record(&url, copied)
        })
        .await?;
    walk::finish(job.project, prefix, tally.get(), &job.context.batch, "copied").await
}

/// The entries below a local directory.
#[derive(Debug, Default)]
struct DirectoryScan {
    /// Files, relative to the directory and sorted.
    files: Vec<PathBuf>,
    /// Target URLs of symbolic links and special files, and their type.
    special: Vec<(Url, &'static str)>,
    /// Target URLs of unreadable directories and entries.
    failures: Vec<(Url, Failure)>,
}

impl DirectoryScan {
    /// Finds everything below a directory that is copied to `to`.
    ///
    /// # Errors
    /// Fails if the directory itself is unreadable. Unreadable subdirectories are added to the
    /// failures.
    fn new(directory: &Path, to: &Url) -> Outcome<Self> {
        let mut scan = Self::default();
        let mut pending = scan.list(directory, Path::new(""), to)?;
        while let Some(relative) = pending.pop() {
            match scan.list(directory, &relative, to) {
                Ok(directories) => pending.extend(directories),
                Err(failure) => {
                    scan.failures.push((to.with_key(key_of(to, &relative)), failure));
                }
            }
        }
        scan.files.sort();
        Ok(scan)
    }

    /// Adds the entries of one directory and returns its subdirectories.
    fn list(&mut self, root: &Path, relative: &Path, to: &Url) -> Outcome<Vec<PathBuf>> {
        // Joining an empty path would add a slash.
        let is_root = relative.as_os_str().is_empty();
        let path = if is_root { root.to_owned() } else { root.join(relative) };
        let failure = |error: io::Error| Failure::io(format_args!("cannot read {path:?}"), &error);

        let mut directories = Vec::new();
        for entry in fs::read_dir(&path).map_err(failure)? {
            let entry = entry.map_err(failure)?;
            let relative = relative.join(entry.file_name());
            let url = || to.with_key(key_of(to, &relative));
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

/// Returns the key of a relative path below a prefix: its components joined by slashes.
fn key_of(to: &Url, relative: &Path) -> Vec<u8> {
    let components: Vec<_> =
        relative.components().map(|part| part.as_os_str().as_encoded_bytes()).collect();
    to.as_prefix().with_name(&components.join(&b'/')).key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_paths_are_below_their_prefix() {
        let url = |key: &str| Url { bucket: "b".to_owned(), key: key.as_bytes().to_vec() };
        assert_eq!(key_of(&url(""), Path::new("x/y")), b"x/y");
        assert_eq!(key_of(&url("a"), Path::new("x/y")), b"a/x/y");
        assert_eq!(key_of(&url("a/"), Path::new("x")), b"a/x");
    }

    #[test]
    fn files_at_every_depth_are_found_and_links_are_not_files() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("d/e")).unwrap();
        for file in ["a", "d/b", "d/e/c"] {
            fs::write(root.path().join(file), file).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("/", root.path().join("link")).unwrap();
        let to = Url { bucket: "b".to_owned(), key: b"p".to_vec() };
        let scan = DirectoryScan::new(root.path(), &to).unwrap();
        assert_eq!(scan.files, [Path::new("a"), Path::new("d/b"), Path::new("d/e/c")]);
        if cfg!(unix) {
            assert_eq!(scan.special, [(to.with_key(b"p/link".to_vec()), "a symbolic link")]);
        }
        assert!(scan.failures.is_empty());
        assert!(DirectoryScan::new(&root.path().join("none"), &to).is_err());
    }
}
