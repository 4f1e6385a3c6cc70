//! The recorded traffic of the public network's client with its satellite, played to ours: every
//! request in order, every answer compared field by field with the recorded one.
//!
//! Requests go out as they were, but for what their sender had learned from earlier answers (stream
//! ids, segment ids, versions of objects, order limits), which is replaced by what our satellite
//! said in the same place. What may differ stands in [`accepted`], with a reason each.

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

/// What the recording was made over.
const TRANSPORT: Transport = Transport::Drpc;

/// What a set of scenarios came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    calls: usize,
    refused: usize,
    fields: usize,
}

async fn play(set: &str) -> (Counts, BTreeSet<&'static str>) {
    let mut session = Session::start(set).await;
    for scenario in recording::scenarios(set) {
        session.play(&scenario).await;
    }
    let shown = session.differences.join("\n");
    assert!(session.differences.is_empty(), "{} differences:\n{shown}", session.differences.len());
    let outcome = (session.counts, session.used);
    session.network.stop().await;
    outcome
}

#[tokio::test]
async fn recorded_requests_get_the_recorded_answers() {
    let mut used = BTreeSet::new();
    for (set, expected) in [
        ("plain", Counts { calls: 198, refused: 59, fields: 4501 }),
        ("compressed", Counts { calls: 18, refused: 1, fields: 824 }),
        ("noise", Counts { calls: 18, refused: 1, fields: 935 }),
    ] {
        let (counts, rules) = play(set).await;
        println!("{set}: {counts:?}");
        assert_eq!(counts, expected, "{set}");
        used.extend(rules);
    }
    let unused: Vec<_> = accepted::all().filter(|name| !used.contains(name)).collect();
    assert!(unused.is_empty(), "accepted but never seen: {unused:?}");
}
