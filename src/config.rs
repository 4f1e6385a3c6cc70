//! Settings of a project.

use std::time::Duration;

use uplink_core::layout;
use uplink_rpc::dial::{Dialer, Transport};
use uplink_rpc::tls::Identity;

use crate::error::{Error, ErrorKind, Result};

/// Settings of a [`Project`](crate::Project). The defaults suit a program that transfers a few objects
/// at a time.
#[derive(Clone, Debug)]
#[must_use]
pub struct Config {
    pub(crate) user_agent: String,
    pub(crate) dial_timeout: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) transport: Transport,
    pub(crate) progress_timeout: Duration,
    pub(crate) memory: u64,
    pub(crate) memory_strict: bool,
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

    /// Sets the user agent sent to the satellite: a product list as in RFC 7231, `name/version`.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Sets the timeout of name resolution, connect and handshake together. Default 10 s; at most three
    /// quarters of [`call_timeout`](Self::call_timeout).
    pub fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.dial_timeout = timeout;
        self
    }

    /// Sets the timeout of a call to the satellite: connecting, the reply and all retries together.
    /// Default 30 s; 0 is [`ErrorKind::ConfigInvalid`](crate::ErrorKind) when the project is opened. A
    /// call that may be repeated is sent again, over a new connection, after half of it. A change whose
    /// reply is lost is queried once, for as long again.
    ///
    /// After 3 s without a reply, an event of [`tracing`] with the target `uplink::waiting` and the
    /// address as its field `peer` reports the wait, for programs with a user who waits too.
    ///
    /// Most operations make one or two calls; transfers make some for each segment, and have no limit
    /// as a whole.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Restricts the transport. Default [`Transport::Negotiated`], which works with every peer.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Sets the timeout of every single wait for progress of a storage node. Default 30 s.
    pub fn progress_timeout(mut self, timeout: Duration) -> Self {
        self.progress_timeout = timeout;
        self
    }

    /// Limits the encrypted segments that all uploads of a project hold in memory together.
    ///
    /// Default 136 MiB, two full segments; one segment is always allowed. A segment that is being
    /// written counts as a full one, because its final size is unknown. A write that needs a new
    /// segment waits until others are stored. When only writers of open uploads could free memory and
    /// none of them has written for 100 ms, as in a program that writes to several uploads in turn
    /// from one task, the write takes one segment over the limit, and the first such write logs a
    /// warning. [`memory_strict`](Self::memory_strict) makes that an error.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Fails a write with [`ErrorKind::MemoryBudgetExceeded`](crate::ErrorKind) where it would exceed
    /// the limit of [`memory`](Self::memory). Default off.
    pub fn memory_strict(mut self, strict: bool) -> Self {
        self.memory_strict = strict;
        self
    }

    /// Limits the concurrent piece transfers of all uploads and downloads of a project.
    ///
    /// Default 300; 0 is [`ErrorKind::ConfigInvalid`](crate::ErrorKind) when the project is opened. It
    /// must not be below what one segment needs: the pieces that restore it, or that an upload has to
    /// store. An open download keeps its transfers while it is not read, so a program that opens
    /// several and reads them in turn needs as many for each.
    pub fn transfers(mut self, count: usize) -> Self {
        self.transfers = count;
        self
    }

    /// Rejects objects whose writer did not record their segments under encryption.
    ///
    /// Every object of this client carries such a record, which is always checked. Other clients of
    /// the public network write none: their objects, and those whose metadata another client has
    /// replaced, are rejected with [`ErrorKind::LayoutUnauthenticated`](crate::ErrorKind) when this
    /// is set. Default off.
    pub fn require_seal(mut self, require: bool) -> Self {
        self.require_seal = require;
        self
    }

    /// Accepts objects whose layout only the satellite confirms, as other clients do.
    ///
    /// Without it, an object is rejected when its segments are this client's and its metadata is
    /// missing, and so is a multipart object of another client that has neither metadata nor a part
    /// number above 0. A malicious satellite can then truncate such objects undetected.
    /// [`require_seal`](Self::require_seal) takes precedence. Default off.
    pub fn allow_unauthenticated_layout(mut self, allow: bool) -> Self {
        self.allow_unauthenticated_layout = allow;
        self
    }

    /// Sets the segment size, for tests of segment boundaries. Default 64 MiB.
    #[doc(hidden)]
    pub fn segment_size(mut self, bytes: u64) -> Self {
        self.segment_size = bytes.max(1);
        self
    }

    /// Rejects settings that no project can work with.
    pub(crate) fn check(&self) -> Result<()> {
        if self.transfers == 0 {
            let text = "invalid configuration: transfers is 0, must be at least 1";
            return Err(Error::new(ErrorKind::ConfigInvalid, text));
        }
        if self.call_timeout.is_zero() {
            let text = "invalid configuration: call_timeout is 0";
            return Err(Error::new(ErrorKind::ConfigInvalid, text));
        }
        Ok(())
    }

    /// Returns a dialer with a new identity, which lives as long as the dialer.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`]: no identity can be generated.
    pub(crate) fn dialer(&self) -> Result<Dialer> {
        let dialer = Identity::generate().and_then(|identity| Dialer::new(&identity));
        let dialer = dialer.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        let timeout = self.effective_dial_timeout();
        Ok(dialer.with_timeout(timeout).with_transport(self.transport))
    }

    /// Returns the timeout of a dial, which ends before a call that waits for it: then the call is
    /// known not to have been sent.
    pub(crate) fn effective_dial_timeout(&self) -> Duration {
        self.dial_timeout.min(self.call_timeout / 4 * 3)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            user_agent: concat!("uplink-rs/", env!("CARGO_PKG_VERSION")).to_owned(),
            dial_timeout: uplink_rpc::dial::DIAL_TIMEOUT,
            call_timeout: Duration::from_secs(30),
            transport: Transport::default(),
            progress_timeout: uplink_rpc::piece::PROGRESS_TIMEOUT,
            memory: 136 << 20,
            memory_strict: false,
            transfers: 300,
            require_seal: false,
            allow_unauthenticated_layout: false,
            segment_size: layout::SEGMENT_SIZE,
        }
    }
}
