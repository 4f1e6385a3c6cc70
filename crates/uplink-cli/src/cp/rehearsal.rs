//! `cp --dry-run`: checks transfers without making them.

use super::job::Job;
use super::step::Step;
use crate::args::location::Url;
use crate::dry_run;
use crate::failure::Outcome;
use crate::local::path;
use crate::local::source::Source;
use crate::local::target::Target;

impl Job<'_> {
    /// Reports a transfer that is not made, and returns its size if it is known. Fails if the
    /// transfer is certain to.
    pub(super) async fn rehearse(&self, step: &Step) -> Outcome<Option<u64>> {
        let size = match step {
            Step::Copy { from, to, size } => {
                let size = self.source_size(from, *size).await?;
                self.require_bucket(to).await?;
                Some(size)
            }
            Step::Download { from, to } => {
                let size = self.source_size(from, None).await?;
                Target::check(to, true)?;
                Some(size)
            }
            Step::DownloadBelow { from, root, relative, size } => {
                let size = self.source_size(from, *size).await?;
                if path::check_parents(root, relative)? {
                    Target::check(&root.join(relative), false)?;
                }
                Some(size)
            }
            Step::DownloadToStdout { from } => Some(self.source_size(from, None).await?),
            Step::Upload { from, to } => {
                let size = Source::check(from).await?;
                self.require_bucket(to).await?;
                size
            }
            Step::UploadStdin { to } => {
                self.require_bucket(to).await?;
                None
            }
        };
        self.report(step, size)?;
        Ok(size)
    }

    async fn source_size(&self, from: &Url, listed: Option<u64>) -> Outcome<u64> {
        match listed {
            Some(size) => Ok(size),
            None => Ok(dry_run::find(self.project, from).await?.size),
        }
    }

    async fn require_bucket(&self, to: &Url) -> Outcome {
        self.bucket_check.require(self.project, &to.bucket).await
    }
}
