//! Downloads from nodes of given speed, in virtual time.

use proptest::prelude::*;

use super::*;

/// Bytes of a message of a node that does its best.
const MESSAGE: u64 = 64 << 10;

/// How far the caller reads ahead of the head before it lets nodes wait.
const AHEAD: u64 = 512 << 10;

const LENGTH: u64 = 20 * MESSAGE;

/// How a node delivers: the first message after its latency, the others after its pace.
#[derive(Clone, Copy, Debug)]
struct Node {
    latency: Duration,
    pace: Duration,
    message: u64,
}

impl Node {
    /// How long it takes for so many bytes, from the asking.
    fn time(&self, bytes: u64) -> Duration {
        self.latency + self.pace * u32::try_from(bytes.div_ceil(self.message)).unwrap()
    }
}

/// A download from nodes that are all known from the start.
struct Simulation<'a> {
    nodes: &'a [Node],
    hedge: Hedge,
    now: Duration,
    opened: usize,
    positions: BTreeMap<u16, u64>,
    /// When which piece's next message arrives.
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

    /// Runs to the end and tells when that was.
    fn run(&mut self) -> Duration {
        while !self.hedge.is_over() {
            let arrival = self.arrivals.first().map(|first| first.0);
            let tick = self.hedge.next_tick();
            let event = match (arrival, tick) {
                (None, None) => panic!("nothing will ever happen"),
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
            // Decoding takes no time here, and nobody lies.
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
                HedgeAction::AskForAll => {
                    let more = self.hedge.on(HedgeEvent::Offered(Vec::new()), self.now);
                    assert_eq!(more, []);
                }
                HedgeAction::GiveUp { .. } => panic!("enough nodes deliver"),
            }
        }
    }
}

/// Nodes of like speed: paces within a quarter, latencies within a half.
fn like(count: usize) -> impl Strategy<Value = Vec<Node>> {
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

/// A number of required pieces, so many more nodes, and which of them are not as they should be.
fn networks(
    more: std::ops::Range<usize>,
    bad: impl Fn(u16, usize) -> usize + Clone + 'static,
) -> impl Strategy<Value = (u16, Vec<Node>, Vec<usize>)> {
    (1..9_u16, more).prop_flat_map(move |(required, more)| {
        let count = usize::from(required) + more;
        let which: Vec<usize> = (0..count).collect();
        let most = bad(required, more);
        (Just(required), like(count), prop::sample::subsequence(which, 0..=most))
    })
}

/// How long the slowest of the good nodes takes.
fn slowest(nodes: &[Node], bad: &[usize], bytes: u64) -> Duration {
    let good = nodes.iter().enumerate().filter(|(place, _)| !bad.contains(place));
    good.map(|(_, node)| node.time(bytes)).max().unwrap()
}

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn nodes_of_like_speed_are_never_hedged_however_slow_the_network(
        (required, nodes, _) in networks(2..8, |_, _| 0),
    ) {
        let mut simulation = Simulation::start(&nodes, required);
        let time = simulation.run();
        prop_assert_eq!(simulation.opened, usize::from(required + extra(required)).min(nodes.len()));
        prop_assert!(time <= slowest(&nodes, &[], LENGTH));
    }

    /// Any k good nodes suffice. Each that is silent or sends drops costs one patience at most.
    #[test]
    fn standing_nodes_up_to_all_but_the_required_ones_cost_one_patience_each(
        (required, mut nodes, bad) in networks(0..8, |_, more| more), drops: bool,
    ) {
        for &place in &bad {
            nodes[place].pace = Duration::from_millis(if drops { 100 } else { 1_000_000_000 });
            nodes[place].message = 64;
        }
        let clean = slowest(&nodes, &bad, LENGTH);
        let patience = (MAX_PATIENCE + clean) * bad.len() as u32;
        prop_assert!(Simulation::start(&nodes, required).run() <= clean + patience);
    }

    /// Nodes slower by a factor of 4 to 100 cost no more than four stretches each, as long as one
    /// in four of the transfers is a good one: two of patience, and two until it began and until
    /// the other node has caught up. One that needs no more for a stretch than twice what the good
    /// ones need for their first, connection included, is let go on, and costs its own time.
    #[test]
    fn creeping_nodes_cost_four_stretches_each(
        (required, mut nodes, bad) in networks(4..12, |required, more| more.min(required.into())),
        factor in 4..100_u32,
    ) {
        for &place in &bad {
            nodes[place].pace *= factor;
        }
        let clean = slowest(&nodes, &bad, LENGTH);
        let stretch = slowest(&nodes, &bad, STRETCH).max(MIN_PATIENCE);
        let stretch_of = |node: &Node| node.pace * u32::try_from(STRETCH / node.message).unwrap();
        let let_go_on = nodes.iter().filter(|node| stretch_of(node) <= stretch * 2);
        let own = let_go_on.map(|node| node.time(LENGTH)).max().unwrap_or_default();
        let time = Simulation::start(&nodes, required).run();
        let bound = own.max(clean * 2 + stretch * 4 * bad.len() as u32);
        prop_assert!(time <= bound, "{:?} of {:?}", time, bound);
    }
}
