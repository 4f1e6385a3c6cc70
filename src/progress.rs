//! Reports the progress of a transfer to its caller.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The callback of one transfer, if its caller set one. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Progress(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    callback: Option<Box<dyn FnMut(u64) + Send>>,
    reported: u64,
}

impl Progress {
    /// Calls `callback` from now on, in place of an earlier one.
    pub(crate) fn set(&self, callback: impl FnMut(u64) + Send + 'static) {
        self.lock().callback = Some(Box::new(callback));
    }

    /// Reports the bytes transferred so far, unless that many were reported before.
    pub(crate) fn report(&self, bytes: u64) {
        let mut state = self.lock();
        if bytes <= state.reported {
            return;
        }
        state.reported = bytes;
        let Some(mut callback) = state.callback.take() else { return };
        // It may set another callback.
        drop(state);
        callback(bytes);
        self.lock().callback.get_or_insert(callback);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_increase_and_a_callback_may_replace_itself() {
        let (sender, reports) = std::sync::mpsc::channel();
        let progress = Progress::default();
        let shared = progress.clone();
        progress.set(move |bytes| {
            sender.send(bytes).unwrap();
            let sender = sender.clone();
            shared.set(move |bytes| sender.send(1000 + bytes).unwrap());
        });
        for bytes in [1, 1, 0, 5, 7] {
            progress.report(bytes);
        }
        drop(progress);
        assert_eq!(reports.iter().collect::<Vec<_>>(), [1, 1005, 1007]);
    }
}
