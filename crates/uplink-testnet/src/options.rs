//! What a network looks like.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use uplink_core::erasure::Scheme;

/// How a network is started. Everything left out is as it was when the folder was last used, or a
/// default: scheme 4/6/8/10-256, as many storage nodes as the scheme has pieces, free ports, a
/// temporary folder.
#[derive(Clone, Default)]
#[must_use]
pub struct Options {
    pub(crate) nodes: Option<usize>,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) capacity: Option<u64>,
    pub(crate) anew: bool,
    pub(crate) satellite: Option<AdjustSatellite>,
    pub(crate) node: Option<AdjustNode>,
    pub(crate) now: Option<Now>,
    pub(crate) clocks: Option<Clocks>,
}

/// Whose clock is asked for, see [`Options::stepping_clocks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Party {
    /// The storage node of this index.
    Node(usize),
    /// The satellite.
    Satellite,
}

pub(crate) type Clocks = Arc<dyn Fn(Party) -> SystemTime + Send + Sync>;
pub(crate) type Now = Arc<dyn Fn() -> SystemTime + Send + Sync>;
pub(crate) type AdjustSatellite = Arc<dyn Fn(&mut uplink_satellite::Config) + Send + Sync>;
pub(crate) type AdjustNode = Arc<dyn Fn(usize, &mut uplink_storagenode::Config) + Send + Sync>;

/// Most storage nodes of one network: each is a listening port and some tasks of this process.
pub const MAX_NODES: usize = 256;
/// Bytes a node takes, unless its disk is smaller.
pub(crate) const DEFAULT_CAPACITY: u64 = 1 << 40;

impl Options {
    /// A network of default size in a temporary folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of storage nodes. A folder with fewer gets new ones.
    pub fn nodes(mut self, count: usize) -> Self {
        self.nodes = Some(count);
        self
    }

    /// Sets the redundancy scheme of new segments.
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = Some(scheme);
        self
    }

    /// Keeps everything in this folder, which is made if it does not exist, and goes on with the
    /// network that is there.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Deletes the network that is in the folder, with everything stored in it, and begins a new one.
    /// Nothing is deleted if the network cannot be as wanted, or is running.
    pub fn anew(mut self) -> Self {
        self.anew = true;
        self
    }

    /// Sets the satellite's address. Access grants hold it: those made before go on naming the old
    /// one.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Bounds the bytes that each node takes.
    pub fn node_capacity(mut self, bytes: u64) -> Self {
        self.capacity = Some(bytes);
        self
    }

    /// Adjusts the satellite's configuration before each of its starts.
    pub fn satellite_config(
        mut self,
        adjust: impl Fn(&mut uplink_satellite::Config) + Send + Sync + 'static,
    ) -> Self {
        self.satellite = Some(Arc::new(adjust));
        self
    }

    /// Lets satellite and storage nodes take the time from `now` instead of the machine's clock. What
    /// `now` advances counts as time that has passed; what they wait for, they wait by the machine's.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.now = Some(Arc::new(now));
        self
    }

    /// Gives each party a clock of its own, which may step at any moment. Durations, they measure by
    /// the machine's.
    pub fn stepping_clocks(
        mut self,
        now: impl Fn(Party) -> SystemTime + Send + Sync + 'static,
    ) -> Self {
        self.clocks = Some(Arc::new(now));
        self
    }

    /// Adjusts the configuration of a node, named by its index, before each of its starts.
    pub fn node_config(
        mut self,
        adjust: impl Fn(usize, &mut uplink_storagenode::Config) + Send + Sync + 'static,
    ) -> Self {
        self.node = Some(Arc::new(adjust));
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("nodes", &self.nodes)
            .field("scheme", &self.scheme)
            .field("directory", &self.directory)
            .field("listen", &self.listen)
            .field("capacity", &self.capacity)
            .field("anew", &self.anew)
            .finish_non_exhaustive()
    }
}
