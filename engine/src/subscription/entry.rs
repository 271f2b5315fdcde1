//! One topic of a subscription, and where reading its ring stands.

use crate::core::Core;
use crate::history::Found;
use crate::sync::Arc;
use crate::topic::Topic;
use crate::wire::Frame;

/// A topic of a subscription.
pub(super) struct Entry {
    pub(super) topic: Arc<Topic>,
    /// The index to look at next.
    pub(super) next: u64,
    /// Losses up to this position are told, or happened before the topic was entered.
    pub(super) told: u64,
    /// Read from behind this position on.
    pub(super) since: u64,
    /// Something of it came from the journal.
    pub(super) begun: bool,
    /// While conflating: where reading of what conflation has kept stands.
    pub(super) kept_from: Option<u64>,
    /// The next frame, during a pull.
    pub(super) head: Option<Frame>,
}

/// The ring has overtaken the entry.
pub(super) struct Overtaken;

impl Entry {
    pub(super) fn new(topic: Arc<Topic>, next: u64, told: u64) -> Self {
        Self { topic, next, told, since: 0, begun: false, kept_from: None, head: None }
    }

    /// A topic that is entered later, to be read from behind `newest` on.
    pub(super) fn late(topic: Arc<Topic>, next: u64, newest: u64) -> Self {
        Self { since: newest, ..Self::new(topic, next, newest) }
    }

    /// Whether nothing will ever follow.
    pub(super) fn is_finished(&self) -> bool {
        // Closed is read first: then the tail is the last one.
        self.topic.ring.is_closed() && self.kept_from.is_none() && self.next >= self.topic.ring.tail()
    }

    /// Finds the next frame up to position `through` that is behind `cursor`.
    pub(super) fn fill(
        &mut self,
        core: &Core,
        cursor: u64,
        through: u64,
        missed: &mut bool,
    ) -> Result<(), Overtaken> {
        if let Some(from) = self.kept_from {
            let from = from.max(cursor);
            // Held until `next` is found, so that nothing goes from the ring to what is kept in between.
            let log = core.log.lock();
            let (kept, lost_through) = log.kept_after(self.topic.key, from);
            *missed = lost_through > from;
            self.kept_from = kept.is_some().then(|| from.max(lost_through));
            match kept {
                Some(frame) => {
                    self.head = (frame.seq() <= through).then_some(frame);
                    return Ok(());
                }
                None => self.next = self.topic.ring.first_after(from),
            }
        }
        loop {
            match self.topic.ring.get(self.next) {
                Found::Frame(frame) if frame.seq() <= cursor => self.next += 1,
                Found::Frame(frame) if frame.seq() <= through => {
                    self.head = Some(frame);
                    return Ok(());
                }
                Found::Frame(_) | Found::NotYet => return Ok(()),
                Found::Gone => return Err(Overtaken),
            }
        }
    }

    /// Goes to the first retained event behind `seq` and counts all that is lost before it as told. False, and nothing
    /// done, if that is more than what is lost through `limit`.
    pub(super) fn skip_losses(&mut self, seq: u64, limit: u64) -> bool {
        let ring = &self.topic.ring;
        loop {
            let lost_through = ring.lost_through();
            if lost_through > limit {
                return false;
            }
            let next = ring.first_after(seq.max(lost_through));
            // If something was evicted meanwhile, `next` may be behind it and nobody would be told.
            if ring.lost_through() == lost_through {
                (self.told, self.next) = (lost_through, next);
                return true;
            }
        }
    }

    /// Passes over the frame at hand.
    pub(super) fn step(&mut self, seq: u64) {
        match &mut self.kept_from {
            Some(from) => *from = seq,
            None => self.next += 1,
        }
    }
}
