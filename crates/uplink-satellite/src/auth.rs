//! Authentication of callers and authorization of operations by API key.
//!
//! The key is looked up by its head, its chain of signatures is recomputed with the stored secret,
//! and each of its ancestors is checked for revocation. Then every call requires permission for its
//! operation on a bucket and path, which come from the request or from a verified token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uplink_core::macaroon::{
    Action, AllowedBuckets, ApiKey, ApiKeyVersion, Operation, RevocationError, Timestamp,
};
use uplink_rpc::r#gen::metainfo::RequestHeader;
use uplink_rpc::server::Peer;
use uplink_rpc::status::{Code, Failure};

use crate::failure::{database, invalid};
use crate::metabase::{KeyRow, Metabase, Project};
use crate::time::Time;

/// The authenticated caller of one request.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) project: Arc<Project>,
    pub(crate) now: Time,
    /// Whether the client presented a certificate.
    pub(crate) has_identity: bool,
    api_key: ApiKey,
    stored: Arc<KeyRow>,
}

/// Authenticates API keys and caches their look-ups.
#[derive(Debug)]
pub(crate) struct Authority {
    metabase: Metabase,
    cache_ttl: Duration,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    /// By tail.
    keys: HashMap<[u8; 32], CachedKey>,
    /// Revocations so far. A look-up that started before the last one is not cached.
    revocations: u64,
}

/// A cached look-up of one macaroon.
#[derive(Clone, Debug)]
struct CachedKey {
    valid_until: Time,
    project: Arc<Project>,
    stored: Arc<KeyRow>,
}

/// Maximum number of cached macaroons; a full cache is cleared.
const MAX_CACHED: usize = 10_000;

impl Authority {
    pub(crate) fn new(metabase: Metabase, cache_ttl: Duration) -> Self {
        Self { metabase, cache_ttl, cache: Mutex::default() }
    }

    /// Identifies the caller of a request.
    pub(crate) async fn caller(
        &self,
        header: Option<&RequestHeader>,
        peer: Option<&Peer>,
        now: Time,
    ) -> Result<Caller, Failure> {
        let bytes = header.map(|header| header.api_key.as_ref()).unwrap_or_default();
        let api_key = ApiKey::from_exact_bytes(bytes).map_err(|_| malformed())?;
        let found = match self.cached(&api_key, now) {
            Some(found) => found,
            None => self.look_up(&api_key, now).await?,
        };
        Ok(Caller {
            project: found.project,
            now,
            has_identity: peer.is_some_and(|peer| peer.identity.is_some()),
            api_key,
            stored: found.stored,
        })
    }

    /// Revokes a key derived from the caller's. It is rejected once this returns.
    pub(crate) async fn revoke(&self, caller: &Caller, target: &ApiKey) -> Result<(), Failure> {
        let tail =
            caller.api_key.revoke(caller.stored.secret.expose(), target).map_err(|error| {
                match error {
                    RevocationError::NotAnAncestor => {
                        let text = "Unauthorized attempt to revoke macaroon";
                        Failure::new(Code::PERMISSION_DENIED, text)
                    }
                    error => invalid(error.to_string()),
                }
            })?;
        self.metabase.revoke(&tail, target.head(), caller.now).await.map_err(database)?;
        let mut cache = self.cache();
        cache.revocations = cache.revocations.wrapping_add(1);
        cache.keys.clear();
        Ok(())
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_up(&self, api_key: &ApiKey, now: Time) -> Result<CachedKey, Failure> {
        let revocations = self.cache().revocations;
        let mut snapshot = self.metabase.snapshot().await.map_err(database)?;
        let stored =
            snapshot.key(api_key.head()).await.map_err(database)?.ok_or_else(unauthorized)?;
        let secret = stored.secret.expose();
        if !api_key.is_authentic(secret) {
            return Err(unauthorized());
        }
        let project = snapshot
            .project(&stored.project)
            .await
            .map_err(database)?
            .filter(|project| !project.disabled)
            .ok_or_else(unauthorized)?;
        let tails = api_key.tails(secret);
        if snapshot.any_revoked(&tails).await.map_err(database)? {
            return Err(unauthorized());
        }
        let valid_until = now.plus(self.cache_ttl);
        let found = CachedKey { valid_until, project: Arc::new(project), stored: Arc::new(stored) };
        if !self.cache_ttl.is_zero() {
            let mut cache = self.cache();
            if cache.keys.len() >= MAX_CACHED {
                cache.keys.clear();
            }
            if cache.revocations == revocations {
                cache.keys.insert(*api_key.tail(), found.clone());
            }
        }
        Ok(found)
    }

    fn cached(&self, api_key: &ApiKey, now: Time) -> Option<CachedKey> {
        if self.cache_ttl.is_zero() {
            return None;
        }
        let cache = self.cache();
        let found = cache.keys.get(api_key.tail())?.clone();
        drop(cache);
        // An entry beyond the TTL is from before the clock was set back.
        let fresh = found.valid_until > now && found.valid_until <= now.plus(self.cache_ttl);
        fresh.then_some(())?;
        // The same tail may come with different caveats; only the chain authenticates them.
        api_key.is_authentic(found.stored.secret.expose()).then_some(found)
    }
}

impl Caller {
    /// Rejects the call unless the key allows the operation.
    pub(crate) fn require(
        &self,
        operation: Operation,
        bucket: &[u8],
        path: &[u8],
    ) -> Result<(), Failure> {
        if self.may(operation, bucket, path) { Ok(()) } else { Err(unauthorized()) }
    }

    /// Whether the key allows the operation.
    pub(crate) fn may(&self, operation: Operation, bucket: &[u8], path: &[u8]) -> bool {
        let action = self.action(operation, bucket, path);
        self.api_key.check(self.stored.secret.expose(), self.version(), &action).is_ok()
    }

    /// Returns the buckets that a listing may contain.
    pub(crate) fn allowed_buckets(&self) -> Result<AllowedBuckets, Failure> {
        let action = self.action(Operation::Read, b"", b"");
        self.api_key
            .allowed_buckets(self.stored.secret.expose(), self.version(), &action)
            .map_err(|_| unauthorized())
    }

    /// Returns the maximum lifetime of new objects that the key allows, in microseconds.
    pub(crate) fn max_object_lifetime(&self) -> Result<Option<i64>, Failure> {
        let nanos = self.api_key.max_object_ttl_nanos().map_err(|_| unauthorized())?;
        Ok(nanos.map(|nanos| nanos.div_euclid(1_000)))
    }

    /// Rejects a client without a certificate: storage nodes would not serve it.
    pub(crate) fn require_identity(&self) -> Result<(), Failure> {
        if self.has_identity {
            return Ok(());
        }
        Err(Failure::new(Code::UNAUTHENTICATED, "connection has no client identity"))
    }

    fn action<'a>(&self, operation: Operation, bucket: &'a [u8], path: &'a [u8]) -> Action<'a> {
        let micros = self.now.0.rem_euclid(1_000_000);
        let nanos = u32::try_from(micros.saturating_mul(1_000)).unwrap_or(0);
        let time = Timestamp::new(self.now.unix_seconds(), nanos);
        Action { operation, bucket, encrypted_path: path, time }
    }

    fn version(&self) -> ApiKeyVersion {
        ApiKeyVersion(u32::try_from(self.stored.version).unwrap_or(0))
    }
}

fn malformed() -> Failure {
    Failure::new(Code::INVALID_ARGUMENT, "Invalid API credentials")
}

fn unauthorized() -> Failure {
    Failure::new(Code::PERMISSION_DENIED, "Unauthorized API credentials")
}
