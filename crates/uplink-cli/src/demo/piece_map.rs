//! A table of which storage node holds which piece of each segment.
//!
//! ```text
//!     node                     0   1   2   3   4   5
//!     segment 0    16.00 MiB   3   ·   0   5   1  ✗2
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;

use uplink_testnet::Network;

use crate::failure::Outcome;
use crate::output::Output;
use crate::text::binary_size;

/// A segment and its holders.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Plaintext bytes.
    pub(super) size: u64,
    /// Piece number by node index. Empty if the segment is stored inline at the satellite.
    pub(super) pieces: BTreeMap<usize, u16>,
}

/// The segments of an object, and the nodes of the network.
#[derive(Debug)]
pub(super) struct PieceMap {
    nodes: usize,
    segments: Vec<Segment>,
}

/// Columns of the narrowest common terminal.
const WIDTH: usize = 80;
/// Maximum number of segments in the table, divided by the number of blocks. Further segments are
/// only counted.
const MAX_SEGMENTS: usize = 5;

impl PieceMap {
    pub(super) fn new(network: &Network, segments: &[Segment]) -> Self {
        Self { nodes: network.nodes().len(), segments: segments.to_vec() }
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns whether all segments are stored inline at the satellite.
    pub(super) fn is_inline(&self) -> bool {
        self.segments.iter().all(|segment| segment.pieces.is_empty())
    }

    /// Returns the minimum number of running holders of a segment, 0 if all segments are inline.
    pub(super) fn min_holders(&self, stopped: &[usize]) -> usize {
        let remote = self.segments.iter().filter(|segment| !segment.pieces.is_empty());
        remote.map(|segment| running_holders(segment, stopped)).min().unwrap_or(0)
    }

    /// Prints the table, with the stopped nodes marked.
    pub(super) fn print(&self, stopped: &[usize], out: Output) -> Outcome {
        if self.is_inline() {
            return out
                .line("  The file is small enough to be stored at the satellite, encrypted.\n");
        }
        let nodes: Vec<_> = (0..self.nodes).collect();
        let blocks = nodes.chunks(self.nodes_per_block());
        let rows = (MAX_SEGMENTS / blocks.len()).max(1);
        for block in blocks {
            out.line("")?;
            out.line(self.heading(block, stopped, out))?;
            for (number, segment) in self.segments.iter().enumerate().take(rows) {
                out.line(self.row(number, segment, block, stopped, out))?;
            }
        }
        let more = self.segments.len().saturating_sub(rows);
        if more > 0 {
            let min = self.min_holders(stopped);
            let text = format!("… and {more} more; every segment has at least {min} holders");
            out.line(format_args!("    {}", out.dim(text)))?;
        }
        out.line("")
    }

    fn heading(&self, block: &[usize], stopped: &[usize], out: Output) -> String {
        let mut line = format!("    {:<LABEL$}{:>SIZE$}", "node", "");
        for node in block {
            let cell = format!("{node:>0$}", self.column_width());
            let cell = if stopped.contains(node) { out.red(cell) } else { out.bold(cell) };
            line.push_str(&cell);
        }
        line
    }

    fn row(
        &self,
        number: usize,
        segment: &Segment,
        block: &[usize],
        stopped: &[usize],
        out: Output,
    ) -> String {
        let width = self.column_width();
        let name = format!("segment {number}");
        let size = binary_size(segment.size);
        let mut line = format!("    {name:<LABEL$}{}", out.dim(format_args!("{size:>SIZE$}")));
        if segment.pieces.is_empty() {
            line.push_str(&out.dim("  stored at the satellite"));
            return line;
        }
        for node in block {
            let cell = match segment.pieces.get(node) {
                None => out.dim(format_args!("{:>width$}", "·")),
                Some(piece) if stopped.contains(node) => {
                    out.red(format_args!("{:>width$}", format!("✗{piece}")))
                }
                Some(piece) => out.green(format_args!("{piece:>width$}")),
            };
            line.push_str(&cell);
        }
        if block.last() == Some(&self.nodes.saturating_sub(1)) {
            let all = segment.pieces.len();
            let running = running_holders(segment, stopped);
            let text = if stopped.is_empty() {
                format!("   {all} holders")
            } else {
                format!("   {running} of {all} left")
            };
            // Writing to a string cannot fail.
            let _ = write!(line, "{}", out.dim(text));
        }
        line
    }

    /// Returns the width of a node's column: a space, the mark of a stopped node, the widest
    /// number.
    fn column_width(&self) -> usize {
        let pieces = self.segments.iter().flat_map(|segment| segment.pieces.values());
        let max_piece = pieces.max().copied().unwrap_or(0);
        let widest = usize::from(max_piece).max(self.nodes.saturating_sub(1));
        (widest.to_string().len() + 2).max(4)
    }

    /// Returns the number of node columns per block. Further nodes follow in blocks below.
    fn nodes_per_block(&self) -> usize {
        let available = WIDTH - 4 - LABEL - SIZE;
        if self.nodes * self.column_width() + COUNTS <= available {
            return self.nodes.max(1);
        }
        let max = available / self.column_width();
        (max - max % 5).max(1)
    }
}

/// Width of the counts at the end of a row.
const COUNTS: usize = 14;
/// Width of the label of a row.
const LABEL: usize = 12;
/// Width of the segment size after the label.
const SIZE: usize = 10;

fn running_holders(segment: &Segment, stopped: &[usize]) -> usize {
    segment.pieces.keys().filter(|node| !stopped.contains(node)).count()
}
