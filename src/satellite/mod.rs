//! Typed calls to the satellite. Every reply is checked here: its fields in [`convert`], pages of
//! listings in [`page`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tonic::{Response, Status};
use tracing::Instrument as _;
use uplink_core::id::NodeId;
use uplink_core::macaroon::ApiKey;
use uplink_core::node_url::NodeUrl;
use uplink_core::policy::retry::Backoff;
use uplink_core::signature::VerifyingKey;
use uplink_rpc::channel::{Channel, dial_failure};
use uplink_rpc::dial::{DialError, Dialer};
use uplink_rpc::r#gen::metainfo::batch_request_item::Request;
use uplink_rpc::r#gen::metainfo::batch_response_item::Response as Reply;
use uplink_rpc::r#gen::metainfo::metainfo_client::MetainfoClient;
use uplink_rpc::r#gen::metainfo::{self, RequestHeader};
use uplink_rpc::pool::{Connection, Pool};
use uplink_rpc::status::Failure;
use uplink_rpc::{client, runtime};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};

pub(crate) mod batch;
mod bucket;
mod call;
mod convert;
pub(crate) mod copy;
pub(crate) mod delete_many;
mod denial;
pub(crate) mod download;
mod multipart;
pub(crate) mod object;
mod outcome;
mod page;
pub(crate) mod pending;

use self::call::{Call, Class};
pub(crate) use self::convert::bucket::BucketRecord;
pub(crate) use self::convert::copy::OfferedKeys;
#[cfg(test)]
pub(crate) use self::convert::object::ListedFields;
pub(crate) use self::convert::object::{ListedObject, ObjectRecord};
pub(crate) use self::convert::segment::{
    Content, ObjectKeys, PartSegment, SegmentDownload, SegmentPage,
};
pub(crate) use self::convert::to_i64;
use self::denial::Restrictions;
pub(crate) use self::outcome::bucket_exists;
pub(crate) use self::page::Page;

/// Time without a reply after which a wait is reported.
const LONG_WAIT: Duration = Duration::from_secs(3);
/// Retries of a call after network failures.
const RETRIES: u32 = 5;

/// A satellite, called with one API key. Clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct Satellite {
    pool: Pool,
    /// Kept apart from the pool, which evicts connections while many nodes are in use.
    connection: Arc<OnceLock<Connection>>,
    node: NodeId,
    address: String,
    header: RequestHeader,
    restrictions: Restrictions,
    /// Of a call with its retries.
    timeout: Duration,
    dial_timeout: Duration,
}

impl Satellite {
    pub(crate) fn new(
        url: &NodeUrl,
        api_key: &ApiKey,
        config: &Config,
        dialer: Dialer,
    ) -> Result<Self> {
        let node = url.id.ok_or_else(|| {
            Error::new(ErrorKind::AccessInvalid, "the satellite address has no node id")
        })?;
        if url.host_port().is_none() {
            let text = format!("invalid satellite address \"{url}\": must be like ID@HOST:PORT");
            return Err(Error::new(ErrorKind::AccessInvalid, text));
        }
        let header =
            RequestHeader { api_key: wiped(api_key), user_agent: config.user_agent.clone().into() };
        Ok(Self {
            pool: Pool::new(dialer),
            connection: Arc::default(),
            node,
            address: url.address.clone(),
            header,
            restrictions: Restrictions::of(api_key),
            timeout: config.call_timeout,
            dial_timeout: config.effective_dial_timeout(),
        })
    }

    /// Returns the connection pool of the project, which serves storage nodes too.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Returns the key with which this satellite signs order limits, known after its first reply.
    pub(crate) fn verifying_key(&self) -> Result<VerifyingKey> {
        let peer = self.connection().identity();
        let peer = peer.ok_or_else(|| Error::protocol("the satellite presented no certificate"))?;
        Ok(peer.leaf_key().clone())
    }

    pub(crate) async fn project_salt(&self) -> Result<Bytes> {
        let request = metainfo::ProjectInfoRequest { header: self.header() };
        let reply = self
            .call(Call::ProjectInfo, |mut client| {
                let request = request.clone();
                async move { client.project_info(request).await }
            })
            .await?;
        Ok(reply.project_salt)
    }

    /// Revokes an API key that was restricted from this project's.
    pub(crate) async fn revoke(&self, api_key: &ApiKey) -> Result<()> {
        let api_key = wiped(api_key);
        let request = metainfo::RevokeApiKeyRequest { api_key, header: self.header() };
        self.call(Call::RevokeAccess, |mut client| {
            let request = request.clone();
            async move { client.revoke_api_key(request).await }
        })
        .await?;
        Ok(())
    }

    /// Sends several calls as one. They run in order. The first failure ends the batch and hides the
    /// earlier replies; the effects of earlier calls remain.
    ///
    /// Retried after a lost reply only if every one of them may be.
    async fn batch(&self, requests: Vec<Request>) -> Result<Vec<Reply>> {
        self.batch_with_retries(RETRIES, requests).await
    }

    async fn batch_with_retries(&self, retries: u32, requests: Vec<Request>) -> Result<Vec<Reply>> {
        let count = requests.len();
        let class = call::class(&requests);
        let span = tracing::debug_span!("satellite", calls = ?call::names(&requests));
        let send = |mut client: MetainfoClient<Channel>| {
            let request = self.batch_request(requests.clone());
            async move { client.batch(request).await }
        };
        let reply = self.send_with_retries(class, retries, send).instrument(span).await;
        let explain = |error| self.restrictions.explain_batch(error, &requests);
        replies(reply.map_err(explain)?, count)
    }

