//! Replays recorded traffic between client and satellite of the public network to our satellite:
//! every request in order, every response compared field by field with the recorded one.
//!
//! Values that the recorded client took from earlier responses (stream ids, segment ids, object
//! versions, order limits) are replaced by our satellite's values. [`accepted`] lists the allowed
//! differences with reasons.

#[path = "replay/accepted.rs"]
mod accepted;
#[path = "replay/fields.rs"]
mod fields;
#[path = "satellite/network.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod network;
#[path = "replay/recording.rs"]
mod recording;
#[path = "replay/session.rs"]
mod session;
#[path = "replay/wire.rs"]
mod wire;

use std::collections::BTreeSet;

use session::Session;
use uplink_rpc::dial::Transport;

/// Returns the transport of the recording.
fn transport() -> Transport {
    Transport::Drpc
}

/// Totals of a set of scenarios.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    calls: usize,
    rejected: usize,
    fields: usize,
}

async fn play(set: &str) -> (Counts, BTreeSet<&'static str>) {
    let mut session = Session::start(set).await;
    for scenario in recording::scenarios(set) {
        session.play(&scenario).await;
    }
    let text = session.differences.join("\n");
    assert!(session.differences.is_empty(), "{} differences:\n{text}", session.differences.len());
    let outcome = (session.counts, session.used);
    session.network.stop().await;
    outcome
}

#[tokio::test]
async fn recorded_requests_get_the_recorded_responses() {
    let mut used = BTreeSet::new();
    for (set, expected) in [
        ("plain", Counts { calls: 198, rejected: 60, fields: 4503 }),
        ("compressed", Counts { calls: 18, rejected: 1, fields: 824 }),
        ("noise", Counts { calls: 18, rejected: 1, fields: 935 }),
    ] {
        let (counts, rules) = play(set).await;
        println!("{set}: {counts:?}");
        assert_eq!(counts, expected, "{set}");
        used.extend(rules);
    }
    let unused: Vec<_> = accepted::all().filter(|name| !used.contains(name)).collect();
    assert!(unused.is_empty(), "accepted but never seen: {unused:?}");
}
