//! The first and the last moment of an API key, by the satellite's clock: experiment F24 of
//! `docs/RELIABILITY.md`. The clock has microseconds; both moments belong to the key's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use uplink_core::macaroon::{Caveat, Timestamp};
use uplink_rpc::r#gen::metainfo::ProjectInfoRequest;
use uplink_satellite::Config;

use crate::network::{Network, header};

const SECOND: i64 = 1_000_000;
const YEAR: i64 = 365 * 86_400 * SECOND;
/// Around a moment, in microseconds.
const DISTANCES: [i64; 13] = [
    -10 * YEAR,
    -YEAR,
    -3600 * SECOND,
    -SECOND,
    -1,
    0,
    1,
    SECOND,
    60 * SECOND,
    3600 * SECOND,
    86_400 * SECOND,
    YEAR,
    10 * YEAR,
];
/// In seconds since 1970: any moment, the last one before a leap second and the one after it, and both
/// changes of European summer time in 2026.
const MOMENTS: [i64; 5] =
    [1_750_000_000, 1_483_228_799, 1_483_228_800, 1_774_746_000, 1_792_890_000];

fn timestamp(micros: i64) -> Timestamp {
    let nanos = micros.rem_euclid(SECOND) * 1_000;
    Timestamp::new(micros.div_euclid(SECOND), u32::try_from(nanos).unwrap())
}

#[tokio::test]
async fn key_is_accepted_from_its_first_to_its_last_moment() {
    let clock = Arc::new(AtomicI64::new(MOMENTS[0] * SECOND));
    let now = Arc::clone(&clock);
    let network = Network::start_with(0, Config::dev(), move || {
        UNIX_EPOCH + Duration::from_micros(now.load(Ordering::SeqCst).unsigned_abs())
    })
    .await;
    let mut calls = 0;
    for moment in MOMENTS.map(|moment| moment * SECOND) {
        for (first, last) in
            [(Some(0), None), (None, Some(0)), (Some(-1), Some(1)), (Some(0), Some(0))]
        {
            let at = |distance: Option<i64>| distance.map(|distance| timestamp(moment + distance));
            let caveat = Caveat { not_before: at(first), not_after: at(last), ..Caveat::default() };
            let key = network.api_key.restrict(&caveat).unwrap();
            for distance in DISTANCES {
                clock.store(moment + distance, Ordering::SeqCst);
                let request = ProjectInfoRequest { header: header(&key) };
                let accepted = network.client().project_info(request).await.is_ok();
                let expected = first.is_none_or(|first| distance >= first)
                    && last.is_none_or(|last| distance <= last);
                assert_eq!(accepted, expected, "{first:?} to {last:?}, at {distance} µs");
                calls += 1;
            }
        }
    }
    println!("{calls} calls");
    assert_eq!(calls, 5 * 4 * 13);
    network.stop().await;
}
