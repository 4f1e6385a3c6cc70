//! Wrong sizes, counts, offsets and schemes.

use uplink_core::encryption::metadata::StreamMeta;
use uplink_rpc::r#gen::metainfo::DownloadSegmentResponse;
use uplink_rpc::r#gen::pointerdb::RedundancyScheme;

use super::super::fixture::Fixture;
use super::super::forgery::{Forgery, Part};
use super::super::reader::Attack;
use super::super::world::SEGMENT;

pub(crate) async fn false_numbers(fixture: &Fixture) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let size = fixture.size() as i64;
    let full = SEGMENT as i64;
    for false_size in [1, size + 1, size - 1, size + full, size - full, 1 << 40, i64::MAX, -1] {
        // Size 0 stands for an unknown size.
        if false_size != size && false_size != 0 {
            let attack = fixture.edit(format!("object of {false_size} bytes"), |forgery| {
                forgery.object.plain_size = false_size;
            });
            attacks.push(attack.refused_whole());
        }
    }
    attacks.push(fixture.edit("object of 0 bytes", |forgery| forgery.object.plain_size = 0));
    for count in [0, 1, 2, 999, -1] {
        attacks.push(fixture.edit(format!("{count} segments"), |forgery| {
            set_segment_count(forgery, count);
        }));
    }
    for (suite, block_size) in
        [(2, 7425), (2, 14_848), (2, 32), (2, 0), (2, -1), (1, 7424), (3, 7424), (100, 7424)]
    {
        attacks.push(fixture.edit(format!("suite {suite}, block of {block_size}"), |forgery| {
            let parameters = forgery.object.encryption_parameters.as_mut().expect("parameters");
            (parameters.cipher_suite, parameters.block_size) = (suite, block_size);
        }));
    }
    attacks.extend(false_segments(fixture));
    attacks
}

/// Sets the number of segments in the clear part of the metadata.
pub(crate) fn set_segment_count(forgery: &mut Forgery, count: i64) {
    let meta = StreamMeta::decode(&forgery.object.encrypted_metadata).expect("metadata");
    let meta = StreamMeta { number_of_segments: count, ..meta };
    forgery.object.encrypted_metadata = meta.encode().into();
}

/// Wrong numbers of single segments.
fn false_segments(fixture: &Fixture) -> Vec<Attack> {
    type Edit = fn(&mut Part);
    let edits: [(&str, Edit); 10] = [
        ("offset one further", |part| part.item.plain_offset += 1),
        ("offset one segment further", |part| part.item.plain_offset += SEGMENT as i64),
        ("offset 0", |part| part.item.plain_offset = 0),
        ("one byte more", |part| part.item.plain_size += 1),
        ("one byte less", |part| part.item.plain_size -= 1),
        ("no bytes", |part| part.item.plain_size = 0),
        ("one piece more to read it", |part| {
            part.change = |reply| scheme(reply, |s| s.min_req += 1)
        }),
        ("one piece less to read it", |part| {
            part.change = |reply| scheme(reply, |s| s.min_req -= 1)
        }),
        ("shares half as large", |part| {
            part.change = |reply| scheme(reply, |scheme| scheme.erasure_share_size /= 2);
        }),
        ("pieces in another order", |part| part.change = |reply| reply.addressed_limits.reverse()),
    ];
    let mut attacks = Vec::new();
    for index in 0..fixture.b.segments.len() {
        for (name, edit) in edits {
            attacks.push(fixture.edit(format!("segment {index}: {name}"), |forgery| {
                edit(&mut forgery.segments[index]);
            }));
        }
    }
    attacks
}

fn scheme(reply: &mut DownloadSegmentResponse, edit: fn(&mut RedundancyScheme)) {
    reply.redundancy_scheme.iter_mut().for_each(edit);
}
