//! Statistics, payments and user information.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use uplink_rpc::channel::Channel;
use uplink_rpc::client;
use uplink_rpc::dial::Dialer;
use uplink_rpc::r#gen::contact::{AmnestyReportRequest, LostPiece};
use uplink_rpc::r#gen::heldamount::held_amount_client::HeldAmountClient;
use uplink_rpc::r#gen::heldamount::{
    GetAllPaymentsRequest, GetAllPaystubsRequest, GetHeldAmountRequest, GetPaymentRequest,
};
use uplink_rpc::r#gen::nodestats::node_stats_client::NodeStatsClient;
use uplink_rpc::r#gen::nodestats::{
    DailyStorageUsageRequest, GetStatsRequest, PricingModelRequest, PricingModelResponse,
};
use uplink_rpc::r#gen::userinfo::GetUserInfoRequest;
use uplink_rpc::r#gen::userinfo::user_info_client::UserInfoClient;
use uplink_rpc::pool::Pool;
use uplink_rpc::status::{Code, Failure};
use uplink_rpc::time::timestamp;
use uplink_satellite::Config;

use crate::network::{Network, TestNode};

/// Returns the time `hours` after 1970.
fn at(hours: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(3600 * hours)
}

fn channel(node: &TestNode, network: &Network) -> Channel {
    let dialer = Dialer::new(&node.identity).unwrap().with_transport(crate::transport());
    let id = network.satellite.node_url().id.unwrap();
    Pool::new(dialer).peer(id, &network.satellite.address().to_string()).channel()
}

#[tokio::test]
async fn stats_report_time_of_joining_and_disqualification() {
    let hours = Arc::new(AtomicU64::new(490_000));
    let clock = Arc::clone(&hours);
    let network = Network::start_with(1, Config::dev(), move || at(clock.load(Relaxed))).await;
    let node = &network.nodes[0];
    let mut stats = NodeStatsClient::new(channel(node, &network));
    let answer = stats.get_stats(GetStatsRequest {}).await.unwrap().into_inner();
    let joined = timestamp(at(490_000));
    assert_eq!((answer.joined_at, answer.vetted_at), (Some(joined), Some(joined)));
    assert_eq!((answer.disqualified, answer.suspended, answer.offline_suspended), <_>::default());
    let audits = answer.audit_check.unwrap();
    assert_eq!((audits.total_count, audits.success_count, audits.reputation_score), (0, 0, 1.0));
    assert_eq!((answer.online_score, answer.audit_history.unwrap().windows.len()), (1.0, 0));

    for later in [490_001, 490_002] {
        hours.store(later, Relaxed);
        network.admin.disqualify_node(node.identity.node_id()).await.unwrap();
        let answer = stats.get_stats(GetStatsRequest {}).await.unwrap().into_inner();
        let first = timestamp(at(490_001));
        assert_eq!((answer.joined_at, answer.disqualified), (Some(joined), Some(first)));
    }
    network.stop().await;
}

#[tokio::test]
async fn usage_prices_and_payments_are_empty() {
    let network = Network::start(1).await;
    let node = &network.nodes[0];
    let mut stats = NodeStatsClient::new(channel(node, &network));
    let usage = stats.daily_storage_usage(DailyStorageUsageRequest::default()).await.unwrap();
    let usage = usage.into_inner();
    assert_eq!(usage.node_id, node.identity.node_id().as_bytes().to_vec());
    assert!(usage.daily_storage_usage.is_empty());
    let prices = stats.pricing_model(PricingModelRequest {}).await.unwrap().into_inner();
    assert_eq!(prices, PricingModelResponse::default());
    let mut payments = HeldAmountClient::new(channel(node, &network));
    payments.get_all_paystubs(GetAllPaystubsRequest {}).await.unwrap();
    payments.get_all_payments(GetAllPaymentsRequest {}).await.unwrap();
    let rejected = payments.get_pay_stub(GetHeldAmountRequest::default()).await.unwrap_err();
    assert_eq!(Failure::from(rejected).code, Code::OUT_OF_RANGE);
    let rejected = payments.get_payment(GetPaymentRequest::default()).await.unwrap_err();
    assert_eq!(Failure::from(rejected).code, Code::OUT_OF_RANGE);
    network.stop().await;
}

#[tokio::test]
async fn unknown_node_gets_no_stats_and_cannot_report_losses() {
    let network = Network::start(1).await;
    let report = || {
        let lost = |reason| LostPiece { piece_id: vec![1; 32].into(), reason };
        AmnestyReportRequest { lost_pieces: [0, 1, 2, 9].map(lost).to_vec() }
    };
    let known = channel(&network.nodes[0], &network);
    client::node(known).amnesty_report(report()).await.unwrap();

    let unknown = channel(&TestNode::start().await, &network);
    let mut stats = NodeStatsClient::new(unknown.clone());
    let rejected = stats.get_stats(GetStatsRequest {}).await.unwrap_err();
    assert_eq!(Failure::from(rejected).code, Code::NOT_FOUND);
    let rejected =
        stats.daily_storage_usage(DailyStorageUsageRequest::default()).await.unwrap_err();
    assert_eq!(Failure::from(rejected).code, Code::NOT_FOUND);
    let rejected = client::node(unknown).amnesty_report(report()).await.unwrap_err();
    assert_eq!(Failure::from(rejected).code, Code::NOT_FOUND);
    network.stop().await;
}

#[tokio::test]
async fn valid_api_key_is_in_paid_tier() {
    let network = Network::start(0).await;
    let mut users = UserInfoClient::new(network.channel());
    let request = GetUserInfoRequest { header: network.header() };
    assert!(users.get(request).await.unwrap().into_inner().paid_tier);
    let rejected = users.get(GetUserInfoRequest { header: None }).await.unwrap_err();
    assert_eq!(Failure::from(rejected).code, Code::INVALID_ARGUMENT);
    network.stop().await;
}
