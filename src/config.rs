//! What a caller may adjust.

use std::time::Duration;

use uplink_core::layout;
use uplink_rpc::dial::Transport;

/// Settings of a [`Project`](crate::Project). The defaults suit a program that moves a few objects at
/// a time.
#[derive(Clone, Debug)]
#[must_use]
pub struct Config {
    pub(crate) user_agent: String,
    pub(crate) dial_deadline: Duration,
    pub(crate) transport: Transport,
    pub(crate) progress_deadline: Duration,
    pub(crate) memory: u64,
    pub(crate) transfers: usize,
    pub(crate) require_seal: bool,
    pub(crate) allow_unauthenticated_layout: bool,
    pub(crate) segment_size: u64,
}

impl Config {
    /// Starts from the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the calling program to the satellite: a product list as in RFC 7231, `name/version`.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Bounds looking up a name, connecting and the handshake together. Default 10 s.
    pub fn dial_deadline(mut self, deadline: Duration) -> Self {
        self.dial_deadline = deadline;
        self
    }

    /// Lets peers speak only this. Default [`Transport::Negotiated`], which every peer understands.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Bounds every single wait for a peer to move on. Default 30 s.
    pub fn progress_deadline(mut self, deadline: Duration) -> Self {
        self.progress_deadline = deadline;
        self
    }

    /// Bounds the encrypted segments held in memory by all uploads of a project together.
    ///
    /// Default 136 MiB, two full segments; at least one segment is always allowed. A segment that is
    /// still being written counts as a full one, because nobody knows how long it will get: a program
    /// that writes to several uploads in turn from one task needs 68 MiB for each of them, or the
    /// last one waits for the others for ever.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Bounds the pieces moving at once for all uploads and downloads of a project together.
    ///
    /// Default 300. It must not be below what one segment needs: as many pieces as restore it, or
    /// as an upload has to store. A download that is open keeps its pieces while nobody reads it, so
    /// a program that opens many at once and reads them in turn needs as many for each.
    pub fn transfers(mut self, count: usize) -> Self {
        self.transfers = count.max(1);
        self
    }

    /// Refuses to read objects whose segments their writer did not record under encryption.
    ///
    /// Every object of this client carries such a record, which is always checked. Other clients of
    /// the public network write none: their objects, and those whose metadata another client has
    /// replaced, are refused with [`ErrorKind::LayoutUnauthenticated`](crate::ErrorKind) when this
    /// is set. Default off.
    pub fn require_seal(mut self, require: bool) -> Self {
        self.require_seal = require;
        self
    }

    /// Accepts objects whose layout only the satellite vouches for, as other clients do.
    ///
    /// Without it, an object is refused when its segments are this client's and its metadata is
    /// missing, and so is a multipart object of another client that has neither metadata nor a part
    /// number above 0. A hostile satellite can then cut such objects unnoticed.
    /// [`require_seal`](Self::require_seal) takes precedence. Default off.
    pub fn allow_unauthenticated_layout(mut self, allow: bool) -> Self {
        self.allow_unauthenticated_layout = allow;
        self
    }

    /// Cuts objects into segments of another size than 64 MiB, for tests of segment edges.
    #[doc(hidden)]
    pub fn segment_size(mut self, bytes: u64) -> Self {
        self.segment_size = bytes.max(1);
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            user_agent: concat!("uplink-rs/", env!("CARGO_PKG_VERSION")).to_owned(),
            dial_deadline: uplink_rpc::dial::DIAL_DEADLINE,
            transport: Transport::default(),
            progress_deadline: uplink_rpc::piece::PROGRESS_DEADLINE,
            memory: 136 << 20,
            transfers: 300,
            require_seal: false,
            allow_unauthenticated_layout: false,
            segment_size: layout::SEGMENT_SIZE,
        }
    }
}
