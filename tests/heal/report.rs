//! A line for each fault and a table at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::descriptors;
use super::load::Tally;

pub(crate) struct Report {
    rounds: u64,
    done: u64,
    faults: BTreeMap<&'static str, Row>,
    /// Open descriptors after the first rounds.
    open: Option<usize>,
}

#[derive(Default)]
struct Row {
    times: u64,
    failed: u64,
    healed: Vec<Duration>,
}

/// Rounds after which all long-lived descriptors are open.
const WARM: u64 = 10;
/// Allowed increase of open descriptors after that.
const MARGIN: usize = 200;

impl Report {
    pub(crate) fn begin() -> Self {
        println!("  recovery   operations  disk      failures");
        Self { rounds: 0, done: 0, faults: BTreeMap::new(), open: None }
    }

    /// Records a fault, the time to recovery, and the MiB on disk.
    pub(crate) fn round(&mut self, fault: &'static str, healed: Duration, disk: u64, tally: Tally) {
        let failed: Vec<String> = tally
            .failed
            .iter()
            .map(|((what, kind), count)| format!("{count} {what} {kind}"))
            .collect();
        let seconds = healed.as_secs_f64();
        let done = tally.done;
        let failed = failed.join(", ");
        let failed = if failed.is_empty() { "none" } else { &failed };
        println!("  {seconds:7.1} s  {done:10}  {disk:4} MiB  {fault}: {failed}");
        self.rounds += 1;
        self.done += done;
        let row = self.faults.entry(fault).or_default();
        row.times += 1;
        row.failed += tally.failed.values().sum::<u64>();
        row.healed.push(healed);
        let open = descriptors::open();
        match self.open {
            None if self.rounds == WARM => self.open = Some(open),
            Some(before) => {
                assert!(open <= before + MARGIN, "{open} descriptors are open, {before} were");
            }
            None => {}
        }
    }

    pub(crate) fn end(mut self, tally: Tally) {
        self.done += tally.done;
        println!("\n  rounds  failed  recovery (median, longest)");
        for (fault, mut row) in self.faults {
            row.healed.sort_unstable();
            let seconds = |index: usize| row.healed[index].as_secs_f64();
            let median = seconds(row.healed.len() / 2);
            let longest = seconds(row.healed.len() - 1);
            println!(
                "  {:6}  {:6}  {median:5.1} s {longest:5.1} s  {fault}",
                row.times, row.failed
            );
        }
        println!(
            "{} operations, {} faults; {} descriptors open at the end",
            self.done,
            self.rounds,
            descriptors::open()
        );
    }
}
