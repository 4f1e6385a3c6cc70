//! Downloads from nodes of given speed, in virtual time.

use proptest::prelude::*;

use super::*;

/// Message size of a healthy node, in bytes.
const MESSAGE: u64 = 64 << 10;

/// How far ahead of the head the caller reads before it applies backpressure.
const AHEAD: u64 = 512 << 10;

const LENGTH: u64 = 20 * MESSAGE;

/// A node's speed: the first message takes `latency` plus `pace`, each further one `pace`.
#[derive(Clone, Copy, Debug)]
struct Node {
    latency: Duration,
    pace: Duration,
    message: u64,
}

impl Node {
    /// Time from the request until `bytes` have arrived.
    fn time(&self, bytes: u64) -> Duration {
        self.latency + self.pace * u32::try_from(bytes.div_ceil(self.message)).unwrap()
    }
}

/// A download whose nodes are all known from the start.
struct Simulation<'a> {
    nodes: &'a [Node],
    hedge: Hedge,
    now: Duration,
    opened: usize,
    positions: BTreeMap<u16, u64>,
    /// Arrival time of each piece's next message.
    arrivals: BTreeSet<(Duration, u16)>,
    /// Pieces whose next message is too far ahead of the head.
    held_back: Vec<u16>,
}

impl<'a> Simulation<'a> {
    fn start(nodes: &'a [Node], required: u16) -> Self {
        let pieces = 0..u16::try_from(nodes.len()).unwrap();
        let start = Duration::ZERO;
        let (hedge, actions) = Hedge::start(required, extra(required), pieces, LENGTH, start);
        let mut simulation = Self {
            nodes,
            hedge,
            now: start,
            opened: 0,
            positions: BTreeMap::new(),
            arrivals: BTreeSet::new(),
            held_back: Vec::new(),
        };
        simulation.act(actions);
        simulation
    }

    /// Runs to completion and returns the end time.
    fn run(&mut self) -> Duration {
        while !self.hedge.is_over() {
            let arrival = self.arrivals.first().map(|first| first.0);
            let tick = self.hedge.next_tick();
            let event = match (arrival, tick) {
                (None, None) => panic!("deadlock: no event is scheduled"),
                (Some(at), tick) if tick.is_none_or(|tick| at <= tick) => {
                    self.now = at;
                    self.arrive()
                }
                (_, tick) => {
                    self.now = tick.unwrap();
                    Some(HedgeEvent::Tick)
                }
            };
            let head = self.hedge.head();
            let actions = event.map_or_else(Vec::new, |event| self.hedge.on(event, self.now));
            self.act(actions);
            // Decoding takes no time here, and no share is corrupt.
            let settled = self.hedge.on(HedgeEvent::Settled(self.hedge.head()), self.now);
            assert_eq!(settled, []);
            if self.hedge.head() > head {
                let released = self.held_back.drain(..);
                self.arrivals.extend(released.map(|piece| (self.now, piece)));
            }
        }
        self.now
    }

    fn arrive(&mut self) -> Option<HedgeEvent> {
        let (_, piece) = self.arrivals.pop_first()?;
        let node = self.nodes[usize::from(piece)];
        let position = self.positions.get_mut(&piece)?;
        let next = (*position + node.message).min(LENGTH);
        if next > self.hedge.head() + AHEAD {
            self.held_back.push(piece);
            return None;
        }
        *position = next;
        if next < LENGTH {
            self.arrivals.insert((self.now + node.pace, piece));
        }
        Some(HedgeEvent::Progress { piece, position: next })
    }

    fn act(&mut self, actions: Vec<HedgeAction>) {
        for action in actions {
            match action {
                HedgeAction::Open { piece, from } => {
                    self.opened += 1;
                    self.positions.insert(piece, from);
                    let node = self.nodes[usize::from(piece)];
                    self.arrivals.insert((self.now + node.latency + node.pace, piece));
                }
                HedgeAction::Close(piece) => {
                    self.positions.remove(&piece);
                    self.arrivals.retain(|(_, other)| *other != piece);
                    self.held_back.retain(|other| *other != piece);
                }
                HedgeAction::RequestHolders => {
                    let more = self.hedge.on(HedgeEvent::Offered(Vec::new()), self.now);
                    assert_eq!(more, []);
                }
                HedgeAction::Abort { .. } => panic!("enough nodes deliver"),
            }
        }
    }
}

