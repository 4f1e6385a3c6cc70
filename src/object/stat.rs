//! Attributes of an object.

use super::attributes::{Object, open};
use super::missing;
use crate::download::source::check_without_envelope;
use crate::error::Result;
use crate::layout::Rules;
use crate::project::Project;

impl Project {
    /// Returns an object's attributes without its content.
    ///
    /// [`Object::authenticity`] tells what confirms size and custom metadata. If an object has no
    /// metadata and the access grant permits reading, its segments are listed, so that a satellite
    /// cannot hide the metadata of an object that this client wrote.
    ///
    /// # Errors
    /// As [`download_object`](Self::download_object).
    pub async fn stat_object(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<Object> {
        let session = self.session();
        let location = session.locate(bucket, key.as_ref())?;
        let record = missing::find(session, &location).await?;
        let rules = Rules::from(session.config());
        let (object, recorded) = open(&location, &record, rules)?;
        recorded.check_required(rules)?;
        if recorded.has_no_envelope() {
            check_without_envelope(session, &location, &record, recorded).await?;
        }
        Ok(object)
    }
}
