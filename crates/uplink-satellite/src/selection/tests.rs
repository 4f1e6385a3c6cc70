use std::collections::{HashMap, HashSet};

use uplink_core::id::NodeId;

use super::*;
use crate::registry::ClockReading;

const NOW: Time = Time(1_800_000_000_000_000);
const STEADY: Duration = Duration::from_secs(100_000);
const WINDOW: Duration = Duration::from_secs(1800);

fn rules() -> Rules {
    Rules {
        now: NOW,
        steady: STEADY,
        online_window: WINDOW,
        contacts: Arc::default(),
        min_free_space: 100,
        distinct_networks: DistinctNetworks::Off,
    }
}

fn scheme() -> Scheme {
    "4/6/8/10-256".parse().unwrap()
}

/// An online node with free space, in the network of that number.
fn node(number: u8, network: u8) -> NodeRow {
    NodeRow {
        id: NodeId::new([number; 32]),
        address: String::new(),
        last_address: String::new(),
        subnet: vec![network],
        free_disk: 100,
        version: String::new(),
        state: NodeState::Normal,
        created: NOW,
        disqualified: None,
        last_contact: Some(NOW),
    }
}

fn nodes(count: u8) -> Vec<NodeRow> {
    (0..count).map(|number| node(number, number)).collect()
}

fn ids(chosen: &[&NodeRow]) -> Vec<NodeId> {
    chosen.iter().map(|node| node.id).collect()
}

/// Counts how often each node is chosen for 1,000 segments. Every count must be within three
/// standard deviations of the expected one.
fn check_uniform(nodes: &[NodeRow], eligible: usize, rules: &Rules) {
    const SEGMENTS: usize = 1_000;
    let mut counts: HashMap<NodeId, usize> = HashMap::new();
    for seed in 0..SEGMENTS as u64 {
        let (_, chosen) = choose(nodes, rules, &scheme(), &mut Numbers::seeded(seed)).unwrap();
        assert_eq!(ids(&chosen).into_iter().collect::<HashSet<_>>().len(), 10);
        for id in ids(&chosen) {
            *counts.entry(id).or_default() += 1;
        }
    }
    assert_eq!(counts.len(), eligible);
    let share = 10.0 / eligible as f64;
    let expected = SEGMENTS as f64 * share;
    let deviation = (expected * (1.0 - share)).sqrt();
    for (id, count) in counts {
        let off = (count as f64 - expected).abs() / deviation;
        assert!(off <= 3.0, "{id}: {count} of {expected}, {off:.1} deviations");
    }
}

#[test]
fn eligible_nodes_are_chosen_equally_often() {
    check_uniform(&nodes(25), 25, &rules());
}

#[test]
fn full_offline_and_disqualified_nodes_are_never_chosen() {
    let mut nodes = nodes(28);
    nodes[3].free_disk = 99;
    nodes[11].last_contact = Some(NOW.minus(WINDOW + Duration::from_micros(1)));
    nodes[12].last_contact = None;
    nodes[27].state = NodeState::Disqualified;
    check_uniform(&nodes, 24, &rules());
}

#[test]
fn distinct_networks_are_chosen_once_equally_often() {
    // Twelve networks; the first has five nodes, which share its pieces.
    let mut nodes: Vec<NodeRow> = (0..12).map(|number| node(number, number)).collect();
    nodes.extend((12..16).map(|number| node(number, 0)));
    let rules = Rules { distinct_networks: DistinctNetworks::On, ..rules() };
    let mut first = 0usize;
    for seed in 0..1_000 {
        let (_, chosen) = choose(&nodes, &rules, &scheme(), &mut Numbers::seeded(seed)).unwrap();
        let networks: HashSet<&[u8]> = chosen.iter().map(|node| node.subnet.as_slice()).collect();
        assert_eq!(networks.len(), 10);
        first += usize::from(networks.contains(&[0u8][..]));
    }
    // 10/12 of 1,000, three deviations of √(1,000 · 10/12 · 2/12) each way.
    assert!((798..=868).contains(&first), "{first}");
}

#[test]
fn auto_rule_applies_while_enough_networks() {
    let rules = Rules { distinct_networks: DistinctNetworks::Auto, ..rules() };
    let mut nodes = nodes(10);
    assert!(rules.distinct(&nodes, &scheme()));
    nodes[9].subnet = vec![0];
    assert!(!rules.distinct(&nodes, &scheme()));
    assert_eq!(choose(&nodes, &rules, &scheme(), &mut Numbers::default()).unwrap().1.len(), 10);
}

#[test]
fn scheme_shrinks_to_available_nodes_not_below_optimal() {
    for (count, total) in [(8, 8), (9, 9), (10, 10), (11, 10)] {
        let nodes = nodes(count);
        let (shrunk, chosen) =
            choose(&nodes, &rules(), &scheme(), &mut Numbers::default()).unwrap();
        assert_eq!((shrunk.total(), chosen.len()), (total, usize::from(total)));
        assert_eq!((shrunk.required(), shrunk.repair(), shrunk.optimal()), (4, 6, 8));
    }
    let too_few = choose(&nodes(7), &rules(), &scheme(), &mut Numbers::default()).unwrap_err();
    assert_eq!(too_few, TooFewNodes { have: 7, need: 8 });
    assert_eq!(too_few.to_string(), "not enough storage nodes: have 7, need 8");
}

