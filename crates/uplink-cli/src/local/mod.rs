//! Local files: sources of uploads and targets of downloads.

mod no_follow;
mod part;
pub(crate) mod path;
pub(crate) mod resolve;
pub(crate) mod source;
pub(crate) mod target;
