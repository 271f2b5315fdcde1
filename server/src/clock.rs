//! The one clock of a server: milliseconds since an origin on the monotonic clock.
//!
//! The engine has no clock and takes `now` as an argument, so everybody who publishes into one engine must count from the
//! same origin, or retention by age would see time run backwards. An embedder that publishes from its own threads makes one
//! [`Clock`], gives it to [`Server::start_at`](crate::Server::start_at) and uses it for its own calls.

use std::time::Instant;

use fanfare_engine::Timestamp;

/// Monotonic time as the engine wants it. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts at zero now.
    pub fn new() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// Milliseconds since the origin.
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// `instant` on this clock; an instant before the origin counts as the origin.
    pub fn at(&self, instant: Instant) -> Timestamp {
        let elapsed = instant.saturating_duration_since(self.origin);
        Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}
