//! A watcher: a list of dirty topics, and a flag that says whether somebody must be woken.
//!
//! ```text
//!            publish: mark, wake                 set_waker
//!  asleep ─────────────────────────▶ awake ──▶ take_news ──▶ read history ──▶ park ─┬─▶ asleep (true)
//!                                      ▲                                             │
//!                                      └───────────── there is news (false) ◀────────┘
//! ```
//! `awake` being set means: a wake has been sent, or will be by the one who set it, since the last `park`.
//!
//! 1. All that is told and taken is behind one lock, so that a sleeper costs its publisher one critical section and itself
//!    two: one to take, one to park.
//! 2. Topics are listed once a round. Whoever takes the list begins the next round, so no mark is ever cleared.

use std::collections::HashMap;
use std::task::Waker;

use crate::history::TopicKey;
use crate::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

/// Whoever sleeps until one of its topics has something new. Clones are the same watcher.
///
/// One thread or task at a time takes and parks; publishers mark and wake from any thread.
#[derive(Clone)]
pub struct Watcher(Arc<Shared>);

struct Shared {
    /// Counts how often the list was taken; written while `news` is locked.
    round: AtomicU64,
    news: Mutex<News>,
    interests: Mutex<HashMap<TopicKey, Interest, ahash::RandomState>>,
}

/// What there is to look at, and who looks.
#[derive(Default)]
struct News {
    waker: Option<Waker>,
    awake: bool,
    /// Topics marked since the last take, each once. The first one stands here, because most watchers have no other.
    first: Option<TopicKey>,
    more: Vec<TopicKey>,
    /// Tokens of subscriptions whose page has come since the last take.
    arrived: Vec<u64>,
}

impl News {
    fn is_empty(&self) -> bool {
        self.first.is_none() && self.arrived.is_empty()
    }

    fn push(&mut self, topic: TopicKey) {
        if self.first.is_none() {
            self.first = Some(topic);
        } else {
            self.more.push(topic);
        }
    }

    /// The waker to wake, if the watcher sleeps.
    fn awaken(&mut self) -> Option<Waker> {
        if std::mem::replace(&mut self.awake, true) {
            return None;
        }
        self.waker.clone()
    }
}

/// What a watcher holds of a topic that it watches.
struct Interest {
    /// Where its mark stands among the topic's.
    slot: usize,
    /// How many subscriptions of this watcher hold the topic.
    count: usize,
}

/// Whether a topic is on a watcher's list.
pub(super) struct Mark {
    watcher: Watcher,
    /// The round in which it was listed last. Relaxed: written while `news` is locked, and a round has its number once.
    listed: AtomicU64,
}

impl Mark {
    pub(super) fn new(watcher: Watcher) -> Self {
        Self { watcher, listed: AtomicU64::new(0) }
    }

    /// Marks `topic`; returns the waker if the watcher sleeps.
    pub(super) fn set(&self, topic: TopicKey) -> Option<Waker> {
        let Shared { round, news, .. } = &*self.watcher.0;
        let listed = self.listed.load(Ordering::Relaxed);
        // AcqRel: it is listed, and if this step comes before the one that ends the round, that one reads what this one
        // wrote: its Acquire pairs with the Release here, and the reader sees the commit. The plain look before it spares a
        // watcher that sleeps this step.
        if listed == round.load(Ordering::Relaxed)
            && round.compare_exchange(listed, listed, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            return None;
        }
        let mut news = news.lock();
        let round = round.load(Ordering::Relaxed);
        if self.listed.load(Ordering::Relaxed) != round {
            self.listed.store(round, Ordering::Relaxed);
            news.push(topic);
        }
        news.awaken()
    }
}

