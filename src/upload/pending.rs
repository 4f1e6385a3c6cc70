//! An object that was begun and not committed: dropping it aborts it at the satellite.

use std::time::Duration;

use bytes::Bytes;

use crate::error::Result;
use crate::location::Location;
use crate::session::Session;

/// Timeout of the call that aborts a dropped upload.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The object being written. Dropping it before the commit aborts it at the satellite, in a detached
/// task that ends within [`ABORT_TIMEOUT`].
#[derive(Debug)]
pub(super) struct Pending {
    session: Session,
    location: Location,
    /// Empty before the object is begun, which batches rely on, and after it is committed.
    stream_id: Bytes,
    /// Whether the upload is that of a part: it belongs to its caller, and is not aborted.
    is_part: bool,
}

impl Pending {
    pub(super) const fn new(session: Session, location: Location) -> Self {
        Self { session, location, stream_id: Bytes::new(), is_part: false }
    }

    /// A part of an upload that was begun before.
    pub(super) const fn of_part(session: Session, location: Location, stream_id: Bytes) -> Self {
        Self { session, location, stream_id, is_part: true }
    }

    pub(super) const fn session(&self) -> &Session {
        &self.session
    }

    pub(super) const fn location(&self) -> &Location {
        &self.location
    }

    pub(super) fn stream_id(&self) -> Bytes {
        self.stream_id.clone()
    }

    pub(super) fn begun(&mut self, stream_id: Bytes) {
        self.stream_id = stream_id;
    }

    pub(super) fn committed(&mut self) {
        self.stream_id.clear();
    }

    /// Aborts the object at the satellite, if it was begun.
    pub(super) async fn abort(mut self) -> Result<()> {
        let stream_id = std::mem::take(&mut self.stream_id);
        if stream_id.is_empty() || self.is_part {
            return Ok(());
        }
        abort(&self.session, &self.location, stream_id).await
    }
}

async fn abort(session: &Session, location: &Location, stream_id: Bytes) -> Result<()> {
    let Location { bucket, encrypted_key, .. } = location;
    session.satellite().abort_object(bucket, encrypted_key.clone(), stream_id).await
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.stream_id.is_empty() || self.is_part {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        tracing::debug!("an upload was dropped without commit");
        let stream_id = std::mem::take(&mut self.stream_id);
        // The task owns no `Pending`: a runtime that is shutting down drops it, and the drop must end here.
        let session = self.session.clone();
        let location = self.location.clone();
        runtime.spawn(async move {
            let aborting = abort(&session, &location, stream_id);
            let _ = tokio::time::timeout(ABORT_TIMEOUT, aborting).await;
        });
    }
}
