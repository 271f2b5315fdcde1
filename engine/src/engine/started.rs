//! A publish between its place in the order and the disk's answer.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};

use super::PublishError;
use crate::core::Core;
use crate::history::Waits;
use crate::journal::JournalError;
use crate::sync::{Arc, Mutex};
use crate::topic::Topic;

/// A publish that nothing but the disk can refuse any more. Without a journal, or where nobody waits for the disk, it is done
/// already; else readers see its events once they are as safe as the journal's durability says.
///
/// A future, for any runtime: it waits for the disk without a thread. [`wait`](Self::wait) does the same with one. Dropped before
/// that, it goes on by itself, and nobody is told how it ended.
#[must_use = "whether it is stored is known when it has been waited for"]
#[derive(Debug)]
pub struct Started<T> {
    /// Taken when it is handed out.
    answer: Option<T>,
    rest: Option<Box<Rest>>,
}

/// What is to be done when the disk has answered; nothing, if that has been done.
struct Rest(Option<Open>);

struct Open {
    core: Arc<Core>,
    waits: Waits,
    topics: Vec<Arc<Topic>>,
    /// Of its events' frames.
    bytes: u64,
    /// What was asked for, for the count of those that were refused.
    asked: u64,
}

impl<T> Started<T> {
    pub(super) fn done(answer: T) -> Self {
        Self { answer: Some(answer), rest: None }
    }

    #[cold]
    pub(super) fn waiting(
        answer: T,
        core: &Arc<Core>,
        waits: Waits,
        topics: Vec<Arc<Topic>>,
        bytes: u64,
        asked: u64,
    ) -> Self {
        let open = Open { core: Arc::clone(core), waits, topics, bytes, asked };
        Self { answer: Some(answer), rest: Some(Box::new(Rest(Some(open)))) }
    }

    pub(super) fn map<U>(mut self, into: impl FnOnce(T) -> U) -> Started<U> {
        Started { answer: self.answer.take().map(into), rest: self.rest.take() }
    }

    /// Whether nothing is left to wait for.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.rest.is_none()
    }

    /// Writes for all who wait, if nobody does so at the moment and the disk has lately been quick: under a millisecond a
    /// write. For who awaits it on a thread that may be held up for as long, which spares two changes of threads.
    pub fn write_if_quick(&self) {
        if let Some(open) = self.rest.as_ref().and_then(|rest| rest.0.as_ref()) {
            open.waits.write_if_quick();
        }
    }

    /// Returns when it is stored and every reader can see it, and those that sleep are woken.
    ///
    /// # Errors
    /// [`PublishError::NotStored`]; nobody will ever see it.
    ///
    /// # Panics
    /// If it was awaited to its end before.
    pub fn wait(mut self) -> Result<T, PublishError> {
        if let Some(mut rest) = self.rest.take()
            && let Some(open) = rest.0.take()
        {
            open.wait()?;
        }
        Ok(self.answer.take().expect(AGAIN))
    }
}

const AGAIN: &str = "a publish that has been awaited to its end is not awaited again";

// Nothing in it is pinned.
impl<T> Unpin for Started<T> {}

impl<T> Future for Started<T> {
    type Output = Result<T, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(rest) = &mut self.rest {
            let Some(result) = poll(&mut rest.0, cx.waker()) else { return Poll::Pending };
            self.rest = None;
            result?;
        }
        Poll::Ready(Ok(self.answer.take().expect(AGAIN)))
    }
}

/// Asks for the answer, and does what is left when there is one.
fn poll(rest: &mut Option<Open>, waker: &Waker) -> Option<Result<(), PublishError>> {
    let open = rest.as_ref()?;
    let result = open.core.log.poll_for(&open.waits, waker)?;
    rest.take().map(|open| open.finish(result))
}

impl Drop for Rest {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            Orphan::adopt(open);
        }
    }
}

impl Open {
    fn wait(self) -> Result<(), PublishError> {
        let result = self.core.log.wait_for(&self.waits);
        self.finish(result)
    }

    /// Its events can be seen, or never will be.
    fn finish(self, result: Result<(), JournalError>) -> Result<(), PublishError> {
        match result {
            Ok(()) => self.core.counters.published_bytes(self.bytes),
            Err(_) => self.core.counters.refused(self.asked),
        }
        for topic in &self.topics {
            topic.interests.notify();
        }
        result.map_err(PublishError::from)
    }
}

/// A publish whose publisher has gone. Whoever wakes it does what is left.
struct Orphan(Mutex<Option<Open>>);

impl Orphan {
    fn adopt(open: Open) {
        Arc::new(Self(Mutex::new(Some(open)))).go_on();
    }

    fn go_on(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        // Nobody is left to be told.
        let _ = poll(&mut self.0.lock(), &waker);
    }
}

impl Wake for Orphan {
    fn wake(self: Arc<Self>) {
        self.go_on();
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rest")
    }
}
