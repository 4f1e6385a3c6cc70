//! The table of attacks on the layout of an object. Each row returns attacks on one object, with
//! the required result for objects written and sealed by this client.

pub(crate) mod envelopes;
pub(crate) mod numbers;
pub(crate) mod segments;
pub(crate) mod versions;

use super::fixture::Fixture;
use super::reader::Attack;

/// Returns the attacks of all rows.
pub(crate) async fn all(fixture: &Fixture) -> Vec<Attack> {
    let rows = [
        envelopes::without_envelope(fixture).await,
        envelopes::etag_alone(fixture).await,
        envelopes::begun(fixture).await,
        envelopes::other_keys(fixture).await,
        segments::keyless(fixture).await,
        segments::relabelled(fixture).await,
        segments::first_blocks_cut_off(fixture).await,
        segments::block_as_inline(fixture).await,
        segments::missing(fixture).await,
        versions::mixed(fixture).await,
        versions::changed_key_on_repeat(fixture).await,
        numbers::false_numbers(fixture).await,
    ];
    rows.into_iter().flatten().collect()
}
