//! Recursive copies: directories and prefixes, several objects concurrently.

use std::path::{Path, PathBuf};
use std::{fs, io};

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::job::Job;
use super::step::Step;
use crate::action::Action;
use crate::args::location::Url;
use crate::failure::{Exit, Failure, Outcome, Scope};
use crate::filter::Filter;
use crate::local::path;
use crate::walk::{self, Entry};

/// A source of a batch, and its target.
#[derive(Debug)]
pub(super) enum Root {
    /// One object.
    Step(Step),
    /// A pipe, device or socket beside directories: its target.
    Special(Url),
    /// A directory or prefix.
    Tree(Tree),
}

/// Everything below a directory or prefix. Remote sources end with a slash.
#[derive(Debug)]
pub(super) enum Tree {
    Copy {
        from: Url,
        to: Url,
    },
    /// Goes to `name` below `root`, which is empty for `root` itself. Links below `root` are not
    /// followed.
    Download {
        from: Url,
        root: PathBuf,
        name: PathBuf,
    },
    Upload {
        from: PathBuf,
        to: Url,
    },
}

/// Copies objects concurrently. A failure of one of several sources does not stop the others.
pub(super) async fn run(job: &Job<'_>, roots: Vec<Root>) -> Outcome {
    let batch = &job.context.batch;
    batch.begin(Action::Copy, job.dry_run);
    let selected = roots.into_iter().filter(|root| is_selected(job, root));
    stream::iter(selected)
        .flat_map(|root| entries(job, root))
        .try_for_each_concurrent(job.parallelism, |(url, step)| async move {
            let copied = match step {
                Ok(step) => run_step(job, &step).await,
                Err(failure) => Err(failure),
            };
            batch.record(url, copied)
        })
        .await?;
    batch.outcome(Action::Copy)
}

/// Returns whether a source is selected: a file that is given beside directories is matched by its name.
fn is_selected(job: &Job<'_>, root: &Root) -> bool {
    match root {
        Root::Step(Step::Upload { from, .. }) => {
            let name = from.file_name().unwrap_or_default();
            job.filter.selects(name.as_encoded_bytes())
        }
        Root::Step(_) | Root::Special(_) | Root::Tree(_) => true,
    }
}

/// Transfers an object. The missing bucket of one of several sources does not affect the others.
async fn run_step(job: &Job<'_>, step: &Step) -> Outcome<Option<u64>> {
    let copied = job.run(step).await;
    match (copied, step) {
        (Err(failure), Step::Copy { to, .. })
            if job.has_several && failure.scope() == Scope::Bucket =>
        {
            Err(walk::narrow(failure, job.project, to).await)
        }
        (Err(failure), Step::DownloadBelow { .. }) if job.has_several => {
            Err(failure.outside_bucket())
        }
        (copied, _) => copied,
    }
}

/// Returns the transfers of a source.
fn entries<'a>(job: &'a Job<'_>, root: Root) -> BoxStream<'a, Outcome<Entry<Step>>> {
    match root {
        Root::Step(step) => stream::iter([Ok((step.url().clone(), Ok(step)))]).boxed(),
        Root::Special(to) => {
            let entries = special(job, vec![(to, "neither a file nor a directory")]);
            stream::iter(entries).boxed()
        }
        Root::Tree(Tree::Copy { from, to }) => {
            let pairs = walk::pairs(job.project, from.clone(), to, &job.filter);
            let entries = pairs.map_ok(|(from, found)| {
                let step = found.map(|(object, to)| {
                    let size = Some(object.size);
                    Step::Copy { from: from.clone(), to, size }
                });
                (from, step)
            });
            walk::contain(entries, from, job.has_several).boxed()
        }
        Root::Tree(Tree::Download { from, root, name }) => {
            let objects = walk::objects(job.project, from.clone(), &job.filter);
            let prefix = from.clone();
            let entries = objects.map_ok(move |(url, found)| {
                let step = found
                    .and_then(|object| download_below(&prefix, &url, (&root, &name), object.size));
                (url, step)
            });
            walk::contain(entries, from, job.has_several).boxed()
        }
        Root::Tree(Tree::Upload { from, to }) => {
            let entries = stream::iter(upload(job, &from, &to));
            walk::contain(entries, to, job.has_several).boxed()
        }
    }
}

