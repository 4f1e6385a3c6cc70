//! Text for a terminal: escaped names and sizes with units.

use std::borrow::Cow;

/// Escapes control characters, so that names chosen by other users cannot control the terminal or
/// forge lines.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(controls_terminal) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if controls_terminal(character) {
            escaped.extend(character.escape_debug());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Returns whether a character is a control character or changes the direction of text.
fn controls_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Formats a number of bytes with a binary unit, like `16.00 MiB`.
pub(crate) fn binary_size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
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
