//! Words that the project does not use, each with the term to use instead.

use std::path::Path;

use super::{files, is_generated};

/// Words of prose: comments, docs, messages and names of tests.
const PROSE: [(&str, &str); 17] = [
    ("anew", "again"),
    ("beforehand", "first"),
    ("creeps", "is slow"),
    ("dialler", "dialer"),
    ("for ever", "forever, indefinitely"),
    ("gives up", "aborts"),
    ("given up", "aborted"),
    ("hears of", "is notified of"),
    ("is no valid", "invalid"),
    ("liar", "malicious node, corrupt node"),
    ("liars", "malicious nodes, corrupt nodes"),
    ("makes no sense", "invalid"),
    ("nobody", "the component, or the passive"),
    ("somebody", "the component, or the passive"),
    ("those who", "components that"),
    ("unawares", "without notice"),
    ("whoever", "the component that"),
];

/// Identifiers.
const IDENTIFIERS: [(&str, &str); 9] = [
    ("anew", "reset"),
    ("Doubt", "Recovery"),
    ("Held", "SealedSegment"),
    ("least", "min"),
    ("Liars", "SuspectNodes"),
    ("most", "max"),
    ("Shelves", "BufferPools"),
    ("Spoken", "PeerProtocol"),
    ("told", "notified"),
];

/// Returns where the sources and documents at `root` use one of the words.
pub(crate) fn forbidden_words(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in files(root, &["md", "proto", "rs", "toml"]) {
        let relative = file.strip_prefix(root).unwrap_or(&file);
        // This file lists the words.
        if is_generated(relative) || relative.ends_with("measure/words.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let is_rust = relative.extension().is_some_and(|extension| extension == "rs");
        for (number, line) in text.lines().enumerate() {
            let mut words = prose(line);
            if is_rust {
                words.extend(identifiers(line));
            }
            found.extend(words.into_iter().map(|(word, instead)| {
                format!("{}:{}: {word:?}, use: {instead}", relative.display(), number + 1)
            }));
        }
    }
    found
}

type Word = (&'static str, &'static str);

/// Returns the forbidden words of prose in a line; words of identifiers count.
fn prose(line: &str) -> Vec<Word> {
    let lower = line.to_lowercase();
    let words: Vec<&str> = lower
        .split(|letter: char| !letter.is_alphabetic())
        .filter(|word| !word.is_empty())
        .collect();
    let text = format!(" {} ", words.join(" "));
    PROSE.into_iter().filter(|(word, _)| text.contains(&format!(" {word} "))).collect()
}

/// Returns the forbidden identifiers in the code of a line.
fn identifiers(line: &str) -> Vec<Word> {
    let code = line.split("//").next().unwrap_or_default();
    // Every other part is outside quotes.
    let code: String = code.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let names: Vec<&str> = code.split(|letter| !is_part(letter)).collect();
    IDENTIFIERS.into_iter().filter(|(word, _)| names.contains(word)).collect()
}
