//! Allowed differences between our responses and the recorded ones.

/// Classification of two different values of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Allowed by the rule of this name.
    Accepted(&'static str),
    Unexplained,
}

/// Allowed difference between two values of a field.
#[derive(Clone, Copy, Debug)]
enum How {
    /// Both are set.
    BothSet,
    /// Both are set and equally long.
    SameLength,
    /// Only the recorded satellite sets it.
    RecordedOnly,
    /// Only our satellite sets it.
    OwnOnly,
}

/// An allowed difference of a field, with the reason.
struct Rule {
    /// Applies to scenarios whose name contains this text.
    scenario: &'static str,
    /// End of the field's path.
    field: &'static str,
    how: How,
    #[allow(dead_code, reason = "documentation")]
    why: &'static str,
}

const fn rule(field: &'static str, how: How, why: &'static str) -> Rule {
    rule_in("", field, how, why)
}

const fn rule_in(scenario: &'static str, field: &'static str, how: How, why: &'static str) -> Rule {
    Rule { scenario, field, how, why }
}

const RULES: &[Rule] = &[
    rule("stream_id", How::BothSet, "created by the satellite, opaque to clients"),
    rule("segment_id", How::BothSet, "created by the satellite, opaque to clients"),
    rule("object_version", How::SameLength, "ends with the random id of the stream"),
    rule("created_at", How::BothSet, "time of the call"),
    rule("project_created_at", How::BothSet, "time of the project's creation"),
    rule("project_salt", How::SameLength, "random per project"),
    rule("project_public_id", How::SameLength, "random per project"),
    rule("private_key", How::SameLength, "new key for each segment"),
    rule("limit.serial_number", How::SameLength, "random"),
    rule("limit.satellite_id", How::SameLength, "another satellite"),
    rule("limit.storage_node_id", How::SameLength, "randomly chosen nodes"),
    rule("limit.piece_id", How::SameLength, "derived from a random number and the node id"),
    rule("limit.order_creation", How::BothSet, "time of the call"),
    rule("limit.order_expiration", How::BothSet, "time of the call plus a day"),
    rule("limit.satellite_signature", How::BothSet, "another satellite"),
    rule("limit.uplink_public_key", How::SameLength, "new key for each segment"),
    rule("limit.encrypted_metadata_key_id", How::SameLength, "id of a key of the satellite"),
    rule("limit.encrypted_metadata", How::BothSet, "encrypted under a key of the satellite"),
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

const NOISE: &str = "our nodes publish no Noise keys, so clients use TLS";

const ABORTED: &str = "the recorded satellite omits fields that it does not read to delete an \
                       upload; clients ignore the response";

/// Texts of failures: recorded, own, reason. Clients match at most the start of a text.
const TEXTS: &[(&str, &str, &str)] = &[
    (
        "object not found: metabase: sql: no rows in result set",
        "object not found: no object of that name",
        "does not name a library",
    ),
    (
        "object not found: metabase: object with specified version and pending status is missing",
        "object not found: no pending object of that stream id",
        "does not name a library",
    ),
    (
        "bucket not empty",
        "bucket not empty: contains objects and 1 pending upload",
        "reports the content",
    ),
    (
        "metainfo: bucket label must start with a lowercase letter or number",
        "invalid bucket name: labels must start and end with a lower-case letter or digit",
        "one text for start and end",
    ),
    (
        "proto: can't skip unknown wire type 7",
        "signature verification: signature is not valid",
        "ids are authenticated before they are decoded",
    ),
    ("satellitedb: unknown list direction", "unknown list direction", "does not name a library"),
];

/// Calls with a different outcome: scenario, own outcome, reason.
const OUTCOMES: &[(&str, &str, &str)] = &[(
    "raw_no_header",
    "Err(Failure { code: Code(3), message: \"Invalid API credentials\" })",
    "the recorded satellite crashed",
)];

/// Finds the rule that allows two different values of a field.
pub(crate) fn difference(
    location: &str,
    path: &str,
    (recorded, own): (Option<&String>, Option<&String>),
) -> Difference {
    let plain: String = without_indices(path);
    let applies = |rule: &&Rule| {
        let matches_field = plain == rule.field || plain.ends_with(&format!(".{}", rule.field));
        matches_field
            && location.contains(rule.scenario)
            && match rule.how {
                How::BothSet => recorded.is_some() && own.is_some(),
                How::SameLength => {
                    recorded.is_some() && recorded.map(String::len) == own.map(String::len)
                }
                How::RecordedOnly => recorded.is_some() && own.is_none(),
                How::OwnOnly => recorded.is_none() && own.is_some(),
            }
    };
    match RULES.iter().find(applies) {
        Some(rule) => Difference::Accepted(rule.field),
        None => Difference::Unexplained,
    }
}

/// Returns the name of an allowed pair of texts.
pub(crate) fn text(recorded: &str, own: &str) -> Option<&'static str> {
    TEXTS.iter().find(|pair| (pair.0, pair.1) == (recorded, own)).map(|pair| pair.0)
}

/// Returns the name of an allowed different outcome.
pub(crate) fn outcome(location: &str, own: &str) -> Option<&'static str> {
    let known =
        OUTCOMES.iter().find(|known| location.starts_with(known.0) && own.starts_with(known.1));
    known.map(|known| known.0)
}

/// Returns the names of all rules, texts and outcomes.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    let texts = TEXTS.iter().chain(OUTCOMES).map(|known| known.0);
    RULES.iter().map(|rule| rule.field).chain(texts)
}

/// Returns a path without list indices.
fn without_indices(path: &str) -> String {
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
