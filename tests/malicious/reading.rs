//! Reads and listings under attack, and checks of what they return.

use futures_util::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use uplink::{ListItem, ListOptions, Project};

use super::checks::{Checked, check_bytes, check_object, into_uplink_error};
use super::operations::{LISTED_KEYS, MAX_ITEMS, Operation};
use super::world::{BUCKET, Known, LISTED};

pub(crate) async fn read(project: &Project, operation: Operation, object: &Known) -> Checked {
    let (options, range) = operation.range(object.contents[0].len() as u64);
    let mut download = project.download_object_with(BUCKET, &object.key, &options).await?;
    // Bytes first: wrong content matters more than wrong metadata.
    let wrong = check_bytes(&mut download, object, range).await?;
    Ok(wrong.or_else(|| check_object(object, download.object())))
}

pub(crate) async fn seek(project: &Project, object: &Known) -> Checked {
    let mut download = project.download_object(BUCKET, &object.key).await?;
    let size = object.contents[0].len();
    // A few bytes, then one in the last segment, then back.
    let targets = [(0, 100), (size - size / 10, 1000), (size / 3, size)];
    for (start, length) in targets {
        if download.seek(SeekFrom::Start(start as u64)).await.map_err(into_uplink_error)?
            != start as u64
        {
            return Ok(Some(format!("the seek to {start} ended elsewhere")));
        }
        let end = size.min(start + length);
        let mut read = Vec::new();
        let mut part = (&mut download).take((end - start) as u64);
        while part.read_buf(&mut read).await.map_err(into_uplink_error)? > 0 {
            let possible = object
                .contents
                .iter()
                .any(|content| content.get(start..start + read.len()) == Some(&read[..]));
            if !possible {
                return Ok(Some(format!("wrong bytes after a seek to {start}")));
            }
        }
        if read.len() != end - start {
            let got = read.len();
            return Ok(Some(format!("{got} bytes of {start}..{end} after a seek")));
        }
    }
    Ok(None)
}

pub(crate) async fn stat(project: &Project, object: &Known) -> Checked {
    let found = project.stat_object(BUCKET, &object.key).await?;
    Ok(check_object(object, &found))
}

/// Names in a listing are authenticated, its completeness is not.
pub(crate) async fn list(project: &Project, options: ListOptions) -> Checked {
    let mut list = project.list_objects_with(LISTED, &options)?;
    for _ in 0..MAX_ITEMS {
        let key = match list.try_next().await? {
            None => return Ok(None),
            Some(ListItem::Undecryptable(_)) => continue,
            Some(ListItem::Object(object)) => object.key,
            Some(ListItem::Prefix(prefix)) => prefix,
            Some(_) => return Ok(Some("an unknown kind of item".to_owned())),
        };
        let exists = LISTED_KEYS.iter().any(|known| known.as_bytes().starts_with(&key));
        if !exists {
            return Ok(Some(format!("{:?} is listed", String::from_utf8_lossy(&key))));
        }
    }
    Ok(Some(format!("more than {MAX_ITEMS} items")))
}

pub(crate) async fn list_buckets(project: &Project) -> Checked {
    let mut list = project.list_buckets();
    for _ in 0..MAX_ITEMS {
        if list.try_next().await?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(format!("more than {MAX_ITEMS} buckets")))
}
