//! The one queue of a hub: what its host has to look at, and the ways to be told.
//!
//! It holds numbers and control items, never events: a subscription stands in it at most once, and its events stay in history
//! until they are drained. So it is bounded by what is open, whatever the host does.
//!
//! The descriptor is readable if and only if the queue is not empty, or somebody is draining it. The wake-up comes once when it becomes
//! non-empty, and not again before a drain has left it empty.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use ::fanfare_hub::engine::failpoint;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::guard;
use crate::item::Control;
use crate::signal::Signal;

/// What stands in the queue.
pub(crate) enum Entry {
    /// Something that has events, bytes or an end to give.
    Target(u64),
    /// An item as it is.
    Control(Box<Control>),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    /// Read while the callback runs, so that whoever takes it away waits for it.
    wakeup: RwLock<Option<Wakeup>>,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    signal: Option<Signal>,
    /// The wake-up has been given since the queue was last left empty.
    notified: bool,
    /// Nothing will come any more.
    closed: bool,
}

/// The host's callback.
pub(crate) struct Wakeup {
    call: unsafe extern "C" fn(*mut c_void),
    user: *mut c_void,
    drop: Option<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: the contract of `fanfare_set_wakeup` lets any thread call it and pass it the pointer.
unsafe impl Send for Wakeup {}
// SAFETY: as above.
unsafe impl Sync for Wakeup {}

impl Wakeup {
    /// # Safety
    /// `call` and `drop` may be called with `user` from any thread, `drop` once and last.
    pub(crate) unsafe fn new(
        call: unsafe extern "C" fn(*mut c_void),
        user: *mut c_void,
        drop: Option<unsafe extern "C" fn(*mut c_void)>,
    ) -> Wakeup {
        Wakeup { call, user, drop }
    }

    fn run(&self) {
        // SAFETY: the contract of `new`.
        guard::in_wakeup(|| unsafe { (self.call)(self.user) });
    }
}

impl Drop for Wakeup {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: the contract of `new`; this is the last call, as nobody can reach it any more.
            guard::in_wakeup(|| unsafe { drop(self.user) });
        }
    }
}

/// How waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// There is something.
    Filled,
    /// The time is over.
    TimedOut,
    /// The hub has stopped and everything has been drained.
    Closed,
}

impl Queue {
    /// Adds an entry and tells the host if it has not been told.
    pub(crate) fn push(&self, entry: Entry) {
        let notify = {
            let mut state = self.state.lock();
            state.entries.push_back(entry);
            state.raise()
        };
        self.filled.notify_one();
        self.tell(notify);
    }

    /// Takes everything, to be drained. [`finish`](Self::finish) belongs to it.
    pub(crate) fn begin(&self) -> VecDeque<Entry> {
        std::mem::take(&mut self.state.lock().entries)
    }

    /// Puts back what has not been drained, before what came meanwhile. True if anything is left.
    pub(crate) fn finish(&self, mut rest: VecDeque<Entry>) -> bool {
        let (left, notify) = {
            let mut state = self.state.lock();
            rest.append(&mut state.entries);
            state.entries = rest;
            if state.entries.is_empty() {
                state.notified = false;
                if let Some(signal) = &mut state.signal {
                    signal.clear();
                }
                (false, false)
            } else {
                // Another drain may have left it empty in between, and taken the signal back.
                (true, state.raise())
            }
        };
        if left {
            self.filled.notify_one();
        }
        self.tell(notify);
        left
    }

