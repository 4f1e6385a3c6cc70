//! Removing steps from a sequence that a mismatch does not need.

use std::time::{Duration, Instant};

use super::operation::Step;
use super::parties::Services;
use super::run::{Mismatch, run};

/// Time limit of shrinking one sequence.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A sequence whose last step is a mismatch.
#[derive(Debug)]
pub(crate) struct Failing {
    pub(crate) steps: Vec<Step>,
    pub(crate) mismatch: Mismatch,
}

impl Failing {
    pub(crate) fn new(mut steps: Vec<Step>, mismatch: Mismatch) -> Self {
        steps.truncate(mismatch.index + 1);
        Self { steps, mismatch }
    }

    /// Returns a shorter sequence that fails too: removes halves, then quarters, down to single steps.
    pub(crate) async fn shrink(mut self, services: &Services, name: &str) -> Self {
        let started = Instant::now();
        let mut length = self.steps.len() / 2;
        let mut runs = 0;
        while length > 0 {
            let mut start = 0;
            while start < self.steps.len() && started.elapsed() < TIMEOUT {
                runs += 1;
                let name = format!("{name}-{runs}");
                match self.without(services, &name, start, length).await {
                    Some(shorter) => self = shorter,
                    None => start += length,
                }
            }
            length /= 2;
        }
        self
    }

    async fn without(
        &self,
        services: &Services,
        name: &str,
        start: usize,
        length: usize,
    ) -> Option<Self> {
        let removed = start..start + length;
        let kept = self.steps.iter().enumerate().filter(|(index, _)| !removed.contains(index));
        let kept: Vec<Step> = kept.map(|(_, step)| step.clone()).collect();
        let mismatch = run(services, name, &kept).await.err()?;
        Some(Self::new(kept, mismatch))
    }
}
