//! The engine: runs the stages in order.

use std::fmt;

use crate::config::{Config, ConfigError};
use crate::core::Core;
use crate::draft::check_topic;
use crate::fanout::Watcher;
use crate::handler::{HandlerInfo, HandlerSpec};
use crate::history::Refused;
use crate::id::EventId;
use crate::journal::{Journal, JournalStats};
use crate::stats::{Stats, TopicStats};
use crate::subscription::{SubscribeError, SubscribeOptions, Subscription, SubscriptionKey};
use crate::sync::Arc;
use crate::time::Timestamp;
use crate::topic::Topic;
use crate::wire::Frame;

mod refusal;
mod started;

mod publish;
mod tick;

#[cfg(all(test, loom))]
mod tests_loom;
#[cfg(all(test, loom))]
mod tests_loom_journal;

pub use publish::Published;
pub use refusal::{BatchError, PublishError};
pub use started::Started;

/// How often [`Engine::handle_timeout`] wants to be called, in milliseconds.
const SWEEP_MS: u64 = 1000;

/// An event engine. Clones are the same engine; every method may be called from any thread.
///
/// The engine has no clock and no thread: callers bring the time, and call [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) says.
#[derive(Clone)]
pub struct Engine(Arc<Core>);

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

    /// Whether closing a topic and deleting its history may wait for a disk: with a journal.
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

    /// How many read a topic now; 0 also for one that is not known.
    #[must_use]
    pub fn readers_of(&self, name: &str) -> usize {
        self.0.directory.find(name).map_or(0, |topic| topic.readers())
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
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("epoch", &self.0.config.epoch.as_str()).finish_non_exhaustive()
    }
}