/// Nodes of similar speed: paces differ by at most a quarter, latencies by at most a half.
fn similar_nodes(count: usize) -> impl Strategy<Value = Vec<Node>> {
    (10..600_u64, 400..40_000_u64).prop_flat_map(move |(latency, pace)| {
        let node = (latency..=latency * 3 / 2, pace..=pace * 5 / 4);
        let node = node.prop_map(|(latency, pace)| Node {
            latency: Duration::from_millis(latency),
            pace: Duration::from_micros(pace),
            message: MESSAGE,
        });
        proptest::collection::vec(node, count)
    })
}

/// A number of required pieces, the nodes, and the indexes of the bad ones.
fn networks(
    more: std::ops::Range<usize>,
    bad: impl Fn(u16, usize) -> usize + Clone + 'static,
) -> impl Strategy<Value = (u16, Vec<Node>, Vec<usize>)> {
    (1..9_u16, more).prop_flat_map(move |(required, more)| {
        let count = usize::from(required) + more;
        let which: Vec<usize> = (0..count).collect();
        let max_bad = bad(required, more);
        (Just(required), similar_nodes(count), prop::sample::subsequence(which, 0..=max_bad))
    })
}

/// The time of the slowest good node.
fn slowest(nodes: &[Node], bad: &[usize], bytes: u64) -> Duration {
    let good = nodes.iter().enumerate().filter(|(index, _)| !bad.contains(index));
    good.map(|(_, node)| node.time(bytes)).max().unwrap()
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn nodes_of_similar_speed_are_never_hedged(
        (required, nodes, _) in networks(2..8, |_, _| 0),
    ) {
        let mut simulation = Simulation::start(&nodes, required);
        let time = simulation.run();
        prop_assert_eq!(simulation.opened, usize::from(required + extra(required)).min(nodes.len()));
        prop_assert!(time <= slowest(&nodes, &[], LENGTH));
    }

    /// Any k good nodes suffice. Each node that is silent or trickles bytes costs at most one stall
    /// timeout.
    #[test]
    fn each_stalled_node_costs_at_most_one_stall_timeout(
        (required, mut nodes, bad) in networks(0..8, |_, more| more), trickles: bool,
    ) {
        for &index in &bad {
            nodes[index].pace = Duration::from_millis(if trickles { 100 } else { 1_000_000_000 });
            nodes[index].message = 64;
        }
        let clean = slowest(&nodes, &bad, LENGTH);
        let stalls = (MAX_STALL_TIMEOUT + clean) * bad.len() as u32;
        prop_assert!(Simulation::start(&nodes, required).run() <= clean + stalls);
    }

    /// Nodes slower by a factor of 4 to 100 cost at most four stretches each, provided that one in
    /// four transfers is good: two for the timeout, and two until the timeout starts and until the
    /// replacement has caught up. A node is tolerated, and costs its own time, if its stretch takes at
    /// most twice a good node's first stretch, connection included.
    #[test]
    fn each_slow_node_costs_at_most_four_stretches(
        (required, mut nodes, bad) in networks(4..12, |required, more| more.min(required.into())),
        factor in 4..100_u32,
    ) {
        for &index in &bad {
            nodes[index].pace *= factor;
        }
        let clean = slowest(&nodes, &bad, LENGTH);
        let stretch = slowest(&nodes, &bad, STRETCH).max(MIN_STALL_TIMEOUT);
        let stretch_of = |node: &Node| node.pace * u32::try_from(STRETCH / node.message).unwrap();
        let tolerated = nodes.iter().filter(|node| stretch_of(node) <= stretch * 2);
        let own = tolerated.map(|node| node.time(LENGTH)).max().unwrap_or_default();
        let time = Simulation::start(&nodes, required).run();
        let bound = own.max(clean * 2 + stretch * 4 * bad.len() as u32);
        prop_assert!(time <= bound, "{:?} of {:?}", time, bound);
    }
}
