//! What happened, a line for each fault and a table at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::descriptors;
use super::load::Tally;

pub(crate) struct Report {
    rounds: u64,
    done: u64,
    faults: BTreeMap<&'static str, Row>,
    /// Descriptors that were open after the first rounds.
    open: Option<usize>,
}

#[derive(Default)]
struct Row {
    times: u64,
    failed: u64,
    healed: Vec<Duration>,
}

/// Rounds after which everything that is kept open is open.
const WARM: u64 = 10;
/// Descriptors that may be open beyond those that were open then.
const MARGIN: usize = 200;

impl Report {
    pub(crate) fn begin() -> Self {
        println!("  healed in  operations  disk      failed meanwhile");
        Self { rounds: 0, done: 0, faults: BTreeMap::new(), open: None }
    }

    /// Notes a fault that has ended, how long it took until everything worked, and the MiB on disk.
    pub(crate) fn round(&mut self, fault: &'static str, healed: Duration, disk: u64, tally: Tally) {
        let failed: Vec<String> = tally
            .failed
            .iter()
            .map(|((what, kind), count)| format!("{count} {what} {kind}"))
            .collect();
        let (seconds, done, failed) = (healed.as_secs_f64(), tally.done, failed.join(", "));
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
        println!("\n  rounds  failed  healed in (median, longest)");
        for (fault, mut row) in self.faults {
            row.healed.sort_unstable();
            let seconds = |place: usize| row.healed[place].as_secs_f64();
            let (median, longest) = (seconds(row.healed.len() / 2), seconds(row.healed.len() - 1));
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
