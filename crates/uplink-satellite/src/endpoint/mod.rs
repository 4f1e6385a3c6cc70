//! The satellite's RPC services: one file per group of calls.
//!
//! Every call of the metadata service is a method of [`State`] that takes the caller and the
//! request. This file builds the service from these methods; [`batch`] dispatches batches to them.

use std::sync::{Arc, Mutex, PoisonError};

use tonic::service::Routes;
use tonic::{Request, Response, Status};
use uplink_rpc::codec::MESSAGE_LIMIT;
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::contact::node_server::NodeServer;
use uplink_rpc::r#gen::metainfo::metainfo_server::{Metainfo, MetainfoServer};
use uplink_rpc::r#gen::metainfo::{self as messages, RequestHeader};
use uplink_rpc::r#gen::orders::orders_server::OrdersServer;
use uplink_rpc::server::Peer;
use uplink_rpc::time::{MAX_SKEW, StepGuard};
use uplink_rpc::tls::Identity;

use crate::auth::{Authority, Caller};
use crate::config::Config;
use crate::failure::{RpcResult, database};
use crate::metabase::{Metabase, MetabaseError, NodeRow};
use crate::order::Issuer;
use crate::random;
use crate::rate::Rates;
use crate::registry::Registry;
use crate::selection::Rules;
use crate::time::{Clock, Time};
use crate::token::{Stamp, TokenKey};
use crate::usage::Usage;

mod batch;
mod buckets;
mod check;
mod compressed;
mod contact;
mod convert;
mod copy;
mod delete_objects;
mod download;
mod features;
mod list;
mod metadata;
mod node_stats;
mod object_ips;
mod objects;
mod pending;
mod range;
mod revoke;
mod segment_list;
mod segments;
mod settlement;

/// State shared by all calls.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) metabase: Metabase,
    pub(crate) authority: Authority,
    pub(crate) registry: Registry,
    pub(crate) tokens: TokenKey,
    pub(crate) issuer: Issuer,
    pub(crate) dialer: Dialer,
    /// Locked while garbage is collected.
    pub(crate) collecting: tokio::sync::Mutex<()>,
    /// Time that decides which pieces are garbage. Reads the clock whenever a segment is begun, and
    /// accepts a forward step only when no segment begun before it can still be committed.
    pub(crate) garbage_time: StepGuard,
    /// Random id that marks tokens of this process.
    process: u64,
    rates: Rates,
    usage: Usage,
    /// Whether pieces had to be in distinct networks when the last segment was begun.
    distinct_networks: Mutex<Option<bool>>,
}

impl State {
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        metabase: Metabase,
        identity: &Arc<Identity>,
        dialer: Dialer,
    ) -> Self {
        Self {
            authority: Authority::new(metabase.clone(), config.api_key_cache),
            registry: Registry::new(metabase.clone()),
            tokens: TokenKey::of(identity),
            issuer: Issuer::new(Arc::clone(identity), config.order_lifetime),
            rates: Rates::new(config.requests_per_second, config.uploads_per_key_and_second),
            usage: Usage::new(&config, metabase.clone()),
            garbage_time: StepGuard::new(config.segment_lifetime.max(MAX_SKEW)),
            config,
            clock,
            metabase,
            dialer,
            collecting: tokio::sync::Mutex::default(),
            process: u64::from_be_bytes(random::bytes()),
            distinct_networks: Mutex::default(),
        }
    }

    /// Loads which nodes were reachable before this process started.
    pub(crate) async fn recall_nodes(&self) -> Result<(), MetabaseError> {
        self.registry.load_contacts(self.clock.now(), self.clock.steady()).await
    }

    /// Returns the stamp of a segment that is begun at `now`.
    fn stamp(&self, now: Time) -> Stamp {
        let steady = self.clock.steady();
        let _ = self.garbage_time.read(now.to_system(), steady);
        Stamp { process: self.process, steady }
    }

    /// Logs the rule for networks when it changes.
    fn log_network_rule(&self, distinct: bool) {
        let mut last = self.distinct_networks.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace(distinct);
        drop(last);

        if before != Some(distinct) {
            let rule = if distinct { "distinct" } else { "any" };
            tracing::info!("pieces of a segment go to {rule} networks");
        }
    }

    async fn caller(
        &self,
        header: Option<&RequestHeader>,
        peer: Option<&Peer>,
    ) -> RpcResult<Caller> {
        let caller = self.authority.caller(header, peer, self.clock.now()).await?;
        self.rates.request(&caller.project.id, caller.now)?;
        Ok(caller)
    }

    /// Returns the storage nodes and the current rules for selecting them.
    async fn nodes(&self, now: Time) -> RpcResult<(Arc<Vec<NodeRow>>, Rules)> {
        self.nodes_and_rules(now).await.map_err(database)
    }

    /// Like [`nodes`](Self::nodes), with the database error.
    pub(crate) async fn nodes_and_rules(
        &self,
        now: Time,
    ) -> Result<(Arc<Vec<NodeRow>>, Rules), MetabaseError> {
        let nodes = self.registry.nodes(now).await?;
        let rules = Rules {
            now,
            steady: self.clock.steady(),
            online_window: self.config.online_window,
            contacts: self.registry.contacts(),
            min_free_space: i64::try_from(self.config.min_free_space).unwrap_or(i64::MAX),
            distinct_networks: self.config.distinct_networks,
        };
        Ok((nodes, rules))
    }
}

/// Builds the routes of all services.
pub(crate) fn routes(state: &Arc<State>) -> Routes {
    let metainfo = MetainfoServer::new(MetainfoService(Arc::clone(state)))
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    let node = NodeServer::new(contact::NodeService(Arc::clone(state)))
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    let orders = OrdersServer::new(settlement::OrdersService::new(Arc::clone(state)))
        .max_decoding_message_size(MESSAGE_LIMIT);
    let routes = Routes::new(metainfo).add_service(node).add_service(orders);
    node_stats::add_to(routes, state)
}

