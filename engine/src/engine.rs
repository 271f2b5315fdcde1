//! The engine: runs the stages in order.

use std::fmt;

use crate::config::{Config, ConfigError};
use crate::core::Core;
use crate::draft::{Draft, check_topic};
use crate::fanout::Watcher;
use crate::handler::{Chain, HandlerInfo, HandlerSpec, Held};
use crate::history::{Append, Refused};
use crate::id::EventId;
use crate::journal::{Journal, JournalStats};
use crate::stats::{Stats, TopicStats};
use crate::subscription::{SubscribeError, SubscribeOptions, Subscription, SubscriptionKey};
use crate::sync::Arc;
use crate::time::Timestamp;
use crate::topic::Topic;
use crate::wire::{Frame, NewFrame};

mod refusal;
mod tick;

#[cfg(all(test, loom))]
mod tests_loom;

pub use refusal::{BatchError, PublishError};

/// How often [`Engine::handle_timeout`] wants to be called, in milliseconds.
const SWEEP_MS: u64 = 1000;

/// An event engine. Clones are the same engine; every method may be called from any thread.
///
/// The engine has no clock and no thread: callers bring the time, and call [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) says.
#[derive(Clone)]
pub struct Engine(Arc<Core>);

/// What publishing has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Position of the last event that was committed; if none was, of the hub's newest event.
    pub seq: u64,
    /// How many events were committed: 1, or what the handlers made of it, 0 if they dropped it.
    pub events: usize,
    /// The last event's own id, if it has one; otherwise its id is [`Engine::id_of`] its position.
    pub own_id: Option<Box<str>>,
}

