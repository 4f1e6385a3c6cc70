#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| uplink_fuzz::bloom_filter(data));
