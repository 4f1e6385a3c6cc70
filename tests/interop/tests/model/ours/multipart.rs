//! Operations on multipart uploads.

use futures_util::TryStreamExt;
use uplink::{
    BeginUploadOptions, CommitUploadOptions, ListPartsOptions, ListUploadsOptions, PartUpload,
    UploadItem,
};

use super::super::operation::{Content, Custom, Expiry, Operation, Place};
use super::super::outcome::{Outcome, SeenPart};
use super::super::slots::Slot;
use super::super::world::pattern;
use super::objects::seen;
use super::{Call, Ours, Result};

impl Ours {
    pub(super) async fn pending(&mut self, call: &Call<'_>, operation: &Operation) -> Result {
        match *operation {
            Operation::AbortUpload { slot, is_elsewhere } => {
                let Slot { id, at } = self.slots.get(slot);
                let key = if is_elsewhere { "elsewhere" } else { at.key };
                let aborted = call.project.abort_upload(at.bucket, key, &id);
                aborted.await.map(|()| Outcome::Done)
            }
            Operation::BeginUpload { slot, at, custom, expiry } => {
                let id = call.begin(at, custom, expiry).await?;
                self.slots.begin(slot, &id, at);
                Ok(Outcome::Done)
            }
            Operation::CommitUpload { slot, custom, if_absent, with_receipts } => {
                let options = CommitUploadOptions::new().if_absent(if_absent);
                let options = match custom.entries() {
                    Some(entries) => options.custom_metadata(entries),
                    None => options,
                };
                self.commit(call, self.slots.get(slot), options, with_receipts).await
            }
            Operation::ListParts { slot, after } => call.parts(&self.slots.get(slot), after).await,
            Operation::ListUploads { bucket, prefix, recursive } => {
                let options = ListUploadsOptions::new().prefix(prefix).recursive(recursive);
                self.uploads(call, bucket, &options).await
            }
            Operation::UploadPart { slot, number, content, has_etag } => {
                let Slot { id, .. } = self.slots.get(slot);
                let mut part = call.part(&self.slots.get(slot), number, content).await?;
                if has_etag {
                    part.set_etag(format!("etag {number}"));
                }
                let receipt = part.commit().await?;
                let size = receipt.size;
                self.slots.add_part(slot);
                self.receipts.entry(id).or_default().insert(number, receipt);
                Ok(Outcome::Written(size))
            }
            Operation::UploadPartAborted { slot, number, content } => {
                let part = call.part(&self.slots.get(slot), number, content).await?;
                part.abort().await.map(|()| Outcome::Done)
            }
            ref other => panic!("{other:?} does not concern multipart uploads"),
        }
    }

    async fn commit(
        &self,
        call: &Call<'_>,
        Slot { id, at }: Slot,
        options: CommitUploadOptions,
        with_receipts: bool,
    ) -> Result {
        // Without receipts, a grant that cannot list the parts commits an object without a seal, which
        // our client does not read.
        let receipts = (with_receipts || !call.grant.can_download())
            .then(|| self.receipts.get(&id).into_iter().flat_map(|parts| parts.values().cloned()));
        let options = options.receipts(receipts.into_iter().flatten());
        let committed = call.project.commit_upload_with(at.bucket, at.key, &id, &options);
        Ok(Outcome::Object(seen(committed.await?, call.now)))
    }

    async fn uploads(&self, call: &Call<'_>, bucket: &str, options: &ListUploadsOptions) -> Result {
        let mut list = call.project.list_uploads_with(bucket, options)?;
        let mut listed = Vec::new();
        while let Some(item) = list.try_next().await? {
            match item {
                UploadItem::Prefix(prefix) => listed.push((prefix.to_string(), None)),
                UploadItem::Upload(upload) => {
                    let number = self.slots.number(&upload.upload_id);
                    listed.push((upload.key.to_string(), Some(number.unwrap_or(usize::MAX))));
                }
                // The reference client leaves them out.
                _ => {}
            }
        }
        Ok(Outcome::uploads(listed))
    }
}

impl Call<'_> {
    async fn begin(&self, at: Place, custom: Custom, expiry: Expiry) -> Result<String> {
        let options =
            BeginUploadOptions::new().custom_metadata(custom.entries().unwrap_or_default());
        let options = match expiry.at(self.now) {
            Some(at) => options.expires_at(at),
            None => options,
        };
        self.project.begin_upload_with(at.bucket, at.key, &options).await
    }

    async fn part(&self, slot: &Slot, number: u32, content: Content) -> Result<PartUpload> {
        let Slot { id, at } = slot;
        let mut part = self.project.upload_part(at.bucket, at.key, id, number)?;
        part.write(&pattern(content.seed, 0..content.size)).await?;
        Ok(part)
    }

    async fn parts(&self, slot: &Slot, after: Option<u32>) -> Result {
        let options = after
            .map_or_else(ListPartsOptions::new, |number| ListPartsOptions::new().cursor(number));
        let Slot { id, at } = slot;
        let list = self.project.list_parts_with(at.bucket, at.key, id, &options)?;
        let parts = list.map_ok(|part| SeenPart {
            number: part.number,
            size: part.size,
            etag: String::from_utf8_lossy(&part.etag).into_owned(),
        });
        Ok(Outcome::Parts(parts.try_collect().await?))
    }
}
