//! Waiting for a future on a thread.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::task::unconstrained;

/// Polls a future on this thread until it is ready, and parks the thread between polls.
///
/// Unlike `Runtime::block_on`, it works on threads that are inside a runtime.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    // A task that this thread may be running has a budget of polls, which only its own runtime renews:
    // a future that depends on it would never become ready.
    let mut future = pin!(unconstrained(future));
    let signal = Arc::new(Signal { thread: thread::current(), is_woken: AtomicBool::new(true) });
    let waker = Waker::from(Arc::clone(&signal));
    let mut context = Context::from_waker(&waker);
    loop {
        signal.wait();
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// Wakes a parked thread.
struct Signal {
    thread: Thread,
    /// Not only the thread's token of `park`: a call within a call would consume that of the outer one.
    is_woken: AtomicBool,
}

impl Signal {
    fn wait(&self) {
        while !self.is_woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    #[test]
    fn future_woken_by_another_thread_completes() {
        let (sender, receiver) = oneshot::channel();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            sender.send(7)
        });
        assert_eq!(wait(receiver), Ok(7));
    }

    #[test]
    fn outer_wait_is_woken_while_an_inner_one_runs() {
        let (sender, receiver) = oneshot::channel();
        let mut sender = Some(sender);
        let mut receiver = pin!(receiver);
        // The first poll registers its waker, is woken, and then waits for another future.
        let output = wait(poll_fn(|context| {
            let polled = receiver.as_mut().poll(context);
            if let Some(sender) = sender.take() {
                sender.send(7).expect("waited for");
                wait(inner());
            }
            polled
        }));
        assert_eq!(output, Ok(7));
    }

    /// Is pending once, and woken by another thread.
    async fn inner() {
        let (sender, receiver) = oneshot::channel();
        thread::spawn(move || sender.send(()));
        receiver.await.expect("sent");
    }

    #[test]
    fn wait_inside_a_task_is_not_bound_by_its_budget() {
        const MESSAGES: usize = 1000;
        let (sender, mut receiver) = mpsc::channel(MESSAGES);
        for message in 0..MESSAGES {
            sender.try_send(message).expect("capacity");
        }
        drop(sender);
        let receive_all = async move {
            let mut received = 0;
            while receiver.recv().await.is_some() {
                received += 1;
            }
            received
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let task = runtime.spawn(async move { wait(receive_all) });
        assert_eq!(runtime.block_on(task).expect("no panic"), MESSAGES);
    }
}
