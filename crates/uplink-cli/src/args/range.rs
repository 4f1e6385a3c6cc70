//! Byte ranges, written as in HTTP: `0-99`, `100-`, `-5`.

use uplink::DownloadOptions;

use crate::failure::{Failure, Outcome};

/// Parses a range: `first-last`, both included; `first-` to the end; or the last `-count` bytes.
pub(crate) fn parse(text: &str) -> Outcome<DownloadOptions> {
    let malformed = || {
        let text =
            format!("invalid range {text:?}: must be like 0-99, 100- or -5 (the last 5 bytes)");
        Failure::usage(text)
    };
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits).ok_or_else(malformed)
    };
    let (first, last) = text.split_once('-').ok_or_else(malformed)?;
    let options = DownloadOptions::new();
    match (first, last) {
        ("", last) => match number(last)? {
            0 => Err(malformed()),
            length => Ok(options.suffix(length)),
        },
        (first, "") => Ok(options.range(number(first)?..)),
        (first, last) => {
            let first = number(first)?;
            let last = number(last)?;
            let is_valid = first <= last && last < u64::MAX;
            if is_valid { Ok(options.range(first..=last)) } else { Err(malformed()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_include_both_ends() {
        let options = DownloadOptions::new;
        assert_eq!(parse("0-0").unwrap(), options().range(0..=0));
        assert_eq!(parse("10-19").unwrap(), options().range(10..=19));
        assert_eq!(parse("7-").unwrap(), options().range(7..));
        assert_eq!(parse("-7").unwrap(), options().suffix(7));
    }

    #[test]
    fn malformed_ranges_are_rejected() {
        for bad in ["", "-", "5", "9-8", "-0", "a-b", "+1-2", "1-2-3", "0-18446744073709551615"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
