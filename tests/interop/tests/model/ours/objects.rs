//! Operations on objects.

use std::time::SystemTime;

use futures_util::TryStreamExt;
use uplink::{CopyOptions, DownloadOptions, ListItem, ListOptions, Object, Upload, UploadOptions};

use super::super::operation::{Content, Custom, Expiry, Listing, Operation, Place, Range};
use super::super::outcome::{Item, Lifetime, Outcome, Seen};
use super::super::world::{pattern, sha256};
use super::{Call, Result};

impl Call<'_> {
    pub(super) async fn object(&self, operation: &Operation) -> Result {
        let project = self.project;
        match *operation {
            // The runner advances the clock.
            Operation::AdvanceClock => Ok(Outcome::Done),
            Operation::Copy { from, to, if_absent } => self.copy(from, to, if_absent).await,
            Operation::Delete { at } => {
                project.delete_object(at.bucket, at.key).await.map(Outcome::Deleted)
            }
            Operation::Download { at, range } => self.download(at, range).await,
            Operation::List(listing) => self.list(&listing).await,
            Operation::Move { from, to } => {
                let moved = project.move_object(from.bucket, from.key, to.bucket, to.key);
                moved.await.map(|()| Outcome::Done)
            }
            Operation::Stat { at } => {
                let object = project.stat_object(at.bucket, at.key).await?;
                Ok(Outcome::Object(seen(object, self.now)))
            }
            Operation::UpdateMetadata { at, custom } => {
                let entries = custom.entries().unwrap_or_default();
                let updated = project.update_object_metadata(at.bucket, at.key, entries);
                updated.await.map(|()| Outcome::Done)
            }
            Operation::Upload { at, content, custom, expiry, if_absent } => {
                let options = self.upload_options(custom, expiry).if_absent(if_absent);
                let upload = self.write(at, content, &options).await?;
                upload.commit().await.map(|done| Outcome::Written(done.object.size))
            }
            Operation::UploadAborted { at, content } => {
                let upload = self.write(at, content, &UploadOptions::new()).await?;
                upload.abort().await.map(|()| Outcome::Done)
            }
            ref other => panic!("{other:?} does not concern objects"),
        }
    }

    fn upload_options(&self, custom: Custom, expiry: Expiry) -> UploadOptions {
        let options = UploadOptions::new().custom_metadata(custom.entries().unwrap_or_default());
        match expiry.at(self.now) {
            Some(at) => options.expires_at(at),
            None => options,
        }
    }

    async fn write(&self, at: Place, content: Content, options: &UploadOptions) -> Result<Upload> {
        let mut upload = self.project.upload_object_with(at.bucket, at.key, options)?;
        upload.write(&pattern(content.seed, 0..content.size)).await?;
        Ok(upload)
    }

    async fn download(&self, at: Place, range: Range) -> Result {
        let options = DownloadOptions::new();
        let options = match range {
            Range::From(start) => options.range(start..),
            Range::Slice { start, length } => options.range(start..start + length),
            Range::Suffix(length) => options.suffix(length),
            Range::Whole => options,
        };
        let mut download = self.project.download_object_with(at.bucket, at.key, &options).await?;
        let bytes = download.read_to_end(u64::MAX).await?;
        let object = seen(download.object().clone(), self.now);
        Ok(Outcome::Content { object, length: bytes.len() as u64, sha256: sha256(&bytes) })
    }

    async fn copy(&self, from: Place, to: Place, if_absent: bool) -> Result {
        let options = CopyOptions::new().if_absent(if_absent);
        let copied =
            self.project.copy_object_with(from.bucket, from.key, to.bucket, to.key, &options);
        Ok(Outcome::Object(seen(copied.await?, self.now)))
    }

    async fn list(&self, listing: &Listing) -> Result {
        // The reference client's cursor is relative to the prefix.
        let cursor = match listing.cursor {
            "" => String::new(),
            cursor => format!("{}{cursor}", listing.prefix),
        };
        let options = ListOptions::new().prefix(listing.prefix).cursor(cursor);
        let options = options.recursive(listing.recursive).custom_metadata(listing.custom);
        let mut list = self.project.list_objects_with(listing.bucket, &options)?;
        let mut items = Vec::new();
        while let Some(item) = list.try_next().await? {
            match item {
                ListItem::Object(object) => items.push(Item::Object(seen(object, self.now))),
                ListItem::Prefix(prefix) => items.push(Item::Prefix(prefix.to_string())),
                // The reference client leaves them out.
                _ => {}
            }
        }
        Ok(Outcome::Listed(items))
    }
}

pub(super) fn seen(object: Object, now: SystemTime) -> Seen {
    Seen {
        key: object.key.to_string(),
        size: object.size,
        custom: object.custom_metadata,
        lifetime: Lifetime::new(object.expires_at, now),
    }
}
