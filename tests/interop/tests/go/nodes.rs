//! Responses of our satellite to a storage node built from the public network's packages.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::expiry::seconds;
use super::world::{World, text};

#[tokio::test]
#[ignore = "slow: the reference Go client"]
async fn reference_node_is_reachable_and_gets_its_status() {
    let mut world = World::start().await;
    let satellite = world.network.satellite_url();
    let api_key = world.api_key.clone();
    let response = world.call("node", json!({"satellite": satellite, "api_key": api_key})).await;
    assert_eq!((text(&response["reason"]), &response["pings"]), ("", &json!(1)), "{response}");
    let id = text(&response["id"]);
    let nodes = world.network.satellite_nodes().await.expect("nodes");
    let known = nodes.iter().find(|node| node.id.to_string() == id).expect("a known node");
    assert!(known.online);

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time");
    for time in ["time", "joined", "vetted"] {
        let distance = (seconds(&response[time]) - now.as_secs_f64()).abs();
        assert!(distance < 60.0, "{time}: {response}");
    }
    assert_eq!((&response["disqualified"], &response["suspended"]), (&Value::Null, &Value::Null));
    for score in ["audit_score", "online_score"] {
        assert_eq!(response[score].as_f64(), Some(1.0), "{score}: {response}");
    }
    assert_eq!((text(&response["usage_of"]), &response["usage_days"]), (id, &json!(0)));
    for field in ["price", "paystubs", "payments"] {
        assert_eq!(response[field], 0, "{field}: {response}");
    }
    assert_eq!((text(&response["settled"]), &response["paid_tier"]), ("REJECTED", &json!(true)));
    world.network.stop().await;
}
