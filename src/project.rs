//! The handle of an open project. Its operations are beside what they work on: `bucket.rs`, `object/`,
//! `upload/`, `download/`, `multipart/` and `access/revoke.rs`; `put` and `get` are in `one_shot.rs`, and
//! listings as streams in `pages.rs`.

use crate::access::Access;
use crate::config::Config;
use crate::error::Result;
use crate::session::Session;

/// A project at a satellite, opened with an access grant.
///
/// Clones share connections and budget. Opening makes no call; the first operation connects.
/// Dropping the last clone closes all connections; handles made from it keep what they need.
#[derive(Clone, Debug)]
pub struct Project {
    session: Session,
}

impl Project {
    /// Opens a project with default settings.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal): no identity for this process can be
    /// generated.
    pub fn open(access: &Access) -> Result<Self> {
        Self::open_with(access, &Config::default())
    }

    /// Opens a project.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`ErrorKind::ConfigInvalid`](crate::ErrorKind::ConfigInvalid).
    pub fn open_with(access: &Access, config: &Config) -> Result<Self> {
        Ok(Self { session: Session::open(access, config)? })
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }
}
