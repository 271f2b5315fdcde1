//! The watchers of one topic.

use std::task::Waker;

use slab::Slab;

use super::watcher::{Mark, Watcher};
use crate::history::TopicKey;
use crate::sync::{
    RwLock,
    atomic::{AtomicUsize, Ordering},
};

/// How many are woken at once, while what marking them has touched is still in the processor's cache.
const WAKERS: usize = 31;

/// Which watchers want to hear of a topic.
pub(crate) struct Interests {
    topic: TopicKey,
    marks: RwLock<Slab<Mark>>,
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
            self.count.fetch_add(1, Ordering::Relaxed);
            marks.insert(Mark::new(watcher.clone()))
        });
    }

    /// Undoes one [`register`](Self::register).
    pub(crate) fn unregister(&self, watcher: &Watcher) {
        if let Some(slot) = watcher.drop_interest(self.topic) {
            // With the mark may go a waker, which is foreign code: after the lock.
            let mark = self.marks.write().remove(slot);
            drop(mark);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Marks the topic dirty in every watcher and wakes those that sleep.
    #[inline]
    pub(crate) fn notify(&self) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.notify_all();
        }
    }

    // Apart, so that a publish that nobody reads does not make room for it.
    #[inline(never)]
    fn notify_all(&self) {
        let mut from = 0;
        loop {
            // The first one apart: a hub with one lane allocates nothing.
            let (mut first, mut more): (Option<Waker>, Vec<Waker>) = (None, Vec::new());
            let marks = self.marks.read();
            // A mark that comes meanwhile is of somebody who sees the event in history.
            let end = marks.capacity();
            while from < end && more.len() < WAKERS {
                let waker = marks.get(from).and_then(|mark| mark.set(self.topic));
                from += 1;
                if first.is_none() {
                    first = waker;
                } else if let Some(waker) = waker {
                    if more.is_empty() {
                        more.reserve_exact(WAKERS);
                    }
                    more.push(waker);
                }
            }
            drop(marks);
            first.into_iter().chain(more).for_each(Waker::wake);
            if from >= end {
                return;
            }
        }
    }
}
