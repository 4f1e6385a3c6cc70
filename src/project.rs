//! Project: one short method per operation.

use std::sync::Arc;

use bytes::Bytes;
use uplink_core::encryption::Key;
use uplink_core::encryption::path::{content_key, encrypt_path};
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::metainfo;
use uplink_rpc::status::Code;
use uplink_rpc::time::system_time;
use uplink_rpc::tls::Identity;

use crate::access::Access;
use crate::bucket::{bucket_missing, check_bucket};
use crate::budget::Budget;
use crate::buffers::Shelves;
use crate::config::Config;
use crate::download::{self, Download, DownloadOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Claimed, Rules};
use crate::object::{ListItem, ListOptions, Object, ObjectList, custom};
use crate::satellite::{Satellite, convert};
use crate::segment::download::suspects::SuspectNodes;
use crate::upload::{Upload, UploadOptions};

/// A project at a satellite, opened with an access grant.
///
/// Clones share connections and budget. Opening makes no call; the first operation connects.
/// Dropping the last clone closes all connections; handles made from it keep what they need.
#[derive(Clone, Debug)]
pub struct Project {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    access: Access,
    config: Config,
    satellite: Satellite,
    budget: Budget,
    buffers: Shelves,
    suspects: SuspectNodes,
}

impl Project {
    /// Opens a project with default settings.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`]: no throw-away identity for this process can be made.
    pub fn open(access: &Access) -> Result<Self> {
        Self::open_with(access, &Config::default())
    }

