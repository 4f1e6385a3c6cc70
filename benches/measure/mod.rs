//! Single-threaded measurements: candidates take turns, and the fastest call of a turn counts.
//!
//! A turn lasts at least 20 ms. Other programs slow down some calls of a turn but hardly ever all
//! of them, so the fastest call is the cost of the code. `best` is the fastest turn, `median` the
//! middle one. A figure whose best and median differ by 15 % or more is marked as noisy.
#![allow(dead_code, reason = "each benchmark uses its part")]

use std::time::{Duration, Instant};

/// Turns of each candidate.
const TURNS: usize = 9;
/// Minimum time of a turn.
const TURN: Duration = Duration::from_millis(20);
/// Minimum ratio of median to best in a noisy figure.
const NOISE: f64 = 1.15;

/// One implementation in a case.
pub(crate) struct Candidate<'a> {
    name: String,
    call: Box<dyn FnMut() + 'a>,
    turns: Vec<f64>,
}

impl<'a> Candidate<'a> {
    pub(crate) fn new(name: impl Into<String>, call: impl FnMut() + 'a) -> Self {
        Self { name: name.into(), call: Box::new(call), turns: Vec::new() }
    }

    fn turn(&mut self) {
        let started = Instant::now();
        let mut fastest = f64::INFINITY;
        while started.elapsed() < TURN {
            let call = Instant::now();
            (self.call)();
            fastest = fastest.min(call.elapsed().as_secs_f64());
        }
        self.turns.push(fastest);
    }
}

/// Seconds of one call.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) best: f64,
    pub(crate) median: f64,
}

impl Figure {
    /// Returns the rate in 10⁹ bytes per second.
    pub(crate) fn rate(&self, bytes: usize) -> f64 {
        bytes as f64 / 1e9 / self.best
    }

    pub(crate) fn is_noisy(&self) -> bool {
        self.median >= self.best * NOISE
    }
}

/// Measures the candidates in turns.
pub(crate) fn measure(mut candidates: Vec<Candidate<'_>>) -> Vec<Figure> {
    for _ in 0..TURNS {
        candidates.iter_mut().for_each(Candidate::turn);
    }
    let figure = |mut candidate: Candidate<'_>| {
        candidate.turns.sort_by(f64::total_cmp);
        let best = candidate.turns[0];
        let median = candidate.turns[TURNS / 2];
        Figure { name: candidate.name, best, median }
    };
    candidates.into_iter().map(figure).collect()
}

/// Prints one JSON line per figure. `bytes` is the size of a call's input, 0 for no rate.
pub(crate) fn report(name: &str, case: &str, bytes: usize, figures: &[Figure]) {
    for figure in figures {
        println!(
            "{{\"name\":\"{name}\",\"case\":\"{case}\",\"candidate\":\"{}\",\"bytes\":{bytes},\
             \"best_us\":{:.3},\"median_us\":{:.3},\"gb_per_s\":{:.3},\"noisy\":{}}}",
            figure.name,
            figure.best * 1e6,
            figure.median * 1e6,
            figure.rate(bytes),
            figure.is_noisy(),
        );
    }
}

/// Returns bytes without structure, equal in every run.
pub(crate) fn bytes(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    blake3::Hasher::new().update(b"bench").finalize_xof().fill(&mut bytes);
    bytes
}

/// A text table, printed after the JSON lines.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let width = |column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        println!();
        for row in &self.rows {
            let padded = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                let (left, right) = if column == 0 { (0, *width) } else { (*width, 0) };
                format!(
                    "{cell:>left$}{:right$}",
                    "",
                    right = right.saturating_sub(cell.chars().count())
                )
            });
            println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
        }
    }
}
