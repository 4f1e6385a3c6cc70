//! A network with a project, and grants with random keys.

use uplink::grant::{AccessGrant, ApiKey, CipherSuite, EncryptionStore, Key};
use uplink::{Access, Config, Project, Transport};
use uplink_rpc::runtime::random;
use uplink_testnet::{Network, Options};

/// The bucket that every world starts with.
pub(crate) const BUCKET: &str = "bucket";
/// Small, so that objects of several segments are small.
pub(crate) const SEGMENT: u64 = 64 << 10;

pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) api_key: ApiKey,
}

impl World {
    pub(crate) async fn start() -> Self {
        let network = Network::start(Options::new()).await.expect("the network starts");
        let api_key = network.project("test").await.expect("a project").api_key;
        let api_key = ApiKey::parse(&api_key).expect("an API key");
        let world = Self { network, api_key };
        let access = access(&world.grant(&world.api_key, &random_key()));
        let project = Project::open(&access).expect("a project");
        project.create_bucket(BUCKET).await.expect("a bucket");
        world
    }

    /// Returns a grant with an API key and an encryption key.
    pub(crate) fn grant(&self, api_key: &ApiKey, key: &Key) -> AccessGrant {
        grant(self.network.satellite_url(), api_key, key)
    }
}

/// Returns a grant for a whole project.
pub(crate) fn grant(satellite: String, api_key: &ApiKey, key: &Key) -> AccessGrant {
    let store = EncryptionStore::with_default_key(key.clone(), CipherSuite::AesGcm);
    AccessGrant::new(satellite, api_key.clone(), &store).expect("a grant")
}

pub(crate) fn access(grant: &AccessGrant) -> Access {
    Access::parse(&grant.serialize().expect("a text")).expect("a grant")
}

pub(crate) fn config(transport: Transport) -> Config {
    Config::new().transport(transport).segment_size(SEGMENT)
}

pub(crate) fn random_key() -> Key {
    Key::new(random().expect("random bytes"))
}

/// Returns a random name that contains no separator.
pub(crate) fn random_name() -> String {
    hex::encode(random::<12>().expect("random bytes"))
}
