//! The error of an object that is not found.

use futures_util::TryStreamExt;
use uplink_rpc::status::Code;

use super::list::{ListItem, ListOptions, ObjectList};
use crate::bucket::bucket_missing;
use crate::error::{Error, ErrorKind, Result};
use crate::location::Location;
use crate::satellite::ObjectRecord;
use crate::session::Session;

/// Requests an object.
///
/// # Errors
/// "Not found" is [explained](explain).
pub(crate) async fn find(session: &Session, location: &Location) -> Result<ObjectRecord> {
    let found = session.satellite().object(&location.bucket, location.encrypted_key.clone()).await;
    match found {
        Err(error) => Err(explain(session, error, location).await),
        Ok(record) => Ok(record),
    }
}

/// Explains "not found".
///
/// With a wrong passphrase no object is found, because object keys are encrypted too. If the bucket
/// contains objects and none of their keys can be decrypted, the error says so.
pub(crate) async fn explain(session: &Session, error: Error, location: &Location) -> Error {
    if error.failure().map(|failure| failure.code) != Some(Code::NOT_FOUND) {
        return error;
    }
    let key = String::from_utf8_lossy(&location.key);
    let bucket = &location.bucket;
    if error.kind() == ErrorKind::BucketNotFound {
        return bucket_missing(error, bucket);
    }
    if cannot_decrypt_keys(session, bucket).await {
        let text = format!(
            "wrong passphrase or encryption key: object {key:?} not found, and no object key in \
             bucket {bucket:?} can be decrypted"
        );
        return Error::new(ErrorKind::Decryption, text).with_included(error);
    }
    match session.satellite().bucket(bucket).await.map_err(|error| bucket_missing(error, bucket)) {
        Err(missing) if missing.kind() == ErrorKind::BucketNotFound => missing,
        _ => {
            let text = format!("object {key:?} not found in bucket {bucket:?}");
            Error::new(ErrorKind::ObjectNotFound, text).with_included(error)
        }
    }
}

/// Returns whether a bucket contains objects and the first keys cannot be decrypted.
async fn cannot_decrypt_keys(session: &Session, bucket: &str) -> bool {
    const SAMPLE: usize = 10;
    let list = ObjectList::new(session.clone(), bucket, &ListOptions::new());
    let Ok(mut list) = list else { return false };
    for seen in 0..SAMPLE {
        match list.try_next().await {
            Ok(Some(ListItem::Undecryptable(_))) => {}
            Ok(None) => return seen > 0,
            _ => return false,
        }
    }
    true
}
