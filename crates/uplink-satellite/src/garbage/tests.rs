use uplink_core::id::PieceId;

use super::*;
use crate::metabase::{NodeState, Piece, Pieces};
use crate::time::Time;

fn node(number: u8) -> NodeRow {
    NodeRow {
        id: NodeId::new([number; 32]),
        address: String::new(),
        last_address: String::new(),
        subnet: Vec::new(),
        free_disk: 0,
        version: String::new(),
        state: NodeState::Normal,
        created: Time(0),
        disqualified: None,
        last_contact: Some(Time(0)),
    }
}

fn bytes(group: &[NodeRow], counts: &HashMap<NodeId, u64>) -> usize {
    empty_filters(group, counts).values().map(|filter| filter.as_bytes().len()).sum()
}

#[test]
fn group_filters_fit_in_memory_and_include_every_node() {
    let nodes: Vec<_> = (0..200).map(node).collect();
    let count = |node: &NodeRow| (node.id, u64::from(node.id.as_bytes()[0]) * 500);
    let counts: HashMap<_, _> = nodes.iter().map(count).collect();
    for memory in [0, 1_000, 50_000, 200_000, 1 << 30] {
        let groups = groups(nodes.clone(), &counts, memory);
        let grouped: Vec<_> = groups.iter().flatten().map(|node| node.id).collect();
        assert_eq!(grouped, nodes.iter().map(|node| node.id).collect::<Vec<_>>());
        for group in &groups {
            assert!(group.len() == 1 || bytes(group, &counts) <= memory, "{memory}");
        }
        for pair in groups.windows(2) {
            let more: Vec<_> = pair[0].iter().chain(&pair[1][..1]).cloned().collect();
            assert!(bytes(&more, &counts) > memory, "another node would have fit");
        }
    }
    assert!(groups(Vec::new(), &counts, 1_000).is_empty());
}

#[test]
fn filter_contains_the_piece_ids_derived_for_its_node() {
    let nodes = [node(1), node(2), node(3)];
    let mut filters = empty_filters(&nodes, &HashMap::new());
    let root_piece_id = PieceId::new([9; 32]);
    let pieces = [(0, 1), (300, 2), (7, 4)];
    let piece = |(number, node)| Piece { number, node: NodeId::new([node; 32]) };
    let pieces = Pieces(pieces.map(piece).to_vec());
    add(&mut filters, &SegmentPieces { root_piece_id, pieces });
    for (number, node, held) in [(0, 1, true), (300, 2, true), (1, 1, false), (0, 2, false)] {
        let node = NodeId::new([node; 32]);
        let piece = root_piece_id.derive(&node, number);
        assert_eq!(filters[&node].contains(&piece), held, "{number}");
    }
    let empty = &filters[&nodes[2].id];
    assert!(empty.as_bytes()[3..].iter().all(|byte| *byte == 0), "no bits without pieces");
}
