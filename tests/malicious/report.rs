//! Results of a run: counts for the table, and how to reproduce each finding.

use std::collections::BTreeMap;
use std::time::Duration;

use super::operations::{Operation, Setting};

/// The result of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No response had the field that the mutation changes.
    NotApplied,
    Exact,
    Refused(String),
    /// A guarantee was violated.
    Broken {
        class: &'static str,
        what: String,
    },
}

/// Outcomes of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    counts: BTreeMap<Operation, BTreeMap<String, u64>>,
    broken: Vec<String>,
    classes: BTreeMap<&'static str, u64>,
    total: u64,
    slowest: Duration,
    largest: usize,
}

/// Findings in the message of a failed test.
const MAX_PRINTED: usize = 10;

impl Report {
    pub(crate) fn add(&mut self, setting: Setting, mutations: &str, outcome: &Outcome) {
        self.total += 1;
        let column = match outcome {
            Outcome::NotApplied => "not applied".to_owned(),
            Outcome::Exact => "exact".to_owned(),
            Outcome::Refused(kind) => kind.clone(),
            Outcome::Broken { class, what } => {
                *self.classes.entry(class).or_default() += 1;
                self.broken.push(format!("{class}: {setting}: {mutations}: {what}"));
                format!("BROKEN {class}")
            }
        };
        *self.counts.entry(setting.operation).or_default().entry(column).or_default() += 1;
    }

    pub(crate) fn record_cost(&mut self, time: Duration, memory: usize) {
        self.slowest = self.slowest.max(time);
        self.largest = self.largest.max(memory);
    }

    /// Prints the table, and fails if a guarantee was violated.
    pub(crate) fn finish(self, title: &str, seed: u64) {
        println!("{title}: {} cases, seed {seed}", self.total);
        for (operation, counts) in &self.counts {
            let counts: Vec<String> =
                counts.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
            println!("  {:<18} {}", format!("{operation:?}"), counts.join(", "));
        }
        let memory = self.largest >> 20;
        println!("  slowest {:?}, maximum memory over the clean run {memory} MiB", self.slowest);
        let broken = self.broken.len();
        let total = self.total;
        let shown = self.broken[..broken.min(MAX_PRINTED)].join("\n");
        let classes = self.classes;
        assert!(
            broken == 0,
            "{broken} of {total} cases violated a guarantee: {classes:?}\n{shown}"
        );
    }
}
