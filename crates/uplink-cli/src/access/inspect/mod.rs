//! `uplink access inspect`: shows the contents and permissions of an access grant.
//!
//! Works offline on every grant of the public network, also on revoked ones. Keys are shown only on
//! request, since they give access to the data.

mod format;
mod json;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use time::OffsetDateTime;
use uplink::grant::{
    AccessGrant, Caveat, CipherSuite, EncryptionStore, Operation, OperationSet, PathScope,
    Timestamp, decrypt_path,
};

use self::format::{count, duration, encoded_path, timestamp};
use crate::args::access::Inspect;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::secret_input;
use crate::text::printable;

/// Runs the command.
pub(crate) async fn run(args: &Inspect, context: &Context) -> Outcome {
    let selection = args.access.as_deref();
    let text = match selection {
        Some("-") => secret_input::read_grant().await?,
        _ => context.store.serialized(selection)?,
    };
    let grant = AccessGrant::parse(text.expose().trim())
        .map_err(|error| Failure::usage(error.to_string()))?;
    context.out.object(&json::Report::new(&grant, args.show_secrets))?;
    for (name, value) in rows(&grant, args.show_secrets) {
        let name = context.out.bold(format_args!("{name:<16}"));
        context.out.line(format_args!("{name}  {}", printable(&value)))?;
    }
    Ok(())
}

/// Returns the grant as rows of name and value. A row without a name continues the previous one.
fn rows(grant: &AccessGrant, show_secrets: bool) -> Vec<(&'static str, String)> {
    let limits = Limits::new(grant);
    let key = grant.api_key();
    let caveats = count(key.caveats().len(), "caveat");
    let mut rows = vec![
        ("Satellite", grant.satellite_address().to_owned()),
        ("API key", format!("{}, with {caveats}", URL_SAFE.encode(key.head()))),
        ("Allows", limits.operations()),
        ("Where", String::new()),
    ];
    rows.extend(limits.locations(grant.encryption()).into_iter().map(|location| ("", location)));
    rows.extend(limits.times().map(|text| ("When", text)));
    if let Some(nanos) = limits.max_object_ttl_nanos {
        rows.push(("New objects", format!("expire after at most {}", duration(nanos))));
    }
    rows.push(("Decrypts", String::new()));
    rows.extend(
        encryption_keys(grant.encryption(), show_secrets).into_iter().map(|text| ("", text)),
    );
    if limits.unreadable > 0 {
        let text = format!("{} cannot be read", count(limits.unreadable, "caveat"));
        rows.push(("Warning", text));
    }
    if show_secrets {
        rows.push(("API key (secret)", key.serialize()));
    }
    join_first(rows)
}

/// Merges the first continuation of an empty row into it.
fn join_first(rows: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    let mut joined: Vec<(&'static str, String)> = Vec::with_capacity(rows.len());
    for (name, value) in rows {
        match joined.last_mut() {
            Some((_, empty)) if name.is_empty() && empty.is_empty() => *empty = value,
            _ => joined.push((name, value)),
        }
    }
    joined
}

/// The combined restrictions of all caveats.
#[derive(Debug, Default)]
struct Limits {
    disallowed: OperationSet,
    /// A group of allowed paths for each caveat that has some.
    groups: Vec<Vec<PathScope>>,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    max_object_ttl_nanos: Option<i64>,
    unreadable: usize,
}

impl Limits {
    fn new(grant: &AccessGrant) -> Self {
        let mut limits = Self::default();
        for bytes in grant.api_key().caveats() {
            match Caveat::decode(bytes) {
                Ok(caveat) => limits.add(caveat),
                Err(_) => limits.unreadable += 1,
            }
        }
        limits
    }

    fn add(&mut self, caveat: Caveat) {
        caveat.disallowed.iter().for_each(|operation| self.disallowed.set(operation, true));
        if !caveat.allowed_paths.is_empty() {
            self.groups.push(caveat.allowed_paths);
        }
        self.not_before = self.not_before.max(caveat.not_before);
        self.not_after = min(self.not_after, caveat.not_after);
        self.max_object_ttl_nanos = min(self.max_object_ttl_nanos, caveat.max_object_ttl_nanos);
    }

    fn operations(&self) -> String {
        let allowed: Vec<_> =
            self.disallowed.complement().iter().filter_map(operation_name).collect();
        match allowed.as_slice() {
            _ if self.unreadable > 0 => "nothing: the API key has a malformed caveat".to_owned(),
            [] => "nothing".to_owned(),
            _ if self.disallowed.is_empty() => "everything".to_owned(),
            allowed => allowed.join(", "),
        }
    }

    /// Returns the locations that every group of paths covers, decrypted if the grant has the keys.
    fn locations(&self, store: &EncryptionStore) -> Vec<String> {
        if self.groups.is_empty() {
            return vec!["all buckets".to_owned()];
        }
        let covered: BTreeSet<_> =
            self.groups.iter().flatten().filter(|scope| self.is_in_every_group(scope)).collect();
        if covered.is_empty() {
            return vec!["nowhere: the paths of the caveats do not overlap".to_owned()];
        }
        covered.into_iter().map(|scope| location(store, scope)).collect()
    }

    fn is_in_every_group(&self, scope: &PathScope) -> bool {
        let covers = |other: &PathScope| {
            other.bucket == scope.bucket
                && scope.encrypted_path_prefix.starts_with(&other.encrypted_path_prefix)
        };
        self.groups.iter().all(|group| group.iter().any(covers))
    }

    fn times(&self) -> Option<String> {
        let now = OffsetDateTime::now_utc();
        let now = Timestamp::new(now.unix_timestamp(), now.nanosecond());
        let from = self.not_before.map(|time| format!("from {}", timestamp(time)));
        let until = self.not_after.map(|time| format!("until {}", timestamp(time)));
        let mut text = [from, until].into_iter().flatten().collect::<Vec<_>>().join(" ");
        if self.not_after.is_some_and(|time| time < now) {
            text.push_str(" (expired)");
        } else if self.not_before.is_some_and(|time| now < time) {
            text.push_str(" (not yet valid)");
        }
        (!text.is_empty()).then_some(text)
    }
}

fn min<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    [one, other].into_iter().flatten().min()
}

