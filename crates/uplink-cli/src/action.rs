//! What commands on many objects do, and the words for it.

/// What a command does to its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Aborts pending uploads.
    Abort,
    Copy,
    Move,
    Remove,
}

impl Action {
    /// Returns the start of a sentence about what was done, like `Copied`.
    pub(crate) fn done(self) -> &'static str {
        match self {
            Self::Abort => "Aborted",
            Self::Copy => "Copied",
            Self::Move => "Moved",
            Self::Remove => "Removed",
        }
    }

    /// Returns what would be done, like `Would copy`.
    pub(crate) fn would(self) -> &'static str {
        match self {
            Self::Abort => "Would abort",
            Self::Copy => "Would copy",
            Self::Move => "Would move",
            Self::Remove => "Would remove",
        }
    }

    /// Returns what it is done to, in the singular.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Abort => "upload",
            Self::Copy | Self::Move | Self::Remove => "object",
        }
    }
}
