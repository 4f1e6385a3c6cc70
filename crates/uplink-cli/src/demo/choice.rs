//! Selection of the storage nodes to stop.

use super::piece_map::Segment;

/// Selects `count` of `nodes` nodes: the holders of the lowest pieces of the segment with the
/// fewest holders, then others.
///
/// The lowest pieces are the data itself, so the download has to decode the rest. No other
/// selection of the same size leaves fewer pieces of any segment.
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
    fn data_holders_of_the_weakest_segment_are_selected_first() {
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
    fn nodes_are_selected_in_order_without_pieces() {
        assert_eq!(nodes_to_stop(&[segment(&[])], 3, 2), [0, 1]);
        assert_eq!(nodes_to_stop(&[], 3, 2), [0, 1]);
    }
}
