//! Mixed versions of an object, and of two objects.

use super::super::fixture::Fixture;
use super::super::forgery::{CallKind, Forgery};
use super::super::reader::Attack;

/// Mixes versions of an object, or two objects, within a response and between calls.
pub(crate) async fn mixed(fixture: &Fixture) -> Vec<Attack> {
    let mut attacks = Vec::new();
    let a = &fixture.a;
    let b = &fixture.b;
    let with = |object: &Forgery, segments: &Forgery| Forgery {
        object: object.object.clone(),
        segments: segments.segments.clone(),
        page: object.page,
    };
    attacks.push(fixture.attack("envelope of A, segments of B", vec![with(a, b)]).refused_reads());
    attacks.push(fixture.attack("envelope of B, segments of A", vec![with(b, a)]).refused_reads());
    let other = with(b, &fixture.other);
    attacks.push(fixture.attack("segments of another object", vec![other]).refused_reads());
    let count = b.segments.len();
    // Of many segments, the first three and the last.
    for index in (0..count).filter(|index| *index < 3 || *index == count - 1) {
        let attack = fixture.edit(format!("segment {index} of A"), |forgery| {
            forgery.segments[index] = a.segments[index].clone();
        });
        attacks.push(attack.refused_whole());
    }
    if count > 1 {
        attacks.extend(between_calls(fixture));
    }
    attacks
}

/// Switches to another version of the object between two calls.
fn between_calls(fixture: &Fixture) -> Vec<Attack> {
    let a = &fixture.a;
    let b = &fixture.b;
    let paged = |forgery: &Forgery| Forgery {
        page: forgery.page.min(b.segments.len() - 1),
        ..forgery.clone()
    };
    let attack =
        |name: &str, forgeries, select| fixture.attack(name, forgeries).with_selector(select);
    vec![
        attack("from A to B after the first answer", vec![a.clone(), b.clone()], |asked, _| {
            usize::from(asked != CallKind::Download)
        })
        .refused_seek(),
        attack("segments of A, listed as B", vec![b.clone(), a.clone()], |asked, _| {
            usize::from(asked == CallKind::Segment)
        })
        .refused_whole(),
        attack("second page of A", vec![paged(b), paged(a)], |asked, _| {
            usize::from(asked == CallKind::List)
        }),
        attack("segments and second page of A", vec![paged(b), paged(a)], |asked, _| {
            usize::from(matches!(asked, CallKind::List | CallKind::Segment))
        })
        .refused_whole(),
        attack("true small pages", vec![paged(b)], |_, _| 0),
    ]
}

pub(crate) async fn changed_key_on_repeat(fixture: &Fixture) -> Vec<Attack> {
    if fixture.blocks(0).is_empty() {
        return Vec::new();
    }
    let mut unreachable = fixture.b.clone();
    for part in &mut unreachable.segments {
        part.change = |reply| {
            for limit in &mut reply.addressed_limits {
                if let Some(address) = &mut limit.storage_node_address {
                    address.address = "127.255.255.254:1".to_owned();
                }
            }
        };
    }
    // The first segment comes with the object; its repetition is a separate call.
    let select = |asked, _| usize::from(asked == CallKind::Segment);
    let forgeries = vec![unreachable, fixture.a.clone()];
    let attack = fixture.attack("segments of A when asked again", forgeries);
    vec![attack.with_selector(select).refused_whole()]
}
