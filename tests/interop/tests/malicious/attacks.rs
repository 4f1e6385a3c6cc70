//! Additional attacks on objects without our seal: required results for objects of both clients,
//! and attacks that only such objects make possible.

use bytes::Bytes;
use uplink_core::layout::{self, BLOCK_SIZE};

use super::fixture::{BLOCK, Fixture};
use super::forgery::{Content, Forgery, Part, position};
use super::reader::Attack;
use super::subject::{Cut, Subject, Writer};
use super::table;

/// Bytes by which a sealed inline segment is longer than a plain one.
const TAG: usize = 16;
/// Number of empty segments, each on a page of its own.
const IDLE: usize = 3;

/// Returns the attacks of the table and of this file.
pub(crate) async fn all(subject: &Subject) -> Vec<Attack> {
    let mut attacks = table::all(&subject.fixture).await;
    if subject.fixture.b.segments.len() == 2 {
        // Its first page ends at the first position, which as a cursor means the beginning: the
        // reference client would request that page forever.
        attacks.retain(|attack| attack.name != "segments and second page of A");
    }
    attacks.extend(other_sizes(subject));
    attacks.extend(mixed_writers(subject));
    attacks.extend(pages(subject));
    attacks.extend(unknown_size(&subject.fixture));
    if let Cut::Stream(shape) = subject.cut {
        attacks.extend(cut_off(&subject.fixture, shape.last).await);
        if shape.last == 0 {
            attacks.extend(empty_end(subject));
        }
    }
    attacks
}

/// Returns one object with the segments of another.
fn with(object: &Forgery, segments: &Forgery) -> Forgery {
    Forgery { segments: segments.segments.clone(), ..object.clone() }
}

fn consistent(mut forgery: Forgery) -> Forgery {
    forgery.make_consistent();
    forgery
}

/// Envelope of one version with segments of a version of another size.
fn other_sizes(subject: &Subject) -> Vec<Attack> {
    let Subject { fixture, resized, cut: Cut::Stream(_), .. } = subject else {
        // The sizes of parts are not authenticated.
        return Vec::new();
    };
    let attack = |name: &str, forgery| fixture.attack(name, vec![forgery]).refused_whole();
    vec![
        attack("segments of another size", with(&fixture.b, resized)),
        attack("segments of another size, consistent", consistent(with(&fixture.b, resized))),
        attack("envelope of another size", with(resized, &fixture.b)),
        attack("envelope of another size, consistent", consistent(with(resized, &fixture.b))),
    ]
}

/// Mixes versions written by our client and by the reference client.
fn mixed_writers(subject: &Subject) -> Vec<Attack> {
    let Subject { fixture, ours, .. } = subject;
    if subject.origin.by == Writer::Ours {
        return Vec::new();
    }
    let mut attacks = Vec::new();
    let segments = fixture.attack("segments of ours", vec![with(&fixture.b, ours)]);
    // As one stream under a stream's envelope they are another version of the object.
    let fits = matches!(subject.cut, Cut::Stream(_));
    attacks.push(if fits { segments } else { segments.refused_reads() });
    let envelope = fixture.attack("envelope of ours", vec![with(ours, &fixture.b)]);
    attacks.push(envelope.refused_reads());
    let count = fixture.b.segments.len();
    for index in (0..count).filter(|_| count > 1) {
        let attack = fixture.edit(format!("segment {index} of ours"), |forgery| {
            let segment = &mut forgery.segments[index];
            let ours = ours.segments[0].clone();
            segment.content = ours.content;
            segment.item.encrypted_key = ours.item.encrypted_key;
            segment.item.encrypted_key_nonce = ours.item.encrypted_key_nonce;
        });
        attacks.push(attack.refused_whole());
    }
    attacks
}

/// Pages that do not advance.
fn pages(subject: &Subject) -> Vec<Attack> {
    let fixture = &subject.fixture;
    let empty = fixture.edit("pages without segments", |forgery| forgery.page = 0);
    let idle = fixture.edit("pages with segments of no bytes", |forgery| {
        let part = |part: &Part| position(part.item.position).part;
        let first = part(&forgery.segments[0]);
        let end = forgery.segments.iter().take_while(|other| part(other) == first).count();
        let mut idle = forgery.segments[end - 1].clone();
        idle.item.plain_offset += std::mem::take(&mut idle.item.plain_size);
        for number in 0..IDLE {
            idle.position_mut().index += 1;
            forgery.segments.insert(end + number, idle.clone());
        }
        forgery.page = 1;
    });
    vec![empty.refused_reads(), idle]
}

/// Objects without a size, so that the number of segments determines it.
fn unknown_size(fixture: &Fixture) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for kept in 0..=fixture.b.segments.len() {
        for said in [0, kept as i64] {
            attacks.push(fixture.edit(format!("no size, {said} segments of {kept}"), |forgery| {
                forgery.object.plain_size = 0;
                forgery.segments.truncate(kept);
                table::numbers::set_segment_count(forgery, said);
            }));
        }
    }
    attacks
}

/// Truncates a stream to some whole segments and a last one of the recorded size.
pub(crate) async fn cut_off(fixture: &Fixture, last: u64) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for index in 0..fixture.b.segments.len() - 1 {
        let blocks = fixture.blocks(index);
        let kept = layout::encrypted_size(last, BLOCK_SIZE).expect("a size") as usize;
        let stored = fixture.raw.store(&fixture.unused_name(), &blocks[..kept.max(BLOCK)]).await;
        let remote = Content::Stored(stored.0, stored.1);
        attacks.push(cut_to(fixture, last, index, "remote", remote));
        let inline = Bytes::copy_from_slice(&blocks[..last as usize + TAG]);
        attacks.push(cut_to(fixture, last, index, "inline", Content::Inline(inline)));
    }
    attacks
}

fn cut_to(fixture: &Fixture, last: u64, index: usize, kind: &str, content: Content) -> Attack {
    let attack = fixture.edit(format!("cut off in segment {index}, {kind} end"), |forgery| {
        forgery.segments.truncate(index + 1);
        let end = &mut forgery.segments[index];
        end.item.plain_size = last as i64;
        end.content = content;
        forgery.make_consistent();
        table::numbers::set_segment_count(forgery, index as i64 + 1);
    });
    attack.refused_reads()
}

/// An object recorded as empty, with whole segments of an earlier version before its end.
fn empty_end(subject: &Subject) -> Vec<Attack> {
    let Subject { fixture, resized, .. } = subject;
    let mut attacks = Vec::new();
    for index in 1..resized.segments.len() {
        for tag in [0, TAG] {
            let mut forgery = with(&fixture.b, resized);
            forgery.segments.truncate(index + 1);
            let end = &mut forgery.segments[index];
            end.item.plain_size = 0;
            end.content = Content::Inline(vec![0; tag].into());
            forgery.make_consistent();
            table::numbers::set_segment_count(&mut forgery, index as i64 + 1);
            let name = format!("{index} segments before an empty one of {tag} bytes");
            attacks.push(fixture.attack(name, vec![forgery]));
        }
    }
    attacks
}
