//! Caveats: the restrictions of an API key.

use crate::encryption::PathScope;
use crate::wire::{Reader, WireError, put_bytes, put_int64, put_message};

/// One restriction of an API key. The default restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caveat {
    /// Operations that are rejected.
    pub disallowed: OperationSet,
    /// If not empty, the only paths that may be accessed.
    pub allowed_paths: Vec<PathScope>,
    /// The last time at which the key may be used.
    pub not_after: Option<Timestamp>,
    /// The first time at which the key may be used.
    pub not_before: Option<Timestamp>,
    /// Maximum lifetime of new objects, in nanoseconds.
    pub max_object_ttl_nanos: Option<i64>,
    /// Random bytes that make otherwise equal caveats distinct.
    pub nonce: Vec<u8>,
}

impl Caveat {
    /// Serializes deterministically: fields in ascending order, false and empty values omitted.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Vec::new();
        let flag = |message: &mut Vec<u8>, (field, operation)| {
            put_int64(message, field, i64::from(self.disallowed.contains(operation)));
        };
        FLAGS.into_iter().filter(|flag| flag.0 < PATHS).for_each(|each| flag(&mut message, each));
        for path in &self.allowed_paths {
            let mut inner = Vec::new();
            put_bytes(&mut inner, 1, &path.bucket);
            put_bytes(&mut inner, 2, &path.encrypted_path_prefix);
            put_message(&mut message, PATHS, &inner);
        }
        FLAGS.into_iter().filter(|flag| flag.0 > PATHS).for_each(|each| flag(&mut message, each));
        for (field, time) in [(NOT_AFTER, self.not_after), (NOT_BEFORE, self.not_before)] {
            if let Some(time) = time.filter(|time| *time != Timestamp::YEAR_1) {
                put_message(&mut message, field, &two_numbers(time.seconds, time.nanos.into()));
            }
        }
        if let Some(nanos) = self.max_object_ttl_nanos {
            let seconds = nanos / NANOS_PER_SECOND;
            let subsec_nanos = nanos % NANOS_PER_SECOND;
            put_message(&mut message, MAX_OBJECT_TTL, &two_numbers(seconds, subsec_nanos));
        }
        put_bytes(&mut message, NONCE, &self.nonce);
        message
    }

    /// Decodes a caveat like clients and satellites of the public network: only 1 counts as true, and
    /// unknown fields are skipped.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        Self::decode_with(message, |value| value == 1, |_| Ok(()))
    }

    /// Decodes a caveat strictly, for authorization: any number other than 0 is true, and an unknown
    /// field is an error, because it may be a newer kind of restriction.
    pub fn decode_strict(message: &[u8]) -> Result<Self, WireError> {
        Self::decode_with(
            message,
            |value| value != 0,
            |field| Err(WireError::UnknownField { field }),
        )
    }

    fn decode_with(
        message: &[u8],
        is_true: fn(u64) -> bool,
        unknown: fn(u32) -> Result<(), WireError>,
    ) -> Result<Self, WireError> {
        let mut caveat = Self::default();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.next()? {
            match field.number {
                PATHS => caveat.allowed_paths.push(path(field.bytes()?, unknown)?),
                NOT_AFTER => caveat.not_after = Some(timestamp(field.bytes()?, unknown)?),
                NOT_BEFORE => caveat.not_before = Some(timestamp(field.bytes()?, unknown)?),
                MAX_OBJECT_TTL => {
                    caveat.max_object_ttl_nanos = Some(duration(field.bytes()?, unknown)?);
                }
                NONCE => caveat.nonce = field.bytes()?.to_vec(),
                number => match FLAGS.into_iter().find(|flag| flag.0 == number) {
                    Some((_, operation)) => {
                        caveat.disallowed.set(operation, is_true(field.varint()?));
                    }
                    None => unknown(number)?,
                },
            }
        }
        Ok(caveat)
    }
}

/// The operation of a request. The numbers are those used by satellites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Operation {
    /// 1: read an object, or check that a bucket exists.
    Read = 1,
    /// 2: write an object or create a bucket.
    Write = 2,
    /// 3: list objects.
    List = 3,
    /// 4: delete an object or a bucket.
    Delete = 4,
    /// 5: read the project's salt and limits. No caveat disallows this.
    ProjectInfo = 5,
    /// 6: lock an object (replaced by the operations below).
    Lock = 6,
    /// 7: set an object's retention.
    PutRetention = 7,
    /// 8: read an object's retention.
    GetRetention = 8,
    /// 9: set a legal hold.
    PutLegalHold = 9,
    /// 10: read a legal hold.
    GetLegalHold = 10,
    /// 11: shorten a retention in governance mode.
    BypassGovernanceRetention = 11,
    /// 12: set a bucket's object-lock configuration.
    PutBucketObjectLockConfiguration = 12,
    /// 13: read a bucket's object-lock configuration.
    GetBucketObjectLockConfiguration = 13,
    /// 14: set a bucket's notification configuration.
    PutBucketNotificationConfiguration = 14,
    /// 15: read a bucket's notification configuration.
    GetBucketNotificationConfiguration = 15,
}

