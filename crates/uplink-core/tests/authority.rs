//! What a holder of an access grant can do with it, and with edits of it: experiments F21 to F27 of
//! `docs/RELIABILITY.md` as far as they need no network.

#[path = "authority/edits.rs"]
mod edits;
#[path = "authority/grants.rs"]
mod grants;
#[path = "authority/macaroons.rs"]
mod macaroons;
#[path = "authority/names.rs"]
mod names;
#[path = "authority/revocation.rs"]
mod revocation;
#[path = "authority/samples.rs"]
mod samples;
#[path = "authority/times.rs"]
mod times;

use proptest::test_runner::Config;

/// Runs `min` cases of a property, or `PROPTEST_CASES` if that is more.
fn cases(min: u32) -> Config {
    let default = Config::default();
    let cases = default.cases.max(min);
    println!("{cases} cases"); // parsed by `cargo xtask soak`
    Config { cases, ..default }
}
