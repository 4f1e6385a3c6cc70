//! What `uplink rm` works on.

use crate::filter::Filter;

/// Which objects or pending uploads are removed.
pub(crate) struct Selection {
    pub(crate) recursive: bool,
    pub(crate) filter: Filter,
    /// Whether removals are only checked and reported.
    pub(crate) dry_run: bool,
}
