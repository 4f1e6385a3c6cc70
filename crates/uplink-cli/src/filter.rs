//! Selection of paths below a source by glob patterns.
//!
//! The last pattern that matches a path decides. A path that none matches is selected, unless the
//! first pattern is an `--include`: then only what is included is selected.

use globset::{Candidate, GlobBuilder, GlobSet};

use crate::args::filter::{Pattern, Patterns};
use crate::failure::{Failure, Outcome};

/// The paths that a recursive command works on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    includes: bool,
    /// The pattern. A set reports one that is too large as an error instead of a panic.
    pattern: GlobSet,
    /// Whether a match of a directory is one of everything below it.
    matches_below: bool,
}

impl Filter {
    /// Parses patterns.
    ///
    /// # Errors
    /// Fails if a pattern is empty or malformed.
    pub(crate) fn new(patterns: &Patterns) -> Outcome<Self> {
        patterns.0.iter().map(Rule::new).collect::<Outcome<_>>().map(Self)
    }

    /// Returns whether a path is selected. It is relative to the source and separated by slashes.
    pub(crate) fn selects(&self, path: &[u8]) -> bool {
        let path = Candidate::from_bytes(path);
        match self.0.iter().rfind(|rule| rule.pattern.is_match_candidate(&path)) {
            Some(rule) => rule.includes,
            None => self.0.first().is_none_or(|first| !first.includes),
        }
    }

    /// Returns whether a directory is left out with everything below it, so that it is not read.
    pub(crate) fn prunes(&self, directory: &[u8]) -> bool {
        let path = [directory, b"/"].concat();
        let path = Candidate::from_bytes(&path);
        // An include after the exclude may select something below.
        let last = self.0.iter().rev().take_while(|rule| !rule.includes);
        let mut last = last.filter(|rule| rule.matches_below);
        last.any(|rule| rule.pattern.is_match_candidate(&path))
    }
}

impl Rule {
    fn new(pattern: &Pattern) -> Outcome<Self> {
        let Pattern { includes, glob } = pattern;
        let invalid = |why: &str| Failure::usage(format!("invalid pattern {glob:?}: {why}"));
        if glob.is_empty() {
            return Err(invalid("it is empty"));
        }
        let mut builder = GlobBuilder::new(glob);
        // The same on every system, since keys are.
        builder.literal_separator(true).backslash_escape(true);
        let set = builder.build().and_then(|glob| GlobSet::builder().add(glob).build());
        let pattern = set.map_err(|error| invalid(&error.kind().to_string()))?;
        Ok(Self {
            includes: *includes,
            pattern,
            matches_below: glob.ends_with("/**") || glob == "**",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a filter of globs that are excluded if they begin with `!`.
    fn filter(globs: &[&str]) -> Filter {
        let pattern = |glob: &&str| match glob.strip_prefix('!') {
            Some(glob) => Pattern { includes: false, glob: glob.to_owned() },
            None => Pattern { includes: true, glob: (*glob).to_owned() },
        };
        Filter::new(&Patterns(globs.iter().map(pattern).collect())).unwrap()
    }

    fn selected<'a>(globs: &[&str], paths: &[&'a str]) -> Vec<&'a str> {
        let filter = filter(globs);
        paths.iter().copied().filter(|path| filter.selects(path.as_bytes())).collect()
    }

    const PATHS: [&str; 5] = ["a.jpg", "b.txt", "d/c.jpg", "d/e/f.jpg", "d/g.txt"];

    #[test]
    fn stars_stay_in_a_component_and_double_stars_cross() {
        assert_eq!(selected(&["*.jpg"], &PATHS), ["a.jpg"]);
        assert_eq!(selected(&["**/*.jpg"], &PATHS), ["a.jpg", "d/c.jpg", "d/e/f.jpg"]);
        assert_eq!(selected(&["d/*"], &PATHS), ["d/c.jpg", "d/g.txt"]);
        assert_eq!(selected(&["d/**"], &PATHS), ["d/c.jpg", "d/e/f.jpg", "d/g.txt"]);
        assert_eq!(selected(&["?.jpg"], &["a.jpg", "/.jpg", "ab.jpg"]), ["a.jpg"]);
        assert_eq!(selected(&["**"], &PATHS), PATHS);
    }

    #[test]
    fn last_match_wins_and_the_first_option_decides_the_rest() {
        assert_eq!(selected(&["!**/*.jpg"], &PATHS), ["b.txt", "d/g.txt"]);
        assert_eq!(selected(&["!**", "d/*.jpg"], &PATHS), ["d/c.jpg"]);
        assert_eq!(selected(&["**/*.jpg", "!d/e/**"], &PATHS), ["a.jpg", "d/c.jpg"]);
        assert_eq!(selected(&["!d/**", "d/g.txt"], &PATHS), ["a.jpg", "b.txt", "d/g.txt"]);
        assert_eq!(selected(&[], &PATHS), PATHS);
    }

    #[test]
    fn special_characters_in_keys_match_escaped_patterns() {
        let paths = ["a*b", "axb", "[x]", "x", "two\nlines", "{a}"];
        assert_eq!(selected(&["a\\*b"], &paths), ["a*b"]);
        assert_eq!(selected(&["[[]x[]]"], &paths), ["[x]"]);
        assert_eq!(selected(&["two*"], &paths), ["two\nlines"]);
        assert!(filter(&["*"]).selects(b"\xff\xfe"));
    }

    #[test]
    fn only_completely_excluded_directories_are_pruned() {
        assert!(filter(&["!d/**"]).prunes(b"d"));
        assert!(filter(&["!d/**"]).prunes(b"d/e"));
        assert!(filter(&["!**/tmp/**"]).prunes(b"a/tmp"));
        for globs in [&["!d/*"][..], &["!d/**", "d/keep"], &["*.jpg"], &["d/**"], &["!x/**"]] {
            assert!(!filter(globs).prunes(b"d"), "{globs:?}");
        }
    }

    #[test]
    fn malformed_patterns_are_rejected() {
        for glob in ["", "[a", "{a", "a}", "[z-a]", "a\\"] {
            let pattern = Pattern { includes: true, glob: glob.to_owned() };
            Filter::new(&Patterns(vec![pattern])).unwrap_err();
        }
    }
}
