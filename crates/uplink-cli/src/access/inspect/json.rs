//! JSON of an access grant, in the format of the public network's command:
//!
//! ```json
//! {"satellite_addr":"…",
//!  "encryption_access":{"default_key":"…","store_entries":[{"bucket":"…","unencrypted_path":"…",
//!    "encrypted_path":"…","key":"…","path_cipher":"…"}],"default_path_cipher":"…"},
//!  "api_key":"…",
//!  "macaroon":{"head":"…","caveats":[{…}],"tail":"…"},
//!  "hidden":["…"]}
//! ```
//!
//! Empty fields are omitted. So are the secrets `default_key`, `key`, `api_key` and `tail` unless
//! they are requested; `hidden` then lists those that the grant contains, like
//! `encryption_access.store_entries.key`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Serialize;
use serde_json::{Map, Value};
use uplink::grant::{AccessGrant, Caveat, CipherSuite, PathScope, StoreEntry};

use super::format::{encoded_path, timestamp};

#[derive(Serialize)]
pub(super) struct Report {
    satellite_addr: String,
    encryption_access: EncryptionAccess,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    macaroon: Macaroon,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hidden: Vec<&'static str>,
}

#[derive(Serialize)]
struct EncryptionAccess {
    #[serde(skip_serializing_if = "Option::is_none")]
    default_key: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    store_entries: Vec<Entry>,
    default_path_cipher: String,
}

#[derive(Serialize)]
struct Entry {
    #[serde(skip_serializing_if = "String::is_empty")]
    bucket: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    unencrypted_path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    encrypted_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    path_cipher: String,
}

#[derive(Serialize)]
struct Macaroon {
    head: String,
    caveats: Vec<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tail: Option<String>,
}

impl Report {
    pub(super) fn new(grant: &AccessGrant, show_secrets: bool) -> Self {
        let store = grant.encryption();
        let key = grant.api_key();
        let entries = store.entries();
        let mut hidden = Vec::new();
        if !show_secrets {
            let secrets = [
                (store.default_key().is_some(), "encryption_access.default_key"),
                (!entries.is_empty(), "encryption_access.store_entries.key"),
                (true, "api_key"),
                (true, "macaroon.tail"),
            ];
            hidden.extend(
                secrets.into_iter().filter(|(is_present, _)| *is_present).map(|(_, name)| name),
            );
        }
        let default_key = store.default_key().filter(|_| show_secrets);
        Self {
            satellite_addr: grant.satellite_address().to_owned(),
            encryption_access: EncryptionAccess {
                default_key: default_key.map(|key| STANDARD.encode(key.expose())),
                store_entries: entries
                    .iter()
                    .map(|entry| Entry::new(entry, show_secrets))
                    .collect(),
                default_path_cipher: cipher_name(store.default_path_cipher()),
            },
            api_key: show_secrets.then(|| key.serialize()),
            macaroon: Macaroon {
                head: URL_SAFE.encode(key.head()),
                caveats: key.caveats().iter().map(|bytes| caveat(bytes)).collect(),
                tail: show_secrets.then(|| URL_SAFE.encode(key.tail())),
            },
            hidden,
        }
    }
}

impl Entry {
    fn new(entry: &StoreEntry, show_secrets: bool) -> Self {
        Self {
            bucket: text(&entry.bucket),
            unencrypted_path: text(&entry.unencrypted_path),
            encrypted_path: encoded_path(&entry.encrypted_path),
            key: show_secrets.then(|| URL_SAFE.encode(entry.key.expose())),
            path_cipher: cipher_name(entry.path_cipher),
        }
    }
}

/// Returns the fields of a caveat that are set, or a field `error` if it is malformed.
fn caveat(bytes: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    let caveat = match Caveat::decode(bytes) {
        Ok(caveat) => caveat,
        Err(error) => {
            fields.insert("error".to_owned(), error.to_string().into());
            return fields;
        }
    };
    for name in caveat.disallowed.iter().filter_map(|operation| operation.disallow_name()) {
        fields.insert(name.to_owned(), true.into());
    }
    if !caveat.allowed_paths.is_empty() {
        let paths = caveat.allowed_paths.iter().map(path).collect();
        fields.insert("allowed_paths".to_owned(), Value::Array(paths));
    }
    for (name, time) in [("not_after", caveat.not_after), ("not_before", caveat.not_before)] {
        fields.extend(time.map(|time| (name.to_owned(), timestamp(time).into())));
    }
    let lifetime = caveat.max_object_ttl_nanos;
    fields.extend(lifetime.map(|nanos| ("max_object_ttl".to_owned(), nanos.into())));
    if !caveat.nonce.is_empty() {
        fields.insert("nonce".to_owned(), STANDARD.encode(&caveat.nonce).into());
    }
    fields
}

fn path(scope: &PathScope) -> Value {
    let bucket =
        (!scope.bucket.is_empty()).then(|| ("bucket".to_owned(), text(&scope.bucket).into()));
    let prefix = &scope.encrypted_path_prefix;
    let prefix = (!prefix.is_empty())
        .then(|| ("encrypted_path_prefix".to_owned(), encoded_path(prefix).into()));
    Value::Object(bucket.into_iter().chain(prefix).collect())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn cipher_name(cipher: CipherSuite) -> String {
    match cipher {
        CipherSuite::Unspecified => "ENC_UNSPECIFIED".to_owned(),
        CipherSuite::Null => "ENC_NULL".to_owned(),
        CipherSuite::AesGcm => "ENC_AESGCM".to_owned(),
        CipherSuite::SecretBox => "ENC_SECRETBOX".to_owned(),
        CipherSuite::ChaCha20Poly1305 => "ENC_CHACHA20POLY1305".to_owned(),
        other => other.number().to_string(),
    }
}
