//! Timers for streams that the host polls: on any thread, outside any runtime, also after the server's own is gone.
//!
//! A stream files the time of its next deadline and is woken then; it looks at the clock itself. One task of the server
//! sleeps for all of them. A deadline that moves back, as a heartbeat's does with every event, is not filed again: the stream
//! is woken once too early and files the new one. When the alarms are closed everybody is woken, and nobody waits any more.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// How long the task sleeps when nothing is filed; it is woken for what is filed earlier.
const IDLE: Duration = Duration::from_secs(3_600);

/// All alarms of one server.
#[derive(Default)]
pub(crate) struct Alarms {
    state: Mutex<State>,
    /// Something earlier than everything before has been filed.
    earlier: Notify,
}

#[derive(Default)]
struct State {
    closed: bool,
    next: u64,
    sleepers: HashMap<u64, Sleeper, ahash::RandomState>,
    /// What the sleepers have filed.
    times: BTreeSet<(Instant, u64)>,
}

#[derive(Default)]
struct Sleeper {
    waker: Option<Waker>,
    filed: Option<Instant>,
}

impl Alarms {
    /// One more sleeper.
    pub(crate) fn enter(self: &Arc<Alarms>) -> Alarm {
        let mut state = self.state.lock();
        let id = state.next;
        state.next += 1;
        state.sleepers.insert(id, Sleeper::default());
        drop(state);
        Alarm { alarms: Arc::clone(self), id }
    }

    /// Wakes everybody, now and whenever somebody wants to sleep again.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wake_all();
    }

    /// Wakes everybody once.
    pub(crate) fn wake_all(&self) {
        let wakers: Vec<Waker> = {
            let mut state = self.state.lock();
            state.times.clear();
            let wake = |sleeper: &mut Sleeper| {
                sleeper.filed = None;
                sleeper.waker.take()
            };
            state.sleepers.values_mut().filter_map(wake).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Wakes whoever is due by then; when to look next.
    fn fire(&self, now: Instant) -> Instant {
        let mut due = Vec::new();
        let next = {
            let mut state = self.state.lock();
            loop {
                match state.times.first() {
                    Some(&(at, id)) if at <= now => {
                        state.times.pop_first();
                        if let Some(sleeper) = state.sleepers.get_mut(&id) {
                            sleeper.filed = None;
                            due.extend(sleeper.waker.take());
                        }
                    }
                    first => break first.map_or(now + IDLE, |&(at, _)| at),
                }
            }
        };
        due.into_iter().for_each(Waker::wake);
        next
    }

    /// The task that sleeps for all; `stopping` wakes everybody once.
    pub(crate) async fn run(self: Arc<Alarms>, stopping: impl Future<Output = Duration>) {
        tokio::pin!(stopping);
        let mut stops = false;
        loop {
            let next = self.fire(Instant::now());
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = self.earlier.notified() => {}
                _ = &mut stopping, if !stops => {
                    stops = true;
                    self.wake_all();
                }
            }
        }
    }
}

/// One sleeper's place; dropping it gives it up.
pub(crate) struct Alarm {
    alarms: Arc<Alarms>,
    id: u64,
}

impl Alarm {
    /// Says whom to wake. Look at the deadlines after this. False: the alarms are closed, nobody will be woken.
    pub(crate) fn set_waker(&self, waker: &Waker) -> bool {
        let mut state = self.alarms.state.lock();
        if state.closed {
            return false;
        }
        if let Some(sleeper) = state.sleepers.get_mut(&self.id)
            && !sleeper.waker.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            sleeper.waker = Some(waker.clone());
        }
        true
    }

    /// Wakes it at `at`, or earlier.
    pub(crate) fn file(&self, at: Instant) {
        let mut state = self.alarms.state.lock();
        let state = &mut *state;
        let Some(sleeper) = state.sleepers.get_mut(&self.id) else { return };
        if sleeper.filed.is_some_and(|filed| filed <= at) {
            return;
        }
        if let Some(filed) = sleeper.filed.replace(at) {
            state.times.remove(&(filed, self.id));
        }
        state.times.insert((at, self.id));
        if state.times.first() == Some(&(at, self.id)) {
            self.alarms.earlier.notify_one();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let gone = {
            let mut state = self.alarms.state.lock();
            let gone = state.sleepers.remove(&self.id);
            if let Some(filed) = gone.as_ref().and_then(|sleeper| sleeper.filed) {
                state.times.remove(&(filed, self.id));
            }
            gone
        };
        // A waker is other people's code: not under the lock.
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn sleepers_are_woken_when_due_and_by_the_end() {
        let alarms = Arc::new(Alarms::default());
        let sleeper = || {
            let (alarm, count) = (alarms.enter(), Arc::new(Count::default()));
            assert!(alarm.set_waker(&Waker::from(Arc::clone(&count))));
            (alarm, count)
        };
        let woken = |count: &Arc<Count>| count.0.load(Ordering::Relaxed);
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let ((first, one), (second, two), (third, three)) = (sleeper(), sleeper(), sleeper());
        first.file(at(5));
        first.file(at(9));
        second.file(at(7));
        second.file(at(3));
        assert_eq!(alarms.fire(at(1)), at(3));
        assert_eq!(alarms.fire(at(3)), at(5), "an earlier time replaces a later one");
        assert_eq!((woken(&one), woken(&two)), (0, 1));
        assert_eq!(alarms.fire(at(6)), at(6) + IDLE, "a later time does not replace an earlier one");
        assert_eq!((woken(&one), woken(&two), woken(&three)), (1, 1, 0));
        third.file(at(7));
        drop(third);
        assert_eq!(alarms.fire(at(8)), at(8) + IDLE, "who is gone is not waited for");
        assert!(first.set_waker(&Waker::from(Arc::clone(&one))));
        alarms.close();
        assert_eq!((woken(&one), woken(&two)), (2, 1), "one that has not come back is not woken twice");
        assert!(!first.set_waker(&Waker::from(one)));
        drop((first, second));
        assert!(alarms.state.lock().sleepers.is_empty());
    }
}
