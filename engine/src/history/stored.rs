//! Commits to a log that a journal keeps.

use std::task::Waker;

use super::log::{Append, Committed, Log, Refused, TopicKey};
use super::pending::{Waits, What};
use crate::draft::Draft;
use crate::history::conflation::Evicted;
use crate::journal::{Journal, JournalError, Settlement, StateChanges};
use crate::time::Timestamp;

impl Log {
    // Apart, so that who has no journal does not pay for its locals.
    #[inline(never)]
    pub(super) fn commit_stored(
        &self,
        journal: &dyn Journal,
        appends: &mut [Append],
        drafts: &[&Draft<'_>],
        states: &[StateChanges],
        now: Timestamp,
    ) -> Result<Committed, Refused> {
        loop {
            let mut inner = self.inner.lock();
            inner.check(appends)?;
            let Some(ticket) = journal.try_submit(drafts, states)? else {
                drop(inner);
                // Whoever has to wait for room does so without the lock.
                journal.admit(drafts.len())?;
                continue;
            };
            let mut done = Committed { first: ticket.first, ..Committed::default() };
            if appends.is_empty() {
                let waits = |settlement| Waits { number: None, settlement: Some(settlement) };
                done.waits = ticket.settlement.map(waits);
            } else if ticket.settlement.is_none() && inner.pending.is_empty() {
                inner.skip_to(ticket.first);
                for append in appends {
                    inner.append_taken(append, now, &mut done.evicted);
                }
                self.committed.store_while_locked(inner.next - 1);
            } else {
                let take = |append: &mut Append| Append { topic: append.topic, frame: append.frame.take() };
                let what = What::Events(appends.iter_mut().map(take).collect());
                done.waits = Some(inner.wait_for(ticket.first, what, ticket.settlement, now));
            }
            drop(inner);
            return Ok(done);
        }
    }

    /// Returns when what was committed is visible, or known to have failed. To be called with no lock held.
    #[inline]
    pub(crate) fn settle(&self, done: Committed) -> Result<(), JournalError> {
        done.waits.map_or(Ok(()), |waits| self.wait_for(&waits))
    }

    /// As [`settle`](Self::settle), for what waits.
    pub(crate) fn wait_for(&self, waits: &Waits) -> Result<(), JournalError> {
        loop {
            if let Some(result) = self.ask(waits, |settlement| Some(settlement.wait())) {
                return result;
            }
        }
    }

    /// As [`wait_for`](Self::wait_for), but says `None` where that would wait, and wakes the waker when it is worth while to ask again.
    pub(crate) fn poll_for(&self, waits: &Waits, waker: &Waker) -> Option<Result<(), JournalError>> {
        self.ask(waits, |settlement| settlement.poll(waker))
    }

    /// Makes visible what is settled as soon as `outcome` says that the transaction's own is known, and all before it.
    fn ask(
        &self,
        waits: &Waits,
        outcome: impl Fn(&dyn Settlement) -> Option<Result<(), JournalError>>,
    ) -> Option<Result<(), JournalError>> {
        let result = match &waits.settlement {
            None => Ok(()),
            Some(settlement) => outcome(&**settlement)?,
        };
        let Some(number) = waits.number else { return Some(result) };
        loop {
            let mut evicted = Evicted::default();
            let mut inner = self.inner.lock();
            inner.settle(&mut evicted);
            self.committed.store_while_locked(inner.next - 1);
            let before = inner.pending.before(number);
            drop(inner);
            let Some(before) = before else { return Some(result) };
            // Its own outcome is told to it by its own publisher.
            if let Some(settlement) = before {
                let _ = outcome(&*settlement)?;
            }
        }
    }

    /// Closes a topic: true if it was this call, false if it was closed before, `Freed` if it is to be looked up again.
    pub(crate) fn close(&self, topic: TopicKey, name: &str, now: Timestamp) -> Result<bool, Refused> {
        let Some(journal) = self.journal.as_deref() else {
            let mut inner = self.inner.lock();
            return inner.check_topic(topic).map(|()| inner.close(topic, now)).or_else(Refused::or_closed);
        };
        loop {
            journal.admit(0)?;
            let mut inner = self.inner.lock();
            if let Some(number) = inner.topics.get(topic).and_then(|entry| entry.closing) {
                drop(inner);
                // How it went for the other one is seen when the topic is looked at again.
                let _ = self.wait_for(&Waits { number: Some(number), settlement: None });
                continue;
            }
            if let Err(refused) = inner.check_topic(topic) {
                return refused.or_closed();
            }
            let Some(ticket) = journal.try_close(name)? else { continue };
            if ticket.settlement.is_none() && inner.pending.is_empty() {
                return Ok(inner.close(topic, now));
            }
            let waits = inner.wait_for(ticket.first, What::Close(topic), ticket.settlement, now);
            drop(inner);
            self.wait_for(&waits)?;
            return Ok(true);
        }
    }

    /// Deletes a topic's events; `Freed` if it is to be looked up again.
    pub(crate) fn delete(&self, topic: TopicKey, name: &str, now: Timestamp) -> Result<(), Refused> {
        // Dropped when the log is unlocked.
        let mut evicted = Evicted::default();
        let Some(journal) = self.journal.as_deref() else {
            self.inner.lock().forget(topic, u64::MAX, &mut evicted);
            return Ok(());
        };
        loop {
            journal.admit(0)?;
            let mut inner = self.inner.lock();
            if inner.topics.get(topic).is_none() {
                return Err(Refused::Freed);
            }
            let Some(ticket) = journal.try_delete(name)? else { continue };
            if ticket.settlement.is_none() && inner.pending.is_empty() {
                inner.forget(topic, ticket.first, &mut evicted);
                return Ok(());
            }
            let what = What::Delete(topic, ticket.first);
            let waits = inner.wait_for(ticket.first, what, ticket.settlement, now);
            drop(inner);
            return Ok(self.wait_for(&waits)?);
        }
    }

    /// Whether a topic that is opened now was closed in an earlier life.
    pub(crate) fn was_closed(&self, name: &str) -> bool {
        self.journal.as_deref().is_some_and(|journal| journal.is_closed(name))
    }
}

impl Refused {
    /// A topic that is closed already is no failure of closing it.
    fn or_closed(self) -> Result<bool, Self> {
        if self == Self::Closed { Ok(false) } else { Err(self) }
    }
}

impl From<JournalError> for Refused {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::TopicClosed => Self::Closed,
            JournalError::Failed(reason) => Self::NotStored(reason),
        }
    }
}
