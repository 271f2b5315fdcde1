//! How a handler fails, and what rests it when it fails again and again.
//!
//! **The breaker.** After [`FAULTS_IN_A_ROW`] faults without a success in between the handler rests: its events are
//! decided by its policy without a call, so that a handler that runs into its time limit each time costs nothing. It
//! is tried again after a pause, which doubles with each trial that fails, up to [`LONGEST_PAUSE_MS`].

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use fanfare_engine::Timestamp;

/// Faults without a success in between after which a handler rests.
pub(crate) const FAULTS_IN_A_ROW: u32 = 10;
/// The first pause, in milliseconds.
const FIRST_PAUSE_MS: u64 = 100;
/// The longest pause, in milliseconds.
const LONGEST_PAUSE_MS: u64 = 30_000;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// It took longer than `handler.time`.
    Timeout,
    /// It asked for more than `handler.memory` and gave up.
    Memory,
    /// It called itself too deeply.
    Stack,
    /// It stopped itself: a panic, an abort, a division by zero, an access beyond its memory.
    Trap,
    /// It answered more than `handler.events` or `handler.output_bytes`.
    Output,
    /// Its answer breaks the contract: bad UTF-8, a pointer to nowhere, an event that may not be published.
    Answer,
    /// A new instance of it could not be made, or its `init` failed.
    Start,
    /// All its instances were in use for too long.
    Busy,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Timeout,
        Self::Memory,
        Self::Stack,
        Self::Trap,
        Self::Output,
        Self::Answer,
        Self::Start,
        Self::Busy,
    ];

    /// Its name in statistics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Trap => "trap",
            Self::Output => "output",
            Self::Answer => "answer",
            Self::Start => "start",
            Self::Busy => "busy",
        }
    }
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmFault {
    /// Its kind.
    pub kind: FaultKind,
    /// What happened, for the log and the publisher: a sentence without the handler's name.
    pub text: String,
}

impl WasmFault {
    pub(crate) fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for WasmFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for WasmFault {}

/// See the module. All Relaxed: the numbers are about each other only roughly, and nothing else hangs on them. Two
/// threads that race here make one pause longer or shorter.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    in_a_row: AtomicU32,
    /// Until when it rests, in engine time; 0 = it does not.
    until: AtomicU64,
}

impl Breaker {
    /// Whether the handler is to be called.
    pub(crate) fn allows(&self, now: Timestamp) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        // Who finds the pause over extends it and is the trial; the others still wait.
        until == 0
            || (now.0 >= until
                && self
                    .until
                    .compare_exchange(until, now.0 + FIRST_PAUSE_MS, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok())
    }

    pub(crate) fn success(&self) {
        if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
            self.until.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a fault; the pause that begins with it, in milliseconds.
    pub(crate) fn fault(&self, now: Timestamp) -> Option<u64> {
        let row = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let doublings = row.checked_sub(FAULTS_IN_A_ROW)?;
        let pause = FIRST_PAUSE_MS.saturating_mul(1 << doublings.min(20)).min(LONGEST_PAUSE_MS);
        self.until.store(now.0.saturating_add(pause).max(1), Ordering::Relaxed);
        Some(pause)
    }

    /// Forgets everything: there is new code.
    pub(crate) fn reset(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
        self.until.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_after_faults_in_a_row_and_tries_again_more_and_more_rarely() {
        let breaker = Breaker::default();
        for _ in 1..FAULTS_IN_A_ROW {
            assert_eq!(breaker.fault(Timestamp(5)), None);
        }
        breaker.success();
        for _ in 1..FAULTS_IN_A_ROW {
            assert_eq!(breaker.fault(Timestamp(5)), None, "a success starts the count anew");
        }
        let mut now = 1_000;
        for pause in [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000] {
            assert_eq!(breaker.fault(Timestamp(now)), Some(pause));
            assert!(!breaker.allows(Timestamp(now + pause - 1)));
            now += pause;
            assert!(breaker.allows(Timestamp(now)), "one trial");
            assert!(!breaker.allows(Timestamp(now)), "and no second one beside it");
        }
        breaker.success();
        assert!(breaker.allows(Timestamp(now)) && breaker.allows(Timestamp(now)), "it is well again");
    }
}
