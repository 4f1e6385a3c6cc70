//! The text forms in which a secret could be printed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use uplink_core::base58;

/// A secret to search for, with the name that a finding reports instead of its value.
#[derive(Clone)]
pub(crate) struct Needle {
    pub(crate) name: String,
    secret: Vec<u8>,
}

impl Needle {
    pub(crate) fn new(name: impl Into<String>, secret: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), secret: secret.into() }
    }

    /// Returns the forms to search for, without whitespace. A half of a key is as bad as the whole.
    fn forms(&self) -> Vec<String> {
        let (one, other) = self.secret.split_at(self.secret.len() / 2);
        let mut forms: Vec<String> = [one, other].into_iter().flat_map(partial).collect();
        forms.extend(whole(&self.secret));
        forms.extend(std::str::from_utf8(&self.secret).map(str::to_owned));
        let forms = forms.iter().map(|form| without_space(form));
        // Shorter ones occur by accident.
        forms.filter(|form| form.len() >= 8).collect()
    }
}

impl fmt::Debug for Needle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Needle({})", self.name)
    }
}

/// Returns forms that also show a part of a secret.
fn partial(bytes: &[u8]) -> Vec<String> {
    let list = |text: String| text.trim_matches(['[', ']']).to_owned();
    let literal = format!("{:?}", Bytes::copy_from_slice(bytes));
    vec![
        hex::encode(bytes),
        hex::encode_upper(bytes),
        list(format!("{bytes:?}")),
        list(format!("{bytes:x?}")),
        list(format!("{bytes:02x?}")),
        list(format!("{bytes:#04x?}").replace(",\n]", "")),
        bytes.escape_ascii().to_string(),
        literal.trim_start_matches('b').trim_matches('"').to_owned(),
    ]
}

/// Returns forms that only show a whole secret.
fn whole(bytes: &[u8]) -> Vec<String> {
    let mut forms = vec![base58::encode(bytes), base58::encode_check(0, bytes)];
    // The last character also depends on what follows.
    for mut text in [STANDARD_NO_PAD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)] {
        text.pop();
        forms.push(text);
    }
    forms
}

fn without_space(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Returns the names of the secrets that a text shows in any form.
pub(crate) fn shown(text: &str, needles: &[Needle]) -> Vec<String> {
    let text = without_space(text);
    let is_shown =
        |needle: &&Needle| needle.forms().iter().any(|form| text.contains(form.as_str()));
    needles.iter().filter(is_shown).map(|needle| needle.name.clone()).collect()
}

#[test]
fn secret_is_found_in_every_form() {
    let secret: Vec<u8> = (0..32).map(|i| i * 7 + 3).collect();
    let needles = [Needle::new("secret", secret.clone()), Needle::new("other", [9; 32])];
    let forms = [
        hex::encode(&secret),
        hex::encode_upper(&secret[16..]),
        format!("{secret:?}"),
        format!("{secret:#?}"),
        format!("{secret:02x?}"),
        format!("{secret:#04x?}"),
        format!("{:?}", Bytes::from(secret.clone())),
        secret.escape_ascii().to_string(),
        base58::encode(&secret),
        base58::encode_check(0, &secret),
        base64::engine::general_purpose::STANDARD.encode(&secret),
        base64::engine::general_purpose::URL_SAFE.encode(&secret),
    ];
    for form in forms {
        assert_eq!(shown(&format!("a {form} b"), &needles), ["secret"], "{form}");
    }
    assert_eq!(shown("Key(redacted)", &needles), [""; 0]);
    assert_eq!(shown("say a passphrase", &[Needle::new("text", "passphrase")]), ["text"]);
}
