//! A network, and on it the three clients, each in a new project.

use std::time::Duration;

use uplink::{Access, Project, Transport};
use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::{CipherSuite, EncryptionStore, Key};
use uplink_core::macaroon::ApiKey;
use uplink_testnet::{Network, Options, Scheme};

use super::clock::NetworkClock;
use super::operation::Step;
use super::ours::{Ours, open};
use super::outcome::Outcome;
use super::theirs::Theirs;

/// Minimum size of a part that is not the last one.
const MIN_PART: u64 = 2000;

/// A network with a clock of its own.
pub(crate) struct Services {
    network: Network,
    pub(crate) clock: NetworkClock,
}

impl Services {
    pub(crate) async fn start() -> Self {
        let clock = NetworkClock::new();
        let now = clock.clone();
        // Few pieces: what these tests compare does not depend on their number.
        let options = Options::new()
            .scheme(Scheme::new(2, 2, 3, 4, 256).expect("a scheme"))
            .clock(move || now.now())
            .satellite_config(|config| {
                config.min_part_size = MIN_PART;
                // Nodes check in by real time, which may be slower than the network's.
                config.online_window = Duration::from_secs(30 * 24 * 3600);
            });
        Self { network: Network::start(options).await.expect("the network starts"), clock }
    }

    /// Creates a project and returns a grant to it.
    ///
    /// All projects share one encryption key, so that listings are in the same order in all of them.
    async fn project(&self, name: &str) -> Access {
        let credentials = self.network.project(name).await.expect("a project");
        let api_key = ApiKey::parse(&credentials.api_key).expect("an API key");
        let store = EncryptionStore::with_default_key(Key::new([7; 32]), CipherSuite::AesGcm);
        let grant = AccessGrant::new(credentials.satellite, api_key, &store).expect("a grant");
        Access::parse(&grant.serialize().expect("a text")).expect("a grant")
    }
}

/// The clients.
pub(crate) struct Parties {
    theirs: Theirs,
    over_grpc: Ours,
    over_drpc: Ours,
    /// Unrestricted clients of ours in the three projects, in the order of [`Outcomes`].
    pub(crate) owners: [Project; 3],
}

/// Outcomes of the reference client, ours over gRPC and ours over DRPC.
pub(crate) type Outcomes = [Outcome; 3];

impl Parties {
    /// Creates projects with a name that was not used on the network yet.
    pub(crate) async fn new(services: &Services, name: &str) -> Self {
        let theirs = services.project(&format!("{name}-theirs")).await;
        let over_grpc = services.project(&format!("{name}-grpc")).await;
        let over_drpc = services.project(&format!("{name}-drpc")).await;
        let owner = |access: &Access| open(access, Transport::Negotiated);
        Self {
            owners: [owner(&theirs), owner(&over_grpc), owner(&over_drpc)],
            theirs: Theirs::new(&theirs.serialize().expect("a text")).await,
            over_grpc: Ours::new(&over_grpc, Transport::Negotiated),
            over_drpc: Ours::new(&over_drpc, Transport::Drpc),
        }
    }

    /// Runs an operation with all clients, concurrently.
    pub(crate) async fn run(&mut self, step: &Step, clock: &NetworkClock) -> Outcomes {
        let now = clock.now();
        let theirs = self.theirs.run(step, now);
        let over_grpc = self.over_grpc.run(step, now);
        let over_drpc = self.over_drpc.run(step, now);
        tokio::join!(theirs, over_grpc, over_drpc).into()
    }

    /// Returns the number of an upload id of one of the projects, if a step began it.
    pub(crate) fn upload_number(&self, owner: usize, id: &str) -> Option<usize> {
        let slots = match owner {
            0 => self.theirs.slots(),
            1 => self.over_grpc.slots(),
            _ => self.over_drpc.slots(),
        };
        slots.number(id)
    }
}
