//! The log: the one place where events get their position. Everything that must be one step is one critical section.
//!
//! * `committed` is stored under the lock after all events of a publish are in their rings; readers load it first and
//!   look into the rings second, so what they see up to it is complete.
//! * What the lock guards beside the order: the bytes that are retained, which topics live, publishers' own ids, and
//!   what conflation keeps.
//! * Evicted frames leave the critical section and are dropped outside.

use std::collections::HashMap;

use crate::config::Config;
use crate::draft::Draft;
use crate::failpoint;
use crate::history::Ring;
use crate::history::conflation::{Conflation, Evicted};
use crate::history::pending::{Number, Pending, Waits};
use crate::history::visible::Visible;
use crate::journal::{Journal, StateChanges};
use crate::sync::{Arc, Mutex, MutexGuard};
use crate::table::{Key, Table};
use crate::time::Timestamp;
use crate::wire::{Frame, NewFrame};

/// Names a topic for as long as it lives.
pub type TopicKey = Key;

/// How many topics are compared to find the oldest event of the hub, when the hub's bytes are used up.
const EVICTION_SAMPLE: usize = 5;
/// How many topics are looked at for that, if one was found.
const MAX_VISITED: usize = 256;
/// How many topics and events one step of a sweep looks at and evicts, while publishers wait.
const SWEEP_TOPICS: usize = 64;
const SWEEP_EVENTS: usize = 1024;

/// A frame on its way into a topic.
pub(crate) struct Append {
    pub(crate) topic: TopicKey,
    /// Taken when it is committed.
    pub(crate) frame: Option<NewFrame>,
}

/// What a commit has done.
#[derive(Default)]
pub(crate) struct Committed {
    /// Position of the first event.
    pub(crate) first: u64,
    pub(super) evicted: Evicted,
    pub(crate) waits: Option<Waits>,
}

/// Why nothing was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A topic was freed between look-up and commit.
    Freed,
    /// A topic is closed.
    Closed,
    /// It cannot be stored.
    NotStored(Arc<str>),
}

/// What the log knows of a topic.
pub(crate) struct TopicEntry {
    name: Arc<str>,
    ring: Arc<Ring>,
    bytes: u64,
    /// Publishers' own ids that are retained, if there ever were some.
    own_ids: Option<Box<OwnIds>>,
    conflation: Option<Box<Conflation>>,
    /// Subscriptions that hold the topic.
    pub(super) pins: u32,
    /// The transaction that closes it, while the journal has not settled that.
    pub(super) closing: Option<Number>,
    /// When it was last published to, subscribed to, left or closed.
    used: Timestamp,
}

type OwnIds = HashMap<Box<str>, OwnId, ahash::RandomState>;

#[derive(Clone, Copy)]
struct OwnId {
    /// Position of the latest event with the id.
    seq: u64,
    /// How many retained events have it.
    count: u32,
}

/// Order and content of a hub's history.
pub(crate) struct Log {
    pub(super) inner: Mutex<Inner>,
    pub(super) committed: Visible,
    pub(super) journal: Option<Arc<dyn Journal>>,
}

pub(crate) struct Inner {
    config: Config,
    pub(super) next: u64,
    /// How many positions before `next` have no event here.
    holes: u64,
    pub(super) pending: Pending,
    bytes: u64,
    events: u64,
    pub(super) topics: Table<TopicEntry>,
    /// Where the search for the oldest event goes on.
    hand: usize,
    hasher: ahash::RandomState,
}

impl Log {
    pub(crate) fn new(
        config: &Config,
        hasher: ahash::RandomState,
        journal: Option<Arc<dyn Journal>>,
    ) -> Self {
        let next = journal.as_ref().map_or(1, |journal| journal.next_position().max(1));
        Self {
            inner: Mutex::new(Inner {
                config: config.clone(),
                next,
                holes: next - 1,
                pending: Pending::default(),
                bytes: 0,
                events: 0,
                topics: Table::new(),
                hand: 0,
                hasher,
            }),
            committed: Visible::new(next - 1),
            journal,
        }
    }

