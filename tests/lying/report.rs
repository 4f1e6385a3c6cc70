//! What a run found: counts for the table, and how to see each finding again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::operations::{Operation, Setting};

/// What lies led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The answers held nothing that the lie could change.
    Untold,
    Exact,
    Refused(String),
    /// Against the promise.
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
const SHOWN: usize = 10;

impl Report {
    pub(crate) fn add(&mut self, setting: Setting, lies: &str, outcome: &Outcome) {
        self.total += 1;
        let column = match outcome {
            Outcome::Untold => "untold".to_owned(),
            Outcome::Exact => "exact".to_owned(),
            Outcome::Refused(kind) => kind.clone(),
            Outcome::Broken { class, what } => {
                *self.classes.entry(class).or_default() += 1;
                self.broken.push(format!("{class}: {setting}: {lies}: {what}"));
                format!("BROKEN {class}")
            }
        };
        *self.counts.entry(setting.operation).or_default().entry(column).or_default() += 1;
    }

    pub(crate) fn measured(&mut self, time: Duration, memory: usize) {
        self.slowest = self.slowest.max(time);
        self.largest = self.largest.max(memory);
    }

    /// Prints the table, and fails when something was against the promise.
    pub(crate) fn finish(self, title: &str, seed: u64) {
        println!("{title}: {} lies, seed {seed}", self.total);
        for (operation, counts) in &self.counts {
            let counts: Vec<String> =
                counts.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
            println!("  {:<13} {}", format!("{operation:?}"), counts.join(", "));
        }
        let memory = self.largest >> 20;
        println!("  slowest {:?}, most memory over the clean run {memory} MiB", self.slowest);
        let (broken, total) = (self.broken.len(), self.total);
        let shown = self.broken[..broken.min(SHOWN)].join("\n");
        let classes = self.classes;
        assert!(broken == 0, "{broken} of {total} lies broke a promise: {classes:?}\n{shown}");
    }
}
