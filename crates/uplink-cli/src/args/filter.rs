//! `--include` and `--exclude`. Their order matters, which derived arguments do not keep.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// The patterns in the order of the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patterns(pub(crate) Vec<Pattern>);

/// One `--include` or `--exclude`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// Whether matching paths are selected or left out.
    pub(crate) includes: bool,
    pub(crate) glob: String,
}

const INCLUDE: &str = "include";
const EXCLUDE: &str = "exclude";

impl Args for Patterns {
    fn augment_args(command: Command) -> Command {
        let pattern = |name: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .value_name("PATTERN")
                .action(ArgAction::Append)
                .requires("recursive")
                .help(help)
        };
        command
            .arg(pattern(
                INCLUDE,
                "Select what matches, relative to the source: * and ? do not cross a slash, ** does, \
                 like **/*.jpg. Can be repeated and mixed with --exclude: the last match wins. What \
                 nothing matches is left out if --include comes first",
            ))
            .arg(pattern(EXCLUDE, "Leave out what matches, in the same form"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Patterns {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = |name: &'static str, includes| {
            let indices = matches.indices_of(name).into_iter().flatten();
            let globs = matches.get_many::<String>(name).into_iter().flatten().cloned();
            indices.zip(globs.map(move |glob| Pattern { includes, glob }))
        };
        let mut patterns: Vec<_> = given(INCLUDE, true).chain(given(EXCLUDE, false)).collect();
        patterns.sort_by_key(|(index, _)| *index);
        Ok(Self(patterns.into_iter().map(|(_, pattern)| pattern).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_options_keep_their_order() {
        let recursive = Arg::new("recursive").short('r').action(ArgAction::SetTrue);
        let command = Patterns::augment_args(Command::new("test").arg(recursive));
        let line = ["test", "-r", "--exclude", "a", "--include=b", "--include", "c", "--exclude=d"];
        let matches = command.try_get_matches_from(line).unwrap();
        let found = Patterns::from_arg_matches(&matches).unwrap().0;
        let expected = [(false, "a"), (true, "b"), (true, "c"), (false, "d")];
        let expected = expected.map(|(includes, glob)| Pattern { includes, glob: glob.to_owned() });
        assert_eq!(found, expected);
    }
}
