//! Options of a network.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use uplink_core::erasure::Scheme;

/// Options to start a network with.
///
/// An option that is not set keeps the value stored in the folder. Without a stored value it has a
/// default: scheme 4/6/8/10-256, one storage node per piece of the scheme, free ports, a temporary
/// folder.
#[derive(Clone, Default)]
#[must_use]
pub struct Options {
    pub(crate) nodes: Option<usize>,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) capacity: Option<u64>,
    pub(crate) reset: bool,
    pub(crate) satellite: Option<AdjustSatellite>,
    pub(crate) node: Option<AdjustNode>,
    pub(crate) now: Option<Now>,
    pub(crate) clocks: Option<Clocks>,
}

/// A service whose clock is read, see [`Options::stepping_clocks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Party {
    /// The storage node with this index.
    Node(usize),
    /// The satellite.
    Satellite,
}

pub(crate) type Clocks = Arc<dyn Fn(Party) -> SystemTime + Send + Sync>;
pub(crate) type Now = Arc<dyn Fn() -> SystemTime + Send + Sync>;
pub(crate) type AdjustSatellite = Arc<dyn Fn(&mut uplink_satellite::Config) + Send + Sync>;
pub(crate) type AdjustNode = Arc<dyn Fn(usize, &mut uplink_storagenode::Config) + Send + Sync>;

/// Maximum number of storage nodes in one network: each takes a listening port and several tasks.
pub const MAX_NODES: usize = 256;
/// Default capacity of a node in bytes. Its disk may limit it further.
pub(crate) const DEFAULT_CAPACITY: u64 = 1 << 40;

impl Options {
    /// Returns the options of a network of default size in a temporary folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of storage nodes. Nodes missing in an existing folder are added.
    pub fn nodes(mut self, count: usize) -> Self {
        self.nodes = Some(count);
        self
    }

    /// Sets the redundancy scheme of new segments.
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = Some(scheme);
        self
    }

    /// Stores the network in this folder and resumes the one it already holds. A missing folder is
    /// created.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Deletes the network in the folder, with everything stored in it, and creates a new one.
    /// Nothing is deleted if these options are invalid or the network is running.
    pub fn reset(mut self) -> Self {
        self.reset = true;
        self
    }

    /// Sets the satellite's address. Existing access grants still contain the previous address.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Sets the capacity of each node in bytes.
    pub fn node_capacity(mut self, bytes: u64) -> Self {
        self.capacity = Some(bytes);
        self
    }

    /// Sets a function that adjusts the satellite's configuration before every start.
    pub fn satellite_config(
        mut self,
        adjust: impl Fn(&mut uplink_satellite::Config) + Send + Sync + 'static,
    ) -> Self {
        self.satellite = Some(Arc::new(adjust));
        self
    }

    /// Makes the satellite and the storage nodes read the time from `now` instead of the system
    /// clock. An advance of `now` counts as elapsed time. Timers still use the system clock.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.now = Some(Arc::new(now));
        self
    }

    /// Gives each service its own clock, which may step at any time. Durations are measured with
    /// the system clock.
    pub fn stepping_clocks(
        mut self,
        now: impl Fn(Party) -> SystemTime + Send + Sync + 'static,
    ) -> Self {
        self.clocks = Some(Arc::new(now));
        self
    }

    /// Sets a function that adjusts a node's configuration, given its index, before every start.
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
            .field("reset", &self.reset)
            .finish_non_exhaustive()
    }
}
