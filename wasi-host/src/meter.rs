//! What a handler counts about itself.
//!
//! All Relaxed: each number is a sum on its own; nothing is concluded from one about another.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use fanfare_engine::HandlerStats;

use crate::fault::FaultKind;

/// Upper bounds of the time histogram, in microseconds.
const BOUNDS_US: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000];

/// What a handler answered, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Pass,
    Drop,
    Replace,
    Emit,
    Reject,
    /// To a reader.
    Admit,
    Greet,
    Refuse,
    /// Time had passed.
    Tick,
}

const ANSWERS: [(Answer, &str); 9] = [
    (Answer::Pass, "pass"),
    (Answer::Drop, "drop"),
    (Answer::Replace, "replace"),
    (Answer::Emit, "emit"),
    (Answer::Reject, "reject"),
    (Answer::Admit, "admit"),
    (Answer::Greet, "greet"),
    (Answer::Refuse, "refuse"),
    (Answer::Tick, "tick"),
];

/// Counters of one handler, over all code that it has run.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    calls: AtomicU64,
    answers: [AtomicU64; ANSWERS.len()],
    faults: [AtomicU64; FaultKind::ALL.len()],
    rested: AtomicU64,
    time_ns: AtomicU64,
    /// Calls by time, each in one bucket only; what is above the last bound is in none.
    times: [AtomicU64; BOUNDS_US.len()],
    instances: AtomicU64,
    recycled: AtomicU64,
    memory: AtomicU64,
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
}

impl Meter {
    /// Counts `events` that one call decided about, at the same share of its time each.
    pub(crate) fn call(&self, events: u64, took: Duration) {
        self.calls.fetch_add(events, Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.time_ns.fetch_add(ns, Relaxed);
        let each = ns / events.max(1);
        if let Some(bucket) = BOUNDS_US.iter().position(|bound| each <= bound * 1_000) {
            self.times[bucket].fetch_add(events, Relaxed);
        }
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.answers[answer as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn fault(&self, kind: FaultKind) {
        self.faults[kind as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn rested(&self) {
        self.rested.fetch_add(1, Relaxed);
    }

    pub(crate) fn instance_made(&self) {
        self.instances.fetch_add(1, Relaxed);
    }

    pub(crate) fn instance_gone(&self) {
        self.instances.fetch_sub(1, Relaxed);
    }

    pub(crate) fn recycled(&self) {
        self.recycled.fetch_add(1, Relaxed);
    }

    pub(crate) fn memory(&self, bytes: usize) {
        self.memory.fetch_max(bytes as u64, Relaxed);
    }

    pub(crate) fn reload(&self, worked: bool) {
        let counter = if worked { &self.reloads } else { &self.failed_reloads };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn snapshot(&self, state_bytes: usize) -> HandlerStats {
        let mut below = 0;
        let up_to = |(bound, count): (&u64, &AtomicU64)| {
            below += count.load(Relaxed);
            (*bound, below)
        };
        HandlerStats {
            calls: self.calls.load(Relaxed),
            outcomes: ANSWERS
                .iter()
                .zip(&self.answers)
                .map(|((_, name), n)| (*name, n.load(Relaxed)))
                .collect(),
            faults: FaultKind::ALL
                .iter()
                .zip(&self.faults)
                .map(|(kind, n)| (kind.as_str(), n.load(Relaxed)))
                .collect(),
            rested: self.rested.load(Relaxed),
            time_ns: self.time_ns.load(Relaxed),
            times_us: BOUNDS_US.iter().zip(&self.times).map(up_to).collect(),
            instances: self.instances.load(Relaxed),
            recycled: self.recycled.load(Relaxed),
            memory_bytes: self.memory.load(Relaxed),
            state_bytes: state_bytes as u64,
            reloads: self.reloads.load(Relaxed),
            failed_reloads: self.failed_reloads.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_where_the_counters_are() {
        for (index, (answer, _)) in ANSWERS.iter().enumerate() {
            assert_eq!(*answer as usize, index);
        }
        for (index, kind) in FaultKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }

    #[test]
    fn times_add_up() {
        let meter = Meter::default();
        for us in [1, 1, 3, 9_999, 60_001] {
            meter.call(1, Duration::from_micros(us));
        }
        let stats = meter.snapshot(0);
        assert_eq!((stats.calls, stats.time_ns), (5, 70_005_000));
        assert_eq!(stats.times_us[..3], [(1, 2), (2, 2), (5, 3)]);
        assert_eq!(stats.times_us[12..], [(10_000, 4), (60_000, 4)]);
    }
}
