//! A network behind a malicious satellite, and objects with known content.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use uplink::{Access, Config, Error, Project, Transport};
use uplink_testnet::{MaliciousSatellite, Network, Options};

/// The bucket that holds the objects of [`Kind`].
pub(crate) const BUCKET: &str = "bucket";
/// A bucket with two objects and a prefix, for listings.
pub(crate) const LISTED: &str = "listed";
/// Small, so that objects of several segments are small.
pub(crate) const SEGMENT: u64 = 64 << 10;

const PASSPHRASE: &str = "correct horse battery staple";
/// Timeout of every wait for a peer, which bounds the time of a client that an attack makes wait.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Storage of an object: inline, in segments or in parts; and what was done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Empty,
    Inline,
    OneSegment,
    ThreeSegments,
    /// Several parts, the last one inline.
    Parts,
    /// One part, sealed by its receipt.
    OnePart,
    /// A copy of a stream.
    Copied,
    /// An object of several parts that was moved.
    Moved,
    /// A stream whose metadata was replaced.
    Updated,
}

/// The known content of an object.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) key: String,
    /// Content of the current and of the earlier version.
    pub(crate) contents: [Arc<Vec<u8>>; 2],
    pub(crate) custom: [BTreeMap<String, String>; 2],
}

pub(crate) struct World {
    _network: Network,
    pub(crate) satellite: MaliciousSatellite,
    pub(crate) api_key: String,
    /// Access grants with the address of the satellite itself and of the proxy.
    pub(crate) honest_access: Access,
    pub(crate) malicious_access: Access,
    /// A project on the satellite itself.
    pub(crate) honest: Project,
    names: AtomicU64,
    // Memory is counted per process: one test at a time.
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::const_new(());

impl Kind {
    /// Streams that were not changed afterwards.
    pub(crate) const STREAMS: [Self; 4] =
        [Self::Empty, Self::Inline, Self::OneSegment, Self::ThreeSegments];
    pub(crate) const ALL: [Self; 9] = [
        Self::Empty,
        Self::Inline,
        Self::OneSegment,
        Self::ThreeSegments,
        Self::Parts,
        Self::OnePart,
        Self::Copied,
        Self::Moved,
        Self::Updated,
    ];

    pub(crate) fn size(self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Inline => 1000,
            Self::OneSegment | Self::OnePart => 20_000,
            Self::ThreeSegments | Self::Copied => 2 * SEGMENT + 30_000,
            Self::Parts | Self::Moved => SEGMENT + 30_100,
            Self::Updated => SEGMENT + 100,
        }
    }
}

impl World {
    /// Starts a network with scheme 2/2/3/4 and spare nodes.
    pub(crate) async fn start() -> Self {
        let alone = ALONE.lock().await;
        let scheme = "2/2/3/4-256".parse().expect("a scheme");
        let network = Network::start(Options::new().nodes(6).scheme(scheme)).await;
        let network = network.expect("the network starts");
        let satellite = MaliciousSatellite::start(&network).await.expect("the proxy starts");
        let api_key = network.project("test").await.expect("a project").api_key;
        let honest_access = access(&network.satellite_url(), &api_key).await;
        let malicious_access = access(&satellite.url(), &api_key).await;
        let config = Config::new().segment_size(SEGMENT);
        let honest = Project::open_with(&honest_access, &config).expect("a project");
        let names = AtomicU64::new(0);
        let world = Self {
            _network: network,
            satellite,
            api_key,
            honest_access,
            malicious_access,
            honest,
            names,
            _alone: alone,
        };
        for bucket in [BUCKET, LISTED] {
            world.honest.create_bucket(bucket).await.expect("a bucket");
        }
        world
    }

    /// Opens a project on the proxy, over new connections.
    pub(crate) fn project(&self, transport: Transport) -> Project {
        Project::open_with(&self.malicious_access, &config(transport)).expect("a project")
    }

    /// Returns an unused name.
    pub(crate) fn fresh_name(&self) -> String {
        format!("name-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes an object directly on the satellite.
    pub(crate) async fn put(&self, bucket: &str, key: &str, version: usize, plain: &[u8]) {
        let uploading = async {
            let mut upload = self.honest.upload_object(bucket, key)?;
            upload.set_custom_metadata(custom(key, version))?;
            upload.write(plain).await?;
            upload.commit().await
        };
        uploading.await.expect("uploaded");
    }

    /// Reads an object directly from the satellite.
    pub(crate) async fn get(&self, bucket: &str, key: &str) -> Result<Vec<u8>, Error> {
        self.honest.download_object(bucket, key).await?.read_to_end(u64::MAX).await.map(Vec::from)
    }
}

/// Returns the known content of an object whose two versions have this size.
pub(crate) fn known(key: &str, size: u64) -> Known {
    let contents = |version| Arc::new(content(key, version, size));
    let custom = |version| custom(key, version);
    let key = key.to_owned();
    Known { contents: [contents(1), contents(0)], custom: [custom(1), custom(0)], key }
}

/// Returns bytes without structure that depend on key and version.
pub(crate) fn content(key: &str, version: usize, size: u64) -> Vec<u8> {
    let start = key.bytes().fold(version as u64 + 1, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    let mut random = super::random::Random::new(start);
    random.bytes(size as usize)
}

pub(crate) fn custom(key: &str, version: usize) -> BTreeMap<String, String> {
    [("name", key.to_owned()), ("version", version.to_string())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

pub(crate) fn config(transport: Transport) -> Config {
    Config::new()
        .transport(transport)
        .segment_size(SEGMENT)
        .dial_timeout(TIMEOUT)
        .call_timeout(2 * TIMEOUT)
        .progress_timeout(TIMEOUT)
}

async fn access(satellite: &str, api_key: &str) -> Access {
    let access = Access::request(satellite, api_key, PASSPHRASE).await;
    access.expect("an access grant")
}
