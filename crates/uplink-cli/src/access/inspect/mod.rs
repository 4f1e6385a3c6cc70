//! `uplink access inspect`: what an access grant holds and allows, in words.
//!
//! Works on every grant of the public network, also on those that no satellite knows any longer:
//! nobody is asked. Keys are not shown unless asked for: whoever has them has the data.

mod json;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::path::decrypt_path;
use uplink_core::encryption::{CipherSuite, EncryptionStore, PathScope};
use uplink_core::macaroon::{Caveat, Operation, OperationSet, Timestamp};

use super::MAX_GRANT_INPUT;
use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::secret_input;

#[derive(clap::Args)]
pub(crate) struct Inspect {
    /// Name of a stored access, or an access grant; `-` reads a grant from standard input; the
    /// current stored access if not given
    #[arg(value_name = "NAME|GRANT")]
    access: Option<String>,
    /// Show keys too: whoever sees them has the data
    #[arg(long)]
    show_secrets: bool,
}

/// Runs the command.
pub(crate) async fn run(args: &Inspect, context: &Context) -> Outcome {
    let selection = args.access.as_deref();
    let text = match selection {
        Some("-") => secret_input::read("Access grant: ", MAX_GRANT_INPUT).await?,
        _ => context.store.text(selection)?,
    };
    let grant = AccessGrant::parse(text.expose().trim())
        .map_err(|error| Failure::usage(error.to_string()))?;
    context.out.object(&json::Inspected::new(&grant, args.show_secrets))?;
    for (name, value) in rows(&grant, args.show_secrets) {
        let name = context.out.bold(format_args!("{name:<16}"));
        context.out.line(format_args!("{name}  {}", crate::output::printable(&value)))?;
    }
    Ok(())
}

/// The grant as rows of a name and a value; a row without a name continues the one before.
fn rows(grant: &AccessGrant, show_secrets: bool) -> Vec<(&'static str, String)> {
    let limits = Limits::new(grant);
    let key = grant.api_key();
    let caveats = key.caveats().len();
    let mut rows = vec![
        ("Satellite", grant.satellite_address().to_owned()),
        ("API key", format!("{}, with {}", URL_SAFE.encode(key.head()), count(caveats, "caveat"))),
        ("Allows", limits.operations()),
        ("Where", String::new()),
    ];
    rows.extend(limits.places(grant.encryption()).into_iter().map(|place| ("", place)));
    rows.extend(limits.times().map(|text| ("When", text)));
    if let Some(nanos) = limits.max_object_ttl_nanos {
        rows.push(("New objects", format!("live {} at most", duration(nanos))));
    }
    rows.push(("Opens names in", String::new()));
    rows.extend(keys(grant.encryption(), show_secrets).into_iter().map(|text| ("", text)));
    if limits.unreadable > 0 {
        let text = format!("{} cannot be read", count(limits.unreadable, "caveat"));
        rows.push(("Beware", text));
    }
    if show_secrets {
        rows.push(("API key (secret)", key.serialize()));
    }
    join_first(rows)
}

/// Moves the first continuation of an empty row into it.
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

/// What all caveats together leave: each of them takes something away.
#[derive(Debug, Default)]
struct Limits {
    disallowed: OperationSet,
    /// One group for each caveat that names paths.
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
        self.not_after = smallest(self.not_after, caveat.not_after);
        self.max_object_ttl_nanos =
            smallest(self.max_object_ttl_nanos, caveat.max_object_ttl_nanos);
    }

    fn operations(&self) -> String {
        let allowed: Vec<_> = self.disallowed.complement().iter().filter_map(in_words).collect();
        match allowed.as_slice() {
            _ if self.unreadable > 0 => "nothing: the API key holds a malformed caveat".to_owned(),
            [] => "nothing".to_owned(),
            _ if self.disallowed.is_empty() => "everything".to_owned(),
            allowed => allowed.join(", "),
        }
    }

    /// The places that every group of paths covers, their names decrypted as far as the grant's
    /// own keys do.
    fn places(&self, store: &EncryptionStore) -> Vec<String> {
        if self.groups.is_empty() {
            return vec!["all buckets".to_owned()];
        }
        let kept: BTreeSet<_> =
            self.groups.iter().flatten().filter(|scope| self.is_in_every_group(scope)).collect();
        if kept.is_empty() {
            return vec!["nowhere: the caveats' paths exclude each other".to_owned()];
        }
        kept.into_iter().map(|scope| place(store, scope)).collect()
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
        let from = self.not_before.map(|time| format!("from {}", moment(time)));
        let until = self.not_after.map(|time| format!("until {}", moment(time)));
        let mut text = [from, until].into_iter().flatten().collect::<Vec<_>>().join(" ");
        if self.not_after.is_some_and(|time| time < now) {
            text.push_str(" (expired)");
        } else if self.not_before.is_some_and(|time| now < time) {
            text.push_str(" (not yet)");
        }
        (!text.is_empty()).then_some(text)
    }
}

