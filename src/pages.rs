//! Listings as streams, fetched page by page.

use std::fmt;
use std::task::{Context, Poll};

use tokio_util::sync::ReusableBoxFuture;

use crate::error::Result;
use crate::satellite::Page;

/// The items of all pages from a cursor on. Holds two pages.
///
/// From the second page on, the next one is fetched while items are read; the first page alone is one
/// call. Every page advances or is an error (R9), so the stream ends. Polling again after an error
/// fetches the same page again. Dropping the stream cancels the call in flight.
pub(crate) struct Pages<T, C> {
    fetch: Box<dyn FnMut(C) -> Fetching<T, C> + Send + Sync>,
    page: std::vec::IntoIter<T>,
    /// Pages read so far, with the current one.
    count: usize,
    next: Option<C>,
    fetching: Option<Fetching<T, C>>,
    fetched: Option<Result<Page<T, C>>>,
}

/// The call for one page.
pub(crate) type Fetching<T, C> = ReusableBoxFuture<'static, Result<Page<T, C>>>;

impl<T, C: Clone> Pages<T, C> {
    /// Fetches the page at a cursor with `fetch`, beginning with `first`.
    pub(crate) fn new<F>(first: C, mut fetch: impl FnMut(C) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Page<T, C>>> + Send + 'static,
    {
        Self {
            fetch: Box::new(move |cursor| ReusableBoxFuture::new(fetch(cursor))),
            page: Vec::new().into_iter(),
            count: 0,
            next: Some(first),
            fetching: None,
            fetched: None,
        }
    }

    /// Returns the next item; `None` after the last one.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        loop {
            self.advance_fetch(context);
            if let Some(item) = self.page.next() {
                return Poll::Ready(Some(Ok(item)));
            }
            match self.fetched.take() {
                Some(Ok(page)) => {
                    self.count += 1;
                    self.next = page.next;
                    self.page = page.items.into_iter();
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None if self.fetching.is_some() => return Poll::Pending,
                None => return Poll::Ready(None),
            }
        }
    }

    /// Begins the call for the next page if it is needed by now, and polls a begun one.
    fn advance_fetch(&mut self, context: &mut Context<'_>) {
        if self.fetched.is_some() {
            return;
        }
        if self.fetching.is_none() && (self.count > 1 || self.page.len() == 0) {
            self.fetching = self.next.clone().map(&mut self.fetch);
        }
        let Some(fetching) = &mut self.fetching else { return };
        if let Poll::Ready(fetched) = fetching.poll(context) {
            self.fetching = None;
            self.fetched = Some(fetched);
        }
    }
}

impl<T, C> fmt::Debug for Pages<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::Error;

    /// Returns pages of ten items each, and the number of calls.
    fn pages(count: usize) -> (Pages<usize, usize>, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let pages = Pages::new(0, move |page| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move {
                let next = Some(page + 1).filter(|next| *next < count);
                Ok(Page { items: (page * 10..page * 10 + 10).collect(), next })
            }
        });
        (pages, calls)
    }

    async fn take(pages: &mut Pages<usize, usize>, count: usize) -> Vec<usize> {
        let mut items = Vec::new();
        while items.len() < count {
            let Some(item) = poll_fn(|context| pages.poll_next(context)).await else { break };
            items.push(item.unwrap());
        }
        items
    }

    #[tokio::test]
    async fn first_page_is_one_call_and_later_ones_are_read_ahead() {
        let (mut pages, calls) = pages(5);
        take(&mut pages, 10).await;
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        take(&mut pages, 1).await;
        assert_eq!(calls.load(Ordering::Relaxed), 3, "the third page while the second is read");
        assert_eq!(take(&mut pages, 100).await, Vec::from_iter(11..50));
        assert_eq!(calls.load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn page_read_ahead_that_failed_is_fetched_again() {
        let mut fails = 1;
        let mut pages = Pages::new(0, move |page: usize| {
            let is_failing = page == 2 && std::mem::take(&mut fails) == 1;
            async move {
                if is_failing {
                    return Err(Error::protocol("once"));
                }
                Ok(Page { items: vec![page], next: Some(page + 1).filter(|next| *next < 4) })
            }
        });
        let mut items = Vec::new();
        while let Some(item) = poll_fn(|context| pages.poll_next(context)).await {
            items.push(item.ok());
        }
        assert_eq!(items, [Some(0), Some(1), None, Some(2), Some(3)]);
    }
}
