//! What a shared access grant permits.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uplink_core::macaroon::{self, Operation, OperationSet, Timestamp};
use uplink_rpc::time::exact_timestamp;

/// What a shared access grant permits; nothing by default.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use uplink::Permission;
///
/// let hour = SystemTime::now() + Duration::from_secs(3600);
/// let read_for_an_hour = Permission::read_only().not_after(hour);
/// let upload_only = Permission::new().upload(true).max_object_ttl(Duration::from_secs(86_400));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Permission {
    operations: OperationSet,
    not_before: Option<SystemTime>,
    not_after: Option<SystemTime>,
    max_object_ttl: Option<Duration>,
}

/// Operations that [`Permission::full`] adds to the four basic ones.
const OBJECT_LOCK: [Operation; 7] = [
    Operation::PutRetention,
    Operation::GetRetention,
    Operation::PutLegalHold,
    Operation::GetLegalHold,
    Operation::BypassGovernanceRetention,
    Operation::PutBucketObjectLockConfiguration,
    Operation::GetBucketObjectLockConfiguration,
];

impl Permission {
    /// Permits nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Permits download and list.
    pub fn read_only() -> Self {
        Self::new().download(true).list(true)
    }

    /// Permits upload and delete.
    pub fn write_only() -> Self {
        Self::new().upload(true).delete(true)
    }

    /// Permits all operations: download, upload, list, delete and the seven of object lock.
    pub fn full() -> Self {
        let mut full = Self::read_only().upload(true).delete(true);
        for operation in OBJECT_LOCK {
            full.operations.set(operation, true);
        }
        full
    }

    /// Permits reading objects and the attributes of buckets, or forbids it.
    pub fn download(self, permit: bool) -> Self {
        self.set(Operation::Read, permit)
    }

    /// Permits writing objects and creating buckets, or forbids it. Overwriting needs
    /// [`delete`](Self::delete) too.
    pub fn upload(self, permit: bool) -> Self {
        self.set(Operation::Write, permit)
    }

    /// Permits listing objects and buckets, or forbids it.
    pub fn list(self, permit: bool) -> Self {
        self.set(Operation::List, permit)
    }

    /// Permits deleting objects and buckets, or forbids it.
    pub fn delete(self, permit: bool) -> Self {
        self.set(Operation::Delete, permit)
    }

    /// Permits setting the retention of objects, or forbids it.
    pub fn put_object_retention(self, permit: bool) -> Self {
        self.set(Operation::PutRetention, permit)
    }

    /// Permits reading the retention of objects, or forbids it.
    pub fn get_object_retention(self, permit: bool) -> Self {
        self.set(Operation::GetRetention, permit)
    }

    /// Permits setting a legal hold on objects, or forbids it.
    pub fn put_object_legal_hold(self, permit: bool) -> Self {
        self.set(Operation::PutLegalHold, permit)
    }

    /// Permits reading the legal hold of objects, or forbids it.
    pub fn get_object_legal_hold(self, permit: bool) -> Self {
        self.set(Operation::GetLegalHold, permit)
    }

    /// Permits shortening a retention in governance mode, or forbids it.
    pub fn bypass_governance_retention(self, permit: bool) -> Self {
        self.set(Operation::BypassGovernanceRetention, permit)
    }

    /// Permits setting the object lock configuration of buckets, or forbids it.
    pub fn put_bucket_object_lock_configuration(self, permit: bool) -> Self {
        self.set(Operation::PutBucketObjectLockConfiguration, permit)
    }

    /// Permits reading the object lock configuration of buckets, or forbids it.
    pub fn get_bucket_object_lock_configuration(self, permit: bool) -> Self {
        self.set(Operation::GetBucketObjectLockConfiguration, permit)
    }

    /// Sets the first time at which the grant may be used, by the satellite's clock.
    pub fn not_before(mut self, time: SystemTime) -> Self {
        self.not_before = Some(time);
        self
    }

    /// Sets the last time at which the grant may be used, by the satellite's clock.
    pub fn not_after(mut self, time: SystemTime) -> Self {
        self.not_after = Some(time);
        self
    }

    /// Sets the maximum lifetime of objects uploaded with the grant. Those without an expiry expire
    /// after it.
    pub fn max_object_ttl(mut self, lifetime: Duration) -> Self {
        self.max_object_ttl = Some(lifetime);
        self
    }

    /// Returns the permitted operations.
    #[must_use]
    pub fn operations(&self) -> OperationSet {
        self.operations
    }

    /// Returns the first time at which the grant may be used.
    #[must_use]
    pub fn valid_from(&self) -> Option<SystemTime> {
        self.not_before
    }

    /// Returns the last time at which the grant may be used.
    #[must_use]
    pub fn valid_until(&self) -> Option<SystemTime> {
        self.not_after
    }

    /// Returns the maximum lifetime of objects uploaded with the grant.
    #[must_use]
    pub fn object_lifetime(&self) -> Option<Duration> {
        self.max_object_ttl
    }

    fn set(mut self, operation: Operation, permit: bool) -> Self {
        self.operations.set(operation, permit);
        self
    }

    /// Removes what a caveat forbids.
    pub(super) fn restrict(&mut self, caveat: &macaroon::Caveat) {
        for operation in caveat.disallowed.iter() {
            self.operations.set(operation, false);
        }
        self.not_before = self.not_before.max(caveat.not_before.map(system_time));
        self.not_after = earliest(self.not_after, caveat.not_after.map(system_time));
        let lifetime = caveat.max_object_ttl_nanos;
        let lifetime = lifetime.map(|nanos| Duration::from_nanos(nanos.max(0).unsigned_abs()));
        self.max_object_ttl = earliest(self.max_object_ttl, lifetime);
    }

    /// Returns what is permitted without any caveat.
    pub(super) fn unrestricted() -> Self {
        Self { operations: OperationSet::ALL, ..Self::default() }
    }

    /// Returns the permission as the caveat is made from it.
    pub(super) fn to_core(self) -> macaroon::Permission {
        macaroon::Permission {
            allowed: self.operations,
            not_before: self.not_before.map(core_time),
            not_after: self.not_after.map(core_time),
            max_object_ttl_nanos: self
                .max_object_ttl
                .map(|lifetime| i64::try_from(lifetime.as_nanos()).unwrap_or(i64::MAX)),
        }
    }
}

fn earliest<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    [one, other].into_iter().flatten().min()
}

fn core_time(time: SystemTime) -> Timestamp {
    let time = exact_timestamp(time);
    Timestamp::new(time.seconds, u32::try_from(time.nanos).unwrap_or_default())
}

/// Converts a time. One that the system's clock cannot represent becomes the end of year 9999, or 1970.
fn system_time(time: Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds().unsigned_abs());
    let nanos = Duration::from_nanos(time.nanos().into());
    let (whole, closest) = match time.seconds() < 0 {
        true => (UNIX_EPOCH.checked_sub(seconds), UNIX_EPOCH),
        false => (UNIX_EPOCH.checked_add(seconds), UNIX_EPOCH + END_OF_YEAR_9999),
    };
    whole.and_then(|time| time.checked_add(nanos)).unwrap_or(closest)
}

const END_OF_YEAR_9999: Duration = Duration::from_secs(253_402_300_799);
