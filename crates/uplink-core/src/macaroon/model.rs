//! An independent model of the permission rules, for tests.
//!
//! Written from the specification, not from the code under test: messages are encoded by prost,
//! operations are numbers and times are nanoseconds.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Restriction {
    #[prost(bool, tag = "1")]
    pub(crate) disallow_reads: bool,
    #[prost(bool, tag = "2")]
    pub(crate) disallow_writes: bool,
    #[prost(bool, tag = "3")]
    pub(crate) disallow_lists: bool,
    #[prost(bool, tag = "4")]
    pub(crate) disallow_deletes: bool,
    #[prost(bool, tag = "5")]
    pub(crate) disallow_locks: bool,
    #[prost(bool, tag = "6")]
    pub(crate) disallow_put_retention: bool,
    #[prost(bool, tag = "7")]
    pub(crate) disallow_get_retention: bool,
    #[prost(bool, tag = "8")]
    pub(crate) disallow_put_legal_hold: bool,
    #[prost(bool, tag = "9")]
    pub(crate) disallow_get_legal_hold: bool,
    #[prost(message, repeated, tag = "10")]
    pub(crate) allowed_paths: Vec<Path>,
    #[prost(bool, tag = "11")]
    pub(crate) disallow_bypass_governance_retention: bool,
    #[prost(bool, tag = "12")]
    pub(crate) disallow_put_bucket_object_lock_configuration: bool,
    #[prost(bool, tag = "13")]
    pub(crate) disallow_get_bucket_object_lock_configuration: bool,
    #[prost(bool, tag = "14")]
    pub(crate) disallow_put_bucket_notification_configuration: bool,
    #[prost(bool, tag = "15")]
    pub(crate) disallow_get_bucket_notification_configuration: bool,
    #[prost(message, optional, tag = "20")]
    pub(crate) not_after: Option<prost_types::Timestamp>,
    #[prost(message, optional, tag = "21")]
    pub(crate) not_before: Option<prost_types::Timestamp>,
    #[prost(message, optional, tag = "22")]
    pub(crate) max_object_ttl: Option<prost_types::Duration>,
    #[prost(bytes = "vec", tag = "30")]
    pub(crate) nonce: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Path {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) bucket: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) encrypted_path_prefix: Vec<u8>,
}

/// A request made with a key that is restricted by a chain of caveats.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) operation: u8,
    pub(crate) bucket: Vec<u8>,
    pub(crate) path: Vec<u8>,
    pub(crate) seconds: i64,
    pub(crate) nanos: i32,
}

impl Restriction {
    /// Creates a restriction from a bit set of its flags, field 1 in bit 1.
    pub(crate) fn of_flags(bits: u32) -> Self {
        let is_set = |field: u32| bits >> field & 1 == 1;
        Self {
            disallow_reads: is_set(1),
            disallow_writes: is_set(2),
            disallow_lists: is_set(3),
            disallow_deletes: is_set(4),
            disallow_locks: is_set(5),
            disallow_put_retention: is_set(6),
            disallow_get_retention: is_set(7),
            disallow_put_legal_hold: is_set(8),
            disallow_get_legal_hold: is_set(9),
            disallow_bypass_governance_retention: is_set(11),
            disallow_put_bucket_object_lock_configuration: is_set(12),
            disallow_get_bucket_object_lock_configuration: is_set(13),
            disallow_put_bucket_notification_configuration: is_set(14),
            disallow_get_bucket_notification_configuration: is_set(15),
            ..Self::default()
        }
    }

    fn allows(&self, request: &Request) -> bool {
        let nanos =
            |seconds: i64, nanos: i32| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let now = nanos(request.seconds, request.nanos);
        let too_late = |limit: &prost_types::Timestamp| now > nanos(limit.seconds, limit.nanos);
        let too_early = |limit: &prost_types::Timestamp| now < nanos(limit.seconds, limit.nanos);
        if self.not_after.iter().any(too_late) || self.not_before.iter().any(too_early) {
            return false;
        }
        let names_paths = !self.allowed_paths.is_empty();
        if request.operation == 1 && request.path.is_empty() {
            let named = self.allowed_paths.iter().any(|path| path.bucket == request.bucket);
            return !names_paths || request.bucket.is_empty() || named;
        }
        if self.disallows(request.operation) {
            return false;
        }
        if !names_paths || request.operation == 5 {
            return true;
        }
        self.allowed_paths.iter().any(|path| {
            let prefix = &path.encrypted_path_prefix;
            let long_enough = request.path.len() >= prefix.len();
            path.bucket == request.bucket
                && long_enough
                && prefix.iter().zip(&request.path).all(|(one, other)| one == other)
        })
    }

    fn disallows(&self, operation: u8) -> bool {
        match operation {
            1 => self.disallow_reads,
            2 => self.disallow_writes,
            3 => self.disallow_lists,
            4 => self.disallow_deletes,
            5 => false,
            6 => self.disallow_locks,
            7 => self.disallow_put_retention,
            8 => self.disallow_get_retention && self.disallow_put_retention,
            9 => self.disallow_put_legal_hold,
            10 => self.disallow_get_legal_hold,
            11 => self.disallow_bypass_governance_retention,
            12 => self.disallow_put_bucket_object_lock_configuration,
            13 => self.disallow_get_bucket_object_lock_configuration,
            14 => self.disallow_put_bucket_notification_configuration,
            15 => self.disallow_get_bucket_notification_configuration,
            _ => true,
        }
    }
}

/// Returns whether a key of this version, restricted by the chain, allows a request.
pub(crate) fn allows(chain: &[Restriction], version: u32, request: &Request) -> bool {
    let needed = match request.operation {
        6..=13 => 1,
        14 | 15 => 4,
        _ => 0,
    };
    version & needed == needed && chain.iter().all(|restriction| restriction.allows(request))
}

/// Returns whether an allowed bucket listing may show a bucket.
pub(crate) fn shows_bucket(chain: &[Restriction], bucket: &[u8]) -> bool {
    chain.iter().all(|restriction| {
        restriction.allowed_paths.is_empty()
            || restriction.allowed_paths.iter().any(|path| path.bucket == bucket)
    })
}

/// Returns the maximum lifetime of new objects, in nanoseconds.
pub(crate) fn max_object_ttl(chain: &[Restriction]) -> Option<i128> {
    let each = chain.iter().filter_map(|restriction| restriction.max_object_ttl);
    each.map(|ttl| i128::from(ttl.seconds) * 1_000_000_000 + i128::from(ttl.nanos)).min()
}
