//! Authority: who calls, and what the API key in the call's header allows.
//!
//! The key is looked up by its head, its chain of signatures recomputed with the stored secret, and
//! each of its ancestors looked up among the revoked ones. Then every call asks for the operation it
//! is about to do, on a bucket and path that come from the request, or from a verified token.

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

/// Somebody with a key of a project, for the length of one call.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) project: Arc<Project>,
    pub(crate) now: Time,
    /// Whether the client showed a certificate.
    pub(crate) has_identity: bool,
    api_key: ApiKey,
    stored: Arc<KeyRow>,
}

/// Reads API keys and remembers what the store says about them.
#[derive(Debug)]
pub(crate) struct Authority {
    metabase: Metabase,
    remember: Duration,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    found: HashMap<[u8; 32], Remembered>,
    /// Revocations so far: what was looked up before the last one is not remembered after it.
    revocations: u64,
}

/// What was found for one macaroon.
#[derive(Clone, Debug)]
struct Remembered {
    until: Time,
    project: Arc<Project>,
    stored: Arc<KeyRow>,
}

/// Most macaroons remembered; the memory is emptied when it is full.
const REMEMBERED: usize = 10_000;

impl Authority {
    pub(crate) fn new(metabase: Metabase, remember: Duration) -> Self {
        Self { metabase, remember, cache: Mutex::default() }
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
        let found = match self.recall(&api_key, now) {
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

    /// Revokes a key that was narrowed from the caller's; it is refused once this returns.
    pub(crate) async fn revoke(&self, caller: &Caller, target: &ApiKey) -> Result<(), Failure> {
        let tail = caller.api_key.revoke(caller.stored.secret.expose(), target);
        let tail = tail.map_err(|error| match error {
            RevocationError::NotAnAncestor => {
                let text = "Unauthorized attempt to revoke macaroon";
                Failure::new(Code::PERMISSION_DENIED, text)
            }
            error => invalid(error.to_string()),
        })?;
        self.metabase.revoke(&tail, target.head(), caller.now).await.map_err(database)?;
        let mut cache = self.cache();
        cache.revocations = cache.revocations.wrapping_add(1);
        cache.found.clear();
        Ok(())
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_up(&self, api_key: &ApiKey, now: Time) -> Result<Remembered, Failure> {
        let revocations = self.cache().revocations;
        let mut snapshot = self.metabase.snapshot().await.map_err(database)?;
        let stored = snapshot.key(api_key.head()).await.map_err(database)?;
        let stored = stored.ok_or_else(unauthorized)?;
        let secret = stored.secret.expose();
        if !api_key.is_authentic(secret) {
            return Err(unauthorized());
        }
        let project = snapshot.project(&stored.project).await.map_err(database)?;
        let project = project.filter(|project| !project.disabled).ok_or_else(unauthorized)?;
        let tails = api_key.tails(secret);
        if snapshot.any_revoked(&tails).await.map_err(database)? {
            return Err(unauthorized());
        }
        let until = now.plus(self.remember);
        let found = Remembered { until, project: Arc::new(project), stored: Arc::new(stored) };
        if !self.remember.is_zero() {
            let mut cache = self.cache();
            if cache.found.len() >= REMEMBERED {
                cache.found.clear();
            }
            if cache.revocations == revocations {
                cache.found.insert(*api_key.tail(), found.clone());
            }
        }
        Ok(found)
    }

    fn recall(&self, api_key: &ApiKey, now: Time) -> Option<Remembered> {
        if self.remember.is_zero() {
            return None;
        }
        let cache = self.cache();
        let found = cache.found.get(api_key.tail())?.clone();
        drop(cache);
        // Remembered for longer than ever: the clock was set back.
        let recent = found.until > now && found.until <= now.plus(self.remember);
        recent.then_some(())?;
        // The tail alone could be joined to other caveats: the chain is what proves the rest.
        api_key.is_authentic(found.stored.secret.expose()).then_some(found)
    }
}

impl Caller {
    /// Refuses unless the key allows the operation.
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

    /// The buckets that a listing may show.
    pub(crate) fn allowed_buckets(&self) -> Result<AllowedBuckets, Failure> {
        let action = self.action(Operation::Read, b"", b"");
        self.api_key
            .allowed_buckets(self.stored.secret.expose(), self.version(), &action)
            .map_err(|_| unauthorized())
    }

    /// The longest life that the key allows a new object, in microseconds.
    pub(crate) fn max_object_lifetime(&self) -> Result<Option<i64>, Failure> {
        let nanos = self.api_key.max_object_ttl_nanos().map_err(|_| unauthorized())?;
        Ok(nanos.map(|nanos| nanos.div_euclid(1_000)))
    }

    /// Refuses a client without a certificate, with whom no storage node would deal.
    pub(crate) fn require_identity(&self) -> Result<(), Failure> {
        if self.has_identity {
            return Ok(());
        }
        Err(Failure::new(Code::UNAUTHENTICATED, "the connection shows no client identity"))
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
