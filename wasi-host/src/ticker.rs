//! The clock of time limits: a thread that advances an epoch every [`TICK`] while calls are under way.
//!
//! Compiled code looks at the epoch at each loop and function entry and stops itself when its deadline has passed.
//! When no call has been under way for [`LINGER_TICKS`] the thread sleeps, and the next call wakes it; under load that
//! wake-up, a system call, never happens.
//!
//! **For maintainers.** `active` and `parked` meet crosswise: a call adds to `active` and then looks at `parked`, the thread
//! sets `parked` and then looks at `active`. With SeqCst on all four at least one sees the other, so the thread never
//! sleeps while a call is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The unit of time limits.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// For how long the thread stays awake after the last call.
const LINGER_TICKS: u32 = 50;

/// Owns the thread; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Calls under way.
    active: AtomicUsize,
    /// Whether the thread sleeps or is about to.
    parked: AtomicBool,
    stop: AtomicBool,
}

/// A call under way; the epoch advances until this is dropped.
pub(crate) struct Running<'t>(&'t Shared);

impl Ticker {
    /// Starts the thread; `advance` is called every [`TICK`] while calls are under way.
    pub(crate) fn start(advance: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("fanfare-epoch".to_owned()).spawn(move || of_thread.run(&advance))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Marks a call as under way.
    pub(crate) fn running(&self) -> Running<'_> {
        self.shared.active.fetch_add(1, SeqCst);
        if self.shared.parked.load(SeqCst) && self.shared.parked.swap(false, SeqCst) {
            self.wake();
        }
        Running(&self.shared)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.shared.parked.store(false, SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, SeqCst);
    }
}

impl Shared {
    fn run(&self, advance: &dyn Fn()) {
        let mut idle = 0;
        while !self.stop.load(SeqCst) {
            thread::sleep(TICK);
            advance();
            idle = if self.active.load(SeqCst) > 0 { 0 } else { idle + 1 };
            if idle >= LINGER_TICKS {
                idle = 0;
                self.sleep();
            }
        }
    }

    fn sleep(&self) {
        self.parked.store(true, SeqCst);
        // A call that began before the line above has not seen it; a stop likewise.
        if self.active.load(SeqCst) > 0 || self.stop.load(SeqCst) {
            self.parked.store(false, SeqCst);
            return;
        }
        while self.parked.load(SeqCst) {
            thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::Instant;

    use super::*;

    fn eventually(what: &str, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(60), "{what}");
            thread::sleep(TICK);
        }
    }

    #[test]
    fn ticks_while_calls_run_and_sleeps_when_none_do() {
        let ticks = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&ticks);
        let ticker = Ticker::start(move || {
            counted.fetch_add(1, SeqCst);
        })
        .expect("a thread");
        for _ in 0..3 {
            eventually("it does not go to sleep", || ticker.shared.parked.load(SeqCst));
            let asleep = ticks.load(SeqCst);
            let running = ticker.running();
            eventually("it does not wake up", || ticks.load(SeqCst) > asleep + u64::from(2 * LINGER_TICKS));
            drop(running);
        }
        eventually("it does not go to sleep again", || ticker.shared.parked.load(SeqCst));
        assert_eq!(ticker.shared.active.load(SeqCst), 0);
    }

    #[test]
    fn ends_when_it_is_dropped_asleep_or_awake() {
        for asleep in [false, true] {
            let ticker = Ticker::start(|| {}).expect("a thread");
            let shared = Arc::clone(&ticker.shared);
            if asleep {
                eventually("it does not go to sleep", || shared.parked.load(SeqCst));
            }
            drop(ticker);
            assert_eq!(Arc::strong_count(&shared), 1, "the thread has let go of it");
        }
    }
}
