//! Calls the `tick` of handlers when it is time.
//!
//! One thread calls them all, one after the other. A handler that takes long delays the others; the ticks that it
//! misses meanwhile are left out, not made up for. The thread sleeps until the next one is due.

use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fanfare_engine::{Engine, Timestamp};
use parking_lot::{Condvar, Mutex};

use crate::handler::WasmHandler;

/// The clock of ticks. Dropping it ends its thread; handlers that are gone are forgotten by themselves.
#[derive(Debug)]
pub struct Beat {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ticking: Vec<Ticking>,
    stop: bool,
}

#[derive(Clone, Debug)]
struct Ticking {
    /// What the engine calls it.
    name: Arc<str>,
    handler: Weak<WasmHandler>,
    every: Duration,
    next: Instant,
}

impl Beat {
    /// Starts the thread. `now` is the time that the engine goes by.
    ///
    /// # Errors
    /// What the system says when it gives no thread.
    pub fn start(engine: Engine, now: impl Fn() -> Timestamp + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let run = move || of_thread.run(&engine, &now);
        let thread = thread::Builder::new().name("fanfare-tick".to_owned()).spawn(run)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Calls the handler that the engine has under this name `every` so often, whenever its code has a `tick`: the code
    /// may change. The first call comes after that time.
    pub fn add(&self, name: &str, handler: &Arc<WasmHandler>, every: Duration) {
        let (name, handler) = (name.into(), Arc::downgrade(handler));
        let ticking = Ticking { name, handler, every, next: Instant::now() + every };
        self.shared.state.lock().ticking.push(ticking);
        self.shared.changed.notify_one();
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, engine: &Engine, now: &dyn Fn() -> Timestamp) {
        while let Some(name) = self.next_due() {
            if let Err(error) = engine.tick_handler(&name, now()) {
                tracing::debug!(handler = &*name, "its tick published nothing: {error}");
            }
        }
    }

    /// Sleeps until a handler is due; `None` when it is time to stop.
    fn next_due(&self) -> Option<Arc<str>> {
        let mut state = self.state.lock();
        loop {
            if state.stop {
                return None;
            }
            state.ticking.retain(|ticking| ticking.handler.strong_count() > 0);
            let Some(soonest) = state.ticking.iter_mut().min_by_key(|ticking| ticking.next) else {
                self.changed.wait(&mut state);
                continue;
            };
            let (now, due) = (Instant::now(), soonest.next);
            if due > now {
                self.changed.wait_until(&mut state, due);
                continue;
            }
            // Behind what is missed, in step with what was.
            while soonest.next <= now {
                soonest.next += soonest.every;
            }
            if soonest.handler.upgrade().is_some_and(|handler| handler.ticks()) {
                return Some(Arc::clone(&soonest.name));
            }
        }
    }
}
