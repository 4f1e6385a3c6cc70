//! The transfers of one `cp` command.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use indicatif::ProgressBar;
use serde::Serialize;
use uplink::Project;

use super::step::Step;
use crate::args::location::Url;
use crate::context::Context;
use crate::dry_run::BucketCheck;
use crate::failure::Outcome;
use crate::filter::Filter;
use crate::local::path;
use crate::local::source::Source;
use crate::progress::Progress;
use crate::text::printable;
use crate::transfer::{self, Attributes};

/// What all transfers of a command share.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) attributes: Attributes,
    pub(super) project: &'a Project,
    pub(super) progress: Progress,
    pub(super) filter: Filter,
    /// Whether transfers are only checked and reported.
    pub(super) dry_run: bool,
    pub(super) bucket_check: BucketCheck,
    /// Objects of a batch that are transferred at the same time.
    pub(super) parallelism: usize,
    pub(super) skip_special: bool,
    /// Whether the command has more than one source.
    pub(super) has_several: bool,
    pub(super) context: &'a Context,
}

/// A transfer as JSON.
#[derive(Serialize)]
struct Report<'a> {
    source: &'a str,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl Job<'_> {
    /// Transfers one object, or with `--dry-run` only checks it. Returns its size if it is known.
    pub(super) async fn run(&self, step: &Step) -> Outcome<Option<u64>> {
        if self.dry_run {
            return self.rehearse(step).await;
        }
        let size = Some(self.transfer(step).await?);
        self.report(step, size)?;
        Ok(size)
    }

    async fn transfer(&self, step: &Step) -> Outcome<u64> {
        match step {
            Step::Copy { from, to, .. } => self.copy(from, to).await,
            Step::Download { from, to } => self.download_file(from, to, true).await,
            Step::DownloadBelow { from, root, relative, .. } => {
                path::create_parents(root, relative)?;
                self.download_file(from, &root.join(relative), false).await
            }
            Step::DownloadToStdout { from } => self.download_to_stdout(from).await,
            Step::Upload { from, to } => {
                let source = Source::open(from).await?;
                self.upload(source, &from.display().to_string(), to).await
            }
            Step::UploadStdin { to } => self.upload(Source::stdin()?, "-", to).await,
        }
    }

    async fn upload(&self, mut source: Source, name: &str, url: &Url) -> Outcome<u64> {
        let bar = self.progress.transfer(name, source.size());
        let Self { attributes, project, context, .. } = self;
        let size = transfer::upload(project, &mut source, url, attributes, context, &bar).await?;
        bar.finish();
        Ok(size)
    }

    async fn download_file(&self, url: &Url, path: &Path, follow_links: bool) -> Outcome<u64> {
        let bar = self.progress.transfer(&url.to_string(), None);
        let size = transfer::to_file(self.project, url, path, follow_links, &bar).await?;
        bar.finish();
        Ok(size)
    }

    async fn download_to_stdout(&self, url: &Url) -> Outcome<u64> {
        let mut download = transfer::open(self.project, url).await?;
        let bar = if io::stdout().is_terminal() {
            ProgressBar::hidden()
        } else {
            self.progress.transfer(&url.to_string(), Some(download.object().size))
        };
        let size = transfer::to_stdout(&mut download, &bar).await?;
        bar.finish();
        Ok(size)
    }

    async fn copy(&self, from: &Url, to: &Url) -> Outcome<u64> {
        let bar = self.progress.transfer(&from.to_string(), None);
        let Self { attributes, project, context, .. } = self;
        let size = transfer::copy(project, from, to, attributes, context, &bar).await?;
        bar.finish();
        Ok(size)
    }

    /// Reports a transfer that was made or would be. JSON on standard output would mix with an object
    /// that is written there.
    pub(super) fn report(&self, step: &Step, size: Option<u64>) -> Outcome {
        let out = self.context.out;
        let dry_run = self.dry_run;
        if dry_run {
            out.line(printable(&format!("Would copy {step}")))?;
        }
        if matches!(step, Step::DownloadToStdout { .. }) {
            return Ok(());
        }
        let (source, target) = step.names();
        out.object(&Report { source: &source, target: &target, size, dry_run })
    }
}
