//! A test network, and a home with its access grant stored as `main`.

use uplink::{Access, Permission, SharePrefix};
use uplink_testnet::{Network, Options};

use crate::home::Home;

pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

pub(crate) struct World {
    // Declared before `runtime`, which must be dropped last.
    pub(crate) network: Network,
    pub(crate) home: Home,
    pub(crate) api_key: String,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl World {
    /// Starts a network of ten nodes with scheme 4/6/8/10-256 and a bucket `bucket`.
    pub(crate) fn start() -> Self {
        Self::start_with(Options::new())
    }

    pub(crate) fn start_with(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let network = runtime.block_on(Network::start(options)).expect("the network starts");
        let project = runtime.block_on(network.project("test")).expect("a project");
        let api_key = project.api_key.clone();
        let world = Self { network, home: Home::new(), api_key, runtime };
        world.request("main", PASSPHRASE);
        world.home.run(&["mb", "sj://bucket"]).ok();
        world
    }

    /// Requests an access grant with a passphrase and stores it.
    pub(crate) fn request(&self, name: &str, passphrase: &str) {
        let satellite = self.network.satellite_url();
        let args = ["access", "request", "--satellite", &satellite, "--api-key", &self.api_key];
        let args = [&args[..], &["--passphrase-stdin", "--name", name]].concat();
        self.home.run_with(&args, format!("{passphrase}\r\n").as_bytes()).ok();
    }

    /// Returns the access grant `main`.
    pub(crate) fn grant(&self) -> Access {
        let file = std::fs::read_to_string(self.home.store()).unwrap();
        let file: serde_json::Value = serde_json::from_str(&file).unwrap();
        Access::parse(file["accesses"]["main"].as_str().unwrap()).unwrap()
    }

    /// Stores a restricted `main` under another name.
    pub(crate) fn share(&self, name: &str, permission: &Permission, prefixes: &[(&str, &str)]) {
        let prefix = |(bucket, prefix): &(&str, &str)| SharePrefix::new(*bucket, prefix);
        let prefixes: Vec<_> = prefixes.iter().map(prefix).collect();
        let grant = self.grant().share(permission, &prefixes).unwrap();
        let text = grant.serialize().unwrap();
        self.home.run_with(&["access", "import", name], text.as_bytes()).ok();
    }

    /// Uploads an object.
    pub(crate) fn put(&self, url: &str, bytes: &[u8]) {
        self.home.run_with(&["cp", "-", url], bytes).ok();
    }

    /// Stops all storage nodes except the first `running`.
    pub(crate) fn stop_nodes(&self, running: usize) {
        for node in self.network.nodes().iter().skip(running) {
            self.runtime.block_on(node.kill()).unwrap();
        }
    }
}

/// Returns bytes without a short period.
pub(crate) fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 131 + (i >> 8) * 17) as u8).collect()
}