    /// Opens a project.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(access: &Access, config: &Config) -> Result<Self> {
        let dialler = dialler(config)?;
        let satellite = Satellite::new(access.satellite(), access.api_key(), config, dialler)?;
        let budget = Budget::new(config.memory, config.transfers);
        let (access, config) = (access.clone(), config.clone());
        let (buffers, suspects) = (Shelves::default(), SuspectNodes::default());
        Ok(Self { inner: Arc::new(Inner { access, config, satellite, budget, buffers, suspects }) })
    }

    /// Begins uploading an object.
    ///
    /// Nothing is visible until [`Upload::commit`] returns. Makes no call: a missing bucket or
    /// right is reported while writing or on commit.
    ///
    /// # Errors
    /// [`ErrorKind::BucketNameInvalid`] and [`ErrorKind::ObjectKeyInvalid`] for empty names,
    /// [`ErrorKind::PermissionDenied`] when the access grant holds no encryption key for the key.
    pub fn upload_object(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        options: UploadOptions,
    ) -> Result<Upload> {
        Upload::begin(self.clone(), self.locate(bucket, key.as_ref())?, options)
    }

    /// Opens an object, or a range of it, for reading.
    ///
    /// # Errors
    /// [`ErrorKind::ObjectNotFound`], [`ErrorKind::Decryption`] when the object's metadata does not
    /// open or nothing in the bucket does, [`ErrorKind::LayoutUnauthenticated`] when the satellite's
    /// answer is not what the writer recorded, [`ErrorKind::RangeInvalid`],
    /// [`ErrorKind::PermissionDenied`], or the satellite cannot be reached.
    pub async fn download_object(
        &self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        options: DownloadOptions,
    ) -> Result<Download> {
        let location = self.locate(bucket, key.as_ref())?;
        match Download::open(self.clone(), location.clone(), options).await {
            Err(error) => Err(self.object_missing(error, &location).await),
            opened => opened,
        }
    }

    /// Returns what is known of an object.
    ///
    /// [`Object::authenticity`] tells who vouches for size and custom metadata. Where an object has
    /// no metadata and the access grant allows reading, its list of segments is asked for, so that
    /// a satellite cannot hide the metadata of an object of this client.
    ///
    /// # Errors
    /// As [`download_object`](Self::download_object).
    pub async fn stat_object(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<Object> {
        let location = self.locate(bucket, key.as_ref())?;
        match self.satellite().object(bucket, location.encrypted_key.clone()).await {
            Err(error) => Err(self.object_missing(error, &location).await),
            Ok(object) => download::stat(self, &location, &object).await,
        }
    }

    /// Deletes an object; deleting one that does not exist succeeds.
    ///
    /// Returns whether the satellite deleted something; it says so only to grants that may read or
    /// list.
    ///
    /// The deletion is sent once. When its reply is lost, the object is queried: if it is absent, the
    /// deletion succeeded and this returns `true`. An object that is there may not have been deleted,
    /// or another client may have stored it since; it is left alone, and the error is
    /// [`ErrorKind::OutcomeUnknown`]. A deletion that the satellite received and has not executed by
    /// then may still take effect.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`], [`ErrorKind::BucketNotFound`],
    /// [`ErrorKind::OutcomeUnknown`], or [`ErrorKind::Network`]: the deletion was not sent.
    pub async fn delete_object(&self, bucket: &str, key: impl AsRef<[u8]>) -> Result<bool> {
        let location = self.locate(bucket, key.as_ref())?;
        let deleted = self.satellite().delete_object(bucket, location.encrypted_key).await;
        deleted.map_err(|error| bucket_missing(error, bucket))
    }

    /// Lists objects of a bucket, in the order of their encrypted keys.
    ///
    /// Makes no call; a missing bucket is reported by the first item.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] when the access grant holds no encryption key for the prefix.
    pub fn list_objects(&self, bucket: &str, options: ListOptions) -> Result<ObjectList> {
        check_bucket(bucket)?;
        ObjectList::new(self.clone(), bucket, options)
    }

    // ---- what the handles need -------------------------------------------------------------

    pub(crate) fn access(&self) -> &Access {
        &self.inner.access
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn satellite(&self) -> &Satellite {
        &self.inner.satellite
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    pub(crate) fn buffers(&self) -> &Shelves {
        &self.inner.buffers
    }

    pub(crate) fn suspects(&self) -> &SuspectNodes {
        &self.inner.suspects
    }

    pub(crate) fn locate(&self, bucket: &str, key: &[u8]) -> Result<Location> {
        check_bucket(bucket)?;
        if key.is_empty() {
            return Err(Error::new(ErrorKind::ObjectKeyInvalid, "an object key may not be empty"));
        }
        let store = self.access().encryption();
        Ok(Location {
            bucket: bucket.to_owned(),
            key: key.to_vec(),
            encrypted_key: encrypt_path(store, bucket.as_bytes(), key)?,
            content_key: content_key(store, bucket.as_bytes(), key)?,
        })
    }

    /// Turns "not found" into what the user needs to know.
    ///
    /// With a wrong passphrase every name looks missing, since names are encrypted too. If the
    /// bucket holds names and none of them opens, that is said instead.
    async fn object_missing(&self, error: Error, location: &Location) -> Error {
        if error.failure().map(|failure| failure.code) != Some(Code::NOT_FOUND) {
            return error;
        }
        let key = String::from_utf8_lossy(&location.key);
        if error.kind() == ErrorKind::BucketNotFound {
            return bucket_missing(error, &location.bucket);
        }
        if self.nothing_opens(&location.bucket).await {
            let text = format!(
                "object {key:?} is not found, and none of the names in bucket {:?} can be \
                 decrypted: the passphrase or encryption key is another one",
                location.bucket
            );
            return Error::new(ErrorKind::Decryption, text).with_source(error);
        }
        match self.stat_bucket(&location.bucket).await {
            Err(missing) if missing.kind() == ErrorKind::BucketNotFound => missing,
            _ => {
                let text = format!("object {key:?} not found in bucket {:?}", location.bucket);
                Error::new(ErrorKind::ObjectNotFound, text).with_source(error)
            }
        }
    }

    /// Whether the top of a bucket holds names and the first of them do not open.
    async fn nothing_opens(&self, bucket: &str) -> bool {
        const SAMPLE: usize = 10;
        let Ok(mut list) = self.list_objects(bucket, ListOptions::new()) else { return false };
        for seen in 0..SAMPLE {
            match list.next().await {
                Ok(Some(ListItem::Undecryptable(_))) => {}
                Ok(None) => return seen > 0,
                _ => return false,
            }
        }
        true
    }
}

/// Where an object is, for the satellite and for its keys.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    pub(crate) bucket: String,
    pub(crate) key: Vec<u8>,
    pub(crate) encrypted_key: Vec<u8>,
    pub(crate) content_key: Key,
}

impl Location {
    pub(crate) fn bucket_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.bucket.as_bytes())
    }

    pub(crate) fn key_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.encrypted_key)
    }

    /// Opens what the satellite says of the object here, with what its envelope claims.
    pub(crate) fn describe(
        &self,
        wire: &metainfo::Object,
        rules: Rules,
    ) -> Result<(Object, Claimed)> {
        let suite = convert::parameters(wire.encryption_parameters.as_ref())?.suite;
        let metadata = convert::metadata(suite, &self.content_key, &wire.into())?;
        let claimed = Claimed::new(convert::said_size(wire)?, metadata.as_ref(), rules)?;
        let object = Object {
            key: self.key.clone(),
            created: system_time(wire.created_at.as_ref()),
            expires: system_time(wire.expires_at.as_ref()),
            size: claimed.size,
            authenticity: claimed.authenticity(),
            version: wire.object_version.to_vec(),
            custom: custom(metadata),
        };
        Ok((object, claimed))
    }
}

/// Dials in the name of an identity that lives as long as the project.
pub(crate) fn dialler(config: &Config) -> Result<Dialer> {
    let dialler = Identity::generate().and_then(|identity| Dialer::new(&identity));
    let dialler = dialler.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    Ok(dialler.with_deadline(config.dial_deadline).with_transport(config.transport))
}
