//! Segments without their keys, at other places, cut off or left out.

use bytes::Bytes;
use uplink_rpc::r#gen::metainfo::SegmentPosition;

use super::super::material::{BLOCK, IN_BLOCK, Material};
use super::super::reading::Attack;
use super::super::story::{Content, Part, Story};
use super::envelopes::strip;

/// Whole blocks cut off in attacks that relabel what is left.
const CUTS: [usize; 2] = [1, 4];

pub(crate) async fn keyless(material: &Material) -> Vec<Attack> {
    let keyless = |part: &mut Part| {
        part.item.encrypted_key.clear();
        part.item.encrypted_key_nonce.clear();
    };
    let mut attacks = Vec::new();
    for (name, part_number) in [("part 0", 0), ("part 1", 1)] {
        for stripped in [false, true] {
            let name = format!("keyless segments in {name}, stripped: {stripped}");
            let attack = material.edit(name, |story| {
                for part in &mut story.segments {
                    keyless(part);
                    part.place().part_number = part_number;
                }
                if stripped {
                    strip(story);
                }
            });
            attacks.push(if stripped { attack.refused() } else { attack.refused_reads() });
        }
    }
    let unlisted = material.edit("listed key missing", |story| {
        for part in &mut story.segments {
            let item = &part.item;
            part.key = Some((item.encrypted_key.clone(), item.encrypted_key_nonce.clone()));
            keyless(part);
        }
    });
    attacks.push(unlisted.refused_whole());
    attacks
}

pub(crate) async fn relabelled(material: &Material) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for stripped in [false, true] {
        for by in [1, 7] {
            let name = format!("relabelled by {by}, stripped: {stripped}");
            let attack = material.edit(name, |story| {
                story.segments.iter_mut().for_each(|part| part.place().index += by);
                if stripped {
                    strip(story);
                }
            });
            attacks.push(attack.refused_whole());
        }
    }
    attacks
}

pub(crate) async fn first_blocks_cut_off(material: &Material) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for cut in CUTS {
        for place in 0..material.b.segments.len() {
            let blocks = material.blocks(place);
            if blocks.len() <= cut * BLOCK {
                continue;
            }
            let rest = &blocks[cut * BLOCK..];
            let stored = material.raw.store(&material.name(), rest).await;
            for stripped in [false, true] {
                let name = format!("segment {place} without {cut} blocks, stripped: {stripped}");
                let attack = material.edit(name, |story| {
                    cut_off(story, place, cut, stored.clone());
                    if stripped {
                        strip(story);
                    }
                });
                attacks.push(attack.refused_whole());
            }
        }
    }
    attacks
}

/// Cuts the first blocks of a segment off and relabels it and those behind it, so that what is left
/// opens: the nonces of blocks go on from one position to the next.
fn cut_off(story: &mut Story, place: usize, cut: usize, stored: (Bytes, SegmentPosition)) {
    for part in &mut story.segments[place..] {
        part.place().index += cut as i32;
    }
    let part = &mut story.segments[place];
    part.item.plain_size -= (cut * IN_BLOCK) as i64;
    part.content = Content::Stored(stored.0, stored.1);
    // A later segment keeps its content, which opens at its own position alone.
    story.segments.truncate(place + 1);
    story.settle();
}

pub(crate) async fn block_as_inline(material: &Material) -> Vec<Attack> {
    let mut attacks = Vec::new();
    // The padding is in the last block.
    let blocks = material.blocks(0);
    let whole = blocks.len().saturating_sub(BLOCK);
    for (block, bytes) in blocks[..whole].chunks(BLOCK).enumerate().take(2) {
        for stripped in [false, true] {
            let name = format!("block {block} as inline segment, stripped: {stripped}");
            let attack = material.edit(name, |story| {
                story.segments.truncate(1);
                let part = &mut story.segments[0];
                part.content = Content::Inline(bytes.to_vec().into());
                part.item.plain_size = IN_BLOCK as i64;
                part.place().index += block as i32;
                story.settle();
                if stripped {
                    strip(story);
                }
            });
            attacks.push(attack.refused());
        }
    }
    attacks
}

pub(crate) async fn missing(material: &Material) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for place in 0..material.b.segments.len() {
        let removed = material.edit(format!("without segment {place}, size as is"), |story| {
            story.segments.remove(place);
        });
        let settled = material.edit(format!("without segment {place}, size reduced"), |story| {
            story.segments.remove(place);
            story.settle();
        });
        attacks.extend([removed.refused_whole(), settled.refused_whole()]);
    }
    let emptied = material.edit("no segments, size 0", |story| {
        story.segments.clear();
        story.settle();
    });
    attacks.push(emptied.refused_whole());
    attacks
}