impl Watcher {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            round: AtomicU64::new(1),
            news: Mutex::new(News::default()),
            // The keys are the engine's own numbers, so nobody can choose colliding ones.
            interests: Mutex::new(HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4))),
        }))
    }

    /// Sets who is woken. Call it before [`park`](Self::park).
    pub fn set_waker(&self, waker: &Waker) {
        let mut news = self.0.news.lock();
        let old = replace(&mut news.waker, waker);
        drop(news);
        // Foreign code, outside the lock.
        drop(old);
    }

    /// Moves the dirty topics to the end of `out`. Look into their history *after* this call.
    pub fn take_dirty(&self, out: &mut Vec<TopicKey>) {
        self.take_topics(&mut self.0.news.lock(), out);
    }

    /// [`take_dirty`](Self::take_dirty) and [`take_arrived`](Self::take_arrived) at once.
    pub fn take_news(&self, dirty: &mut Vec<TopicKey>, arrived: &mut Vec<u64>) {
        let mut news = self.0.news.lock();
        self.take_topics(&mut news, dirty);
        arrived.append(&mut news.arrived);
    }

    /// Moves the tokens of the subscriptions whose page of stored events has come to the end of `out`: those that were given to
    /// [`Subscription::wait_as`](crate::Subscription::wait_as).
    pub fn take_arrived(&self, out: &mut Vec<u64>) {
        out.append(&mut self.0.news.lock().arrived);
    }

    fn take_topics(&self, news: &mut News, out: &mut Vec<TopicKey>) {
        if let Some(first) = news.first.take() {
            out.push(first);
            out.append(&mut news.more);
            self.next_round();
        }
    }

    /// Begins a round, so that a topic that is marked from now on is listed again. `news` is locked.
    fn next_round(&self) {
        // AcqRel: see `Mark::set`. Who comes behind this step finds another round and lists the topic.
        self.0.round.fetch_add(1, Ordering::AcqRel);
    }

    /// Says that a page has come for a subscription that waits as `token`, or as any reader of `topic`, which may be listed
    /// twice then and is looked at twice.
    pub(crate) fn arrive(&self, topic: TopicKey, token: Option<u64>) {
        let mut news = self.0.news.lock();
        match token {
            Some(token) => news.arrived.push(token),
            None => news.push(topic),
        }
        let waker = news.awaken();
        drop(news);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes all there is, for who looks at everything anyway.
    pub(crate) fn clear(&self) {
        self.clear_locked(&mut self.0.news.lock());
    }

    fn clear_locked(&self, news: &mut News) {
        news.arrived.clear();
        if news.first.take().is_some() {
            news.more.clear();
            self.next_round();
        }
    }

    /// [`set_waker`](Self::set_waker) and [`park`](Self::park) at once, for who looks at everything anyway: true, it sleeps;
    /// false, there was news, which is taken now.
    pub(crate) fn rest(&self, waker: &Waker) -> bool {
        let mut news = self.0.news.lock();
        if !news.is_empty() {
            self.clear_locked(&mut news);
            return false;
        }
        news.awake = false;
        let old = replace(&mut news.waker, waker);
        drop(news);
        drop(old);
        true
    }

    /// Says that the watcher is about to sleep. True: there is no news, sleep until woken. False: look again.
    #[must_use]
    pub fn park(&self) -> bool {
        // A publisher that told its news before is seen by the lock; one that comes later finds the flag cleared, and wakes.
        let mut news = self.0.news.lock();
        news.awake = !news.is_empty();
        !news.awake
    }

    /// Wakes the watcher as a publisher would, without marking a topic.
    pub fn wake(&self) {
        let waker = self.0.news.lock().awaken();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Counts an interest; `make` is called for the first one and returns the slot of its mark.
    pub(super) fn add_interest(&self, topic: TopicKey, make: impl FnOnce() -> usize) {
        let mut interests = self.0.interests.lock();
        if let Some(interest) = interests.get_mut(&topic) {
            interest.count += 1;
            return;
        }
        interests.insert(topic, Interest { slot: make(), count: 1 });
    }

    /// Uncounts an interest; returns the slot of the mark to remove when it was the last one.
    pub(super) fn drop_interest(&self, topic: TopicKey) -> Option<usize> {
        let mut interests = self.0.interests.lock();
        let interest = interests.get_mut(&topic)?;
        interest.count -= 1;
        if interest.count > 0 {
            return None;
        }
        interests.remove(&topic).map(|interest| interest.slot)
    }
}

/// Puts `waker` in place of another one, which is returned.
fn replace(slot: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match slot {
        Some(old) if old.will_wake(waker) => None,
        _ => slot.replace(waker.clone()),
    }
}
