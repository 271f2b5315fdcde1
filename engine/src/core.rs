//! What all parts of one engine share.

use std::any::Any;

use crate::config::Config;
use crate::draft::Draft;
use crate::handler::{Chain, HandlerSpec};
use crate::history::{Log, Refused};
use crate::id::EventId;
use crate::journal::Journal;
use crate::stats::Counters;
use crate::sync::{
    Arc, Mutex, RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use crate::table::Table;
use crate::time::Timestamp;
use crate::topic::{Directory, Topic};

/// An entry of the table of subscriptions. The table names them without knowing what they are made of.
pub(crate) type WeakAny = std::sync::Weak<dyn Any + Send + Sync>;

/// The state of one engine.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) log: Log,
    pub(crate) directory: Directory,
    pub(crate) counters: Counters,
    /// History on disk, if there is any.
    pub(crate) journal: Option<Arc<dyn Journal>>,
    /// Every subscription in life.
    pub(crate) subscriptions: Mutex<Table<WeakAny>>,
    /// The latest time that any call brought. Relaxed: only compared with times that are no more exact.
    now: AtomicU64,
    /// Serialises age retention: a second caller finds it taken and leaves.
    sweeping: AtomicBool,
    chain: RwLock<Arc<Chain>>,
    /// Whether the chain has a handler, so that a hub without any takes no lock to learn it. Relaxed: who adds or
    /// removes a handler and then publishes, or tells another thread to, has ordered the two himself.
    has_handlers: AtomicBool,
}

impl Core {
    pub(crate) fn new(config: Config, journal: Option<Arc<dyn Journal>>) -> Self {
        let seed = config.hash_seed;
        let hasher = ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(21), seed.rotate_left(42));
        let log = Log::new(&config, hasher.clone(), journal.clone());
        Self {
            directory: Directory::new(config.limits.topics, hasher, log.committed()),
            log,
            journal,
            config,
            counters: Counters::new(),
            subscriptions: Mutex::new(Table::new()),
            now: AtomicU64::new(0),
            sweeping: AtomicBool::new(false),
            chain: RwLock::new(Arc::default()),
            has_handlers: AtomicBool::new(false),
        }
    }

    /// Notes the caller's time and returns the latest time known, so that time never runs backwards.
    pub(crate) fn at(&self, now: Timestamp) -> Timestamp {
        let latest = self.now();
        if now > latest {
            self.now.fetch_max(now.0, Ordering::Relaxed);
            now
        } else {
            latest
        }
    }

    /// The latest time known.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::Relaxed))
    }

    /// The handlers, if any of them wants this event.
    pub(crate) fn chain_for(&self, event: &Draft<'_>) -> Option<Arc<Chain>> {
        self.any_chain().filter(|chain| chain.wants(event))
    }

    /// The handlers, if there are any.
    pub(crate) fn any_chain(&self) -> Option<Arc<Chain>> {
        self.has_handlers.load(Ordering::Relaxed).then(|| self.chain())
    }

    /// All handlers.
    pub(crate) fn chain(&self) -> Arc<Chain> {
        Arc::clone(&self.chain.read())
    }

    /// Adds a handler behind those that are there.
    pub(crate) fn add_handler(&self, spec: HandlerSpec) {
        let mut chain = self.chain.write();
        *chain = Arc::new(chain.with(spec));
        self.has_handlers.store(true, Ordering::Relaxed);
    }

    /// Takes the handlers of that name out of the chain; whether there was one.
    pub(crate) fn remove_handler(&self, name: &str) -> bool {
        let mut chain = self.chain.write();
        let Some(without) = chain.without(name) else { return false };
        self.has_handlers.store(!without.is_empty(), Ordering::Relaxed);
        // Dropped after unlocking: with the last chain that names it, a handler may take its time to go.
        let old = std::mem::replace(&mut *chain, Arc::new(without));
        drop(chain);
        drop(old);
        true
    }

    /// Takes the right to sweep, until the guard is dropped; `None` if another thread has it.
    pub(crate) fn try_sweep(&self) -> Option<Sweeping<'_>> {
        // Acquire and Release: one sweep sees what the one before it did.
        (!self.sweeping.swap(true, Ordering::AcqRel)).then_some(Sweeping(&self.sweeping))
    }

    pub(crate) fn id_of(&self, seq: u64) -> EventId {
        EventId::new(self.config.epoch.clone(), seq)
    }

    /// Closes a topic and tells its readers; false if it was closed before.
    pub(crate) fn close(&self, topic: &Topic, now: Timestamp) -> Result<bool, Refused> {
        let closed = self.log.close(topic.key, &topic.name, now);
        topic.interests.notify();
        closed
    }

    /// Deletes a topic's events and lets its readers see that they are gone.
    pub(crate) fn delete(&self, topic: &Topic, now: Timestamp) -> Result<(), Refused> {
        let deleted = self.log.delete(topic.key, &topic.name, now);
        topic.interests.notify();
        deleted
    }
}

/// The right to sweep.
pub(crate) struct Sweeping<'a>(&'a AtomicBool);

impl Drop for Sweeping<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
