//! Versions of an object, or two objects, taken for one.

use super::super::material::Material;
use super::super::reading::Attack;
use super::super::story::{Asked, Story};

/// Versions of an object, or two objects, in one answer and from one call to the next.
pub(crate) async fn mixed(material: &Material) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let (a, b) = (&material.a, &material.b);
    let with = |object: &Story, segments: &Story| Story {
        object: object.object.clone(),
        segments: segments.segments.clone(),
        page: object.page,
    };
    attacks.push(material.attack("envelope of A, segments of B", vec![with(a, b)]).refused_reads());
    attacks.push(material.attack("envelope of B, segments of A", vec![with(b, a)]).refused_reads());
    let other = with(b, &material.other);
    attacks.push(material.attack("segments of another object", vec![other]).refused_reads());
    let count = b.segments.len();
    // Beyond a few segments the last one stands for all.
    for place in (0..count).filter(|place| *place < 3 || *place == count - 1) {
        let attack = material.edit(format!("segment {place} of A"), |story| {
            story.segments[place] = a.segments[place].clone();
        });
        attacks.push(attack.refused_whole());
    }
    if count > 1 {
        attacks.extend(between_calls(material));
    }
    attacks
}

/// An object that becomes another version of itself from one call to the next.
fn between_calls(material: &Material) -> Vec<Attack> {
    let (a, b) = (&material.a, &material.b);
    let paged =
        |story: &Story| Story { page: story.page.min(b.segments.len() - 1), ..story.clone() };
    let attack = |name: &str, stories, choose| material.attack(name, stories).choosing(choose);
    vec![
        attack("from A to B after the first answer", vec![a.clone(), b.clone()], |asked, _| {
            usize::from(asked != Asked::Download)
        })
        .refused_seek(),
        attack("segments of A, listed as B", vec![b.clone(), a.clone()], |asked, _| {
            usize::from(asked == Asked::Segment)
        })
        .refused_whole(),
        attack("second page of A", vec![paged(b), paged(a)], |asked, _| {
            usize::from(asked == Asked::List)
        }),
        attack("segments and second page of A", vec![paged(b), paged(a)], |asked, _| {
            usize::from(matches!(asked, Asked::List | Asked::Segment))
        })
        .refused_whole(),
        attack("true small pages", vec![paged(b)], |_, _| 0),
    ]
}

pub(crate) async fn another_key_when_repeated(material: &Material) -> Vec<Attack> {
    if material.blocks(0).is_empty() {
        return Vec::new();
    }
    let mut unreachable = material.b.clone();
    for part in &mut unreachable.segments {
        part.change = |reply| {
            for limit in &mut reply.addressed_limits {
                if let Some(address) = &mut limit.storage_node_address {
                    address.address = "127.255.255.254:1".to_owned();
                }
            }
        };
    }
    // The first segment comes with the object, its repetition is a call of its own.
    let choose = |asked, _| usize::from(asked == Asked::Segment);
    let stories = vec![unreachable, material.a.clone()];
    let attack = material.attack("segments of A when asked again", stories);
    vec![attack.choosing(choose).refused_whole()]
}