    /// Sends a batch of one call.
    async fn request(&self, request: Request) -> Result<Reply> {
        self.request_with_retries(RETRIES, request).await
    }

    async fn request_with_retries(&self, retries: u32, request: Request) -> Result<Reply> {
        self.batch_with_retries(retries, vec![request]).await?.pop().ok_or_else(other_reply)
    }

    fn batch_request(&self, requests: Vec<Request>) -> metainfo::BatchRequest {
        let item = |request| metainfo::BatchRequestItem { request: Some(request) };
        let requests = requests.into_iter().map(item).collect();
        metainfo::BatchRequest { requests, header: self.header() }
    }

    fn header(&self) -> Option<RequestHeader> {
        Some(self.header.clone())
    }

    fn connection(&self) -> &Connection {
        self.connection.get_or_init(|| self.pool.peer(self.node, &self.address))
    }

    /// Sends a call, with the retries that its class allows.
    async fn call<T, F>(
        &self,
        call: Call,
        send: impl Fn(MetainfoClient<Channel>) -> F + Send + Sync,
    ) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let span = tracing::debug_span!("satellite", calls = ?call);
        let reply = self.send_with_retries(call.class(), RETRIES, send).instrument(span).await;
        reply.map_err(|error| self.restrictions.explain_call(error, call))
    }

    /// Sends a call, with retries and backoff after network failures if its class allows them. Reports
    /// a long wait as an event.
    async fn send_with_retries<T, F>(
        &self,
        class: Class,
        retries: u32,
        send: impl Fn(MetainfoClient<Channel>) -> F + Send + Sync,
    ) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        // On the heap, because futures of the public API contain several of these.
        let mut outcome = Box::pin(self.retry(class, retries, send));
        match timeout(LONG_WAIT, &mut outcome).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let peer = self.address.as_str();
                tracing::info!(target: "uplink::waiting", peer, "waiting for the satellite");
                outcome.await
            }
        }
    }

    async fn retry<T, F>(
        &self,
        class: Class,
        retries: u32,
        send: impl Fn(MetainfoClient<Channel>) -> F + Send + Sync,
    ) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let started = Instant::now();
        let mut backoff = Backoff::new();
        loop {
            tracing::debug!(monotonic_counter.satellite_calls = 1_u64);
            let left = self.timeout.saturating_sub(started.elapsed());
            // The peer of an old connection may have vanished: there must be time for a new one.
            let is_first_of_several = class != Class::OnceOnly && backoff.failures() == 0;
            let patience = if is_first_of_several { left / 2 } else { left };
            let error = match self.send_once(&send, patience).await {
                Err(error) if error.is_unanswered() => error,
                outcome => return outcome,
            };
            tracing::debug!(kind = ?error.kind(), "no reply from the satellite");
            if class == Class::OnceOnly && error.is_lost_reply() {
                return Err(self.after(started.elapsed(), error));
            }
            // A dial that does not fit would end as a call whose reply is lost.
            let needed = if error.is_unsent() { self.dial_timeout } else { Duration::ZERO };
            let left = self.timeout.saturating_sub(started.elapsed()).saturating_sub(needed);
            match backoff.failed_within(runtime::jitter(), left) {
                Some(pause) if backoff.failures() <= retries => tokio::time::sleep(pause).await,
                _ => return Err(self.after(started.elapsed(), error)),
            }
        }
    }

    /// Says how long a call has waited in all, if silence ended it.
    fn after(&self, elapsed: Duration, error: Error) -> Error {
        let is_silent = (error.kind() == ErrorKind::Stalled && error.failure().is_none())
            || matches!(error.cause(), Some(DialError::TimedOut { .. }));
        if !is_silent {
            return error;
        }
        let elapsed = elapsed.as_secs_f64();
        error.explained(format!("satellite {} did not reply within {elapsed:.1} s", self.address))
    }

    /// Sends a call once, and waits for its reply at most for the time given.
    async fn send_once<T, F>(
        &self,
        call: impl Fn(MetainfoClient<Channel>) -> F + Send,
        patience: Duration,
    ) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let connection = self.connection();
        let reply = timeout(patience, call(client::metainfo(connection.channel()))).await;
        match reply {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(match dial_failure(&status) {
                Some(error) => error.clone().into(),
                None => Failure::from(status).into(),
            }),
            Err(_) => {
                connection.reset();
                Err(Error::new(ErrorKind::Stalled, "no reply"))
            }
        }
    }
}

/// Returns the bytes of an API key, which are wiped when the last request with them is dropped.
fn wiped(api_key: &ApiKey) -> Bytes {
    Bytes::from_owner(Zeroizing::new(api_key.to_bytes()))
}

fn replies(reply: metainfo::BatchResponse, count: usize) -> Result<Vec<Reply>> {
    let replies: Vec<_> = reply.responses.into_iter().filter_map(|item| item.response).collect();
    if replies.len() == count { Ok(replies) } else { Err(other_reply()) }
}

fn other_reply() -> Error {
    Error::protocol("response type does not match the request")
}
