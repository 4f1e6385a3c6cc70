//! Several sources of one command: where each of them goes, and which cannot be combined.
//!
//! Everything is checked before anything is transferred.

use std::collections::BTreeMap;

use crate::args::location::{Location, Url};
use crate::failure::{Failure, Outcome};
use crate::local::path;

/// Returns the target of each source: below `target`, under the last component of the source.
///
/// # Errors
/// Fails if `target` is neither a prefix nor an existing directory, a source has no name, two have
/// the same, or a source would be overwritten.
pub(crate) fn targets(
    sources: &[Location],
    target: &Location,
    recursive: bool,
) -> Outcome<Vec<Location>> {
    require_container(target)?;
    let mut sources_by_name = BTreeMap::new();
    let mut targets = Vec::with_capacity(sources.len());
    for source in sources {
        let name = file_name(source)?;
        let below = below(source, target, name)?;
        if let Some(other) = sources_by_name.insert(name, source) {
            let text = format!("{other} and {source} have the same target {below}");
            return Err(Failure::usage(format!("{text}: copy or move them one by one")));
        }
        targets.push(below);
    }
    require_apart(sources, &targets, recursive)?;
    Ok(targets)
}

/// Fails if a source is also a target, or with `recursive` if it overlaps with the target of another
/// one: objects that were not read yet could be replaced. Within one source, each object is checked.
fn require_apart(sources: &[Location], targets: &[Location], recursive: bool) -> Outcome {
    let scopes = |locations: &[Location]| {
        let scope = |location: &Location| match location {
            Location::Remote(url) => Some(url.with_key(scope(url, recursive))),
            Location::Local(_) | Location::Stdio => None,
        };
        locations.iter().map(scope).collect::<Vec<_>>()
    };
    let targets = scopes(targets);
    for (index, from) in scopes(sources).iter().enumerate() {
        let Some(from) = from else { continue };
        let others = targets.iter().enumerate().filter(|(other, _)| !recursive || *other != index);
        for to in others.filter_map(|(_, to)| to.as_ref()) {
            let overlaps = match recursive {
                true => from.key.starts_with(&to.key) || to.key.starts_with(&from.key),
                false => from.key == to.key,
            };
            if from.bucket != to.bucket || !overlaps {
                continue;
            }
            return Err(Failure::usage(match recursive {
                true => {
                    format!("source {from} and target {to} overlap: copy or move them one by one")
                }
                false => format!("{from} is source and target"),
            }));
        }
    }
    Ok(())
}

/// Fails unless a target can contain several sources.
fn require_container(target: &Location) -> Outcome {
    let needed = match target {
        Location::Local(path) if path.is_dir() => return Ok(()),
        Location::Remote(url) if url.is_prefix() => return Ok(()),
        Location::Local(_) => "an existing directory",
        Location::Remote(_) => "a bucket, or a prefix that ends with a slash",
        Location::Stdio => "a directory or prefix",
    };
    Err(Failure::usage(format!("invalid target {target} of several sources: must be {needed}")))
}

/// Returns the last component of a source; for a bucket its name.
fn file_name(source: &Location) -> Outcome<&[u8]> {
    let name = match source {
        Location::Local(path) => path.file_name().map(|name| name.as_encoded_bytes()),
        Location::Remote(url) if url.key.is_empty() => Some(url.bucket.as_bytes()),
        Location::Remote(url) => {
            let key = url.key.strip_suffix(b"/").unwrap_or(&url.key);
            key.rsplit(|byte| *byte == b'/').next()
        }
        Location::Stdio => None,
    };
    name.filter(|name| !name.is_empty()).ok_or_else(|| {
        Failure::usage(format!("source {source} has no name: it cannot be one of several sources"))
    })
}

/// Returns the location of a name below a target.
fn below(source: &Location, target: &Location, name: &[u8]) -> Outcome<Location> {
    Ok(match target {
        Location::Remote(url) => Location::Remote(url.with_name(name)),
        Location::Local(directory) => {
            let name = path::from_key(name).map_err(|why| {
                Failure::usage(format!("cannot use {source} as a file name: the key {why}"))
            })?;
            Location::Local(directory.join(name))
        }
        Location::Stdio => Location::Stdio,
    })
}

