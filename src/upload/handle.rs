//! What the handles of uploads and of parts have in common: a writer, used by one call at a time.

use std::io;
use std::task::{Context, Poll, ready};

use tokio_util::sync::ReusableBoxFuture;

use super::writer::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;

/// Maximum bytes that `AsyncWrite` accepts per call.
const WRITE_SIZE: usize = 256 << 10;

/// A writer between two writes, or during one.
pub(crate) struct WriteHandle {
    state: State,
    /// The buffer of `AsyncWrite`, reused between calls.
    buffer: Vec<u8>,
    /// Shared with the writer.
    progress: Progress,
}

enum State {
    /// Between two writes.
    Ready(Box<Writer>),
    /// A write of `AsyncWrite` is running.
    Busy(ReusableBoxFuture<'static, Written>),
    /// The upload has failed, or a write was cancelled.
    Ended,
}

/// The outcome of a write, and its buffer.
type Written = (Result<Box<Writer>>, Vec<u8>);

impl WriteHandle {
    pub(crate) fn new(writer: Writer) -> Self {
        let progress = writer.progress().clone();
        Self { state: State::Ready(Box::new(writer)), buffer: Vec::new(), progress }
    }

    /// Reports the bytes sent so far to `callback`.
    pub(crate) fn on_progress(&self, callback: impl FnMut(u64) + Send + 'static) {
        self.progress.set(callback);
    }

    /// Writes all of `bytes`. When the future is dropped before it returns, the upload has ended.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut writer = self.take().await?;
        writer.write(bytes).await?;
        self.state = State::Ready(writer);
        Ok(())
    }

    /// Takes the writer, once it has finished the write before. The upload has ended unless the writer
    /// is put back.
    pub(crate) async fn take(&mut self) -> Result<Box<Writer>> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Ready(writer) => Ok(writer),
            State::Busy(writing) => writing.await.0,
            State::Ended => Err(ended()),
        }
    }

    /// Aborts the upload. Dropping a writer that is busy does so in the background, and one that has
    /// failed has done it already.
    pub(crate) async fn abort(self) -> Result<()> {
        match self.state {
            State::Ready(writer) => writer.abort().await,
            State::Busy(_) | State::Ended => Ok(()),
        }
    }

    /// Accepts at most [`WRITE_SIZE`] bytes. A write that must wait continues at the next call.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(context))?;
        let State::Ready(mut writer) = std::mem::replace(&mut self.state, State::Ended) else {
            return Poll::Ready(Err(ended().into()));
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.extend_from_slice(bytes.get(..WRITE_SIZE).unwrap_or(bytes));
        let taken = buffer.len();
        self.state = State::Busy(ReusableBoxFuture::new(async move {
            let written = writer.write(&buffer).await;
            (written.map(|()| writer), buffer)
        }));
        match self.poll_ready(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken)),
        }
    }

    /// Completes the write before.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_ready(context).map_err(io::Error::from)
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let State::Busy(writing) = &mut self.state else { return Poll::Ready(Ok(())) };
        let (written, buffer) = ready!(writing.poll(context));
        self.buffer = buffer;
        self.state = State::Ended;
        self.state = State::Ready(written?);
        Poll::Ready(Ok(()))
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::UploadDone, "the upload has failed, or a write was cancelled")
}
