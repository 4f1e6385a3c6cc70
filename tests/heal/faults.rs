//! Faults: injection and repair.

use std::fs::File;

use super::descriptors;
use super::line::State;
use super::network::{FaultyNetwork, NODES, SPARE};
use super::random::Random;
use super::rot::Rot;

/// A transient fault.
pub(crate) enum Fault {
    /// The satellite was killed.
    SatelliteKilled,
    /// The satellite was shut down.
    SatelliteStopped,
    /// Traffic of the satellite is delayed.
    SatelliteFrozen,
    /// Clients' connections to the satellite are closed.
    SatelliteCut,
    NodesKilled(Vec<usize>),
    NodesFrozen(Vec<usize>),
    NodesCut(Vec<usize>),
    /// A byte of each piece of these nodes is changed, at this position.
    Rot {
        nodes: Vec<usize>,
        position: u64,
        spread: Vec<Rot>,
    },
    /// The clocks of the satellite and of these nodes are ahead by seconds.
    Clocks {
        satellite: i64,
        nodes: Vec<usize>,
        seconds: i64,
    },
    DiskFull,
    /// All but a few descriptors of the process are used.
    Descriptors {
        but: usize,
        held: Vec<File>,
    },
}

/// Clock steps in seconds, in both directions.
const STEPS: [i64; 5] = [1, 30, 3_000, 7_200, 86_400];

/// Draws every kind of fault once before any is repeated.
pub(crate) struct Deck {
    left: Vec<u64>,
}

const KINDS: u64 = 15;

impl Deck {
    pub(crate) fn new() -> Self {
        Self { left: Vec::new() }
    }

    pub(crate) fn draw(&mut self, network: &FaultyNetwork, random: &mut Random) -> Fault {
        if self.left.is_empty() {
            self.left = (0..KINDS).collect();
        }
        let kind = self.left.swap_remove(random.index(self.left.len()));
        let few = random.several(NODES, 1, SPARE);
        let many = random.several(NODES, SPARE + 1, NODES);
        let step = STEPS[random.index(STEPS.len())] * if random.below(2) == 0 { 1 } else { -1 };
        let clocks = |satellite, nodes| Fault::Clocks { satellite, nodes, seconds: step };
        match kind {
            0 => Fault::SatelliteKilled,
            1 => Fault::SatelliteStopped,
            2 => Fault::SatelliteFrozen,
            3 => Fault::SatelliteCut,
            4 => Fault::NodesKilled(few),
            5 => Fault::NodesKilled(many),
            6 => Fault::NodesFrozen(few),
            7 => Fault::NodesFrozen(many),
            8 => Fault::NodesCut(many),
            9 => Fault::Rot { nodes: few, position: random.below(1024), spread: Vec::new() },
            10 => clocks(step, Vec::new()),
            11 => clocks(0, many),
            12 => clocks(step, (0..NODES).collect()),
            13 if network.disk.can_be_filled() => Fault::DiskFull,
            _ => Fault::Descriptors { but: random.index(40), held: Vec::new() },
        }
    }
}

impl Fault {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::SatelliteKilled => "satellite killed",
            Self::SatelliteStopped => "satellite stopped",
            Self::SatelliteFrozen => "satellite frozen",
            Self::SatelliteCut => "line to the satellite cut",
            Self::NodesKilled(nodes) if is_few(nodes) => "few nodes killed",
            Self::NodesKilled(_) => "many nodes killed",
            Self::NodesFrozen(nodes) if is_few(nodes) => "few nodes frozen",
            Self::NodesFrozen(_) => "many nodes frozen",
            Self::NodesCut(_) => "lines to many nodes cut",
            Self::Rot { .. } => "rot on few nodes",
            Self::Clocks { satellite: 0, .. } => "clocks of nodes stepped",
            Self::Clocks { nodes, .. } if nodes.is_empty() => "clock of the satellite stepped",
            Self::Clocks { .. } => "all clocks stepped",
            Self::DiskFull => "disk full",
            Self::Descriptors { .. } => "no descriptors",
        }
    }

    /// Returns whether reads work during the fault.
    pub(crate) fn is_tolerated(&self) -> bool {
        match self {
            Self::NodesKilled(nodes) | Self::NodesFrozen(nodes) => is_few(nodes),
            Self::Rot { .. } => true,
            Self::Clocks { seconds, .. } => seconds.unsigned_abs() < 3600,
            _ => false,
        }
    }

    /// Returns whether timed-out calls may be executed after the fault.
    pub(crate) fn delays_calls(&self) -> bool {
        matches!(self, Self::SatelliteFrozen)
    }

    pub(crate) async fn inject(&mut self, network: &FaultyNetwork) {
        match self {
            Self::SatelliteKilled => network.network.kill_satellite().await.expect("killed"),
            Self::SatelliteStopped => network.network.stop_satellite().await.expect("stopped"),
            Self::SatelliteFrozen => _ = network.satellite_line.state.send_replace(State::Frozen),
            Self::SatelliteCut => _ = network.satellite_line.state.send_replace(State::Cut),
            Self::NodesKilled(nodes) => {
                for node in nodes {
                    network.network.nodes()[*node].kill().await.expect("killed");
                }
            }
            Self::NodesFrozen(nodes) => set_lines(network, nodes, State::Frozen),
            Self::NodesCut(nodes) => set_lines(network, nodes, State::Cut),
            Self::Rot { nodes, position, spread } => {
                let folders = nodes.iter().map(|node| network.network.nodes()[*node].directory());
                *spread = folders
                    .map(|folder| Rot::spread(&folder.join("data/pieces"), *position))
                    .collect();
            }
            Self::Clocks { satellite, nodes, seconds } => {
                let node = |node| if nodes.contains(&node) { *seconds } else { 0 };
                network.clocks.set(*satellite, node);
            }
            Self::DiskFull => network.disk.fill(),
            Self::Descriptors { but, held } => *held = descriptors::exhaust(*but),
        }
    }

    pub(crate) async fn repair(self, network: &FaultyNetwork) {
        match self {
            Self::SatelliteKilled | Self::SatelliteStopped => {
                network.network.start_satellite().await.expect("started");
            }
            Self::SatelliteFrozen | Self::SatelliteCut => {
                network.satellite_line.state.send_replace(State::Open);
            }
            Self::NodesKilled(nodes) => {
                for node in nodes {
                    network.network.nodes()[node].start().await.expect("started");
                }
            }
            Self::NodesFrozen(nodes) | Self::NodesCut(nodes) => {
                set_lines(network, &nodes, State::Open);
            }
            Self::Rot { spread, .. } => spread.into_iter().for_each(Rot::repair),
            Self::Clocks { .. } => network.clocks.set(0, |_| 0),
            Self::DiskFull => network.disk.free(),
            Self::Descriptors { held, .. } => drop(held),
        }
    }
}

fn is_few(nodes: &[usize]) -> bool {
    nodes.len() <= SPARE
}

fn set_lines(network: &FaultyNetwork, nodes: &[usize], state: State) {
    for node in nodes {
        network.node_lines[*node].state.send_replace(state);
    }
}
