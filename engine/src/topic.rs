//! A topic: its ring, its watchers, and what is counted of it; and the directory of topics by name.
//!
//! **Locks, in this order:** a handler's order of topics (only where a handler wants the topic) → the directory → the log.
//! A topic lives while the log holds its key; whoever comes with a stale one looks the name up again.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use crate::fanout::Interests;
use crate::history::{Log, Ring, TopicKey};
use crate::sync::{
    Arc, Mutex, RwLock,
    atomic::{AtomicUsize, Ordering},
};
use crate::time::Timestamp;

/// How many sums remember what freed topics have lost. Topics share one by hash, so a reader of a reopened topic may be
/// told of a gap that another topic had; never the other way round.
const LOST_BUCKETS: usize = 256;

/// A topic in life.
pub(crate) struct Topic {
    pub(crate) key: TopicKey,
    pub(crate) name: Arc<str>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) interests: Interests,
    /// Connections and in-process subscribers. Relaxed: shown to people, nothing depends on it.
    readers: AtomicUsize,
}

impl Topic {
    pub(crate) fn readers(&self) -> usize {
        self.readers.load(Ordering::Relaxed)
    }

    pub(crate) fn add_readers(&self, n: usize) {
        self.readers.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn remove_readers(&self, n: usize) {
        self.readers.fetch_sub(n, Ordering::Relaxed);
    }
}

/// Topics by name.
pub(crate) struct Directory {
    topics: RwLock<HashSet<ByName, ahash::RandomState>>,
    /// By hash of the name: position of the last event of a freed topic.
    lost_through: Mutex<Box<[u64]>>,
    hasher: ahash::RandomState,
    limit: usize,
}

/// A topic that is found by its name, which stands in it already.
struct ByName(Arc<Topic>);

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As `str` does, see `Borrow`.
        self.0.name.hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

/// The directory is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Directory {
    /// `lost_through`: what was before is in no ring.
    pub(crate) fn new(limit: u32, hasher: ahash::RandomState, lost_through: u64) -> Self {
        Self {
            topics: RwLock::new(HashSet::with_hasher(hasher.clone())),
            lost_through: Mutex::new(vec![lost_through; LOST_BUCKETS].into()),
            hasher,
            limit: limit as usize,
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().get(name).map(|found| Arc::clone(&found.0))
    }

    /// The index of the first name that could not be opened if all before it were.
    pub(crate) fn without_room<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Option<usize> {
        let topics = self.topics.read();
        let room = self.limit.saturating_sub(topics.len());
        let mut missing = HashSet::with_hasher(self.hasher.clone());
        names
            .into_iter()
            .position(|name| !topics.contains(name) && missing.insert(name) && missing.len() > room)
    }

    /// Finds a topic or opens it.
    pub(crate) fn open(&self, name: &str, log: &Log, now: Timestamp) -> Result<Arc<Topic>, Full> {
        if let Some(topic) = self.find(name) {
            return Ok(topic);
        }
        let mut topics = self.topics.write();
        if let Some(topic) = topics.get(name) {
            return Ok(Arc::clone(&topic.0));
        }
        if topics.len() >= self.limit {
            return Err(Full);
        }
        let lost_through = self.lost_through.lock()[self.bucket(name)];
        let was_closed = log.was_closed(name);
        let name: Arc<str> = name.into();
        let (key, ring) = log.lock().open(&name, lost_through, now);
        if was_closed {
            log.lock().close(key, now);
        }
        let topic =
            Arc::new(Topic { key, name, ring, interests: Interests::new(key), readers: AtomicUsize::new(0) });
        topics.insert(ByName(Arc::clone(&topic)));
        Ok(topic)
    }

    /// Frees those of `topics` that are still idle.
    pub(crate) fn free(&self, idle: &[(TopicKey, Arc<str>)], log: &Log, now: Timestamp) {
        if idle.is_empty() {
            return;
        }
        // Dropped when the directory is unlocked.
        let mut freed = Vec::with_capacity(idle.len());
        let mut topics = self.topics.write();
        for (key, name) in idle {
            let Some(lost_through) = log.lock().free(*key, now) else { continue };
            let bucket = self.bucket(name);
            let mut lost = self.lost_through.lock();
            lost[bucket] = lost[bucket].max(lost_through);
            freed.extend(topics.take(&**name));
        }
        if topics.len() < topics.capacity() / 8 {
            topics.shrink_to_fit();
        }
        drop(topics);
    }

    pub(crate) fn len(&self) -> usize {
        self.topics.read().len()
    }

    /// Every topic, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.topics.read().iter().map(|found| Arc::clone(&found.0)).collect()
    }

    fn bucket(&self, name: &str) -> usize {
        self.hasher.hash_one(name) as usize % LOST_BUCKETS
    }
}