/// Returns the uploads of every file below a directory. Symbolic links and special files are failures
/// unless `skip_special` is set.
fn upload(job: &Job<'_>, directory: &Path, to: &Url) -> Vec<Outcome<Entry<Step>>> {
    let found = match DirectoryScan::new(directory, to, &job.filter) {
        Ok(found) => found,
        Err(failure) => return vec![Err(failure)],
    };
    let mut entries: Vec<Outcome<Entry<Step>>> =
        found.failures.into_iter().map(|(url, failure)| Ok((url, Err(failure)))).collect();
    entries.extend(special(job, found.special));
    entries.extend(found.files.into_iter().map(|relative| {
        let to = to.with_key(key_of(to, &relative));
        Ok((to.clone(), Ok(Step::Upload { from: directory.join(&relative), to })))
    }));
    entries
}

/// Returns a failure for each source that is neither a file nor a directory, or with `skip_special` a
/// note about all of them.
fn special(job: &Job<'_>, found: Vec<(Url, &'static str)>) -> Vec<Outcome<Entry<Step>>> {
    if job.skip_special && !found.is_empty() {
        let text = match found.len() {
            1 => "Skipped 1 entry that is neither a file nor a directory.".to_owned(),
            count => format!("Skipped {count} entries that are neither files nor directories."),
        };
        job.context.out.note(text);
        return Vec::new();
    }
    let failure = |what| Failure::new(Exit::Other, format!("not copied: {what}"));
    found.into_iter().map(|(url, what)| Ok((url, Err(failure(what))))).collect()
}

/// Returns the download of an object to its path below a name in a directory. Fails if the key is
/// unsafe or invalid as a path.
fn download_below(
    prefix: &Url,
    from: &Url,
    (root, name): (&Path, &Path),
    size: u64,
) -> Outcome<Step> {
    let below = path::from_key(prefix.relative(&from.key)).map_err(|why| {
        // Joining an empty path would add a slash.
        let place = if name.as_os_str().is_empty() { root.to_owned() } else { root.join(name) };
        let text = format!("cannot write below {place:?}: the key {why}");
        Failure::new(Exit::Other, text)
    })?;
    Ok(Step::DownloadBelow {
        from: from.clone(),
        root: root.to_owned(),
        relative: name.join(below),
        size: Some(size),
    })
}

/// The selected entries below a local directory.
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
    /// Finds everything below a directory that is selected and copied to `to`.
    ///
    /// # Errors
    /// Fails if the directory itself is unreadable. Unreadable subdirectories are added to the
    /// failures.
    fn new(directory: &Path, to: &Url, filter: &Filter) -> Outcome<Self> {
        let mut scan = Self::default();
        let mut pending = scan.list(directory, Path::new(""), to)?;
        while let Some(relative) = pending.pop() {
            if filter.prunes(&path_of(&relative)) {
                continue;
            }
            match scan.list(directory, &relative, to) {
                Ok(directories) => pending.extend(directories),
                Err(failure) => {
                    scan.failures.push((to.with_key(key_of(to, &relative)), failure));
                }
            }
        }
        scan.files.retain(|relative| filter.selects(&path_of(relative)));
        let prefix = to.as_prefix();
        scan.special.retain(|(url, _)| filter.selects(prefix.relative(&url.key)));
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
    to.as_prefix().with_name(&path_of(relative)).key
}

/// Returns the components of a relative path joined by slashes.
fn path_of(relative: &Path) -> Vec<u8> {
    let components: Vec<_> =
        relative.components().map(|part| part.as_os_str().as_encoded_bytes()).collect();
    components.join(&b'/')
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
        let scan = DirectoryScan::new(root.path(), &to, &Filter::default()).unwrap();
        assert_eq!(scan.files, [Path::new("a"), Path::new("d/b"), Path::new("d/e/c")]);
        if cfg!(unix) {
            assert_eq!(scan.special, [(to.with_key(b"p/link".to_vec()), "a symbolic link")]);
        }
        assert!(scan.failures.is_empty());
        assert!(DirectoryScan::new(&root.path().join("none"), &to, &Filter::default()).is_err());
    }
}
