//! Progress bars on standard error, for people who watch.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{Output, printable};

/// The bars of one command. Hidden when nobody watches.
#[derive(Clone, Debug)]
pub(crate) struct Progress(MultiProgress);

impl Progress {
    pub(crate) fn new(output: Output) -> Self {
        let target = if output.shows_progress() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self(MultiProgress::with_draw_target(target))
    }

    /// Adds the bar of a transfer of so many bytes, or of unknown length.
    pub(crate) fn transfer(&self, name: &str, size: Option<u64>) -> ProgressBar {
        let bar = match size {
            Some(size) => ProgressBar::new(size).with_style(style(KNOWN)),
            None => ProgressBar::no_length().with_style(style(UNKNOWN)),
        };
        self.0.add(bar.with_message(printable(name).into_owned()))
    }
}

/// Tells a bar how many bytes there will be.
pub(crate) fn expect(bar: &ProgressBar, size: u64) {
    bar.set_length(size);
    bar.set_style(style(KNOWN));
}

const KNOWN: &str = "{wide_msg} {bytes:>12}/{total_bytes} {bytes_per_sec:>14} {bar:20} {eta:>4}";
const UNKNOWN: &str = "{wide_msg} {bytes:>12} {bytes_per_sec:>14} {elapsed:>4}";

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of ours; a mistake in one falls back to a plain bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