    /// Position of the newest event that every reader can see; 0 before the first.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load()
    }

    /// Enters the critical section. See [`Inner`] for what can be done there.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Gives `appends` the next positions, all or none, and makes them visible together. With a journal it may be that they are
    /// not visible before [`settle`](Self::settle). `drafts` are what `appends` were rendered from, `states` what handlers
    /// have changed; only a journal looks at them.
    pub(crate) fn commit(
        &self,
        appends: &mut [Append],
        drafts: &[&Draft<'_>],
        states: &[StateChanges],
        now: Timestamp,
    ) -> Result<Committed, Refused> {
        if let Some(journal) = self.journal.as_deref().filter(|_| !appends.is_empty() || !states.is_empty()) {
            return self.commit_stored(journal, appends, drafts, states, now);
        }
        let mut inner = self.inner.lock();
        failpoint::reach("engine.commit");
        inner.check(appends)?;
        let mut done = Committed { first: inner.next, ..Committed::default() };
        for append in appends {
            inner.append_taken(append, now, &mut done.evicted);
        }
        self.committed.store_while_locked(inner.next - 1);
        drop(inner);
        Ok(done)
    }

    /// Evicts what is too old from some topics at and behind slot `from`; also tells which of them are idle.
    /// Returns the slot to go on from, or `None` when all have been seen.
    pub(crate) fn sweep(
        &self,
        from: usize,
        now: Timestamp,
        idle: &mut Vec<(TopicKey, Arc<str>)>,
    ) -> Option<usize> {
        let mut done = Evicted::default();
        let mut inner = self.inner.lock();
        let mut from = from;
        let mut budget = SWEEP_EVENTS;
        for _ in 0..SWEEP_TOPICS {
            let key = inner.topics.at_or_after(from)?.0;
            if !inner.evict_old(key, now, &mut budget, &mut done) {
                break;
            }
            if inner.is_idle(key, now) {
                idle.extend(inner.topics.get(key).map(|entry| (key, Arc::clone(&entry.name))));
            }
            from = key.slot() + 1;
        }
        drop(inner);
        Some(from)
    }
}

impl Inner {
    pub(super) fn check(&self, appends: &[Append]) -> Result<(), Refused> {
        appends.iter().try_for_each(|append| self.check_topic(append.topic))
    }

    #[inline]
    pub(super) fn check_topic(&self, topic: TopicKey) -> Result<(), Refused> {
        match self.topics.get(topic) {
            None => Err(Refused::Freed),
            Some(topic) if topic.ring.is_closed() || topic.closing.is_some() => Err(Refused::Closed),
            Some(_) => Ok(()),
        }
    }

    /// Passes over positions that have no event.
    pub(super) fn skip_to(&mut self, next: u64) {
        self.holes += next.saturating_sub(self.next);
        self.next = self.next.max(next);
    }

    /// Appends a frame that nobody has taken yet.
    #[inline]
    pub(super) fn append_taken(&mut self, append: &mut Append, now: Timestamp, done: &mut Evicted) {
        if let Some(frame) = append.frame.take() {
            self.append(append.topic, frame, now, done);
        }
    }

    /// How many events were committed.
    pub(crate) fn published(&self) -> u64 {
        self.newest() - self.holes
    }

    /// Opens a topic whose events up to `lost_through` count as evicted.
    pub(crate) fn open(
        &mut self,
        name: &Arc<str>,
        lost_through: u64,
        now: Timestamp,
    ) -> (TopicKey, Arc<Ring>) {
        let ring = Arc::new(Ring::new(self.config.history.events, lost_through));
        let entry = TopicEntry {
            name: Arc::clone(name),
            ring: Arc::clone(&ring),
            bytes: 0,
            own_ids: None,
            conflation: None,
            pins: 0,
            closing: None,
            used: now,
        };
        self.topics.insert_with(|key| (entry, (key, ring)))
    }

    /// Position of the newest event.
    pub(crate) fn newest(&self) -> u64 {
        self.next - 1
    }