fn operation_name(operation: Operation) -> Option<&'static str> {
    Some(match operation {
        Operation::Read => "download",
        Operation::Write => "upload",
        Operation::List => "list",
        Operation::Delete => "delete",
        Operation::Lock => "lock",
        Operation::PutRetention => "set retention",
        Operation::GetRetention => "read retention",
        Operation::PutLegalHold => "set legal hold",
        Operation::GetLegalHold => "read legal hold",
        Operation::BypassGovernanceRetention => "bypass governance retention",
        Operation::PutBucketObjectLockConfiguration => "configure object lock",
        Operation::GetBucketObjectLockConfiguration => "read object lock configuration",
        Operation::PutBucketNotificationConfiguration => "configure notifications",
        Operation::GetBucketNotificationConfiguration => "read notification configuration",
        _ => return None,
    })
}

/// Formats an allowed path, decrypted if the grant has the key.
fn location(store: &EncryptionStore, scope: &PathScope) -> String {
    let bucket = String::from_utf8_lossy(&scope.bucket);
    let prefix = &scope.encrypted_path_prefix;
    if prefix.is_empty() {
        return format!("sj://{bucket}");
    }
    match decrypt_path(store, &scope.bucket, prefix) {
        Ok(plain) => format!("sj://{bucket}/{}", String::from_utf8_lossy(&plain)),
        Err(_) => format!("sj://{bucket}, encrypted prefix {}", encoded_path(prefix)),
    }
}

/// Lists the encryption keys of the grant with the locations that they decrypt.
fn encryption_keys(store: &EncryptionStore, show_secrets: bool) -> Vec<String> {
    let line = |location: String, cipher: CipherSuite, key: &[u8]| {
        let names = match cipher {
            CipherSuite::Null => "not encrypted".to_owned(),
            cipher => cipher.to_string(),
        };
        let secret =
            if show_secrets { format!(", key {}", URL_SAFE.encode(key)) } else { String::new() };
        format!("{location} (names: {names}{secret})")
    };
    let mut lines = Vec::new();
    if let Some(key) = store.default_key() {
        let cipher = store.default_path_cipher();
        lines.push(line("all buckets".to_owned(), cipher, key.expose()));
    }
    for entry in store.entries() {
        let bucket = String::from_utf8_lossy(&entry.bucket);
        let location = match entry.unencrypted_path.as_slice() {
            [] => format!("sj://{bucket}"),
            prefix => format!("sj://{bucket}/{}", String::from_utf8_lossy(prefix)),
        };
        lines.push(line(location, entry.path_cipher, entry.key.expose()));
    }
    if lines.is_empty() {
        lines.push("nothing: the grant has no encryption key".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests;
