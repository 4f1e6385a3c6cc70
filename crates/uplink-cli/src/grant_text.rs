//! Access grants as people have them: in files with a label, in quotes, after a byte order mark.

use std::path::Path;

use uplink::Access;

use crate::failure::{Failure, Outcome};

/// Parses the access grant in a text. A text that is something else is named as what it is.
pub(crate) fn parse(text: &str) -> Outcome<Access> {
    let grant = find(text);
    Access::parse(grant).map_err(|error| match is_file(grant) {
        true => file_instead_of_grant(grant),
        false => error.into(),
    })
}

/// Returns the access grant in a text: its only word of letters and digits that is too long for the
/// name of a stored access, without quotes around it. Returns the trimmed text if there is no such word
/// or more than one.
pub(crate) fn find(text: &str) -> &str {
    let text = text.trim_start_matches(BYTE_ORDER_MARK).trim();
    let words = text.split_whitespace().map(|word| word.trim_matches(QUOTES));
    let mut long = words.filter(|word| {
        word.len() >= MIN_LENGTH && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    match (long.next(), long.next()) {
        (Some(grant), None) => grant,
        _ => text,
    }
}

/// Returns whether a text is the path of a file.
pub(crate) fn is_file(text: &str) -> bool {
    Path::new(text).is_file()
}

/// Returns the failure for a path in place of a grant.
pub(crate) fn file_instead_of_grant(path: &str) -> Failure {
    Failure::usage(format!("{path:?} is a file, not an access grant; {IMPORT_FILE}"))
}

/// What to do with a file that holds a grant.
pub(crate) const IMPORT_FILE: &str =
    "`uplink access import NAME < FILE` stores the access grant that a file contains";

/// Characters of the shortest text that is read as a grant; shorter ones are names of stored accesses.
pub(crate) const MIN_LENGTH: usize = 65;

const BYTE_ORDER_MARK: char = '\u{feff}';
const QUOTES: [char; 3] = ['"', '\'', '`'];

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than a name of a stored access.
    const SATELLITE: &str =
        "12EayRS2V1kEsWESU9QMRseFhdxYxKicsiFmxrsLZHeLUtdps3S@us1.example.com:7777";

    #[test]
    fn grant_is_found_in_what_people_paste() {
        let grant = "1".repeat(MIN_LENGTH);
        for text in [
            grant.clone(),
            format!(" {grant}\r\n"),
            format!("\u{feff}{grant}\n"),
            format!("\"{grant}\""),
            format!("access grant: {grant}\n"),
            format!("Satellite: {SATELLITE}\nAccess Grant: '{grant}'\n"),
        ] {
            assert_eq!(find(&text), grant, "{text}");
        }
    }

    #[test]
    fn text_with_two_grants_or_none_stays_whole() {
        let grant = "1".repeat(MIN_LENGTH);
        let two = format!("{grant}\n{grant}");
        assert_eq!(find(&two), two);
        assert_eq!(find(" name "), "name");
    }
}
