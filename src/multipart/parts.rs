//! Listings of the parts of an upload.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::Bytes;
use futures_core::Stream;
use uplink_core::encryption::EncryptionParameters;
use uplink_core::id::SegmentPosition;

use super::id::stream_id;
use crate::error::Result;
use crate::location::Location;
use crate::pages::Pages;
use crate::project::Project;
use crate::satellite::{ObjectKeys, Page, PartSegment};
use crate::session::Session;

/// A part of an upload that is not committed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Its number.
    pub number: u32,
    /// Plain bytes, according to the satellite.
    pub size: u64,
    /// When its last segment was committed; `None` when the satellite did not say.
    pub modified_at: Option<SystemTime>,
    /// Its ETag; empty if it has none.
    pub etag: Vec<u8>,
}

/// Which parts to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct ListPartsOptions {
    after: Option<u32>,
}

impl ListPartsOptions {
    /// Lists all parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists the parts with greater numbers than this.
    pub fn cursor(mut self, number: u32) -> Self {
        self.after = Some(number);
        self
    }
}

impl Project {
    /// Lists the parts of an upload in the order of their numbers.
    ///
    /// Makes no call; a missing upload is reported by the first item.
    ///
    /// # Errors
    /// [`ErrorKind::UploadIdInvalid`](crate::ErrorKind::UploadIdInvalid); otherwise as
    /// [`upload_object`](Self::upload_object).
    pub fn list_parts(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload_id: &str,
    ) -> Result<PartList> {
        self.list_parts_with(bucket, key, upload_id, &ListPartsOptions::new())
    }

    /// Lists the parts of an upload with options.
    ///
    /// # Errors
    /// As [`list_parts`](Self::list_parts).
    pub fn list_parts_with(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        upload_id: &str,
        options: &ListPartsOptions,
    ) -> Result<PartList> {
        let session = self.session().clone();
        let location = session.locate(bucket, key.as_ref())?;
        Ok(PartList::new(session, location, stream_id(upload_id)?, *options))
    }
}

/// A stream of the parts of an upload, fetched page by page.
///
/// Holds one page. Dropping it cancels the call in flight.
///
/// # Errors
/// An item is an error when the satellite's reply is one; polling again fetches the same page again.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct PartList {
    segments: Pages<PartSegment, SegmentPosition>,
    /// The part whose segments are being read.
    current: Option<Part>,
}

impl PartList {
    fn new(
        session: Session,
        location: Location,
        stream_id: Bytes,
        options: ListPartsOptions,
    ) -> Self {
        let first = match options.after {
            None => SegmentPosition::default(),
            // The last position of a part, as other clients send it.
            Some(part) => SegmentPosition { part, index: i32::MAX.cast_unsigned() },
        };
        let segments = Pages::new(first, move |after| {
            let session = session.clone();
            let location = location.clone();
            let stream_id = stream_id.clone();
            async move { fetch(&session, &location, stream_id, after).await }
        });
        Self { segments, current: None }
    }
}

async fn fetch(
    session: &Session,
    location: &Location,
    stream_id: Bytes,
    after: SegmentPosition,
) -> Result<Page<PartSegment, SegmentPosition>> {
    let parameters = EncryptionParameters::DEFAULT;
    let keys = ObjectKeys { parameters, content_key: &location.content_key };
    session.satellite().list_part_segments(stream_id, after, &keys).await
}

impl Stream for PartList {
    type Item = Result<Part>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let segment = match ready!(self.segments.poll_next(context)) {
                None => return Poll::Ready(self.current.take().map(Ok)),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(segment)) => segment,
            };
            match &mut self.current {
                Some(part) if part.number == segment.position.part => part.add(segment),
                current => {
                    let next = Part::from(segment);
                    if let Some(ended) = current.replace(next) {
                        return Poll::Ready(Some(Ok(ended)));
                    }
                }
            }
        }
    }
}

impl Part {
    fn add(&mut self, segment: PartSegment) {
        self.size = self.size.saturating_add(segment.plain_size);
        self.modified_at = self.modified_at.max(segment.created_at);
        // The last segment of a part carries its ETag.
        self.etag = segment.etag.unwrap_or_default();
    }
}

impl From<PartSegment> for Part {
    fn from(segment: PartSegment) -> Self {
        Self {
            number: segment.position.part,
            size: segment.plain_size,
            modified_at: segment.created_at,
            etag: segment.etag.unwrap_or_default(),
        }
    }
}
