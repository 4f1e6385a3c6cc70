//! Text for a terminal: escaped names and sizes with units.

use std::borrow::Cow;

use uplink::grant::{AccessGrant, ApiKey};

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

/// Replaces access grants and API keys in a text.
pub(crate) fn without_secrets(text: &str) -> Cow<'_, str> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric());
    let is_secret = |word: &&str| {
        word.len() >= MIN_SECRET
            && (AccessGrant::parse(word).is_ok() || ApiKey::parse(word).is_ok())
    };
    words
        .filter(is_secret)
        .fold(Cow::Borrowed(text), |text, secret| Cow::Owned(text.replace(secret, "(secret)")))
}

/// Characters of the shortest API key, rounded down.
const MIN_SECRET: usize = 65;

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
