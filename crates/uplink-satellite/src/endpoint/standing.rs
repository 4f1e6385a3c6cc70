//! What storage nodes of the public network ask about themselves now and then, and edge services
//! about users.
//!
//! This satellite measures neither uptime nor storage over time, audits nobody and moves no money.
//! Unmodified nodes get the answers of a network in which nothing was found against them:
//!
//! | asked for | answer |
//! |---|---|
//! | dates of joining and disqualification | as they are |
//! | date of vetting | that of joining: a new node gets pieces like any other |
//! | audits, online windows | none, with the scores that every node begins with |
//! | suspensions | none |
//! | storage per day | an empty list |
//! | prices | 0 |
//! | payments | empty lists; out of range for a single period |
//!
//! Graceful exit is not offered: its service does not exist here.

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
struct Standing(Arc<State>);

type Reply<T> = Result<Response<T>, Status>;

/// Adds the services of this file.
pub(super) fn add_to(routes: Routes, state: &Arc<State>) -> Routes {
    let standing = Standing(Arc::clone(state));
    routes
        .add_service(NodeStatsServer::new(standing.clone()))
        .add_service(HeldAmountServer::new(standing.clone()))
        .add_service(UserInfoServer::new(standing))
}

#[tonic::async_trait]
impl NodeStats for Standing {
    async fn get_stats(
        &self,
        request: Request<nodestats::GetStatsRequest>,
    ) -> Reply<nodestats::GetStatsResponse> {
        let node = self.0.known_node(node_of(&request)?.node_id()).await?;
        let joined = Some(node.created.to_wire());
        Ok(Response::new(nodestats::GetStatsResponse {
            audit_check: Some(untried()),
            disqualified: node.disqualified.map(|time| time.to_wire()),
            joined_at: joined,
            online_score: BEST_SCORE,
            audit_history: Some(AuditHistory { score: BEST_SCORE, ..AuditHistory::default() }),
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
impl HeldAmount for Standing {
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
impl UserInfo for Standing {
    /// Edge services restrict users of a free tier. There are no tiers here: whoever holds a valid
    /// API key is answered like one who pays.
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

/// The code by which nodes tell "nothing in this period" from a failure.
fn nothing_paid() -> Failure {
    Failure::new(Code::OUT_OF_RANGE, "nothing was paid in this period")
}

/// The standing of a node that was never audited: no audits, and the scores to begin with.
fn untried() -> ReputationStats {
    ReputationStats {
        reputation_alpha: 1.0,
        reputation_score: BEST_SCORE,
        unknown_reputation_alpha: 1.0,
        unknown_reputation_score: BEST_SCORE,
        ..ReputationStats::default()
    }
}

const BEST_SCORE: f64 = 1.0;
