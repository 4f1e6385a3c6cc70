//! Commands to the driver.

use std::time::SystemTime;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::operation::{Content, Expiry, Listing, Operation, Place, Range};
use super::super::slots::{Slot, Slots};
use super::super::world::b64;

/// Returns the driver's operation and its fields; `None` for what is no operation of a client.
pub(super) fn command(
    operation: &Operation,
    slots: &Slots,
    now: SystemTime,
) -> Option<(&'static str, Value)> {
    let of_uploads = pending(operation, slots, now);
    of_uploads.or_else(|| bucket(operation)).or_else(|| object(operation, now))
}

fn bucket(operation: &Operation) -> Option<(&'static str, Value)> {
    Some(match operation {
        Operation::CreateBucket { bucket } => ("create_bucket", json!({"bucket": bucket})),
        Operation::DeleteBucket { bucket, with_objects } => {
            ("delete_bucket", json!({"bucket": bucket, "with_objects": with_objects}))
        }
        Operation::EnsureBucket { bucket } => ("ensure_bucket", json!({"bucket": bucket})),
        Operation::ListBuckets { cursor } => ("list_buckets", json!({"cursor": b64(cursor)})),
        Operation::StatBucket { bucket } => ("stat_bucket", json!({"bucket": bucket})),
        _ => return None,
    })
}

fn object(operation: &Operation, now: SystemTime) -> Option<(&'static str, Value)> {
    Some(match operation {
        Operation::Copy { from, to, if_absent } => {
            let target = json!({"new_bucket": to.bucket, "new_key": b64(to.key)});
            ("copy", merged([place(*from), target, json!({"if_absent": if_absent})]))
        }
        Operation::Delete { at } => ("delete", place(*at)),
        Operation::Download { at, range } => ("download", merged([place(*at), offsets(*range)])),
        Operation::List(listing) => ("list", list(listing)),
        Operation::Move { from, to } => {
            let target = json!({"new_bucket": to.bucket, "new_key": b64(to.key)});
            ("move", merged([place(*from), target]))
        }
        Operation::Stat { at } => ("stat", place(*at)),
        Operation::UpdateMetadata { at, custom } => {
            let custom = json!({"custom": custom.entries().unwrap_or_default()});
            ("update_metadata", merged([place(*at), custom]))
        }
        Operation::Upload { at, content: written, custom, expiry, if_absent } => {
            let more = json!({"custom": custom.entries(), "if_absent": if_absent});
            ("upload", merged([place(*at), content(*written), more, expires(*expiry, now)]))
        }
        Operation::UploadAborted { at, content: written } => {
            ("upload", merged([place(*at), content(*written), json!({"abort": true})]))
        }
        _ => return None,
    })
}

fn pending(operation: &Operation, slots: &Slots, now: SystemTime) -> Option<(&'static str, Value)> {
    let of = |slot: usize| upload(&slots.get(slot));
    Some(match *operation {
        Operation::AbortUpload { slot, is_elsewhere } => {
            let elsewhere = if is_elsewhere { json!({"key": b64("elsewhere")}) } else { json!({}) };
            ("abort_upload", merged([of(slot), elsewhere]))
        }
        Operation::BeginUpload { at, custom, expiry, .. } => {
            let custom = json!({"custom": custom.entries()});
            ("begin_upload", merged([place(at), custom, expires(expiry, now)]))
        }
        Operation::CommitUpload { slot, custom, if_absent, .. } => {
            let more = json!({"custom": custom.entries(), "if_absent": if_absent});
            ("commit_upload", merged([of(slot), more]))
        }
        Operation::ListParts { slot, after } => {
            ("list_parts", merged([of(slot), json!({"after_part": after.unwrap_or(0)})]))
        }
        Operation::ListUploads { bucket, prefix, recursive } => {
            let prefix = b64(prefix);
            ("list_uploads", json!({"bucket": bucket, "prefix": prefix, "recursive": recursive}))
        }
        Operation::UploadPart { slot, number, content: written, has_etag } => {
            let etag = has_etag.then(|| b64(format!("etag {number}")));
            let more = json!({"part": number, "etag": etag});
            ("upload_part", merged([of(slot), content(written), more]))
        }
        Operation::UploadPartAborted { slot, number, content: written } => {
            let more = json!({"part": number, "abort": true});
            ("upload_part", merged([of(slot), content(written), more]))
        }
        _ => return None,
    })
}

fn place(at: Place) -> Value {
    json!({"bucket": at.bucket, "key": b64(at.key)})
}

fn upload(slot: &Slot) -> Value {
    merged([place(slot.at), json!({"upload_id": slot.id})])
}

fn content(content: Content) -> Value {
    json!({"seed": content.seed, "size": content.size})
}

fn expires(expiry: Expiry, now: SystemTime) -> Value {
    let text = |at| OffsetDateTime::from(at).format(&Rfc3339).expect("a time");
    json!({"expires": expiry.at(now).map(text)})
}

/// A negative offset counts from the end.
fn offsets(range: Range) -> Value {
    match range {
        Range::From(start) => json!({"offset": start}),
        Range::Slice { start, length } => json!({"offset": start, "length": length}),
        Range::Suffix(length) => json!({"offset": -(length as i64)}),
        Range::Whole => json!({}),
    }
}

fn list(listing: &Listing) -> Value {
    json!({
        "bucket": listing.bucket,
        "prefix": b64(listing.prefix),
        "cursor": b64(listing.cursor),
        "recursive": listing.recursive,
        "system": true,
        "with_custom": listing.custom,
        "list_limit": listing.page,
    })
}

/// Returns an object with the fields of all; later ones replace earlier ones.
fn merged<const N: usize>(values: [Value; N]) -> Value {
    let mut merged = serde_json::Map::new();
    for value in values {
        let Value::Object(fields) = value else { panic!("{value} is not an object") };
        merged.extend(fields);
    }
    merged.into()
}
