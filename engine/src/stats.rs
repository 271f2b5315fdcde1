//! Counters, and the immutable snapshot of them.

use crate::sync::atomic::{AtomicU64, Ordering};

/// What an engine has done and holds, at one moment. Counters grow from 0 over the engine's life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Events committed.
    pub published: u64,
    /// Bytes of their frames.
    pub published_bytes: u64,
    /// Events refused, for whatever reason.
    pub refused: u64,
    /// Events that a handler dropped.
    pub dropped: u64,
    /// Gap notices given to readers.
    pub gaps: u64,
    /// Readers that fell out of history and were ended for it.
    pub lapped: u64,
    /// Events retained now.
    pub history_events: u64,
    /// Bytes retained now, bookkeeping included.
    pub history_bytes: u64,
    /// Topics now.
    pub topics: usize,
    /// Subscriptions now.
    pub subscriptions: usize,
}

/// One topic at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStats {
    /// The topic's name.
    pub name: String,
    /// Events committed since the topic was opened.
    pub published: u64,
    /// Readers now: connections and in-process subscribers.
    pub subscribers: usize,
    /// Events retained now.
    pub events: u64,
    /// Bytes retained now, bookkeeping included.
    pub bytes: u64,
    /// Id of the oldest retained event.
    pub oldest: Option<String>,
    /// Id of the newest retained event.
    pub newest: Option<String>,
    /// Position of the newest event, 0 if there was none: the more, the more recently active.
    pub last_seq: u64,
    /// Whether the topic is closed.
    pub closed: bool,
}

/// Counters that change outside the log's critical section.
///
/// Relaxed: each is a sum on its own; nothing is concluded from one about another.
pub(crate) struct Counters {
    refused: AtomicU64,
    dropped: AtomicU64,
    gaps: AtomicU64,
    lapped: AtomicU64,
    published_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { refused: zero(), dropped: zero(), gaps: zero(), lapped: zero(), published_bytes: zero() }
    }

    pub(crate) fn refused(&self, events: u64) {
        self.refused.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, events: u64) {
        self.dropped.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn gap(&self) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lapped(&self) {
        self.lapped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn published_bytes(&self, bytes: u64) {
        self.published_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Copies the counters into a snapshot.
    pub(crate) fn fill(&self, stats: &mut Stats) {
        stats.refused = self.refused.load(Ordering::Relaxed);
        stats.dropped = self.dropped.load(Ordering::Relaxed);
        stats.gaps = self.gaps.load(Ordering::Relaxed);
        stats.lapped = self.lapped.load(Ordering::Relaxed);
        stats.published_bytes = self.published_bytes.load(Ordering::Relaxed);
    }
}
