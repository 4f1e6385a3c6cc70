//! What a command prints: text for people, or JSON, one object a line, for scripts.
//!
//! Results go to standard output. Notes and progress go to standard error, and only for people.
//! Colours appear on terminals only, and not if `NO_COLOR` is set.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// How to print. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    colour: bool,
}

impl Output {
    /// Looks at what standard output is connected to.
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let allowed = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, quiet, colour: allowed && !json && io::stdout().is_terminal() }
    }

    /// Tells whether progress may be shown on standard error.
    pub(crate) fn shows_progress(self) -> bool {
        !self.json && !self.quiet && io::stderr().is_terminal()
    }

    /// Prints a line of a result for people; nothing for scripts.
    pub(crate) fn line(self, text: impl fmt::Display) -> Outcome {
        if self.json {
            return Ok(());
        }
        print(&format!("{text}\n"))
    }

    /// Prints one object of a result for scripts; nothing for people.
    pub(crate) fn object(self, object: &impl Serialize) -> Outcome {
        if !self.json {
            return Ok(());
        }
        let mut line = serde_json::to_string(object)
            .map_err(|error| Failure::io("cannot write JSON", &io::Error::from(error)))?;
        line.push('\n');
        print(&line)
    }

    /// Tells people something beside the result, on standard error.
    pub(crate) fn note(self, text: impl fmt::Display) {
        if !self.json && !self.quiet {
            // Standard error may be closed; a note is not worth failing for.
            let _ = writeln!(io::stderr(), "{}", printable(&text.to_string()));
        }
    }

    /// Tells people and logs of scripts, on standard error, that a result is not complete. Scripts that
    /// read JSON find it there.
    pub(crate) fn warning(self, text: impl fmt::Display) {
        Self { quiet: false, ..self }.note(text);
    }

    /// Emphasises text where that is possible.
    pub(crate) fn bold(self, text: impl fmt::Display) -> String {
        self.styled("1", text)
    }

    /// Makes text recede where that is possible.
    pub(crate) fn dim(self, text: impl fmt::Display) -> String {
        self.styled("2", text)
    }

    /// Paints good news where that is possible.
    pub(crate) fn green(self, text: impl fmt::Display) -> String {
        self.styled("32", text)
    }

    /// Paints bad news where that is possible.
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

/// Escapes control characters, so that names chosen by others cannot steer a terminal or fake
/// lines.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if steers(character) {
            safe.extend(character.escape_debug());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Control characters, and those that turn the direction of the text around them.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_letters_are_not() {
        assert_eq!(printable("Grüße 日本"), "Grüße 日本");
        assert_eq!(printable("a\tb\u{1b}[2J\u{202e}"), "a\\tb\\u{1b}[2J\\u{202e}");
    }
}