/// Fails if one of several prefixes, or with `recursive` unset keys, is in another one: it depends on
/// the order which of them an object belongs to.
pub(crate) fn require_disjoint(urls: &[Url], recursive: bool) -> Outcome {
    let mut sorted: Vec<_> = urls.iter().map(|url| (&url.bucket, scope(url, recursive))).collect();
    sorted.sort_unstable();
    for pair in sorted.windows(2) {
        let [(bucket, key), (other_bucket, other_key)] = pair else { continue };
        let overlaps = if recursive { other_key.starts_with(key) } else { other_key == key };
        if bucket == other_bucket && overlaps {
            let url = |key: &Vec<u8>| Url { bucket: (*bucket).clone(), key: key.clone() };
            let text = format!("source {} is given twice", url(other_key));
            let text = match other_key == key {
                true => text,
                false => format!("source {} is inside source {}", url(other_key), url(key)),
            };
            return Err(Failure::usage(text));
        }
    }
    Ok(())
}

/// Returns the key, or the prefix that a recursive command works on.
fn scope(url: &Url, recursive: bool) -> Vec<u8> {
    if recursive { url.as_prefix().key } else { url.key.clone() }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn parse(texts: &[&str]) -> Vec<Location> {
        texts.iter().map(|text| Location::parse(OsStr::new(text)).unwrap()).collect()
    }

    fn targets_of(sources: &[&str], target: &str) -> Result<Vec<String>, String> {
        let target = parse(&[target]).remove(0);
        let targets =
            targets(&parse(sources), &target, false).map_err(|failure| failure.to_string())?;
        Ok(targets.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn sources_go_below_the_target_under_their_last_component() {
        let sources = ["a", "d/b", "d/e/", "sj://x/k/c", "sj://x/p/", "sj://y"];
        assert_eq!(
            targets_of(&sources, "sj://b/t/").unwrap(),
            ["a", "b", "e", "c", "p", "y"].map(|name| format!("sj://b/t/{name}"))
        );
        assert_eq!(targets_of(&["a", "b"], "sj://b").unwrap(), ["sj://b/a", "sj://b/b"]);
    }

    #[test]
    fn sources_without_a_name_of_their_own_are_rejected() {
        for (sources, words) in [
            (&["a", "d/a"][..], "\"a\" and \"d/a\" have the same target sj://b/t/a"),
            (&["a", "sj://x/a/"], "same target"),
            (&["a", "."], "\".\" has no name"),
            (&["a", ".."], "has no name"),
            (&["a", "-"], "source - has no name"),
            (&["a", "sj://x/k//"], "has no name"),
        ] {
            let text = targets_of(sources, "sj://b/t/").unwrap_err();
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn target_of_several_sources_must_be_a_container() {
        for target in ["sj://b/t", "missing/directory", "-"] {
            let text = targets_of(&["sj://b/x", "sj://b/y"], target).unwrap_err();
            assert!(text.contains("of several sources: must be"), "{text}");
        }
        let text = targets_of(&["sj://b/..", "sj://b/y"], ".").unwrap_err();
        assert!(text.contains("as a file name"), "{text}");
    }

    #[test]
    fn source_that_another_one_would_replace_is_rejected() {
        let rejected = |sources: &[&str], recursive| {
            let target = parse(&["sj://b/t/"]).remove(0);
            targets(&parse(sources), &target, recursive).is_err()
        };
        // x/a/sub/f would replace t/a/sub/f before that is read.
        assert!(rejected(&["sj://b/x/a", "sj://b/t/a/sub"], true));
        assert!(rejected(&["sj://b/t/a/sub", "sj://b/x/a"], true));
        assert!(rejected(&["sj://b/x/a", "sj://b/t"], true));
        assert!(rejected(&["sj://b/x", "sj://b/t/a"], false));
        assert!(!rejected(&["sj://b/x/a", "sj://c/t/a/sub"], true));
        assert!(!rejected(&["sj://b/x/a", "sj://b/t/ab"], true));
        assert!(!rejected(&["sj://b/x/a", "sj://b/t/a/sub"], false));
    }

    #[test]
    fn overlapping_prefixes_are_found_in_any_order() {
        let disjoint = |texts: &[&str], recursive| {
            let urls: Vec<_> =
                texts.iter().map(|text| Url::parse(OsStr::new(text)).unwrap()).collect();
            require_disjoint(&urls, recursive)
        };
        disjoint(&["sj://b/p", "sj://b/pq", "sj://c/p", "sj://b/a"], true).unwrap();
        disjoint(&["sj://b/p", "sj://b/p/q"], false).unwrap();
        for texts in [["sj://b/p/q", "sj://b/p"], ["sj://b/p/q", "sj://b"]] {
            let text = disjoint(&texts, true).unwrap_err().to_string();
            assert!(text.contains("is inside source"), "{text}");
        }
        for recursive in [false, true] {
            let text = disjoint(&["sj://b/p", "sj://b/p"], recursive).unwrap_err().to_string();
            assert!(text.contains("given twice"), "{text}");
        }
    }
}
