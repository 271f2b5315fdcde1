//! What has its position and is not visible yet, because its publisher waits for the disk.
//!
//! Publishers wait at the same time and in no order; readers see their events in the order of the positions. So whoever
//! has its outcome makes visible all at the head of the queue whose outcome is known, be it its own or another's. One
//! that failed leaves a hole.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use super::log::{Append, Inner, TopicKey};
use crate::history::conflation::Evicted;
use crate::journal::{JournalError, Settlement};
use crate::sync::Arc;
use crate::time::Timestamp;

/// Everything that waits, in the order of the tickets.
#[derive(Default)]
pub(super) struct Pending {
    waiting: VecDeque<Waiting>,
    /// How many have ever waited.
    count: u64,
}

/// A transaction that waits: its number, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(NonZeroU64);

/// The journal has it, and it is not visible yet: `Log::wait_for` is to be called, or `Log::poll_for`.
pub(crate) struct Waits {
    /// Its place among those that wait; none if it has no events, of which there is nothing to be seen.
    pub(super) number: Option<Number>,
    pub(super) settlement: Option<Arc<dyn Settlement>>,
}

struct Waiting {
    number: Number,
    first: u64,
    what: What,
    now: Timestamp,
    settlement: Option<Arc<dyn Settlement>>,
}

/// What becomes of a transaction that is stored.
pub(super) enum What {
    Events(Vec<Append>),
    Close(TopicKey),
    /// Its events before a position.
    Delete(TopicKey, u64),
}

impl Waits {
    /// Writes for all who wait, if nobody is at it and the disk has lately been quick.
    pub(crate) fn write_if_quick(&self) {
        if let Some(settlement) = &self.settlement {
            settlement.write_if_quick();
        }
    }
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The outcome to wait for before `number` can have been made visible; `None` if it has been.
    pub(super) fn before(&self, number: Number) -> Option<Option<Arc<dyn Settlement>>> {
        self.waiting.front().filter(|front| front.number <= number).map(|front| front.settlement.clone())
    }

    fn pop_settled(&mut self) -> Option<(Waiting, Result<(), JournalError>)> {
        let outcome = match &self.waiting.front()?.settlement {
            None => Ok(()),
            Some(settlement) => settlement.outcome()?,
        };
        Some((self.waiting.pop_front()?, outcome))
    }
}

impl Inner {
    /// Puts a transaction behind those that wait. Its topics are held until it is settled.
    pub(super) fn wait_for(
        &mut self,
        first: u64,
        what: What,
        settlement: Option<Arc<dyn Settlement>>,
        now: Timestamp,
    ) -> Waits {
        for key in what.topics() {
            self.hold(key);
        }
        let number = Number(NonZeroU64::MIN.saturating_add(self.pending.count));
        self.pending.count += 1;
        if let What::Close(topic) = &what {
            self.set_closing(*topic, Some(number));
        }
        let waits = Waits { number: Some(number), settlement: settlement.clone() };
        self.pending.waiting.push_back(Waiting { number, first, what, now, settlement });
        waits
    }

    /// Makes visible, or drops, what is settled at the head of the queue.
    pub(super) fn settle(&mut self, done: &mut Evicted) {
        while let Some((waiting, outcome)) = self.pending.pop_settled() {
            for key in waiting.what.topics() {
                self.release(key);
            }
            match waiting.what {
                What::Events(appends) => {
                    self.skip_to(waiting.first);
                    let end = waiting.first + appends.len() as u64;
                    if outcome.is_ok() {
                        for mut append in appends {
                            self.append_taken(&mut append, waiting.now, done);
                        }
                    }
                    self.skip_to(end);
                }
                What::Close(topic) => {
                    self.set_closing(topic, None);
                    if outcome.is_ok() {
                        self.close(topic, waiting.now);
                    }
                }
                What::Delete(topic, before) => {
                    if outcome.is_ok() {
                        self.forget(topic, before, done);
                    }
                }
            }
        }
    }

    /// Keeps a topic from being freed until [`release`](Self::release).
    fn hold(&mut self, topic: TopicKey) {
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.pins += 1;
        }
    }

    fn release(&mut self, topic: TopicKey) {
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.pins -= 1;
        }
    }

    fn set_closing(&mut self, topic: TopicKey, closing: Option<Number>) {
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.closing = closing;
        }
    }
}

impl What {
    fn topics(&self) -> Vec<TopicKey> {
        match self {
            Self::Events(appends) => appends.iter().map(|append| append.topic).collect(),
            Self::Close(topic) | Self::Delete(topic, _) => vec![*topic],
        }
    }
}
