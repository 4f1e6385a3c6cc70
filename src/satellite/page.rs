//! Pages of listings: each one advances, so that a listing ends.

use crate::error::{Error, Result};

/// One page of a listing.
#[derive(Debug)]
pub(crate) struct Page<T, C = Vec<u8>> {
    pub(crate) items: Vec<T>,
    /// Where the next page begins; `None` after the last one.
    pub(crate) next: Option<C>,
}

/// Items requested per page.
pub(super) const PAGE: u16 = 1000;
/// Maximum items of a page; satellites round up when they collapse prefixes.
pub(super) const MAX_ITEMS: usize = 2 * PAGE as usize;

/// Checks the keys of the page after `cursor`. Returns the next page's cursor; `None` after the last.
///
/// # Errors
/// The page has more than [`MAX_ITEMS`]; its keys do not strictly ascend from the cursor; more is
/// announced after a page that does not advance.
pub(super) fn next_cursor<'a>(
    cursor: &[u8],
    keys: impl ExactSizeIterator<Item = &'a [u8]>,
    more: bool,
) -> Result<Option<Vec<u8>>> {
    let count = keys.len();
    if count > MAX_ITEMS {
        let text = format!("page of a listing: {count} items, limit is {MAX_ITEMS}");
        return Err(Error::protocol(text));
    }
    // Without a cursor the first key may be empty: an unencrypted object whose key is the prefix.
    let mut last = Some(cursor).filter(|cursor| !cursor.is_empty());
    for key in keys {
        if last.is_some_and(|last| key <= last) {
            return Err(Error::protocol("page of a listing: keys do not ascend"));
        }
        last = Some(key);
    }
    match last.filter(|_| more) {
        None if more => Err(stuck()),
        None => Ok(None),
        Some(last) if last > cursor => Ok(Some(last.to_vec())),
        Some(_) => Err(stuck()),
    }
}

fn stuck() -> Error {
    Error::protocol("page of a listing: more is announced and the cursor does not advance")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(cursor: &str, keys: &[&str], more: bool) -> Option<Option<String>> {
        let keys = keys.iter().map(|key| key.as_bytes());
        let next = next_cursor(cursor.as_bytes(), keys, more).ok()?;
        Some(next.map(|next| String::from_utf8(next).unwrap()))
    }

    #[test]
    fn ascending_page_moves_the_cursor_and_last_page_ends() {
        assert_eq!(next("", &["a", "b"], true), Some(Some("b".to_owned())));
        assert_eq!(next("a", &["a/", "b"], true), Some(Some("b".to_owned())));
        assert_eq!(next("a", &["b"], false), Some(None));
        assert_eq!(next("a", &[], false), Some(None));
        assert_eq!(next("", &["", "a"], true), Some(Some("a".to_owned())));
        assert_eq!(next("", &[""], false), Some(None));
    }

    #[test]
    fn page_that_is_stuck_or_out_of_order_is_an_error() {
        for (cursor, keys, more) in [
            ("", &[][..], true),
            ("a", &[], true),
            ("", &[""], true),
            ("b", &["b"], true),
            ("b", &["b"], false),
            ("b", &["a", "c"], false),
            ("", &["a", "c", "b"], false),
            ("", &["a", "a"], false),
            ("a", &["", "b"], false),
            ("", &["a", ""], false),
        ] {
            assert_eq!(next(cursor, keys, more), None, "{cursor:?} {keys:?} {more}");
        }
    }

    #[test]
    fn page_may_have_twice_the_items_asked_for_and_no_more() {
        let names: Vec<String> = (0..=MAX_ITEMS).map(|number| format!("{number:05}")).collect();
        let keys: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(next("", &keys[..MAX_ITEMS], false), Some(None));
        assert_eq!(next("", &keys, false), None);
    }
}
