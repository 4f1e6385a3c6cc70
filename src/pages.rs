//! Listings as streams, fetched page by page.

use std::fmt;
use std::task::{Context, Poll, ready};

use tokio_util::sync::ReusableBoxFuture;

use crate::error::Result;
use crate::satellite::Page;

/// The items of all pages from a cursor on. Holds one page.
///
/// Every page advances or is an error (R9), so the stream ends. Polling again after an error fetches
/// the same page again. Dropping the stream cancels the call in flight.
pub(crate) struct Pages<T, C> {
    fetch: Box<dyn FnMut(C) -> Fetching<T, C> + Send + Sync>,
    page: std::vec::IntoIter<T>,
    next: Option<C>,
    fetching: Option<Fetching<T, C>>,
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
            next: Some(first),
            fetching: None,
        }
    }

    /// Returns the next item; `None` after the last one.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        loop {
            if let Some(item) = self.page.next() {
                return Poll::Ready(Some(Ok(item)));
            }
            let fetching = match (&mut self.fetching, &self.next) {
                (Some(fetching), _) => fetching,
                (None, Some(cursor)) => self.fetching.insert((self.fetch)(cursor.clone())),
                (None, None) => return Poll::Ready(None),
            };
            let fetched = ready!(fetching.poll(context));
            self.fetching = None;
            match fetched {
                Ok(page) => {
                    self.next = page.next;
                    self.page = page.items.into_iter();
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl<T, C> fmt::Debug for Pages<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").finish_non_exhaustive()
    }
}
