//! A network with a project, and helpers for uploads and downloads.

use std::ops::Range;

use uplink::{Access, AccessOptions, Config, DownloadOptions, Error, Project, Uploaded};
use uplink_testnet::{Network, Options};

use super::transport::transport;

/// The bucket that every world starts with.
pub(crate) const BUCKET: &str = "bucket";
/// Segment size of tests that need several segments quickly.
pub(crate) const SMALL_SEGMENT: u64 = 1 << 20;
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) api_key: String,
    pub(crate) access: Access,
    pub(crate) project: Project,
}

impl World {
    /// Starts ten nodes, scheme 4/6/8/10-256, with small segments.
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::new(), &config().segment_size(SMALL_SEGMENT)).await
    }

    pub(crate) async fn start_with(options: Options, config: &Config) -> Self {
        let network = Network::start(options).await.expect("the network starts");
        let api_key = network.project("test").await.expect("a project").api_key;
        let access = access(&network, &api_key, PASSPHRASE).await;
        let project = Project::open_with(&access, config).expect("a project");
        project.create_bucket(BUCKET).await.expect("a bucket");
        Self { network, api_key, access, project }
    }

    pub(crate) async fn put(&self, key: &str, bytes: &[u8]) -> Uploaded {
        self.try_put(key, bytes).await.expect("uploaded")
    }

    pub(crate) async fn try_put(&self, key: &str, bytes: &[u8]) -> Result<Uploaded, Error> {
        let mut upload = self.project.upload_object(BUCKET, key)?;
        upload.write(bytes).await?;
        upload.commit().await
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Vec<u8>, Error> {
        self.get_with(key, DownloadOptions::new()).await
    }

    pub(crate) async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.get_with(key, DownloadOptions::new().range(range)).await
    }

    pub(crate) async fn get_with(
        &self,
        key: &str,
        options: DownloadOptions,
    ) -> Result<Vec<u8>, Error> {
        self.project
            .download_object_with(BUCKET, key, &options)
            .await?
            .read_to_end(u64::MAX)
            .await
            .map(Vec::from)
    }

    /// Reads the object `key` with a new client, which has no history of the nodes.
    pub(crate) async fn get_with_new_client(
        &self,
        options: DownloadOptions,
    ) -> Result<Vec<u8>, Error> {
        let project = Project::open_with(&self.access, &config()).expect("a project");
        let mut download = project.download_object_with(BUCKET, "key", &options).await?;
        download.read_to_end(u64::MAX).await.map(Vec::from)
    }

    /// Stops holders of an object's only remote segment until `left` of them are running.
    pub(crate) async fn stop_holders(&self, uploaded: &Uploaded, left: usize) {
        let holders = &uploaded.placement[0].holders;
        for holder in holders.iter().skip(left) {
            let node = self.network.node_by_id(holder.node).expect("a node");
            if node.is_running().await {
                node.kill().await.expect("stopped");
            }
        }
    }
}

/// Default configuration with the transport under test.
pub(crate) fn config() -> Config {
    Config::new().transport(transport())
}

pub(crate) async fn access(network: &Network, api_key: &str, passphrase: &str) -> Access {
    let satellite = network.satellite_url();
    let options = AccessOptions::new().config(config());
    let access = Access::request_with(&satellite, api_key, passphrase, &options).await;
    access.expect("an access grant")
}

/// Returns bytes that depend on position and seed.
pub(crate) fn bytes(seed: u8, size: u64) -> Vec<u8> {
    (0..size).map(|i| (i * 131 + (i >> 8) * 17 + u64::from(seed)) as u8).collect()
}
