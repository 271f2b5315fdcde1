//! In-process subscriptions: a cursor, its bell, and the two ways to read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::task::Waker;
use std::time::Instant;

use ::fanfare_hub::engine::{Code, Frame, Pulled, Subscription, Watcher};
use parking_lot::{Mutex, MutexGuard};

use crate::bell::Bell;
use crate::failure::Failure;
use crate::item::Items;

/// Most bytes of events that one look takes from a subscription, unless a single event is larger.
const LOOK_BYTES: usize = 64 * 1024;

/// A subscription that the host reads.
pub(crate) struct Reader {
    pub(crate) user: u64,
    /// The host pulls it; otherwise draining reads it.
    pub(crate) on_demand: bool,
    watcher: Watcher,
    bell: Arc<Bell>,
    cursor: Mutex<Cursor>,
    /// The same subscription for those who change its topics, also while a thread waits with the cursor; none once it is over.
    topics: Mutex<Option<Subscription>>,
    /// Why it was ended from outside; 0 while it was not.
    ended: AtomicI32,
}

struct Cursor {
    /// None once it is over.
    subscription: Option<Subscription>,
    frames: Vec<Frame>,
    dirty: Vec<::fanfare_hub::engine::TopicKey>,
}

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// There may be more.
    More,
    /// There is nothing more now; the bell rings when there is.
    Idle,
    /// Its end is among the items; it is to be forgotten.
    Over,
}

/// How long a look may wait for something to come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Not at all.
    None,
    /// Until then; without a time for ever.
    Until(Option<Instant>),
}

impl Reader {
    /// Wraps a subscription that was opened on `watcher`, whose waker is `bell`.
    pub(crate) fn new(
        subscription: Subscription,
        watcher: Watcher,
        bell: Arc<Bell>,
        user: u64,
        on_demand: bool,
    ) -> Reader {
        watcher.set_waker(&Waker::from(Arc::clone(&bell)));
        let topics = Mutex::new(Some(subscription.clone()));
        let cursor = Cursor { subscription: Some(subscription), frames: Vec::new(), dirty: Vec::new() };
        let (cursor, ended) = (Mutex::new(cursor), AtomicI32::new(0));
        Reader { user, on_demand, watcher, bell, cursor, topics, ended }
    }

    /// Ends it from outside: whoever waits for it goes on.
    pub(crate) fn end(&self, code: Code) {
        // Release pairs with the Acquire of a look: who sees the code sees everything before it.
        self.ended.store(code.number(), Ordering::Release);
        self.bell.ring();
    }

    /// The first ring: whatever history has for it waits to be read.
    pub(crate) fn announce(&self) {
        self.bell.arm();
        self.bell.ring();
    }

    /// Works on the subscription itself; `None` once it is over.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&Subscription) -> R) -> Option<R> {
        let subscription = self.topics.lock().clone()?;
        Some(work(&subscription))
    }

    /// Reads what is new.
    pub(crate) fn look(&self, id: u64, patience: Patience, items: &mut Items) -> Result<Looked, Failure> {
        let Some(mut guard) = self.enter(patience) else { return Ok(Looked::Idle) };
        let cursor = &mut *guard;
        loop {
            self.bell.disarm();
            let ended = self.ended.load(Ordering::Acquire);
            // After a stop it still gives what was published before.
            let stopping = ended == Code::Stopping.number();
            if ended != 0 && !stopping || cursor.subscription.is_none() {
                let last = (cursor.subscription.take(), self.topics.lock().take());
                // Dropping it takes engine locks: outside ours.
                drop(guard);
                drop(last);
                return Err(Failure::new(Code::StaleHandle, "this subscription is over"));
            }
            let Some(subscription) = &cursor.subscription else { continue };
            cursor.dirty.clear();
            self.watcher.take_dirty(&mut cursor.dirty);
            let pulled = subscription.pull(&mut cursor.frames, LOOK_BYTES);
            let empty = cursor.frames.is_empty();
            for frame in cursor.frames.drain(..) {
                items.push_frame(id, self.user, frame);
            }
            let over = match pulled {
                Pulled::More => return Ok(Looked::More),
                Pulled::Ended => Code::TopicClosed,
                Pulled::Lapped => Code::Lapped,
                Pulled::Idle if stopping => Code::Stopping,
                Pulled::Idle => {
                    let Patience::Until(deadline) = patience else {
                        self.bell.arm();
                        if self.watcher.park() {
                            return Ok(Looked::Idle);
                        }
                        if !empty {
                            return Ok(Looked::More);
                        }
                        continue;
                    };
                    if !empty {
                        // Something to give now; the next call waits.
                        return Ok(Looked::More);
                    }
                    self.bell.expect();
                    // Who ended it before the bell was set has rung for nobody.
                    if self.ended.load(Ordering::Acquire) != 0
                        || !self.watcher.park()
                        || self.bell.wait(deadline)
                    {
                        continue;
                    }
                    return Ok(Looked::Idle);
                }
            };
            let last = (cursor.subscription.take(), self.topics.lock().take());
            drop(guard);
            drop(last);
            items.push_end(id, self.user, over.number());
            return Ok(Looked::Over);
        }
    }

    /// One thread reads at a time; the others wait as long as they have patience.
    fn enter(&self, patience: Patience) -> Option<MutexGuard<'_, Cursor>> {
        match patience {
            Patience::Until(None) => Some(self.cursor.lock()),
            Patience::Until(Some(deadline)) => self.cursor.try_lock_until(deadline),
            Patience::None => self.bell.enter_now(&self.cursor),
        }
    }
}