struct MetainfoService(Arc<State>);

/// Implements the service. A call authenticates its caller by the header of the request, a batch by
/// the header of the inner request.
macro_rules! metainfo_service {
    ($($call:ident: $request:ident => $response:ident;)*) => {
        #[tonic::async_trait]
        impl Metainfo for MetainfoService {
            $(async fn $call(
                &self,
                request: Request<messages::$request>,
            ) -> Result<Response<messages::$response>, Status> {
                let peer = request.extensions().get::<Peer>().cloned();
                let request = request.into_inner();
                let caller = self.0.caller(request.header.as_ref(), peer.as_ref()).await?;
                Ok(Response::new(self.0.$call(&caller, request).await?))
            })*

            async fn batch(
                &self,
                request: Request<messages::BatchRequest>,
            ) -> Result<Response<messages::BatchResponse>, Status> {
                let peer = request.extensions().get::<Peer>().cloned();
                Ok(Response::new(self.0.batch(peer.as_ref(), request.into_inner()).await?))
            }

            async fn compressed_batch(
                &self,
                request: Request<messages::CompressedBatchRequest>,
            ) -> Result<Response<messages::CompressedBatchResponse>, Status> {
                let peer = request.extensions().get::<Peer>().cloned();
                let response = self.0.compressed_batch(peer.as_ref(), request.into_inner()).await?;
                Ok(Response::new(response))
            }
        }
    };
}

metainfo_service! {
    create_bucket: CreateBucketRequest => CreateBucketResponse;
    get_bucket: GetBucketRequest => GetBucketResponse;
    delete_bucket: DeleteBucketRequest => DeleteBucketResponse;
    list_buckets: ListBucketsRequest => ListBucketsResponse;
    project_info: ProjectInfoRequest => ProjectInfoResponse;
    begin_object: BeginObjectRequest => BeginObjectResponse;
    commit_object: CommitObjectRequest => CommitObjectResponse;
    get_object: GetObjectRequest => GetObjectResponse;
    list_objects: ListObjectsRequest => ListObjectsResponse;
    begin_delete_object: BeginDeleteObjectRequest => BeginDeleteObjectResponse;
    begin_segment: BeginSegmentRequest => BeginSegmentResponse;
    retry_begin_segment_pieces: RetryBeginSegmentPiecesRequest => RetryBeginSegmentPiecesResponse;
    commit_segment: CommitSegmentRequest => CommitSegmentResponse;
    make_inline_segment: MakeInlineSegmentRequest => MakeInlineSegmentResponse;
    list_segments: ListSegmentsRequest => ListSegmentsResponse;
    download_object: DownloadObjectRequest => DownloadObjectResponse;
    download_segment: DownloadSegmentRequest => DownloadSegmentResponse;
    list_pending_object_streams:
        ListPendingObjectStreamsRequest => ListPendingObjectStreamsResponse;
    get_pending_object_metadata:
        GetPendingObjectMetadataRequest => GetPendingObjectMetadataResponse;
    delete_part: DeletePartRequest => DeletePartResponse;
    delete_objects: DeleteObjectsRequest => DeleteObjectsResponse;
    begin_copy_object: BeginCopyObjectRequest => BeginCopyObjectResponse;
    finish_copy_object: FinishCopyObjectRequest => FinishCopyObjectResponse;
    begin_move_object: BeginMoveObjectRequest => BeginMoveObjectResponse;
    finish_move_object: FinishMoveObjectRequest => FinishMoveObjectResponse;
    update_object_metadata: UpdateObjectMetadataRequest => UpdateObjectMetadataResponse;
    get_object_i_ps: GetObjectIPsRequest => GetObjectIPsResponse;
    revoke_api_key: RevokeApiKeyRequest => RevokeApiKeyResponse;
    get_bucket_location: GetBucketLocationRequest => GetBucketLocationResponse;
    get_bucket_versioning: GetBucketVersioningRequest => GetBucketVersioningResponse;
    set_bucket_versioning: SetBucketVersioningRequest => SetBucketVersioningResponse;
    get_bucket_tagging: GetBucketTaggingRequest => GetBucketTaggingResponse;
    set_bucket_tagging: SetBucketTaggingRequest => SetBucketTaggingResponse;
    get_bucket_object_lock_configuration:
        GetBucketObjectLockConfigurationRequest => GetBucketObjectLockConfigurationResponse;
    set_bucket_object_lock_configuration:
        SetBucketObjectLockConfigurationRequest => SetBucketObjectLockConfigurationResponse;
    get_bucket_notification_configuration:
        GetBucketNotificationConfigurationRequest => GetBucketNotificationConfigurationResponse;
    set_bucket_notification_configuration:
        SetBucketNotificationConfigurationRequest => SetBucketNotificationConfigurationResponse;
    get_object_retention: GetObjectRetentionRequest => GetObjectRetentionResponse;
    set_object_retention: SetObjectRetentionRequest => SetObjectRetentionResponse;
    get_object_legal_hold: GetObjectLegalHoldRequest => GetObjectLegalHoldResponse;
    set_object_legal_hold: SetObjectLegalHoldRequest => SetObjectLegalHoldResponse;
    account_licenses: AccountLicensesRequest => AccountLicensesResponse;
    finish_delete_object: FinishDeleteObjectRequest => FinishDeleteObjectResponse;
    begin_delete_segment: BeginDeleteSegmentRequest => BeginDeleteSegmentResponse;
    finish_delete_segment: FinishDeleteSegmentRequest => FinishDeleteSegmentResponse;
}
