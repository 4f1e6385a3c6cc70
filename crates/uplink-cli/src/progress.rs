//! Progress bars on standard error.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;
use crate::text::printable;

/// The progress bars of a command. Hidden if standard error is not a terminal.
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

    /// Adds a bar for a transfer of `size` bytes, or of unknown size.
    pub(crate) fn transfer(&self, name: &str, size: Option<u64>) -> ProgressBar {
        let bar = match size {
            Some(size) => ProgressBar::new(size).with_style(style(SIZED)),
            None => ProgressBar::no_length().with_style(style(UNSIZED)),
        };
        self.0.add(bar.with_message(printable(name).into_owned()))
    }
}

/// Sets the number of bytes of a transfer whose size was unknown.
pub(crate) fn set_size(bar: &ProgressBar, size: u64) {
    bar.set_length(size);
    bar.set_style(style(SIZED));
}

const SIZED: &str = "{wide_msg} {bytes:>12}/{total_bytes} {bytes_per_sec:>14} {bar:20} {eta:>4}";
const UNSIZED: &str = "{wide_msg} {bytes:>12} {bytes_per_sec:>14} {elapsed:>4}";

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; an invalid one falls back to a plain bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
