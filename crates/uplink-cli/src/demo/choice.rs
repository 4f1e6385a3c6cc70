//! Which storage nodes the demonstration stops.

use super::picture::Segment;

/// Chooses `count` of `nodes` nodes: the holders of the lowest pieces of the segment that has the
/// fewest holders, then others.
///
/// The lowest pieces are the data itself, so that the rest has to be computed; and no other choice
/// of as many nodes leaves fewer pieces of any segment.
pub(super) fn nodes_to_stop(segments: &[Segment], nodes: usize, count: usize) -> Vec<usize> {
    let weakest = segments
        .iter()
        .filter(|segment| !segment.pieces.is_empty())
        .min_by_key(|segment| segment.pieces.len());
    let mut pieces: Vec<_> = weakest.into_iter().flat_map(|segment| &segment.pieces).collect();
    pieces.sort_by_key(|(_, piece)| **piece);
    let mut order: Vec<usize> = pieces.into_iter().map(|(node, _)| *node).collect();
    let others: Vec<_> = (0..nodes).filter(|node| !order.contains(node)).collect();
    order.extend(others);
    order.truncate(count);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(pieces: &[(usize, u16)]) -> Segment {
        Segment { size: 1, pieces: pieces.iter().copied().collect() }
    }

    #[test]
    fn holders_of_the_data_in_the_weakest_segment_go_first() {
        let strong = segment(&[(0, 0), (1, 1), (2, 2), (3, 3)]);
        let weak = segment(&[(0, 3), (2, 0), (3, 1)]);
        let segments = [strong, segment(&[]), weak];
        assert!(nodes_to_stop(&segments, 5, 0).is_empty());
        assert_eq!(nodes_to_stop(&segments, 5, 1), [2]);
        assert_eq!(nodes_to_stop(&segments, 5, 2), [2, 3]);
        assert_eq!(nodes_to_stop(&segments, 5, 4), [0, 1, 2, 3]);
        assert_eq!(nodes_to_stop(&segments, 5, 5), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn without_pieces_any_nodes_go() {
        assert_eq!(nodes_to_stop(&[segment(&[])], 3, 2), [0, 1]);
        assert_eq!(nodes_to_stop(&[], 3, 2), [0, 1]);
    }
}