fn smallest<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    [one, other].into_iter().flatten().min()
}

fn in_words(operation: Operation) -> Option<&'static str> {
    Some(match operation {
        Operation::Read => "download",
        Operation::Write => "upload",
        Operation::List => "list",
        Operation::Delete => "delete",
        Operation::Lock => "lock",
        Operation::PutRetention => "set retention",
        Operation::GetRetention => "see retention",
        Operation::PutLegalHold => "set legal hold",
        Operation::GetLegalHold => "see legal hold",
        Operation::BypassGovernanceRetention => "bypass governance retention",
        Operation::PutBucketObjectLockConfiguration => "configure object lock",
        Operation::GetBucketObjectLockConfiguration => "see object lock configuration",
        Operation::PutBucketNotificationConfiguration => "configure notifications",
        Operation::GetBucketNotificationConfiguration => "see notification configuration",
        _ => return None,
    })
}

fn place(store: &EncryptionStore, scope: &PathScope) -> String {
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

/// Which names and contents the grant's encryption keys open.
fn keys(store: &EncryptionStore, show_secrets: bool) -> Vec<String> {
    let line = |place: String, cipher: CipherSuite, key: &[u8]| {
        let names = match cipher {
            CipherSuite::Null => "not encrypted".to_owned(),
            cipher => cipher.to_string(),
        };
        let secret =
            if show_secrets { format!(", key {}", URL_SAFE.encode(key)) } else { String::new() };
        format!("{place} (names: {names}{secret})")
    };
    let mut lines = Vec::new();
    if let Some(key) = store.default_key() {
        let cipher = store.default_path_cipher();
        lines.push(line("all buckets".to_owned(), cipher, key.expose()));
    }
    for entry in store.entries() {
        let bucket = String::from_utf8_lossy(&entry.bucket);
        let place = match entry.unencrypted_path.as_slice() {
            [] => format!("sj://{bucket}"),
            prefix => format!("sj://{bucket}/{}", String::from_utf8_lossy(prefix)),
        };
        lines.push(line(place, entry.path_cipher, entry.key.expose()));
    }
    if lines.is_empty() {
        lines.push("no bucket: the grant holds no encryption key".to_owned());
    }
    lines
}

/// Writes an encrypted path as text: each component in URL-safe Base64.
fn encoded_path(path: &[u8]) -> String {
    path.split(|byte| *byte == b'/').map(|part| URL_SAFE.encode(part)).collect::<Vec<_>>().join("/")
}

/// Writes a time as RFC 3339 does, or as seconds where a year has more than four digits.
fn moment(time: Timestamp) -> String {
    let nanos = i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanos());
    let time_of_year = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    let text = time_of_year.and_then(|moment| moment.format(&Rfc3339).ok());
    text.unwrap_or_else(|| format!("{} s after 1970", time.seconds()))
}

fn duration(nanos: i64) -> String {
    const UNITS: [(i64, &str); 4] = [
        (86_400_000_000_000, "day"),
        (3_600_000_000_000, "hour"),
        (60_000_000_000, "minute"),
        (1_000_000_000, "second"),
    ];
    let unit = UNITS.into_iter().find(|(unit, _)| nanos >= *unit && nanos % unit == 0);
    match unit.map(|(unit, name)| (usize::try_from(nanos / unit), name)) {
        Some((Ok(number), name)) => count(number, name),
        _ => format!("{nanos} nanoseconds"),
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

#[cfg(test)]
mod tests;
