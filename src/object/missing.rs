//! Why an object is not found.

use uplink_rpc::status::Code;

use super::list::{ListItem, ListOptions, ObjectList};
use crate::bucket::bucket_missing;
use crate::error::{Error, ErrorKind};
use crate::location::Location;
use crate::session::Session;

/// Turns "not found" into what the user needs to know.
///
/// With a wrong passphrase every name looks missing, since names are encrypted too. If the bucket
/// holds names and none of them opens, the error says that instead.
pub(crate) async fn explain(session: &Session, error: Error, location: &Location) -> Error {
    if error.failure().map(|failure| failure.code) != Some(Code::NOT_FOUND) {
        return error;
    }
    let (key, bucket) = (String::from_utf8_lossy(&location.key), &location.bucket);
    if error.kind() == ErrorKind::BucketNotFound {
        return bucket_missing(error, bucket);
    }
    if nothing_opens(session, bucket).await {
        let text = format!(
            "object {key:?} is not found, and none of the names in bucket {bucket:?} can be \
             decrypted: the passphrase or encryption key is another one"
        );
        return Error::new(ErrorKind::Decryption, text).with_source(error);
    }
    match session.satellite().bucket(bucket).await.map_err(|error| bucket_missing(error, bucket)) {
        Err(missing) if missing.kind() == ErrorKind::BucketNotFound => missing,
        _ => {
            let text = format!("object {key:?} not found in bucket {bucket:?}");
            Error::new(ErrorKind::ObjectNotFound, text).with_source(error)
        }
    }
}

/// Returns whether the top of a bucket holds names and the first of them do not open.
async fn nothing_opens(session: &Session, bucket: &str) -> bool {
    const SAMPLE: usize = 10;
    let list = ObjectList::new(session.clone(), bucket, ListOptions::new());
    let Ok(mut list) = list else { return false };
    for seen in 0..SAMPLE {
        match list.next().await {
            Ok(Some(ListItem::Undecryptable(_))) => {}
            Ok(None) => return seen > 0,
            _ => return false,
        }
    }
    true
}