#[test]
fn replacements_are_new_nodes_in_new_networks() {
    let mut nodes = nodes(12);
    nodes[11].subnet = vec![0];
    let used = |node: &NodeRow| node.id.as_bytes()[0] < 10;
    let draw = |rules: &Rules| {
        let drawn = draw(&nodes, rules, &scheme(), 5, used, &mut Numbers::default());
        ids(&drawn).into_iter().map(|id| id.as_bytes()[0]).collect::<HashSet<_>>()
    };
    assert_eq!(draw(&rules()), HashSet::from([10, 11]));
    let distinct = Rules { distinct_networks: DistinctNetworks::On, ..rules() };
    assert_eq!(draw(&distinct), HashSet::from([10]));
}

#[test]
fn download_offer_follows_rule_and_desired_count() {
    let public: Scheme = "29/35/80/110-256".parse().unwrap();
    let narrow = DownloadOffer::Narrow;
    let wide = DownloadOffer::Wide;
    assert_eq!(offer(&public, 80, 0, narrow), 39);
    assert_eq!(offer(&scheme(), 9, 0, narrow), 5);
    assert_eq!(offer(&scheme(), 9, 0, wide), 9);
    assert_eq!(offer(&public, 80, 0, wide), 39);
    assert_eq!(offer(&"20/25/30/31-256".parse().unwrap(), 30, 0, wide), 30);
    assert_eq!(offer(&public, 80, 50, narrow), 50);
    assert_eq!(offer(&public, 80, i32::MAX, narrow), 80);
    assert_eq!(offer(&public, 80, -1, narrow), 39);
    assert_eq!(offer(&public, 35, 0, narrow), 35);
}

/// Rules of a process with contact to the nodes `ago` seconds ago, their clocks `ahead` seconds ahead.
fn contacted(ago: u64, ahead: &[Option<i64>]) -> Rules {
    let at = STEADY - Duration::from_secs(ago);
    let ours = Time(NOW.0 - i64::try_from(ago).unwrap() * 1_000_000);
    let contacts = ahead.iter().enumerate().map(|(number, ahead)| {
        let theirs = |ahead: i64| Time(ours.0 + ahead * 1_000_000);
        let clock = ahead.map(|ahead| ClockReading { theirs: theirs(ahead), ours, steady: at });
        let number = u8::try_from(number).unwrap();
        (NodeId::new([number; 32]), Contact { reached: Some(at), clock })
    });
    Rules { contacts: Arc::new(contacts.collect()), ..rules() }
}

#[test]
fn node_with_skewed_clock_is_not_chosen() {
    let mut ahead = vec![Some(0); 10];
    let rules = contacted(20, &ahead);
    assert!(choose(&nodes(10), &rules, &scheme(), &mut Numbers::default()).is_ok());
    assert_eq!(rules.skew(&nodes(10)), None);
    ahead[3] = Some(3601);
    ahead[4] = Some(-3601);
    ahead[5] = Some(3600);
    ahead[6] = None;
    let rules = contacted(20, &ahead);
    let nodes = nodes(10);
    let (_, chosen) = choose(&nodes, &rules, &scheme(), &mut Numbers::default()).unwrap();
    let chosen: HashSet<NodeId> = ids(&chosen).into_iter().collect();
    assert_eq!(chosen.len(), 8);
    for skewed in [3, 4] {
        assert!(!chosen.contains(&NodeId::new([skewed; 32])));
    }
    let text = rules.skew(&nodes).unwrap();
    assert!(text.starts_with("2 excluded") && text.contains("3601 s ahead of"), "{text}");
}

#[test]
fn skew_from_all_nodes_blames_satellite_clock() {
    let rules = contacted(20, &[Some(-7200), Some(-7300), Some(-7100), None]);
    let text = rules.skew(&nodes(4)).unwrap();
    assert!(text.contains("this satellite is 7200 s ahead of the clocks of all its 3"), "{text}");
    let text = contacted(20, &[Some(-7200), Some(7200)]).skew(&nodes(2)).unwrap();
    assert!(text.starts_with("2 excluded"), "nodes that differ from each other: {text}");
    let text = contacted(20, &[Some(-7200)]).skew(&nodes(1)).unwrap();
    assert!(text.starts_with("1 excluded"), "one node alone: {text}");
}

#[test]
fn skew_must_exist_at_check_in_and_now() {
    let stepped =
        |ahead| Rules { now: Time(NOW.0 + 7_200_000_000), ..contacted(20, &[Some(ahead)]) };
    // Either the satellite's clock was corrected, or all clocks stepped together.
    assert!(stepped(7200).is_online(&node(0, 0)));
    assert!(stepped(0).is_online(&node(0, 0)));
    assert!(!stepped(-7200).is_online(&node(0, 0)));
}

#[test]
fn clock_step_of_satellite_leaves_nodes_online() {
    let node = node(0, 0);
    for step in [-3600, 3600] {
        let moved = Time(NOW.0 + step * 1_000_000);
        assert!(!Rules { now: moved, ..rules() }.is_online(&node), "{step} s, no contact here");
        assert!(Rules { now: moved, ..contacted(20, &[None]) }.is_online(&node), "{step} s");
        assert!(!Rules { now: moved, ..contacted(1801, &[None]) }.is_online(&node), "{step} s");
    }
}
