//! A hub without HTTP, for embedders that only publish and subscribe in process: no socket, and one thread, which
//! lets go of what is too old. The other variant of this module is `http`.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use fanfare_engine::options::{OptionError, OptionSpec};
use fanfare_engine::{Engine, LagPolicy};
use parking_lot::{Condvar, Mutex};

#[path = "../../server/src/clock.rs"]
mod clock;
pub use clock::Clock;

/// How often the engine's retention is looked after while it has nothing due.
const TICK: Duration = Duration::from_secs(1);

/// Nothing can be set.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {}

impl Config {
    /// There are no options.
    pub const OPTIONS: &'static [OptionSpec<Config>] = &[];

    /// Nothing can be wrong.
    pub fn validate(&self) -> Result<(), OptionError> {
        Ok(())
    }
}

/// What a stop met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopReport {
    /// Always 0.
    pub streams: u64,
    /// Always 0.
    pub cut: u64,
}

/// The system gives no thread.
#[derive(Debug)]
pub struct StartError(io::Error);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start a thread: {}", self.0)
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Streams of HTTP that cannot be, so that code for both variants has their names.
pub mod embed {
    use std::task::{Context, Poll};

    use super::Infallible;

    /// None exists.
    pub struct Adopted(Infallible);

    impl Adopted {
        /// Cannot be called.
        pub fn end(&self) {
            match self.0 {}
        }
    }

    /// None exists.
    pub struct HostStream(Infallible);

    impl HostStream {
        /// Cannot be called.
        pub fn poll_bytes(&mut self, _: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
            match self.0 {}
        }

        /// Cannot be called.
        pub fn end_code(&self) -> Option<fanfare_engine::Code> {
            match self.0 {}
        }
    }
}

/// Requests that cannot come.
pub mod authorize {
    use super::Infallible;

    /// None exists.
    pub struct Answer(#[allow(dead_code, reason = "it keeps values from existing")] Infallible);
}

/// The thread that drives what the engine does by time.
pub(crate) struct Http {
    stopping: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Http {
    pub(crate) fn start(engine: &Engine, _: Config, _: bool, clock: Clock) -> Result<Http, StartError> {
        let stopping = Arc::new((Mutex::new(false), Condvar::new()));
        let (engine, signal) = (engine.clone(), Arc::clone(&stopping));
        let tick = move || {
            let (stopping, changed) = &*signal;
            let mut stopping = stopping.lock();
            while !*stopping {
                let due = engine
                    .poll_timeout()
                    .map(|at| Duration::from_millis(at.0.saturating_sub(clock.now().0)))
                    .map_or(TICK, |due| due.clamp(Duration::from_millis(10), TICK));
                changed.wait_for(&mut stopping, due);
                engine.handle_timeout(clock.now());
            }
        };
        let thread = Builder::new().name("fanfare-tick".to_owned()).spawn(tick).map_err(StartError)?;
        Ok(Http { stopping, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        Vec::new()
    }

    pub(crate) fn stop_timeout(&self) -> Duration {
        Duration::ZERO
    }

    pub(crate) fn stop(&self, _: Duration) -> StopReport {
        *self.stopping.0.lock() = true;
        self.stopping.1.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread for retention ended by a panic");
        }
        StopReport::default()
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// Nobody writes to connections: what the option `timeouts.write` is by default.
pub(crate) fn write_timeout(_: &Config) -> Duration {
    Duration::from_secs(30)
}

pub(crate) fn lag(_: &Config) -> LagPolicy {
    LagPolicy::default()
}
