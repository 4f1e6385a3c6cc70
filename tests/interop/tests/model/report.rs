//! Failing sequences as text.

use std::fmt::Write as _;

use super::shrink::Failing;

/// Describes what a person needs to run a failing sequence again.
pub(crate) fn describe(seed: u64, length: usize, found_at: usize, failing: &Failing) -> String {
    let mut text = format!(
        "seed {seed}, sequence of {length} operations: outcomes of operation {found_at} differ.\n\
         UPLINK_MODEL_SEED={seed} UPLINK_MODEL_OPERATIONS={length} runs it again. Needed:\n"
    );
    for step in &failing.steps {
        _ = writeln!(text, "    {:?} with {:?}", step.operation, step.grant);
    }
    let parties = ["reference client", "ours over gRPC", "ours over DRPC"];
    for (party, outcome) in parties.iter().zip(&failing.mismatch.outcomes) {
        _ = writeln!(text, "  {party}: {outcome:?}");
    }
    text
}
