//! Names of the attacks on objects without a seal that are not refused. All others are refused for
//! objects of both clients or harmless: segments without keys, mixed kinds of keys, our envelope
//! over other segments, contradicting sizes, pages that do not advance; for streams also everything
//! without an envelope.

/// Names of attacks by outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) claim: &'static [&'static str],
    pub(crate) exact: &'static [&'static str],
    pub(crate) form: &'static [&'static str],
    pub(crate) limit: &'static [&'static str],
    pub(crate) partial: &'static [&'static str],
}

/// R5: no byte is wrong. Sizes are unauthenticated where nothing is read, and versions of the
/// object are distinguished only by their chains.
pub(crate) const REWRITTEN: Expected = Expected {
    claim: &[
        "# segments",
        "# segments before an empty one of # bytes",
        "cut off in segment #, inline end",
        "cut off in segment #, remote end",
        "envelope of another size",
        "envelope of another size, consistent",
        "no size, # segments of #",
        "object of # bytes",
        "without segment #, size reduced",
    ],
    exact: &["envelope of A, segments of B", "envelope of B, segments of A", "segment # of A"],
    form: &[],
    limit: &[],
    partial: &[],
};

/// R5 where the last segment is full: all limits are the same truncation in three forms.
pub(crate) const REWRITTEN_FULL: Expected = Expected {
    claim: &[
        "cut off in segment #, inline end",
        "cut off in segment #, remote end",
        "envelope of another size",
        "no size, # segments of #",
        "object of # bytes",
        "without segment #, size reduced",
    ],
    exact: &["envelope of A, segments of B", "envelope of B, segments of A"],
    limit: &[
        "cut off in segment #, remote end",
        "no size, # segments of #",
        "without segment #, size reduced",
    ],
    ..REWRITTEN
};

/// R5 where the content contains the padding needed for a truncation.
pub(crate) const IMITATED: Expected = Expected {
    claim: &["cut off in segment #, inline end", "cut off in segment #, remote end"],
    exact: &[],
    limit: &["cut off in segment #, remote end"],
    ..REWRITTEN
};

/// R8: segments are bound to their positions, but not to each other.
pub(crate) const STREAMS: Expected = Expected {
    limit: &[
        "# segments before an empty one of # bytes",
        "cut off in segment #, inline end",
        "cut off in segment #, remote end",
        "no size, # segments of #",
        "object of # bytes",
        "segment # of A",
        "segments of another size",
        "without segment #, size reduced",
    ],
    partial: &["cut off in segment #, inline end", "segments and second page of A"],
    ..REWRITTEN
};

/// R7 and R8: segments are bound to their positions in parts; the set of parts and their sizes are
/// unauthenticated.
pub(crate) const PARTS: Expected = Expected {
    claim: &[
        "ETag as inline content, stripped: false",
        "ETag as inline content, stripped: true",
        "an ETag alone, # segments kept",
        "block # as inline segment, stripped: false",
        "block # as inline segment, stripped: true",
        "empty stream info, # segments kept",
        "no metadata key, # segments kept",
        "no metadata, # segments kept",
        "no metadata, key and nonce, # segments kept",
        "no segments, size #",
        "no size, # segments of #",
        "object of # bytes",
        "relabelled by #, stripped: true",
        "segment # without # blocks, stripped: false",
        "segment # without # blocks, stripped: true",
        "without segment #, size reduced",
    ],
    exact: &[
        "an ETag alone, # segments kept",
        "empty stream info, # segments kept",
        "envelope of A, segments of B",
        "envelope of B, segments of A",
        "no metadata key, # segments kept",
        "no metadata, # segments kept",
        "no metadata, key and nonce, # segments kept",
        "segment # of A",
    ],
    form: &["no metadata, # segments kept"],
    limit: &[
        "ETag as inline content, stripped: false",
        "an ETag alone, # segments kept",
        "block # as inline segment, stripped: false",
        "block # as inline segment, stripped: true",
        "empty stream info, # segments kept",
        "no metadata key, # segments kept",
        "no metadata, # segments kept",
        "no metadata, key and nonce, # segments kept",
        "object of # bytes",
        "segment # of A",
        "segment # without # blocks, stripped: false",
        "segment # without # blocks, stripped: true",
        "segment #: offset one further",
        "without segment #, size reduced",
    ],
    partial: &["object of # bytes", "segment #: offset #"],
};
