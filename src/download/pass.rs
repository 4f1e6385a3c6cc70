//! One pass over a range, segment by segment, in the background.

use std::ops::Range;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::Instrument as _;
use uplink_rpc::runtime;

use super::source::Source;
use crate::error::Result;
use crate::layout::Layout;
use crate::satellite::SegmentDownload;

/// Decrypted windows that may wait to be read.
const READ_AHEAD: usize = 2;

/// A range being read. Dropping it cancels all transfers.
#[derive(Debug)]
pub(super) struct Pass {
    output: mpsc::Receiver<Result<Bytes>>,
    task: JoinHandle<()>,
}

impl Pass {
    pub(super) fn spawn(source: Source, range: Range<u64>, first: Option<SegmentDownload>) -> Self {
        let (sender, output) = mpsc::channel(READ_AHEAD);
        let span = tracing::debug_span!("download", ?range);
        let reading = async move {
            let mut layout = source.lock_layout().await;
            if let Err(error) = run(&source, &mut layout, range, first, &sender).await {
                tracing::debug!(kind = ?error.kind(), "failed");
                let _ = sender.send(Err(error)).await;
            }
        };
        let task = runtime::spawn(reading.instrument(span));
        Self { output, task }
    }

    /// Returns the next bytes; `None` when the pass has ended without an error.
    pub(super) fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.output.poll_recv(context)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    source: &Source,
    layout: &mut Layout,
    mut range: Range<u64>,
    mut first: Option<SegmentDownload>,
    output: &mpsc::Sender<Result<Bytes>>,
) -> Result<()> {
    let segments = source.segments();
    while range.start < range.end {
        let expected = segments.expect(layout, range.start).await?;
        let segment = match first.take() {
            Some(first) => first,
            None => segments.fetch(layout, &expected).await?,
        };
        let within = expected.within(&range);
        let length = within.end - within.start;
        segments.read(expected, segment, within, output).await?;
        tracing::debug!(monotonic_counter.downloaded_bytes = length);
        range.start += length;
    }
    Ok(())
}
