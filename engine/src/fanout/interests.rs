//! The watchers of one topic.

use std::task::Waker;

use slab::Slab;

use super::watcher::{Mark, Watcher};
use crate::history::TopicKey;
use crate::sync::{
    Arc, RwLock,
    atomic::{AtomicUsize, Ordering},
};

/// Which watchers want to hear of a topic.
pub(crate) struct Interests {
    topic: TopicKey,
    marks: RwLock<Slab<Arc<Mark>>>,
    /// How many `marks` there are, so that publishing to a topic without readers takes no lock.
    ///
    /// Relaxed everywhere: a subscriber registers while it holds the log's lock or before it takes it, and a publisher
    /// looks after it has released that lock; the lock orders the two. Who registers after the commit sees the
    /// event in history.
    count: AtomicUsize,
}

impl Interests {
    pub(crate) fn new(topic: TopicKey) -> Self {
        Self { topic, marks: RwLock::new(Slab::new()), count: AtomicUsize::new(0) }
    }

    /// Adds a watcher, or counts it once more. What was published before is found in history, not marked.
    pub(crate) fn register(&self, watcher: &Watcher) {
        watcher.add_interest(self.topic, || {
            let mut marks = self.marks.write();
            let slot = marks.vacant_entry();
            let mark = Arc::new(Mark::new(watcher.clone(), slot.key()));
            slot.insert(Arc::clone(&mark));
            self.count.fetch_add(1, Ordering::Relaxed);
            mark
        });
    }

    /// Undoes one [`register`](Self::register).
    pub(crate) fn unregister(&self, watcher: &Watcher) {
        if let Some(mark) = watcher.drop_interest(self.topic) {
            self.marks.write().remove(mark.slot());
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Marks the topic dirty in every watcher and wakes those that sleep.
    pub(crate) fn notify(&self) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut wakers: Vec<Waker> = Vec::new();
        for (_, mark) in self.marks.read().iter() {
            wakers.extend(mark.set(self.topic));
        }
        for waker in wakers {
            waker.wake();
        }
    }
}
