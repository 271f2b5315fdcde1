//! A watcher: a list of dirty topics, and a flag that says whether somebody must be woken.
//!
//! ```text
//!            publish: mark, wake                 set_waker
//!  asleep ─────────────────────────▶ awake ──▶ take_dirty ──▶ read history ──▶ park ─┬─▶ asleep (true)
//!                                      ▲                                              │
//!                                      └───────────── something is dirty (false) ◀────┘
//! ```
//! `awake` being set means: a wake has been sent, or will be by the one who set it, since the last `park`.

use std::collections::HashMap;
use std::task::Waker;

use crate::history::TopicKey;
use crate::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

/// Whoever sleeps until one of its topics has something new. Clones are the same watcher.
///
/// One thread or task at a time takes and parks; publishers mark and wake from any thread.
#[derive(Clone)]
pub struct Watcher(Arc<Shared>);

struct Shared {
    waker: Mutex<Option<Waker>>,
    news: Mutex<News>,
    awake: AtomicBool,
    interests: Mutex<HashMap<TopicKey, Interest, ahash::RandomState>>,
}

/// What there is to look at.
#[derive(Default)]
struct News {
    /// Topics marked since the last `take_dirty`, each once.
    dirty: Vec<TopicKey>,
    /// Tokens of subscriptions whose page has come since the last `take_arrived`.
    arrived: Vec<u64>,
}

/// What a watcher holds of a topic that it watches.
struct Interest {
    mark: Arc<Mark>,
    /// How many subscriptions of this watcher hold the topic.
    count: usize,
}

/// Whether a topic is on a watcher's dirty list.
pub(super) struct Mark {
    watcher: Watcher,
    set: AtomicBool,
    /// Where the mark stands among the topic's.
    slot: usize,
}

impl Mark {
    pub(super) fn new(watcher: Watcher, slot: usize) -> Self {
        Self { watcher, set: AtomicBool::new(false), slot }
    }

    pub(super) fn slot(&self) -> usize {
        self.slot
    }

    /// Marks `topic`; returns the waker if the watcher sleeps.
    pub(super) fn set(&self, topic: TopicKey) -> Option<Waker> {
        // AcqRel: the Release half publishes the commit to the reader whose clearing swap reads this value; the
        // Acquire half pairs with that clearing, so that a second mark comes after the reader's look at the list.
        if self.set.swap(true, Ordering::AcqRel) {
            return None;
        }
        self.watcher.0.news.lock().dirty.push(topic);
        self.watcher.awaken()
    }
}

impl Watcher {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            waker: Mutex::new(None),
            news: Mutex::new(News::default()),
            awake: AtomicBool::new(false),
            // The keys are the engine's own numbers, so nobody can choose colliding ones.
            interests: Mutex::new(HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4))),
        }))
    }

    /// Sets who is woken. Call it before [`park`](Self::park).
    pub fn set_waker(&self, waker: &Waker) {
        let mut slot = self.0.waker.lock();
        if !slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Moves the dirty topics to the end of `out`. Look into their history *after* this call.
    pub fn take_dirty(&self, out: &mut Vec<TopicKey>) {
        let start = out.len();
        out.append(&mut self.0.news.lock().dirty);
        if out.len() == start {
            return;
        }
        self.clear_marks(&out[start..]);
    }

    /// Moves the tokens of the subscriptions whose page of stored events has come to the end of `out`: those that were given to
    /// [`Subscription::wait_as`](crate::Subscription::wait_as).
    pub fn take_arrived(&self, out: &mut Vec<u64>) {
        out.append(&mut self.0.news.lock().arrived);
    }

    /// Says that a page has come for a subscription that waits as `token`, or as any reader of `topic`, which may be listed
    /// twice then and is looked at twice.
    pub(crate) fn arrive(&self, topic: TopicKey, token: Option<u64>) {
        let mut news = self.0.news.lock();
        match token {
            Some(token) => news.arrived.push(token),
            None => news.dirty.push(topic),
        }
        drop(news);
        self.wake();
    }

    /// [`take_dirty`](Self::take_dirty) for who looks at everything anyway. False if nothing was dirty.
    pub(crate) fn clear_dirty(&self) -> bool {
        // Taken out, because nobody may wait for the interests while he holds the list: `Interests` locks them the other way round.
        let mut taken = std::mem::take(&mut self.0.news.lock().dirty);
        if taken.is_empty() {
            return false;
        }
        self.clear_marks(&taken);
        taken.clear();
        let mut news = self.0.news.lock();
        if news.dirty.is_empty() {
            // Its memory is used again.
            news.dirty = taken;
        }
        true
    }

    fn clear_marks(&self, topics: &[TopicKey]) {
        let interests = self.0.interests.lock();
        for topic in topics {
            if let Some(interest) = interests.get(topic) {
                // AcqRel: see `Mark::set`; whoever marks after this sees the mark cleared and lists the topic again.
                interest.mark.set.swap(false, Ordering::AcqRel);
            }
        }
    }

    /// Says that the watcher is about to sleep. True: nothing is dirty, sleep until woken. False: look again.
    #[must_use]
    pub fn park(&self) -> bool {
        // Release/Acquire pairs with `awaken`. A publisher that pushed before the look below is seen by the list's
        // lock; one that pushes later finds the flag cleared and wakes.
        self.0.awake.swap(false, Ordering::AcqRel);
        let news = self.0.news.lock();
        if news.dirty.is_empty() && news.arrived.is_empty() {
            return true;
        }
        drop(news);
        self.0.awake.store(true, Ordering::Release);
        false
    }

    /// Wakes the watcher as a publisher would, without marking a topic.
    pub fn wake(&self) {
        if let Some(waker) = self.awaken() {
            waker.wake();
        }
    }

    fn awaken(&self) -> Option<Waker> {
        if self.0.awake.swap(true, Ordering::AcqRel) {
            return None;
        }
        self.0.waker.lock().clone()
    }

    /// Counts an interest; `make` is called for the first one.
    pub(super) fn add_interest(&self, topic: TopicKey, make: impl FnOnce() -> Arc<Mark>) {
        let mut interests = self.0.interests.lock();
        if let Some(interest) = interests.get_mut(&topic) {
            interest.count += 1;
            return;
        }
        interests.insert(topic, Interest { mark: make(), count: 1 });
    }

    /// Uncounts an interest; returns the mark to remove when it was the last one.
    pub(super) fn drop_interest(&self, topic: TopicKey) -> Option<Arc<Mark>> {
        let mut interests = self.0.interests.lock();
        let interest = interests.get_mut(&topic)?;
        interest.count -= 1;
        if interest.count > 0 {
            return None;
        }
        interests.remove(&topic).map(|interest| interest.mark)
    }
}
