//! Statistics and payments that storage nodes of the public network request periodically, and user
//! information for edge services.
//!
//! This satellite has no audits and no payments, and records neither uptime nor storage over time.
//! Unmodified nodes receive the statistics of a node in good standing:
//!
//! | request | response |
//! |---|---|
//! | dates of joining and disqualification | actual values |
//! | date of vetting | date of joining: new nodes receive pieces like all others |
//! | audits, online windows | none, with the initial scores |
//! | suspensions | none |
//! | storage per day | empty list |
//! | prices | 0 |
//! | payments | empty lists; out of range for a single period |
//!
//! The graceful exit service is not implemented.

use std::sync::Arc;

use tonic::service::Routes;
use tonic::{Request, Response, Status};
use uplink_rpc::r#gen::heldamount::held_amount_server::{HeldAmount, HeldAmountServer};
use uplink_rpc::r#gen::nodestats::node_stats_server::{NodeStats, NodeStatsServer};
use uplink_rpc::r#gen::nodestats::{AuditHistory, ReputationStats};
use uplink_rpc::r#gen::userinfo::user_info_server::{UserInfo, UserInfoServer};
use uplink_rpc::r#gen::{heldamount, nodestats, userinfo};
use uplink_rpc::server::Peer;
use uplink_rpc::status::{Code, Failure};

use super::State;
use super::contact::node_of;

#[derive(Clone)]
struct NodeStatsService(Arc<State>);

type Reply<T> = Result<Response<T>, Status>;

/// Adds the services of this file.
pub(super) fn add_to(routes: Routes, state: &Arc<State>) -> Routes {
    let service = NodeStatsService(Arc::clone(state));
    routes
        .add_service(NodeStatsServer::new(service.clone()))
        .add_service(HeldAmountServer::new(service.clone()))
        .add_service(UserInfoServer::new(service))
}

#[tonic::async_trait]
impl NodeStats for NodeStatsService {
    async fn get_stats(
        &self,
        request: Request<nodestats::GetStatsRequest>,
    ) -> Reply<nodestats::GetStatsResponse> {
        let node = self.0.known_node(node_of(&request)?.node_id()).await?;
        let joined = Some(node.created.to_wire());
        Ok(Response::new(nodestats::GetStatsResponse {
            audit_check: Some(initial_reputation()),
            disqualified: node.disqualified.map(|time| time.to_wire()),
            joined_at: joined,
            online_score: MAX_SCORE,
            audit_history: Some(AuditHistory { score: MAX_SCORE, ..AuditHistory::default() }),
            vetted_at: joined,
            ..nodestats::GetStatsResponse::default()
        }))
    }

    async fn daily_storage_usage(
        &self,
        request: Request<nodestats::DailyStorageUsageRequest>,
    ) -> Reply<nodestats::DailyStorageUsageResponse> {
        let node = self.0.known_node(node_of(&request)?.node_id()).await?;
        let node_id = node.id.as_bytes().to_vec().into();
        let daily_storage_usage = Vec::new();
        Ok(Response::new(nodestats::DailyStorageUsageResponse { node_id, daily_storage_usage }))
    }

    async fn pricing_model(
        &self,
        request: Request<nodestats::PricingModelRequest>,
    ) -> Reply<nodestats::PricingModelResponse> {
        node_of(&request)?;
        Ok(Response::new(nodestats::PricingModelResponse::default()))
    }
}

#[tonic::async_trait]
impl HeldAmount for NodeStatsService {
    async fn get_pay_stub(
        &self,
        request: Request<heldamount::GetHeldAmountRequest>,
    ) -> Reply<heldamount::GetHeldAmountResponse> {
        node_of(&request)?;
        Err(nothing_paid().into())
    }

    async fn get_payment(
        &self,
        request: Request<heldamount::GetPaymentRequest>,
    ) -> Reply<heldamount::GetPaymentResponse> {
        node_of(&request)?;
        Err(nothing_paid().into())
    }

    async fn get_all_paystubs(
        &self,
        request: Request<heldamount::GetAllPaystubsRequest>,
    ) -> Reply<heldamount::GetAllPaystubsResponse> {
        node_of(&request)?;
        Ok(Response::new(heldamount::GetAllPaystubsResponse {}))
    }

    async fn get_all_payments(
        &self,
        request: Request<heldamount::GetAllPaymentsRequest>,
    ) -> Reply<heldamount::GetAllPaymentsResponse> {
        node_of(&request)?;
        Ok(Response::new(heldamount::GetAllPaymentsResponse {}))
    }
}

#[tonic::async_trait]
impl UserInfo for NodeStatsService {
    /// Edge services restrict users of the free tier. This satellite has no tiers, so every valid API
    /// key counts as paid.
    async fn get(
        &self,
        request: Request<userinfo::GetUserInfoRequest>,
    ) -> Reply<userinfo::GetUserInfoResponse> {
        let peer = request.extensions().get::<Peer>().cloned();
        let header = request.into_inner().header;
        self.0.caller(header.as_ref(), peer.as_ref()).await?;
        Ok(Response::new(userinfo::GetUserInfoResponse { paid_tier: true }))
    }
}

/// Nodes distinguish "nothing in this period" from a failure by this code.
fn nothing_paid() -> Failure {
    Failure::new(Code::OUT_OF_RANGE, "nothing was paid in this period")
}

/// Returns the reputation of a node without audits: the initial scores.
fn initial_reputation() -> ReputationStats {
    ReputationStats {
        reputation_alpha: 1.0,
        reputation_score: MAX_SCORE,
        unknown_reputation_alpha: 1.0,
        unknown_reputation_score: MAX_SCORE,
        ..ReputationStats::default()
    }
}

const MAX_SCORE: f64 = 1.0;
