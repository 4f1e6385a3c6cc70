//! Output of a command: text for people, or JSON lines for scripts.
//!
//! Results go to standard output. Notes and progress go to standard error, and are off with
//! `--json`. Colours are used only on terminals, and not if `NO_COLOR` is set.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::text::printable;

/// Output format and style. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    colour: bool,
}

impl Output {
    /// Creates the output for the global flags, with colours if standard output is a terminal.
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let allowed = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, quiet, colour: allowed && !json && io::stdout().is_terminal() }
    }

    /// Returns whether progress may be shown on standard error.
    pub(crate) fn shows_progress(self) -> bool {
        !self.json && !self.quiet && io::stderr().is_terminal()
    }

    /// Prints a line of text; nothing with `--json`.
    pub(crate) fn line(self, text: impl fmt::Display) -> Outcome {
        if self.json {
            return Ok(());
        }
        print(&format!("{text}\n"))
    }

    /// Prints a JSON object on one line; nothing without `--json`.
    pub(crate) fn object(self, object: &impl Serialize) -> Outcome {
        if !self.json {
            return Ok(());
        }
        let mut line = serde_json::to_string(object)
            .map_err(|error| Failure::io("cannot write JSON", &io::Error::from(error)))?;
        line.push('\n');
        print(&line)
    }

    /// Prints a note on standard error; nothing with `--json` or `--quiet`.
    pub(crate) fn note(self, text: impl fmt::Display) {
        if !self.json && !self.quiet {
            // Best effort: a closed standard error does not fail the command.
            let _ = writeln!(io::stderr(), "{}", printable(&text.to_string()));
        }
    }

    /// Warns on standard error that a result is incomplete, also with `--quiet`. With `--json` the
    /// result itself says so.
    pub(crate) fn warning(self, text: impl fmt::Display) {
        Self { quiet: false, ..self }.note(text);
    }

    /// Styles text as bold if colours are on.
    pub(crate) fn bold(self, text: impl fmt::Display) -> String {
        self.styled("1", text)
    }

    /// Styles text as dim if colours are on.
    pub(crate) fn dim(self, text: impl fmt::Display) -> String {
        self.styled("2", text)
    }

    /// Styles text as green, for success, if colours are on.
    pub(crate) fn green(self, text: impl fmt::Display) -> String {
        self.styled("32", text)
    }

    /// Styles text as red, for failure, if colours are on.
    pub(crate) fn red(self, text: impl fmt::Display) -> String {
        self.styled("31", text)
    }

    fn styled(self, style: &str, text: impl fmt::Display) -> String {
        if self.colour { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_string() }
    }
}

fn print(text: &str) -> Outcome {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::io("cannot write to standard output", &error))
}
