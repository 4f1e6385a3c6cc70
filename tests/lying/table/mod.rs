//! The table of attacks on the layout of an object. A row makes its attacks on one object, with what
//! must become of them where this client wrote and sealed it.

pub(crate) mod envelopes;
pub(crate) mod numbers;
pub(crate) mod segments;
pub(crate) mod versions;

use super::material::Material;
use super::reading::Attack;

/// Every row.
pub(crate) async fn all(material: &Material) -> Vec<Attack> {
    let rows = [
        envelopes::without_envelope(material).await,
        envelopes::etag_alone(material).await,
        envelopes::other_keys(material).await,
        segments::keyless(material).await,
        segments::relabelled(material).await,
        segments::first_blocks_cut_off(material).await,
        segments::block_as_inline(material).await,
        segments::missing(material).await,
        versions::mixed(material).await,
        versions::another_key_when_repeated(material).await,
        numbers::false_numbers(material).await,
    ];
    rows.into_iter().flatten().collect()
}
