//! Storage of filters that were received and not applied yet.
//!
//! ```text
//! DATA/filters/<satellite>.filter      the satellite's message, with a hash of the filter
//! ```

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use prost::Message;
use prost_types::Timestamp;
use uplink_core::bloom_filter::BloomFilter;
use uplink_core::id::NodeId;
use uplink_core::order::PieceHashAlgorithm;
use uplink_rpc::r#gen::piecestore::RetainRequest;

use super::{PieceStore, StoreError, io_error};

impl PieceStore {
    /// Stores a satellite's filter, replacing any earlier one. When this returns, the filter
    /// survives a power loss.
    pub(crate) fn keep_filter(
        &self,
        satellite: NodeId,
        created: Timestamp,
        filter: BloomFilter,
    ) -> Result<(), StoreError> {
        let inner = &self.inner;
        let bytes = filter.into_bytes();
        let hash = Bytes::copy_from_slice(blake3::hash(&bytes).as_bytes());
        let message = RetainRequest {
            creation_date: Some(created),
            filter: bytes.into(),
            hash_algorithm: PieceHashAlgorithm::Blake3.into(),
            hash,
        };
        let temp = inner.new_temp();
        let written = (|| {
            let mut file = inner.files.create(&temp)?;
            file.write_at(0, &message.encode_to_vec())?;
            file.sync()?;
            inner.files.rename(&temp, &self.filter_path(satellite))?;
            inner.files.sync_directory(&inner.filters)
        })();
        written.map_err(|error| {
            let _ = inner.files.remove(&temp);
            io_error("store a filter")(error)
        })
    }

    /// Returns the last filter of a satellite, unless it was applied. A corrupt filter is removed.
    pub(crate) fn kept_filter(
        &self,
        satellite: NodeId,
    ) -> Result<Option<(Timestamp, BloomFilter)>, StoreError> {
        let read = || -> io::Result<Vec<u8>> {
            let file = self.inner.files.open(&self.filter_path(satellite))?;
            let length = usize::try_from(file.size()?).map_err(io::Error::other)?;
            let mut bytes = vec![0; length];
            file.read_at(0, &mut bytes)?;
            Ok(bytes)
        };
        let bytes = match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(io_error("read a filter"))?,
        };
        let filter = decode(bytes);
        if filter.is_none() {
            tracing::warn!(%satellite, "discarding a corrupt filter until the satellite sends another");
            self.drop_filter(satellite)?;
        }
        Ok(filter)
    }

    /// Removes a satellite's filter, if there is one.
    pub(crate) fn drop_filter(&self, satellite: NodeId) -> Result<(), StoreError> {
        match self.inner.files.remove(&self.filter_path(satellite)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(io_error("remove a filter")),
        }
    }

    fn filter_path(&self, satellite: NodeId) -> PathBuf {
        self.inner.filters.join(format!("{satellite}.filter"))
    }
}

fn decode(bytes: Vec<u8>) -> Option<(Timestamp, BloomFilter)> {
    let message = RetainRequest::decode(Bytes::from(bytes)).ok()?;
    if blake3::hash(&message.filter).as_bytes()[..] != message.hash[..] {
        return None;
    }
    Some((message.creation_date?, BloomFilter::parse(message.filter.into()).ok()?))
}
