//! The doorbell between an engine's watcher and a host: rings once for a queue, or wakes a thread that waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Wake;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::queue::{Entry, Queue};

/// How often somebody who waits for a lock looks whether its holder waits itself.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// One per subscription or host-written stream.
pub(crate) struct Bell {
    /// Weak: the queue's hub holds the bell.
    queue: Weak<Queue>,
    /// What to put into the queue; 0 before it is known.
    id: AtomicU64,
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Default)]
struct State {
    /// The next ring goes to the queue.
    armed: bool,
    /// A thread waits.
    waiting: bool,
    /// It has rung while somebody waited.
    rung: bool,
}

impl Bell {
    pub(crate) fn new(queue: &Arc<Queue>) -> Arc<Bell> {
        Arc::new(Bell {
            queue: Arc::downgrade(queue),
            id: AtomicU64::new(0),
            state: Mutex::default(),
            rung: Condvar::new(),
        })
    }

    /// Says for whom it rings, before it is armed.
    pub(crate) fn name(&self, id: u64) {
        // Relaxed: armed after this under the lock, which is what a ring looks at first.
        self.id.store(id, Ordering::Relaxed);
    }

    /// The next ring puts its target into the queue. Call it before parking the watcher.
    pub(crate) fn arm(&self) {
        self.state.lock().armed = true;
    }

    /// A ring goes nowhere: its target is being read.
    pub(crate) fn disarm(&self) {
        *self.state.lock() = State::default();
    }

    /// The next ring ends [`wait`](Self::wait). Call it before parking the watcher.
    pub(crate) fn expect(&self) {
        *self.state.lock() = State { armed: false, waiting: true, rung: false };
    }

    /// Blocks until it rings. False when the time is over; it is armed then.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        while !state.rung {
            match deadline {
                None => self.rung.wait(&mut state),
                Some(deadline) => {
                    if self.rung.wait_until(&mut state, deadline).timed_out() && !state.rung {
                        *state = State { armed: true, waiting: false, rung: false };
                        return false;
                    }
                }
            }
        }
        *state = State::default();
        true
    }

    /// Whether a thread waits, to which the next ring goes.
    pub(crate) fn is_awaited(&self) -> bool {
        self.state.lock().waiting
    }

    /// Takes the lock of what it rings for, if that can be had without waiting for a ring: a thread that only reads is soon
    /// done, and may have been rung for meanwhile, so that somebody has to look after it.
    pub(crate) fn enter_now<'a, T>(&self, lock: &'a Mutex<T>) -> Option<MutexGuard<'a, T>> {
        loop {
            if let Some(guard) = lock.try_lock() {
                return Some(guard);
            }
            if self.is_awaited() {
                return None;
            }
            if let Some(guard) = lock.try_lock_for(LOOK_AGAIN) {
                return Some(guard);
            }
        }
    }

    /// Rings.
    pub(crate) fn ring(&self) {
        let push = {
            let mut state = self.state.lock();
            if state.waiting {
                state.rung = true;
                self.rung.notify_all();
            }
            std::mem::take(&mut state.armed)
        };
        if push && let Some(queue) = self.queue.upgrade() {
            queue.push(Entry::Target(self.id.load(Ordering::Relaxed)));
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