impl Engine {
    /// Makes an engine.
    ///
    /// # Errors
    /// [`ConfigError`] names the option that cannot work.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self(Arc::new(Core::new(config, None))))
    }

    /// Makes an engine whose history a journal keeps: its epoch and its next position are the journal's, and readers that
    /// come from before what the rings hold get it from there. The journal belongs to this engine alone.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_journal(mut config: Config, journal: Arc<dyn Journal>) -> Result<Self, ConfigError> {
        config.epoch = journal.epoch();
        config.validate()?;
        Ok(Self(Arc::new(Core::new(config, Some(journal)))))
    }

    /// Whether publishing and closing may wait for a disk: with a journal.
    #[must_use]
    pub fn may_block(&self) -> bool {
        self.0.journal.is_some()
    }

    /// What the journal holds and how it goes.
    #[must_use]
    pub fn journal_stats(&self) -> Option<JournalStats> {
        self.0.journal.as_ref().map(|journal| journal.stats())
    }

    /// The journal, where handlers keep their state.
    #[must_use]
    pub fn journal(&self) -> Option<&Arc<dyn Journal>> {
        self.0.journal.as_ref()
    }

    /// The configuration it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Publishes one event. When this returns, every reader can see it and those that sleep are woken; nobody has
    /// necessarily got it yet. With a journal it may wait for the disk, as the journal's durability asks for.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has changed then.
    pub fn publish(&self, draft: Draft<'_>, now: Timestamp) -> Result<Published, PublishError> {
        let core = &*self.0;
        let now = core.at(now);
        let result = self.admit(&draft).and_then(|()| {
            let Some(chain) = core.chain_for(&draft) else { return self.commit_one(&draft, now) };
            let mut published = self.through_handlers(&chain, vec![draft], now).map_err(|e| e.error)?;
            Ok(published.remove(0))
        });
        if result.is_err() {
            core.counters.refused(1);
        }
        result
    }

    /// Publishes several events in one step: all of them or none, with nothing of others in between.
    ///
    /// # Errors
    /// [`BatchError`] names the first event that was refused; nothing has changed then.
    pub fn publish_batch(
        &self,
        drafts: Vec<Draft<'_>>,
        now: Timestamp,
    ) -> Result<Vec<Published>, BatchError> {
        let core = &*self.0;
        let (now, count) = (core.at(now), drafts.len() as u64);
        let admitted = drafts
            .iter()
            .enumerate()
            .try_for_each(|(index, draft)| self.admit(draft).map_err(|error| BatchError { index, error }));
        let result = admitted.and_then(|()| self.through_handlers(&core.chain(), drafts, now));
        if result.is_err() {
            core.counters.refused(count);
        }
        result
    }

    /// Closes a topic: readers get what is retained and end, and nobody can publish to it any more. A topic that does
    /// not exist is opened and closed, so that late readers learn it. False if it was closed before.
    ///
    /// # Errors
    /// [`PublishError::Invalid`], [`PublishError::TopicLimit`] or [`PublishError::NotStored`].
    pub fn close_topic(&self, name: &str, now: Timestamp) -> Result<bool, PublishError> {
        check_topic(name)?;
        let now = self.0.at(now);
        loop {
            let topic = self.open(name, now)?;
            match self.0.close(&topic, now) {
                Ok(closed) => return Ok(closed),
                // Freed between look-up and here; the name leads to another topic.
                Err(Refused::Freed) => {}
                Err(Refused::Closed) => return Ok(false),
                Err(Refused::NotStored(reason)) => return Err(PublishError::NotStored { reason }),
            }
        }
    }

    /// Deletes the events that a topic has, in memory and in the journal. Readers that have not got them are told by a gap
    /// notice. The topic goes on; one that is closed stays closed.
    ///
    /// # Errors
    /// [`PublishError::Invalid`], [`PublishError::TopicLimit`] or [`PublishError::NotStored`].
    pub fn delete_history(&self, name: &str, now: Timestamp) -> Result<(), PublishError> {
        check_topic(name)?;
        let now = self.0.at(now);
        loop {
            let topic = self.open(name, now)?;
            match self.0.delete(&topic, now) {
                // Freed between look-up and here; the name leads to another topic.
                Err(Refused::Freed) => {}
                Ok(()) | Err(Refused::Closed) => return Ok(()),
                Err(Refused::NotStored(reason)) => return Err(PublishError::NotStored { reason }),
            }
        }
    }

    /// Makes a watcher for [`subscribe`](Self::subscribe).
    #[must_use]
    pub fn watcher(&self) -> Watcher {
        Watcher::new()
    }

    /// Starts to read. The subscription lives until its last clone is dropped. Handlers that welcome readers are asked
    /// first, on this thread.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing has changed then.
    pub fn subscribe(
        &self,
        watcher: &Watcher,
        options: &SubscribeOptions<'_>,
        now: Timestamp,
    ) -> Result<Subscription, SubscribeError> {
        self.subscribe_as(watcher, options, options.client.as_deref(), now)
    }

    /// As [`subscribe`](Self::subscribe), for a cursor that readers of several names may come to share: handlers are told
    /// that `client` comes, and nothing is left out for its sake unless `options` say so as well.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub fn subscribe_as(
        &self,
        watcher: &Watcher,
        options: &SubscribeOptions<'_>,
        client: Option<&str>,
        now: Timestamp,
    ) -> Result<Subscription, SubscribeError> {
        let now = self.0.at(now);
        Subscription::open(&self.0, watcher, options, Some(client), now)
    }

    /// As [`subscribe`](Self::subscribe), without asking handlers: for a reader whom they have admitted already.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub fn subscribe_again(
        &self,
        watcher: &Watcher,
        options: &SubscribeOptions<'_>,
        now: Timestamp,
    ) -> Result<Subscription, SubscribeError> {
        let now = self.0.at(now);
        Subscription::open(&self.0, watcher, options, None, now)
    }

    /// The subscription in life that a key names.
    #[must_use]
    pub fn subscription(&self, key: SubscriptionKey) -> Option<Subscription> {
        let weak = self.0.subscriptions.lock().get(key).cloned()?;
        Subscription::upgrade(&weak)
    }

    /// Adds a handler behind those that are there. Events that are published after this call pass it.
    pub fn add_handler(&self, spec: HandlerSpec) {
        self.0.add_handler(spec);
    }

    /// Removes the handlers of that name. Events that are published after this call do not pass them; those under way
    /// still may. False if there was none.
    pub fn remove_handler(&self, name: &str) -> bool {
        self.0.remove_handler(name)
    }

    /// The handlers, in the order in which events pass them.
    #[must_use]
    pub fn handlers(&self) -> Vec<HandlerInfo> {
        self.0.chain().info()
    }

    /// Evicts what is too old and frees idle topics. Does nothing if another thread is at it.
    pub fn handle_timeout(&self, now: Timestamp) {
        let core = &*self.0;
        let now = core.at(now);
        let Some(_sweeping) = core.try_sweep() else { return };
        let mut idle = Vec::new();
        let mut from = Some(0);
        while let Some(slot) = from {
            from = core.log.sweep(slot, now, &mut idle);
            core.directory.free(&idle, &core.log, now);
            idle.clear();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) should be called next; `None` while there is no topic.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        (self.0.directory.len() > 0).then(|| self.0.now().plus(SWEEP_MS))
    }

    /// Position of the newest event; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.0.log.committed()
    }

    /// The id of a position.
    #[must_use]
    pub fn id_of(&self, seq: u64) -> EventId {
        self.0.id_of(seq)
    }

    /// A snapshot of what the engine has done and holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let core = &*self.0;
        let mut stats = Stats { topics: core.directory.len(), ..Stats::default() };
        core.counters.fill(&mut stats);
        stats.subscriptions = core.subscriptions.lock().len();
        let log = core.log.lock();
        (stats.history_events, stats.history_bytes) = log.totals();
        stats.published = log.published();
        stats
    }

    /// The `max` most recently active topics.
    #[must_use]
    pub fn topic_stats(&self, max: usize) -> Vec<TopicStats> {
        let mut topics: Vec<(u64, Arc<Topic>)> = self
            .0
            .directory
            .all()
            .into_iter()
            .map(|topic| {
                let lost_through = topic.ring.lost_through();
                (topic.ring.newest().map_or(lost_through, |frame| frame.seq()), topic)
            })
            .collect();
        topics.sort_unstable_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.name.cmp(&y.name)));
        topics.truncate(max);
        topics.into_iter().map(|(last_seq, topic)| self.stats_of(last_seq, &topic)).collect()
    }

    fn stats_of(&self, last_seq: u64, topic: &Topic) -> TopicStats {
        let id = |frame: Option<Frame>| frame.map(|frame| frame.id().to_owned());
        TopicStats {
            name: topic.name.to_string(),
            published: topic.ring.tail(),
            subscribers: topic.readers(),
            events: topic.ring.len(),
            bytes: self.0.log.lock().bytes_of(topic.key),
            oldest: id(topic.ring.oldest()),
            newest: id(topic.ring.newest()),
            last_seq,
            closed: topic.ring.is_closed(),
        }
    }

    fn admit(&self, draft: &Draft<'_>) -> Result<(), PublishError> {
        draft.check(&self.0.config.epoch)?;
        let (limit, size) = (self.0.config.limits.event_bytes, draft.data.len() as u64);
        if size > limit { Err(PublishError::TooLarge { limit, size }) } else { Ok(()) }
    }

    fn open(&self, name: &str, now: Timestamp) -> Result<Arc<Topic>, PublishError> {
        let core = &*self.0;
        let limit = core.config.limits.topics;
        core.directory.open(name, &core.log, now).map_err(|_| PublishError::TopicLimit { limit })
    }

    /// The short way: one event, no handler.
    fn commit_one(&self, draft: &Draft<'_>, now: Timestamp) -> Result<Published, PublishError> {
        let core = &*self.0;
        let mut topic = self.open(&draft.topic, now)?;
        let frame = NewFrame::render(Arc::clone(&topic.name), draft, now);
        let bytes = frame.len();
        let mut append = [Append { topic: topic.key, frame: Some(frame) }];
        let done = loop {
            match core.log.commit(&mut append, &[draft], &[], now) {
                Ok(done) => break done,
                Err(Refused::Closed) => return Err(PublishError::TopicClosed),
                Err(Refused::NotStored(reason)) => return Err(PublishError::NotStored { reason }),
                Err(Refused::Freed) => {
                    topic = self.open(&draft.topic, now)?;
                    append[0].topic = topic.key;
                }
            }
        };
        let seq = done.first;
        core.log.settle(done)?;
        core.counters.published_bytes(bytes);
        topic.interests.notify();
        Ok(Published { seq, events: 1, own_id: draft.id.as_deref().map(Box::from) })
    }

    /// The long way: runs each draft through the chain and commits what comes out in one step.
    fn through_handlers(
        &self,
        chain: &Chain,
        drafts: Vec<Draft<'_>>,
        now: Timestamp,
    ) -> Result<Vec<Published>, BatchError> {
        let core = &*self.0;
        let mut counts = vec![0; drafts.len()];
        let mut held = Held::default();
        let events = chain
            .run(drafts, now, &mut held)
            .map_err(|(index, error)| BatchError { index, error: PublishError::Handler(error) })?;
        for (index, event) in &events {
            // What a handler makes keeps the same rules.
            self.admit(event).map_err(|error| BatchError { index: *index, error })?;
            counts[*index] += 1;
        }
        let first = self.commit_many(&events, held, now)?;
        core.counters.dropped(counts.iter().filter(|count| **count == 0).count() as u64);
        let mut next = first;
        let mut rest = events.iter();
        Ok(counts
            .into_iter()
            .map(|count| {
                let last = rest.by_ref().take(count).last();
                next += count as u64;
                Published {
                    seq: next - 1,
                    events: count,
                    own_id: last.and_then(|(_, event)| event.id.as_deref()).map(Box::from),
                }
            })
            .collect())
    }

    /// Commits `events`, each with the index of the draft it came from, and what handlers have changed in their state; returns the
    /// position of the first.
    fn commit_many(
        &self,
        events: &[(usize, Draft<'_>)],
        held: Held<'_>,
        now: Timestamp,
    ) -> Result<u64, BatchError> {
        let core = &*self.0;
        let not_stored = |error| BatchError { index: events.first().map_or(0, |(index, _)| *index), error };
        let mut topics = self.open_all(events, now)?;
        let mut bytes = 0;
        let mut appends: Vec<Append> = events
            .iter()
            .zip(&topics)
            .map(|((_, event), topic)| {
                let frame = NewFrame::render(Arc::clone(&topic.name), event, now);
                bytes += frame.len();
                Append { topic: topic.key, frame: Some(frame) }
            })
            .collect();
        let (drafts, states): (Vec<&Draft<'_>>, _) = match &core.journal {
            None => (Vec::new(), Vec::new()),
            Some(_) => (events.iter().map(|(_, event)| event).collect(), held.changes()),
        };
        let done = loop {
            match core.log.commit(&mut appends, &drafts, &states, now) {
                Ok(done) => break done,
                Err(Refused::Closed) => {
                    let closed = topics.iter().position(|topic| topic.ring.is_closed()).unwrap_or_default();
                    return Err(BatchError { index: events[closed].0, error: PublishError::TopicClosed });
                }
                Err(Refused::NotStored(reason)) => {
                    return Err(not_stored(PublishError::NotStored { reason }));
                }
                Err(Refused::Freed) => {
                    topics = self.open_all(events, now)?;
                    for (append, topic) in appends.iter_mut().zip(&topics) {
                        append.topic = topic.key;
                    }
                }
            }
        };
        // The order is fixed: the next event of these topics need not wait for the disk with this one.
        held.commit();
        let first = done.first;
        core.log.settle(done).map_err(|error| not_stored(error.into()))?;
        core.counters.published_bytes(bytes);
        topics.sort_unstable_by_key(|topic| topic.key);
        topics.dedup_by_key(|topic| topic.key);
        for topic in &topics {
            topic.interests.notify();
        }
        Ok(first)
    }

    fn open_all(&self, events: &[(usize, Draft<'_>)], now: Timestamp) -> Result<Vec<Arc<Topic>>, BatchError> {
        // None is opened if not all can be.
        if let Some(at) = self.0.directory.without_room(events.iter().map(|(_, event)| &*event.topic)) {
            let limit = self.0.config.limits.topics;
            return Err(BatchError { index: events[at].0, error: PublishError::TopicLimit { limit } });
        }
        let mut topics: Vec<Arc<Topic>> = Vec::with_capacity(events.len());
        for (index, event) in events {
            let topic = match topics.last() {
                Some(last) if *last.name == *event.topic => Arc::clone(last),
                _ => self.open(&event.topic, now).map_err(|error| BatchError { index: *index, error })?,
            };
            topics.push(topic);
        }
        Ok(topics)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("epoch", &self.0.config.epoch.as_str()).finish_non_exhaustive()
    }
}