impl Operation {
    /// All operations in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Read,
        Self::Write,
        Self::List,
        Self::Delete,
        Self::ProjectInfo,
        Self::Lock,
        Self::PutRetention,
        Self::GetRetention,
        Self::PutLegalHold,
        Self::GetLegalHold,
        Self::BypassGovernanceRetention,
        Self::PutBucketObjectLockConfiguration,
        Self::GetBucketObjectLockConfiguration,
        Self::PutBucketNotificationConfiguration,
        Self::GetBucketNotificationConfiguration,
    ];

    /// Returns the operation with a number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| *operation as u8 == number)
    }

    /// Returns the name of the caveat field that disallows the operation; `None` for
    /// [`ProjectInfo`](Self::ProjectInfo).
    #[must_use]
    pub const fn disallow_name(self) -> Option<&'static str> {
        Some(match self {
            Self::Read => "disallow_reads",
            Self::Write => "disallow_writes",
            Self::List => "disallow_lists",
            Self::Delete => "disallow_deletes",
            Self::ProjectInfo => return None,
            Self::Lock => "disallow_locks",
            Self::PutRetention => "disallow_put_retention",
            Self::GetRetention => "disallow_get_retention",
            Self::PutLegalHold => "disallow_put_legal_hold",
            Self::GetLegalHold => "disallow_get_legal_hold",
            Self::BypassGovernanceRetention => "disallow_bypass_governance_retention",
            Self::PutBucketObjectLockConfiguration => {
                "disallow_put_bucket_object_lock_configuration"
            }
            Self::GetBucketObjectLockConfiguration => {
                "disallow_get_bucket_object_lock_configuration"
            }
            Self::PutBucketNotificationConfiguration => {
                "disallow_put_bucket_notification_configuration"
            }
            Self::GetBucketNotificationConfiguration => {
                "disallow_get_bucket_notification_configuration"
            }
        })
    }
}

/// A set of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OperationSet(u16);

impl OperationSet {
    /// The set of all operations that a caveat can disallow.
    pub const ALL: Self = Self(0b1111_1111_1101_1110);

    /// Returns whether an operation is in the set.
    #[must_use]
    pub const fn contains(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u8) != 0
    }

    /// Adds or removes an operation. [`Operation::ProjectInfo`] is ignored.
    pub const fn set(&mut self, operation: Operation, present: bool) {
        let bit = (1 << operation as u8) & Self::ALL.0;
        if present {
            self.0 |= bit;
        } else {
            self.0 &= !bit;
        }
    }

    /// Returns the operations of [`ALL`](Self::ALL) that are not in this set.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(!self.0 & Self::ALL.0)
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Iterates over the operations in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Operation> {
        Operation::ALL.into_iter().filter(move |operation| self.contains(*operation))
    }
}

impl FromIterator<Operation> for OperationSet {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        let mut set = Self::default();
        for operation in operations {
            set.set(operation, true);
        }
        set
    }
}

/// A point in time: seconds since the Unix epoch, possibly negative, plus nanoseconds below 10⁹.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    /// The start of year 1, which means "not set" in messages of the public network.
    pub const YEAR_1: Self = Self { seconds: -62_135_596_800, nanos: 0 };

    /// Creates a timestamp. Nanoseconds of 10⁹ or more carry over into the seconds.
    #[must_use]
    pub const fn new(seconds: i64, nanos: u32) -> Self {
        Self::normalized(seconds, nanos as i64)
    }

    /// Returns the whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Returns the nanoseconds after [`seconds`](Self::seconds).
    #[must_use]
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    const fn normalized(seconds: i64, nanos: i64) -> Self {
        Self {
            seconds: seconds.saturating_add(nanos.div_euclid(NANOS_PER_SECOND)),
            nanos: nanos.rem_euclid(NANOS_PER_SECOND) as u32,
        }
    }
}

const PATHS: u32 = 10;
const NOT_AFTER: u32 = 20;
const NOT_BEFORE: u32 = 21;
const MAX_OBJECT_TTL: u32 = 22;
const NONCE: u32 = 30;
const FLAGS: [(u32, Operation); 14] = [
    (1, Operation::Read),
    (2, Operation::Write),
    (3, Operation::List),
    (4, Operation::Delete),
    (5, Operation::Lock),
    (6, Operation::PutRetention),
    (7, Operation::GetRetention),
    (8, Operation::PutLegalHold),
    (9, Operation::GetLegalHold),
    (11, Operation::BypassGovernanceRetention),
    (12, Operation::PutBucketObjectLockConfiguration),
    (13, Operation::GetBucketObjectLockConfiguration),
    (14, Operation::PutBucketNotificationConfiguration),
    (15, Operation::GetBucketNotificationConfiguration),
];

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Serializes the fields common to Timestamp and Duration.
fn two_numbers(seconds: i64, nanos: i64) -> Vec<u8> {
    let mut message = Vec::new();
    put_int64(&mut message, 1, seconds);
    put_int64(&mut message, 2, nanos);
    message
}

type Unknown = fn(u32) -> Result<(), WireError>;

fn read_two_numbers(message: &[u8], unknown: Unknown) -> Result<(i64, i32), WireError> {
    let mut seconds = 0;
    let mut nanos = 0;
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next()? {
        match field.number {
            1 => seconds = field.int64()?,
            2 => nanos = field.int32()?,
            number => unknown(number)?,
        }
    }
    Ok((seconds, nanos))
}

fn timestamp(message: &[u8], unknown: Unknown) -> Result<Timestamp, WireError> {
    let (seconds, nanos) = read_two_numbers(message, unknown)?;
    Ok(Timestamp::normalized(seconds, nanos.into()))
}

/// Decodes a duration in nanoseconds, saturating on overflow.
fn duration(message: &[u8], unknown: Unknown) -> Result<i64, WireError> {
    let (seconds, nanos) = read_two_numbers(message, unknown)?;
    let total =
        i128::from(seconds).saturating_mul(NANOS_PER_SECOND.into()).saturating_add(nanos.into());
    Ok(total.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
}

fn path(message: &[u8], unknown: Unknown) -> Result<PathScope, WireError> {
    let mut scope = PathScope::default();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next()? {
        match field.number {
            1 => scope.bucket = field.bytes()?.to_vec(),
            2 => scope.encrypted_path_prefix = field.bytes()?.to_vec(),
            number => unknown(number)?,
        }
    }
    Ok(scope)
}
