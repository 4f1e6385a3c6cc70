//! What a storage node that is made of the public network's own parts hears from our satellite.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::expiry::seconds;
use super::world::{World, text};

#[tokio::test]
#[ignore = "slow: the reference Go client"]
async fn node_of_the_reference_is_reached_and_learns_its_standing() {
    let mut world = World::start().await;
    let (satellite, api_key) = (world.network.satellite_url(), world.api_key.clone());
    let heard = world.ask("node", json!({"satellite": satellite, "api_key": api_key})).await;
    assert_eq!((text(&heard["reason"]), &heard["pings"]), ("", &json!(1)), "{heard}");
    let id = text(&heard["id"]);
    let nodes = world.network.satellite_nodes().await.expect("nodes");
    let known = nodes.iter().find(|node| node.id.to_string() == id).expect("a known node");
    assert!(known.online);

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time");
    for time in ["time", "joined", "vetted"] {
        let distance = (seconds(&heard[time]) - now.as_secs_f64()).abs();
        assert!(distance < 60.0, "{time}: {heard}");
    }
    assert_eq!((&heard["disqualified"], &heard["suspended"]), (&Value::Null, &Value::Null));
    for score in ["audit_score", "online_score"] {
        assert_eq!(heard[score].as_f64(), Some(1.0), "{score}: {heard}");
    }
    assert_eq!((text(&heard["usage_of"]), &heard["usage_days"]), (id, &json!(0)));
    for nothing in ["price", "paystubs", "payments"] {
        assert_eq!(heard[nothing], 0, "{nothing}: {heard}");
    }
    assert_eq!((text(&heard["settled"]), &heard["paid_tier"]), ("REJECTED", &json!(true)));
    world.network.stop().await;
}
