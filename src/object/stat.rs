//! What is known of an object.

use super::{Object, missing, open};
use crate::download::source::check_bare;
use crate::error::Result;
use crate::layout::Rules;
use crate::project::Project;

impl Project {
    /// Returns what is known of an object.
    ///
    /// [`Object::authenticity`] tells who vouches for size and custom metadata. Where an object has
    /// no metadata and the access grant allows reading, its list of segments is asked for, so that
    /// a satellite cannot hide the metadata of an object of this client.
    ///
    /// # Errors
    /// As [`download_object`](Self::download_object).
    pub async fn stat_object(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<Object> {
        let session = self.session();
        let location = session.locate(bucket, key.as_ref())?;
        let record = session.satellite().object(bucket, location.encrypted_key.clone()).await;
        let record = match record {
            Err(error) => return Err(missing::explain(session, error, &location).await),
            Ok(record) => record,
        };
        let rules = Rules::from(session.config());
        let (object, claimed) = open(&location, &record, rules)?;
        claimed.check_required(rules)?;
        if claimed.is_bare() {
            check_bare(session, &location, &record, claimed).await?;
        }
        Ok(object)
    }
}
