//! The attacks that are not refused for objects without a seal, by name. What is not named here is
//! refused for objects of both clients, or harmless: segments without keys, kinds of keys mixed, an
//! envelope of ours over other segments, sizes that contradict each other, pages that do not advance;
//! and for streams everything without an envelope.

/// Names of attacks, by what becomes of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) claim: &'static [&'static str],
    pub(crate) exact: &'static [&'static str],
    pub(crate) form: &'static [&'static str],
    pub(crate) limit: &'static [&'static str],
    pub(crate) partial: &'static [&'static str],
}

/// R5: no byte is wrong. Sizes are the satellite's word where nothing is read, and versions of the
/// object are told apart by nothing but their chains.
pub(crate) const REWRITTEN: Expected = Expected {
    claim: &[
        "# segments",
        "# segments before an empty one of # bytes",
        "cut off in segment #, inline end",
        "cut off in segment #, remote end",
        "envelope of another size",
        "envelope of another size, settled",
        "no size, # segments of #",
        "object of # bytes",
        "without segment #, size reduced",
    ],
    exact: &["envelope of A, segments of B", "envelope of B, segments of A", "segment # of A"],
    form: &[],
    limit: &[],
    partial: &[],
};

/// R5 where the last segment is full: all limits are the one cut, told in three ways.
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

/// R5 where the content holds the padding of the cut.
pub(crate) const IMITATED: Expected = Expected {
    claim: &["cut off in segment #, inline end", "cut off in segment #, remote end"],
    exact: &[],
    limit: &["cut off in segment #, remote end"],
    ..REWRITTEN
};

/// R8: segments are bound to their places, but not to each other.
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

/// R7 and R8: segments are bound to their places in parts; which parts there are, and how large they
/// are, is the satellite's word.
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
