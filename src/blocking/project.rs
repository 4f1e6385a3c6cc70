//! The handle of an open project, for threads. Its operations are beside what they work on, as those of
//! the asynchronous one.

use super::bridge::{Bridge, Bridged};
use crate::access::Access;
use crate::config::Config;
use crate::error::Result;
use crate::project;

/// A project at a satellite, opened with an access grant, for use by threads; the asynchronous one is
/// [`uplink::Project`](crate::Project).
///
/// Clones share connections and budget, and are closed together. Many threads can use one at once.
/// Opening makes no call; the first operation connects. Dropping the last clone closes all connections;
/// handles made from it keep what they need.
#[derive(Clone, Debug)]
pub struct Project {
    pub(super) handle: Bridged<project::Project>,
}

impl Project {
    /// Opens a project with default settings.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal): no identity for this process can be
    /// generated, or the [`runtime`](super::runtime) cannot be started.
    pub fn open(access: &Access) -> Result<Self> {
        Self::open_with(access, &Config::default())
    }

    /// Opens a project.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`ErrorKind::ConfigInvalid`](crate::ErrorKind::ConfigInvalid).
    pub fn open_with(access: &Access, config: &Config) -> Result<Self> {
        let bridge = Bridge::open()?;
        let project = bridge.block_on(async { project::Project::open_with(access, config) })?;
        Ok(Self { handle: Bridged::new(bridge, project) })
    }

    /// Closes the project with all its clones and the handles made from them: calls that wait on other
    /// threads return, and they and all later calls fail with
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    ///
    /// Nothing that was not committed becomes visible. A commit, deletion or other change whose call is
    /// cancelled may have taken effect. Memory and connections of a handle are freed when it is dropped.
    pub fn close(&self) {
        self.handle.close();
    }
}