    /// Blocks until there is something, the time is over, or nothing can come any more.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Waited {
        let mut state = self.state.lock();
        while state.entries.is_empty() {
            if state.closed {
                return Waited::Closed;
            }
            match deadline {
                None => self.filled.wait(&mut state),
                Some(deadline) => {
                    if self.filled.wait_until(&mut state, deadline).timed_out() && state.entries.is_empty() {
                        return if state.closed { Waited::Closed } else { Waited::TimedOut };
                    }
                }
            }
        }
        Waited::Filled
    }

    /// The descriptor, opened at the first call.
    pub(crate) fn fd(&self) -> io::Result<RawFd> {
        let mut state = self.state.lock();
        let filled = !state.entries.is_empty();
        if state.signal.is_none() {
            let mut signal = Signal::new()?;
            if filled {
                signal.set();
            }
            state.signal = Some(signal);
        }
        Ok(state.signal.as_ref().map_or(-1, Signal::fd))
    }

    /// Sets who is told, or nobody. When this returns, the one before is not being called and never will be.
    pub(crate) fn set_wakeup(&self, wakeup: Option<Wakeup>) {
        let old = {
            let mut slot = self.wakeup.write();
            std::mem::replace(&mut *slot, wakeup)
        };
        drop(old);
        let notify = {
            let mut state = self.state.lock();
            state.notified = !state.entries.is_empty();
            state.notified
        };
        self.tell(notify);
    }

    /// Nothing will be added any more: whoever waits goes on, and no wake-up comes after this returns.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
        self.set_wakeup(None);
    }

    fn tell(&self, notify: bool) {
        if !notify {
            return;
        }
        let told = catch_unwind(AssertUnwindSafe(|| {
            if let Some(wakeup) = &*self.wakeup.read() {
                failpoint::reach("ffi.wakeup");
                wakeup.run();
            }
        }));
        if told.is_err() {
            // Whatever filled the queue has been done; what comes next tells the host again.
            self.state.lock().notified = false;
        }
    }
}

impl State {
    /// For a queue that is not empty: makes the descriptor readable; says whether the wake-up is due.
    fn raise(&mut self) -> bool {
        if let Some(signal) = &mut self.signal {
            signal.set();
        }
        !std::mem::replace(&mut self.notified, true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    unsafe extern "C" fn count(user: *mut c_void) {
        // SAFETY: the tests pass a counter that outlives the queue.
        unsafe { &*user.cast::<AtomicUsize>() }.fetch_add(1, Ordering::Relaxed);
    }

    fn readable(queue: &Queue) -> bool {
        let mut poll =
            libc::pollfd { fd: queue.fd().expect("a descriptor"), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    #[test]
    fn it_is_readable_exactly_while_it_is_not_empty() {
        let queue = Queue::default();
        queue.push(Entry::Target(1));
        assert!(readable(&queue), "a late descriptor knows what is there");
        let mut entries = queue.begin();
        entries.pop_front();
        assert!(!queue.finish(entries));
        assert!(!readable(&queue));
        queue.push(Entry::Target(1));
        queue.push(Entry::Target(2));
        let mut entries = queue.begin();
        entries.pop_front();
        assert!(queue.finish(entries));
        assert!(readable(&queue));
    }

    #[test]
    fn the_wakeup_comes_once_until_it_is_empty() {
        let calls = AtomicUsize::new(0);
        let queue = Queue::default();
        let wakeup = |user: &AtomicUsize| {
            let user = std::ptr::from_ref(user).cast_mut().cast();
            // SAFETY: the counters outlive the queue.
            unsafe { Wakeup::new(count, user, None) }
        };
        queue.push(Entry::Target(1));
        queue.set_wakeup(Some(wakeup(&calls)));
        queue.push(Entry::Target(2));
        assert_eq!(calls.load(Ordering::Relaxed), 1, "for what was there already, and not again");
        let entries = queue.begin();
        assert!(queue.finish(entries));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        queue.begin();
        assert!(!queue.finish(VecDeque::new()));
        queue.push(Entry::Target(3));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        // SAFETY: the counters outlive the queue.
        let dropping =
            unsafe { Wakeup::new(count, std::ptr::from_ref(&calls).cast_mut().cast(), Some(count)) };
        queue.set_wakeup(Some(dropping));
        assert_eq!(calls.load(Ordering::Relaxed), 3, "the new one is told what is there");
        queue.close();
        assert_eq!(calls.load(Ordering::Relaxed), 4, "and dropped once");
    }

    #[test]
    fn waiting_ends_by_an_entry_by_time_or_by_the_end() {
        let queue = Arc::new(Queue::default());
        assert_eq!(queue.wait(Some(Instant::now() + Duration::from_millis(1))), Waited::TimedOut);
        let waiting = {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || queue.wait(None))
        };
        queue.push(Entry::Target(1));
        assert_eq!(waiting.join().expect("no panic"), Waited::Filled);
        queue.begin();
        queue.finish(VecDeque::new());
        queue.close();
        assert_eq!(queue.wait(None), Waited::Closed);
    }
}
