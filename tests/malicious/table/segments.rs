//! Segments without keys, at other positions, truncated or missing.

use bytes::Bytes;
use uplink_rpc::r#gen::metainfo::SegmentPosition;

use super::super::fixture::{BLOCK, Fixture, IN_BLOCK};
use super::super::forgery::{Content, Forgery, Part};
use super::super::reader::Attack;
use super::envelopes::strip;

/// Numbers of leading blocks removed before the rest is relabelled.
const CUTS: [usize; 2] = [1, 4];

pub(crate) async fn keyless(fixture: &Fixture) -> Vec<Attack> {
    let keyless = |part: &mut Part| {
        part.item.encrypted_key.clear();
        part.item.encrypted_key_nonce.clear();
    };
    let mut attacks = Vec::new();
    for (name, part_number) in [("part 0", 0), ("part 1", 1)] {
        for stripped in [false, true] {
            let name = format!("keyless segments in {name}, stripped: {stripped}");
            let attack = fixture.edit(name, |forgery| {
                for part in &mut forgery.segments {
                    keyless(part);
                    part.position_mut().part_number = part_number;
                }
                if stripped {
                    strip(forgery);
                }
            });
            attacks.push(if stripped { attack.refused() } else { attack.refused_reads() });
        }
    }
    let unlisted = fixture.edit("listed key missing", |forgery| {
        for part in &mut forgery.segments {
            let item = &part.item;
            part.key = Some((item.encrypted_key.clone(), item.encrypted_key_nonce.clone()));
            keyless(part);
        }
    });
    attacks.push(unlisted.refused_whole());
    attacks
}

pub(crate) async fn relabelled(fixture: &Fixture) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for stripped in [false, true] {
        for by in [1, 7] {
            let name = format!("relabelled by {by}, stripped: {stripped}");
            let attack = fixture.edit(name, |forgery| {
                forgery.segments.iter_mut().for_each(|part| part.position_mut().index += by);
                if stripped {
                    strip(forgery);
                }
            });
            attacks.push(attack.refused_whole());
        }
    }
    attacks
}

pub(crate) async fn first_blocks_cut_off(fixture: &Fixture) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for cut in CUTS {
        for index in 0..fixture.b.segments.len() {
            let blocks = fixture.blocks(index);
            if blocks.len() <= cut * BLOCK {
                continue;
            }
            let rest = &blocks[cut * BLOCK..];
            let stored = fixture.raw.store(&fixture.unused_name(), rest).await;
            for stripped in [false, true] {
                let name = format!("segment {index} without {cut} blocks, stripped: {stripped}");
                let attack = fixture.edit(name, |forgery| {
                    cut_off(forgery, index, cut, stored.clone());
                    if stripped {
                        strip(forgery);
                    }
                });
                attacks.push(attack.refused_whole());
            }
        }
    }
    attacks
}

/// Removes the first blocks of a segment and relabels it, so that the rest decrypts: the nonces of
/// blocks continue from one position to the next.
fn cut_off(forgery: &mut Forgery, index: usize, cut: usize, stored: (Bytes, SegmentPosition)) {
    for part in &mut forgery.segments[index..] {
        part.position_mut().index += cut as i32;
    }
    let part = &mut forgery.segments[index];
    part.item.plain_size -= (cut * IN_BLOCK) as i64;
    part.content = Content::Stored(stored.0, stored.1);
    // A later segment keeps its content, which decrypts only at its own position.
    forgery.segments.truncate(index + 1);
    forgery.make_consistent();
}

pub(crate) async fn block_as_inline(fixture: &Fixture) -> Vec<Attack> {
    let mut attacks = Vec::new();
    // The padding is in the last block.
    let blocks = fixture.blocks(0);
    let whole = blocks.len().saturating_sub(BLOCK);
    for (block, bytes) in blocks[..whole].chunks(BLOCK).enumerate().take(2) {
        for stripped in [false, true] {
            let name = format!("block {block} as inline segment, stripped: {stripped}");
            let attack = fixture.edit(name, |forgery| {
                forgery.segments.truncate(1);
                let part = &mut forgery.segments[0];
                part.content = Content::Inline(bytes.to_vec().into());
                part.item.plain_size = IN_BLOCK as i64;
                part.position_mut().index += block as i32;
                forgery.make_consistent();
                if stripped {
                    strip(forgery);
                }
            });
            attacks.push(attack.refused());
        }
    }
    attacks
}

pub(crate) async fn missing(fixture: &Fixture) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for index in 0..fixture.b.segments.len() {
        let removed = fixture.edit(format!("without segment {index}, size as is"), |forgery| {
            forgery.segments.remove(index);
        });
        let consistent =
            fixture.edit(format!("without segment {index}, size reduced"), |forgery| {
                forgery.segments.remove(index);
                forgery.make_consistent();
            });
        attacks.extend([removed.refused_whole(), consistent.refused_whole()]);
    }
    let emptied = fixture.edit("no segments, size 0", |forgery| {
        forgery.segments.clear();
        forgery.make_consistent();
    });
    attacks.push(emptied.refused_whole());
    attacks
}
