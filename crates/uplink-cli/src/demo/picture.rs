//! The picture: which storage node holds which piece of each segment.
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

/// One segment.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Plain bytes.
    pub(super) size: u64,
    /// Piece number by index of the node; empty when the satellite keeps the segment.
    pub(super) pieces: BTreeMap<usize, u16>,
}

/// Segments over nodes.
#[derive(Debug)]
pub(super) struct Picture {
    nodes: usize,
    segments: Vec<Segment>,
}

/// Columns of a terminal that everybody has.
const WIDTH: usize = 80;
/// Segments drawn if all nodes stand side by side, fewer if not; further ones are counted.
const MAX_SEGMENTS: usize = 5;

impl Picture {
    pub(super) fn of(network: &Network, segments: &[Segment]) -> Self {
        Self { nodes: network.nodes().len(), segments: segments.to_vec() }
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Fewest holders of a segment on nodes that are not stopped; 0 when nodes hold nothing.
    pub(super) fn fewest(&self, stopped: &[usize]) -> usize {
        let remote = self.segments.iter().filter(|segment| !segment.pieces.is_empty());
        let left = remote.map(|segment| left(segment, stopped));
        left.min().unwrap_or(0)
    }

    /// Draws the picture with the stopped nodes marked.
    pub(super) fn draw(&self, stopped: &[usize], out: Output) -> Outcome {
        if self.segments.iter().all(|segment| segment.pieces.is_empty()) {
            return out.line("  The satellite keeps so small a file itself, encrypted.\n");
        }
        let nodes: Vec<_> = (0..self.nodes).collect();
        let blocks = nodes.chunks(self.nodes_per_block());
        let drawn = (MAX_SEGMENTS / blocks.len()).max(1);
        for block in blocks {
            out.line("")?;
            out.line(self.heading(block, stopped, out))?;
            for (number, segment) in self.segments.iter().enumerate().take(drawn) {
                out.line(self.row(number, segment, block, stopped, out))?;
            }
        }
        let more = self.segments.len().saturating_sub(drawn);
        if more > 0 {
            let fewest = self.fewest(stopped);
            let text = format!("… and {more} more; every segment has at least {fewest} holders");
            out.line(format_args!("    {}", out.dim(text)))?;
        }
        out.line("")
    }

    fn heading(&self, block: &[usize], stopped: &[usize], out: Output) -> String {
        let mut line = format!("    {:<LABEL$}{:>SIZE$}", "node", "");
        for node in block {
            let cell = format!("{node:>0$}", self.column());
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
        let width = self.column();
        let (name, size) = (format!("segment {number}"), super::size(segment.size));
        let mut line = format!("    {name:<LABEL$}{}", out.dim(format_args!("{size:>SIZE$}")));
        if segment.pieces.is_empty() {
            line.push_str(&out.dim("  kept by the satellite"));
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
            let (all, left) = (segment.pieces.len(), left(segment, stopped));
            let text = if stopped.is_empty() {
                format!("   {all} holders")
            } else {
                format!("   {left} of {all} left")
            };
            // Writing to a string cannot fail.
            let _ = write!(line, "{}", out.dim(text));
        }
        line
    }

    /// Width of a node's column: a space, the mark of a stopped node, the widest number.
    fn column(&self) -> usize {
        let pieces = self.segments.iter().flat_map(|segment| segment.pieces.values());
        let piece = pieces.max().copied().unwrap_or(0);
        let widest = usize::from(piece).max(self.nodes.saturating_sub(1));
        (widest.to_string().len() + 2).max(4)
    }

    /// Nodes side by side; further ones follow below.
    fn nodes_per_block(&self) -> usize {
        let room = WIDTH - 4 - LABEL - SIZE;
        if self.nodes * self.column() + COUNTS <= room {
            return self.nodes.max(1);
        }
        // The counts of the last block's rows stand there alone.
        let most = room / self.column();
        (most - most % 5).max(1)
    }
}

/// Width of the counts at the ends of the rows.
const COUNTS: usize = 14;
/// Width of the names of the rows.
const LABEL: usize = 12;
/// Width of the sizes behind the names.
const SIZE: usize = 10;

fn left(segment: &Segment, stopped: &[usize]) -> usize {
    segment.pieces.keys().filter(|node| !stopped.contains(node)).count()
}
