//! F24: the first and the last moment of a grant, to the nanosecond. Both belong to the time in which
//! it may be used.

use proptest::prelude::*;
use uplink_core::macaroon::{Action, ApiKey, Caveat, Operation, Timestamp};

use super::samples::{SECRET, VERSION};

const NANOS: i128 = 1_000_000_000;
const YEAR: i128 = 365 * 86_400 * NANOS;

/// Moments at which calendars and clocks are special, in seconds since 1970.
const MOMENTS: [i64; 10] = [
    0,
    // The last second before the leap second of 2016, and the one after it.
    1_483_228_799,
    1_483_228_800,
    // Summer time begins and ends in Europe in 2026.
    1_774_746_000,
    1_792_890_000,
    // 29 February 2028.
    1_835_395_200,
    // The end of 32-bit time.
    2_147_483_647,
    2_147_483_648,
    -1,
    1_750_000_000,
];

fn timestamp(nanos: i128) -> Timestamp {
    let seconds = i64::try_from(nanos.div_euclid(NANOS)).expect("in range");
    Timestamp::new(seconds, u32::try_from(nanos.rem_euclid(NANOS)).expect("below a second"))
}

/// A distance between two moments: around a unit of time, in either direction.
fn any_distance() -> impl Strategy<Value = i128> {
    let unit = prop::sample::select(vec![
        0,
        1_000,
        1_000_000,
        NANOS,
        60 * NANOS,
        3600 * NANOS,
        86_400 * NANOS,
        YEAR,
        10 * YEAR,
    ]);
    (unit, -1i128..=1, prop::bool::ANY)
        .prop_map(|(unit, near, is_later)| near + if is_later { unit } else { -unit })
}

/// The times of one caveat, as distances from the base moment.
fn any_window() -> impl Strategy<Value = (Option<i128>, Option<i128>)> {
    (prop::option::of(any_distance()), prop::option::of(any_distance()))
}

proptest! {
    #![proptest_config(super::cases(10_000))]

    #[test]
    fn grant_is_valid_from_its_first_to_its_last_moment(
        moment in prop::sample::select(&MOMENTS[..]),
        windows in prop::collection::vec(any_window(), 1..4),
        distance in any_distance(),
    ) {
        let base = i128::from(moment) * NANOS;
        let now = base + distance;
        let mut key = ApiKey::new(&SECRET, vec![1; 32]);
        let mut expected = true;
        for (not_before, not_after) in windows {
            let at = |distance: Option<i128>| distance.map(|distance| timestamp(base + distance));
            let caveat = Caveat {
                not_before: at(not_before),
                not_after: at(not_after),
                ..Caveat::default()
            };
            // The bytes decide, not the value.
            prop_assert_eq!(&Caveat::decode(&caveat.encode()).unwrap(), &caveat);
            key = key.restrict(&caveat).unwrap();
            expected &= not_before.is_none_or(|first| now >= base + first);
            expected &= not_after.is_none_or(|last| now <= base + last);
        }
        let action = Action {
            operation: Operation::Read,
            bucket: b"bucket",
            encrypted_path: b"path",
            time: timestamp(now),
        };
        prop_assert_eq!(key.check(&SECRET, VERSION, &action).is_ok(), expected);
    }
}
