//! Rows for objects without a seal of ours: what must be refused for objects of both clients, and what
//! only their kind of object makes possible.

use bytes::Bytes;
use uplink_core::layout::{self, BLOCK_SIZE};

use super::material::{BLOCK, Material};
use super::reading::Attack;
use super::story::{Content, Part, Story, position};
use super::subject::{Cut, Subject, Writer};
use super::table;

/// Bytes by which a sealed inline segment is longer than a plain one.
const TAG: usize = 16;
/// Segments without bytes, each a page of its own.
const IDLE: usize = 3;

/// The table and these rows.
pub(crate) async fn all(subject: &Subject) -> Vec<Attack> {
    let mut attacks = table::all(&subject.material).await;
    if subject.material.b.segments.len() == 2 {
        // Its first page ends in the first position, which as a cursor means the beginning: there the
        // reference client asks for that page forever.
        attacks.retain(|attack| attack.name != "segments and second page of A");
    }
    attacks.extend(other_sizes(subject));
    attacks.extend(mixed_writers(subject));
    attacks.extend(pages(subject));
    attacks.extend(unknown_size(&subject.material));
    if let Cut::Stream(shape) = subject.cut {
        attacks.extend(cut_off(&subject.material, shape.last).await);
        if shape.last == 0 {
            attacks.extend(empty_end(subject));
        }
    }
    attacks
}

/// One object with the segments of another.
fn with(object: &Story, segments: &Story) -> Story {
    Story { segments: segments.segments.clone(), ..object.clone() }
}

fn settled(mut story: Story) -> Story {
    story.settle();
    story
}

/// Envelope of one version and segments of another that is of another size.
fn other_sizes(subject: &Subject) -> Vec<Attack> {
    let Subject { material, resized, cut: Cut::Stream(_), .. } = subject else {
        // Nothing under encryption says how large parts are.
        return Vec::new();
    };
    let attack = |name: &str, story| material.attack(name, vec![story]).refused_whole();
    vec![
        attack("segments of another size", with(&material.b, resized)),
        attack("segments of another size, settled", settled(with(&material.b, resized))),
        attack("envelope of another size", with(resized, &material.b)),
        attack("envelope of another size, settled", settled(with(resized, &material.b))),
    ]
}

/// Versions by our client and by the reference client, taken for one.
fn mixed_writers(subject: &Subject) -> Vec<Attack> {
    let Subject { material, ours, .. } = subject;
    if subject.origin.by == Writer::Ours {
        return Vec::new();
    }
    let mut attacks = Vec::new();
    let segments = material.attack("segments of ours", vec![with(&material.b, ours)]);
    // As one stream under the envelope of a stream they are another version of the object.
    let fits = matches!(subject.cut, Cut::Stream(_));
    attacks.push(if fits { segments } else { segments.refused_reads() });
    let envelope = material.attack("envelope of ours", vec![with(ours, &material.b)]);
    attacks.push(envelope.refused_reads());
    let count = material.b.segments.len();
    for place in (0..count).filter(|_| count > 1) {
        let attack = material.edit(format!("segment {place} of ours"), |story| {
            let place = &mut story.segments[place];
            let ours = ours.segments[0].clone();
            place.content = ours.content;
            place.item.encrypted_key = ours.item.encrypted_key;
            place.item.encrypted_key_nonce = ours.item.encrypted_key_nonce;
        });
        attacks.push(attack.refused_whole());
    }
    attacks
}

/// Pages that do not advance.
fn pages(subject: &Subject) -> Vec<Attack> {
    let material = &subject.material;
    let empty = material.edit("pages without segments", |story| story.page = 0);
    let idle = material.edit("pages with segments of no bytes", |story| {
        let part = |part: &Part| position(part.item.position).part;
        let first = part(&story.segments[0]);
        let end = story.segments.iter().take_while(|other| part(other) == first).count();
        let mut idle = story.segments[end - 1].clone();
        idle.item.plain_offset += std::mem::take(&mut idle.item.plain_size);
        for number in 0..IDLE {
            idle.place().index += 1;
            story.segments.insert(end + number, idle.clone());
        }
        story.page = 1;
    });
    vec![empty.refused_reads(), idle]
}

/// Objects whose size the satellite leaves out, so that its number of segments gives one.
fn unknown_size(material: &Material) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for kept in 0..=material.b.segments.len() {
        for said in [0, kept as i64] {
            attacks.push(material.edit(format!("no size, {said} segments of {kept}"), |story| {
                story.object.plain_size = 0;
                story.segments.truncate(kept);
                table::numbers::say_count(story, said);
            }));
        }
    }
    attacks
}

/// A stream cut to some whole segments and a last one of the recorded size.
pub(crate) async fn cut_off(material: &Material, last: u64) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for place in 0..material.b.segments.len() - 1 {
        let blocks = material.blocks(place);
        let kept = layout::encrypted_size(last, BLOCK_SIZE).expect("a size") as usize;
        let stored = material.raw.store(&material.name(), &blocks[..kept.max(BLOCK)]).await;
        let remote = Content::Stored(stored.0, stored.1);
        attacks.push(cut_to(material, last, place, "remote", remote));
        let inline = Bytes::copy_from_slice(&blocks[..last as usize + TAG]);
        attacks.push(cut_to(material, last, place, "inline", Content::Inline(inline)));
    }
    attacks
}

fn cut_to(material: &Material, last: u64, place: usize, kind: &str, content: Content) -> Attack {
    let attack = material.edit(format!("cut off in segment {place}, {kind} end"), |story| {
        story.segments.truncate(place + 1);
        let end = &mut story.segments[place];
        end.item.plain_size = last as i64;
        end.content = content;
        story.settle();
        table::numbers::say_count(story, place as i64 + 1);
    });
    attack.refused_reads()
}

/// An object that is recorded as empty, with whole segments of an earlier version before its end.
fn empty_end(subject: &Subject) -> Vec<Attack> {
    let Subject { material, resized, .. } = subject;
    let mut attacks = Vec::new();
    for place in 1..resized.segments.len() {
        for tag in [0, TAG] {
            let mut story = with(&material.b, resized);
            story.segments.truncate(place + 1);
            let end = &mut story.segments[place];
            end.item.plain_size = 0;
            end.content = Content::Inline(vec![0; tag].into());
            story.settle();
            table::numbers::say_count(&mut story, place as i64 + 1);
            let name = format!("{place} segments before an empty one of {tag} bytes");
            attacks.push(material.attack(name, vec![story]));
        }
    }
    attacks
}