    /// Events and bytes retained by the whole hub.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.events, self.bytes)
    }

    /// Bytes retained by a topic.
    pub(crate) fn bytes_of(&self, topic: TopicKey) -> u64 {
        self.topics.get(topic).map_or(0, |topic| topic.bytes)
    }

    /// Holds a topic for a subscription; false if it was freed. `conflate`: start to keep the latest of each key.
    pub(crate) fn pin(&mut self, topic: TopicKey, conflate: bool) -> bool {
        let hasher = self.hasher.clone();
        let Some(entry) = self.topics.get_mut(topic) else { return false };
        entry.pins += 1;
        if conflate {
            let lost_through = entry.ring.lost_through();
            let new = || Box::new(Conflation::new(hasher, lost_through));
            entry.conflation.get_or_insert_with(new).readers += 1;
        }
        true
    }

    /// Lets a topic go that [`pin`](Self::pin) held. What is returned is to be dropped outside the critical section.
    pub(crate) fn unpin(
        &mut self,
        topic: TopicKey,
        conflate: bool,
        now: Timestamp,
    ) -> Option<Box<Conflation>> {
        let entry = self.topics.get_mut(topic)?;
        entry.pins -= 1;
        entry.used = entry.used.max(now);
        let conflation = entry.conflation.as_mut().filter(|_| conflate)?;
        conflation.readers -= 1;
        if conflation.readers > 0 {
            return None;
        }
        entry.bytes -= conflation.kept_bytes;
        self.bytes -= conflation.kept_bytes;
        entry.conflation.take()
    }

    /// Closes a topic; false if it was freed or closed before.
    pub(crate) fn close(&mut self, topic: TopicKey, now: Timestamp) -> bool {
        let Some(entry) = self.topics.get_mut(topic) else { return false };
        entry.used = entry.used.max(now);
        entry.ring.close_while_locked()
    }

    /// Frees a topic if it is still idle; returns the position of its last event that is lost with it.
    pub(crate) fn free(&mut self, topic: TopicKey, now: Timestamp) -> Option<u64> {
        if !self.is_idle(topic, now) {
            return None;
        }
        self.topics.remove(topic).map(|entry| entry.ring.lost_through())
    }

    /// Whether nobody reads it, it holds nothing, and it has not been used for a while. A closed topic is remembered
    /// for as long as events are, so that late readers learn that it is closed.
    fn is_idle(&self, topic: TopicKey, now: Timestamp) -> bool {
        self.topics.get(topic).is_some_and(|entry| {
            let linger = if entry.ring.is_closed() {
                self.config.history.age_ms.max(self.config.topic.idle_ms)
            } else {
                self.config.topic.idle_ms
            };
            entry.pins == 0 && entry.ring.len() == 0 && now.since(entry.used) >= linger
        })
    }

    /// The position of the one retained event with a publisher's id: `Err` if there are several, `Ok(None)` if none.
    pub(crate) fn find_own_id(&self, topic: TopicKey, id: &str) -> Result<Option<u64>, Ambiguous> {
        match self.topics.get(topic).and_then(|topic| topic.own_ids.as_ref()?.get(id)) {
            None => Ok(None),
            Some(own) if own.count == 1 => Ok(Some(own.seq)),
            Some(_) => Err(Ambiguous),
        }
    }

    /// What conflation has kept of a topic after `seq`: the next frame, or the position through which even the
    /// latest of a key was lost.
    pub(crate) fn kept_after(&self, topic: TopicKey, seq: u64) -> (Option<Frame>, u64) {
        match self.topics.get(topic).and_then(|topic| topic.conflation.as_ref()) {
            None => (None, 0),
            Some(conflation) => (conflation.first_after(seq).cloned(), conflation.lost_through),
        }
    }

    fn append(&mut self, topic: TopicKey, frame: NewFrame, now: Timestamp, done: &mut Evicted) {
        let (events, bytes) = (u64::from(self.config.history.events), self.config.history.bytes);
        while self.topics.get(topic).is_some_and(|entry| entry.ring.len() >= events) {
            self.evict_one(topic, done);
        }
        let frame = frame.seal(&self.config.epoch, self.next);
        let Some(entry) = self.topics.get_mut(topic) else { return };
        let (seq, cost) = (self.next, frame.cost());
        if let Some(id) = frame.own_id() {
            let own_ids =
                entry.own_ids.get_or_insert_with(|| Box::new(HashMap::with_hasher(self.hasher.clone())));
            let own = own_ids.entry(id.into()).or_insert(OwnId { seq, count: 0 });
            *own = OwnId { seq, count: own.count + 1 };
        }
        if let Some(conflation) = &mut entry.conflation {
            let freed = conflation.replaced(frame.key(), seq, done);
            entry.bytes -= freed;
            self.bytes -= freed;
        }
        entry.used = entry.used.max(now);
        entry.bytes += cost;
        self.bytes += cost;
        self.next += 1;
        self.events += 1;
        entry.ring.push_while_locked(frame);
        // The newest event stays whatever its size: live readers have not seen it yet.
        while self.topics.get(topic).is_some_and(|entry| entry.ring_bytes() > bytes && entry.ring.len() > 1) {
            self.evict_one(topic, done);
        }
        while self.bytes > self.config.limits.history_bytes && self.evict_oldest(done) {}
    }

    /// Lets go of a topic's events before a position, also of what conflation keeps.
    pub(super) fn forget(&mut self, topic: TopicKey, before: u64, done: &mut Evicted) {
        let oldest = |entry: &TopicEntry| entry.ring.oldest().map(|frame| frame.seq());
        while self.topics.get(topic).and_then(oldest).is_some_and(|seq| seq < before) {
            self.evict_one(topic, done);
        }
        while let Some(entry) = self.topics.get_mut(topic)
            && let Some(kept) = &mut entry.conflation
            && kept.oldest().is_some_and(|seq| seq < before)
            && let Some(freed) = kept.drop_oldest(done)
        {
            entry.bytes -= freed;
            self.bytes -= freed;
        }
    }

    fn evict_one(&mut self, topic: TopicKey, done: &mut Evicted) {
        let key_limit = self.config.limits.conflate_keys as usize;
        let byte_limit = self.config.history.bytes;
        let Some(entry) = self.topics.get_mut(topic) else { return };
        let Some(frame) = entry.ring.pop_while_locked() else { return };
        self.events -= 1;
        if let Some(id) = frame.own_id()
            && let Some(own_ids) = &mut entry.own_ids
        {
            let last = own_ids.get_mut(id).is_some_and(|own| {
                own.count -= 1;
                own.count == 0
            });
            if last {
                own_ids.remove(id);
            }
        }
        let freed = match &mut entry.conflation {
            Some(conflation) => conflation.let_go(frame, key_limit, byte_limit, done),
            None => {
                let cost = frame.cost();
                done.evict(frame);
                cost
            }
        };
        entry.bytes -= freed;
        self.bytes -= freed;
    }

    /// Evicts the event that is oldest among a few topics; false if there is nothing but newest events.
    fn evict_oldest(&mut self, done: &mut Evicted) -> bool {
        let mut oldest: Option<(u64, TopicKey)> = None;
        let (mut sampled, mut visited, mut wrapped) = (0, 0, false);
        while sampled < EVICTION_SAMPLE && (visited < MAX_VISITED || oldest.is_none()) {
            visited += 1;
            match self.topics.at_or_after(self.hand) {
                None if wrapped => break,
                None => {
                    self.hand = 0;
                    wrapped = true;
                }
                Some((key, entry)) => {
                    self.hand = key.slot() + 1;
                    if let Some(at) = entry.oldest()
                        && at + 1 < self.next
                    {
                        sampled += 1;
                        if oldest.is_none_or(|(seq, _)| at < seq) {
                            oldest = Some((at, key));
                        }
                    }
                }
            }
        }
        let Some((_, key)) = oldest else { return false };
        let Some(entry) = self.topics.get_mut(key) else { return false };
        match entry.conflation.as_mut().and_then(|conflation| conflation.drop_oldest(done)) {
            Some(freed) => {
                entry.bytes -= freed;
                self.bytes -= freed;
            }
            None => self.evict_one(key, done),
        }
        true
    }

    /// Evicts what is too old, at most `budget` events; false if there is more.
    fn evict_old(&mut self, topic: TopicKey, now: Timestamp, budget: &mut usize, done: &mut Evicted) -> bool {
        let age = self.config.history.age_ms;
        if age == 0 {
            return true;
        }
        while self
            .topics
            .get(topic)
            .and_then(|entry| entry.ring.oldest())
            .is_some_and(|frame| now.since(frame.published_at()) >= age)
        {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            self.evict_one(topic, done);
        }
        true
    }
}

impl TopicEntry {
    /// Bytes in the ring, without what conflation keeps beside it.
    fn ring_bytes(&self) -> u64 {
        self.bytes - self.conflation.as_ref().map_or(0, |conflation| conflation.kept_bytes)
    }

    /// Position of the oldest event that is kept, in the ring or beside it.
    fn oldest(&self) -> Option<u64> {
        let kept = self.conflation.as_ref().and_then(|conflation| conflation.oldest());
        kept.or_else(|| self.ring.oldest().map(|frame| frame.seq()))
    }
}

/// A publisher's id that several retained events have: no position to resume from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;
