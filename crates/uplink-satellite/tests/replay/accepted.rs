//! How our answers may differ from the recorded ones, and why.

/// What is to be said about two values of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// By the rule of this name.
    Accepted(&'static str),
    Unexplained,
}

/// How two values of a field may differ.
#[derive(Clone, Copy, Debug)]
enum How {
    /// In everything, but both are set.
    BothSet,
    /// Both are set and equally long.
    SameLength,
    /// Only the recorded satellite sets it.
    RecordedOnly,
    /// Only our satellite sets it.
    OwnOnly,
}

/// A field by the end of its path, how it may differ, and why.
struct Rule {
    /// Only in scenarios with this in their names.
    scenario: &'static str,
    field: &'static str,
    how: How,
    #[allow(dead_code, reason = "for people")]
    why: &'static str,
}

const fn rule(field: &'static str, how: How, why: &'static str) -> Rule {
    rule_in("", field, how, why)
}

const fn rule_in(scenario: &'static str, field: &'static str, how: How, why: &'static str) -> Rule {
    Rule { scenario, field, how, why }
}

const RULES: &[Rule] = &[
    rule("stream_id", How::BothSet, "made by the satellite, echoed by clients"),
    rule("segment_id", How::BothSet, "made by the satellite, echoed by clients"),
    rule("object_version", How::SameLength, "ends with the random name of the stream"),
    rule("created_at", How::BothSet, "the time of the call"),
    rule("project_created_at", How::BothSet, "when the project was made"),
    rule("project_salt", How::SameLength, "random, one for each project"),
    rule("project_public_id", How::SameLength, "random, one for each project"),
    rule("private_key", How::SameLength, "a fresh key for each segment"),
    rule("limit.serial_number", How::SameLength, "random"),
    rule("limit.satellite_id", How::SameLength, "another satellite"),
    rule("limit.storage_node_id", How::SameLength, "other nodes, chosen by chance"),
    rule("limit.piece_id", How::SameLength, "made of a random number and the node id"),
    rule("limit.order_creation", How::BothSet, "the time of the call"),
    rule("limit.order_expiration", How::BothSet, "the time of the call and a day"),
    rule("limit.satellite_signature", How::BothSet, "another satellite"),
    rule("limit.uplink_public_key", How::SameLength, "a fresh key for each segment"),
    rule("limit.encrypted_metadata_key_id", How::SameLength, "names a key of the satellite"),
    rule("limit.encrypted_metadata", How::BothSet, "sealed for the satellite itself"),
    rule("storage_node_address.address", How::BothSet, "other ports"),
    rule("storage_node_address.noise_info", How::RecordedOnly, NOISE),
    rule("storage_node_address.noise_info.proto", How::RecordedOnly, NOISE),
    rule("storage_node_address.noise_info.public_key", How::RecordedOnly, NOISE),
    rule("storage_node_address.debounce_limit", How::RecordedOnly, NOISE),
    rule("storage_node_address.features", How::RecordedOnly, NOISE),
    rule_in("_abort", "object.created_at", How::OwnOnly, ABORTED),
    rule_in("_abort", "object.encryption_parameters.block_size", How::OwnOnly, ABORTED),
    rule_in("_abort", "object.encryption_parameters.cipher_suite", How::OwnOnly, ABORTED),
    rule_in("_abort", "object.encrypted_metadata", How::BothSet, ABORTED),
    rule_in("small_part_commit", "object.created_at", How::OwnOnly, ABORTED),
    rule_in("small_part_commit", "object.encryption_parameters.block_size", How::OwnOnly, ABORTED),
    rule_in(
        "small_part_commit",
        "object.encryption_parameters.cipher_suite",
        How::OwnOnly,
        ABORTED,
    ),
    rule_in("small_part_commit", "object.encrypted_metadata", How::BothSet, ABORTED),
];

const NOISE: &str = "nodes publish no Noise keys here; clients then use TLS";

const ABORTED: &str = "the recorded satellite leaves out what it does not look up to delete an \
                       upload; clients drop the answer";

/// Texts of failures: recorded, own, and why ours is another. Clients compare the beginning at most.
const TEXTS: &[(&str, &str, &str)] = &[
    (
        "object not found: metabase: sql: no rows in result set",
        "object not found: no object of that name",
        "names no library",
    ),
    (
        "object not found: metabase: object with specified version and pending status is missing",
        "object not found: no pending object of that stream id",
        "names no library",
    ),
    (
        "bucket not empty",
        "bucket not empty: it holds objects and 1 pending upload",
        "says what is in the way",
    ),
    (
        "metainfo: bucket label must start with a lowercase letter or number",
        "bucket name must consist of labels that begin and end with a lower-case letter or digit",
        "one text for both ends",
    ),
    (
        "proto: can't skip unknown wire type 7",
        "signature verification: signature is not valid",
        "ids are authenticated before they are read",
    ),
    ("satellitedb: unknown list direction", "unknown list direction", "names no library"),
];

/// Calls that end differently: recorded, own, why.
const ENDINGS: &[(&str, &str, &str)] = &[
    (
        "raw_batch_unsupported_item",
        "Ok",
        "a batch may hold every call, this one as well: DeletePart",
    ),
    (
        "raw_no_header",
        "Err(Failure { code: Code(3), message: \"Invalid API credentials\" })",
        "the recorded satellite's process ended",
    ),
];

/// Finds the rule by which two different values of a field are as good as equal.
pub(crate) fn difference(
    place: &str,
    path: &str,
    (recorded, own): (Option<&String>, Option<&String>),
) -> Difference {
    let plain: String = without_places(path);
    let fits = |rule: &&Rule| {
        let named = plain == rule.field || plain.ends_with(&format!(".{}", rule.field));
        named
            && place.contains(rule.scenario)
            && match rule.how {
                How::BothSet => recorded.is_some() && own.is_some(),
                How::SameLength => {
                    recorded.is_some() && recorded.map(String::len) == own.map(String::len)
                }
                How::RecordedOnly => recorded.is_some() && own.is_none(),
                How::OwnOnly => recorded.is_none() && own.is_some(),
            }
    };
    match RULES.iter().find(fits) {
        Some(rule) => Difference::Accepted(rule.field),
        None => Difference::Unexplained,
    }
}

/// The name of the pair of texts, if it is a known one.
pub(crate) fn text(recorded: &str, own: &str) -> Option<&'static str> {
    TEXTS.iter().find(|pair| (pair.0, pair.1) == (recorded, own)).map(|pair| pair.0)
}

/// The name of a call that may end otherwise than the recorded one, if it does so as known.
pub(crate) fn ending(place: &str, own: &str) -> Option<&'static str> {
    let known = ENDINGS.iter().find(|known| place.starts_with(known.0) && own.starts_with(known.1));
    known.map(|known| known.0)
}

/// The names of all rules, texts and endings.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    let texts = TEXTS.iter().chain(ENDINGS).map(|known| known.0);
    RULES.iter().map(|rule| rule.field).chain(texts)
}

/// A path without the places in lists.
fn without_places(path: &str) -> String {
    let mut depth = 0;
    let kept = path.chars().filter(|character| {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => return depth == 0,
        }
        false
    });
    kept.collect()
}
