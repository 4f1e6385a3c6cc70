//! `uplink access inspect`: shows the contents and permissions of an access grant.
//!
//! Works offline on every grant of the public network, also on revoked ones. Keys are shown only on
//! request, since they give access to the data.

mod format;
mod json;

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use uplink::grant::{AccessGrant, CipherSuite, EncryptionStore, Operation, OperationSet};
use uplink::{AllowedPrefix, Permission, Restrictions};

use self::format::{count, duration, encoded_path, system_time};
use crate::args::access::Inspect;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::text::printable;
use crate::{grant_text, secret_input};

/// Runs the command.
pub(crate) async fn run(args: &Inspect, context: &Context) -> Outcome {
    let selection = args.access.as_deref();
    let input = match selection {
        Some("-") => secret_input::read_grant().await?,
        _ => context.store.serialized(selection)?,
    };
    // Grants that the client would reject are shown too.
    let grant = AccessGrant::parse(grant_text::find(input.expose())).map_err(|error| {
        let explained = grant_text::parse(input.expose()).err();
        explained.unwrap_or_else(|| Failure::usage(error.to_string()))
    })?;
    context.out.object(&json::Report::new(&grant, args.show_secrets))?;
    for (name, value) in rows(&grant, args.show_secrets) {
        let name = context.out.bold(format_args!("{name:<16}"));
        context.out.line(format_args!("{name}  {}", printable(&value)))?;
    }
    Ok(())
}

/// Returns the grant as rows of name and value. A row without a name continues the previous one.
fn rows(grant: &AccessGrant, show_secrets: bool) -> Vec<(&'static str, String)> {
    let restrictions = Restrictions::of(grant);
    let key = grant.api_key();
    let caveats = count(key.caveats().len(), "caveat");
    let mut rows = vec![
        ("Satellite", grant.satellite_address().to_owned()),
        ("API key", format!("{}, with {caveats}", URL_SAFE.encode(key.head()))),
        ("Allows", operations(&restrictions)),
        ("Where", String::new()),
    ];
    rows.extend(locations(&restrictions).into_iter().map(|location| ("", location)));
    rows.extend(times(&restrictions.permission).map(|text| ("When", text)));
    if let Some(lifetime) = restrictions.permission.object_lifetime() {
        rows.push(("New objects", format!("expire after at most {}", duration(lifetime))));
    }
    rows.push(("Decrypts", String::new()));
    rows.extend(
        encryption_keys(grant.encryption(), show_secrets).into_iter().map(|text| ("", text)),
    );
    if restrictions.malformed_caveats > 0 {
        let text = format!("{} cannot be read", count(restrictions.malformed_caveats, "caveat"));
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

fn operations(restrictions: &Restrictions) -> String {
    let operations = restrictions.permission.operations();
    let allowed: Vec<_> = operations.iter().filter_map(operation_name).collect();
    match allowed.as_slice() {
        _ if restrictions.malformed_caveats > 0 => {
            "nothing: the API key has a malformed caveat".to_owned()
        }
        [] => "nothing".to_owned(),
        _ if operations == OperationSet::ALL => "everything".to_owned(),
        allowed => allowed.join(", "),
    }
}

fn locations(restrictions: &Restrictions) -> Vec<String> {
    match restrictions.prefixes.as_deref() {
        None => vec!["all buckets".to_owned()],
        Some([]) => vec!["nowhere: the paths of the caveats do not overlap".to_owned()],
        Some(prefixes) => prefixes.iter().map(location).collect(),
    }
}

fn times(permission: &Permission) -> Option<String> {
    let now = SystemTime::now();
    let from = permission.valid_from().map(|time| format!("from {}", system_time(time)));
    let until = permission.valid_until().map(|time| format!("until {}", system_time(time)));
    let mut text = [from, until].into_iter().flatten().collect::<Vec<_>>().join(" ");
    if permission.valid_until().is_some_and(|time| time < now) {
        text.push_str(" (expired)");
    } else if permission.valid_from().is_some_and(|time| now < time) {
        text.push_str(" (not yet valid)");
    }
    (!text.is_empty()).then_some(text)
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

/// Formats an allowed prefix, decrypted if the grant has the key.
fn location(allowed: &AllowedPrefix) -> String {
    let bucket = &allowed.bucket;
    match &allowed.prefix {
        Some(prefix) if prefix.is_empty() => format!("sj://{bucket}"),
        Some(prefix) => format!("sj://{bucket}/{prefix}"),
        None => {
            let prefix = encoded_path(&allowed.encrypted_prefix);
            format!("sj://{bucket}, encrypted prefix {prefix}")
        }
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
