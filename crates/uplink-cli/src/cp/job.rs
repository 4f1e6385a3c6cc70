//! The transfers of one `cp` command.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use indicatif::ProgressBar;
use serde::Serialize;
use uplink::Project;

use super::step::Step;
use crate::args::location::Url;
use crate::context::Context;
use crate::failure::Outcome;
use crate::filter::Filter;
use crate::local::path;
use crate::local::source::Source;
use crate::progress::Progress;
use crate::transfer::{self, Attributes};

/// What all transfers of a command share.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) attributes: Attributes,
    pub(super) project: &'a Project,
    pub(super) progress: Progress,
    pub(super) filter: Filter,
    pub(super) skip_special: bool,
    /// Whether the command has more than one source.
    pub(super) has_several: bool,
    pub(super) context: &'a Context,
}

/// A finished transfer as JSON.
#[derive(Serialize)]
struct Report<'a> {
    source: &'a str,
    target: &'a str,
    size: u64,
}

impl Job<'_> {
    /// Transfers one object.
    pub(super) async fn run(&self, step: &Step) -> Outcome {
        match step {
            Step::Copy { from, to } => self.copy(from, to).await,
            Step::Download { from, to } => self.download_file(from, to, true).await,
            Step::DownloadBelow { from, root, relative } => {
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

    async fn upload(&self, mut source: Source, name: &str, url: &Url) -> Outcome {
        let bar = self.progress.transfer(name, source.size());
        let Self { attributes, project, context, .. } = self;
        let size = transfer::upload(project, &mut source, url, attributes, context, &bar).await?;
        bar.finish();
        self.report(name, &url.to_string(), size)
    }

    async fn download_file(&self, url: &Url, path: &Path, follow_links: bool) -> Outcome {
        let bar = self.progress.transfer(&url.to_string(), None);
        let size = transfer::to_file(self.project, url, path, follow_links, &bar).await?;
        bar.finish();
        self.report(&url.to_string(), &path.display().to_string(), size)
    }

    async fn download_to_stdout(&self, url: &Url) -> Outcome {
        let mut download = transfer::open(self.project, url).await?;
        let bar = if io::stdout().is_terminal() {
            ProgressBar::hidden()
        } else {
            self.progress.transfer(&url.to_string(), Some(download.object().size))
        };
        transfer::to_stdout(&mut download, &bar).await?;
        bar.finish();
        Ok(())
    }

    async fn copy(&self, from: &Url, to: &Url) -> Outcome {
        let bar = self.progress.transfer(&from.to_string(), None);
        let Self { attributes, project, context, .. } = self;
        let size = transfer::copy(project, from, to, attributes, context, &bar).await?;
        bar.finish();
        self.report(&from.to_string(), &to.to_string(), size)
    }

    fn report(&self, source: &str, target: &str, size: u64) -> Outcome {
        self.context.out.object(&Report { source, target, size })
    }
}
