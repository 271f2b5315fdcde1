//! The time limit of a call.
//!
//! Compiled code can be stopped when time has passed, but time passes for a thread that others have pushed off its
//! processor, too: on a busy machine a handler of microseconds would now and then be stopped for nothing. So when half of
//! the limit has passed, the time that the thread has computed is noted, and the call is stopped when it has computed for
//! another half. Where the system does not tell (anything but Linux, or no `/proc`), passing time is what counts. No
//! call takes longer than [`LONGEST`] times its limit.

use std::fs;
use std::time::Duration;

use wasmtime::{Result, Trap, UpdateDeadline};

use crate::ticker::TICK;

/// How many times its limit a call may take where others compute meanwhile.
const LONGEST: u32 = 20;

/// What is left of a call's time.
#[derive(Debug)]
pub(crate) struct Budget {
    half: Duration,
    /// What the thread had computed when half of the limit had passed.
    computed: Option<Duration>,
    /// How often half of the limit has passed.
    halves: u32,
}

impl Budget {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { half: limit / 2, computed: None, halves: 0 }
    }

    /// The deadline to begin with, in ticks.
    pub(crate) fn ticks(&self) -> u64 {
        ticks(self.half)
    }

    /// The deadline has passed: another one, or the end.
    pub(crate) fn expired(&mut self) -> Result<UpdateDeadline> {
        self.decide(computed())
    }

    fn decide(&mut self, computed: Option<Duration>) -> Result<UpdateDeadline> {
        self.halves += 1;
        let spent = match (self.halves, self.computed, computed) {
            (1, _, now) => {
                self.computed = now;
                false
            }
            (_, Some(then), Some(now)) => now.saturating_sub(then) >= self.half,
            _ => true,
        };
        if spent || self.halves >= 2 * LONGEST {
            return Err(Trap::Interrupt.into());
        }
        Ok(UpdateDeadline::Continue(self.ticks()))
    }
}

/// A time in ticks: never shorter than asked for, so one more than would fit, for the first tick may come at once.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX / 2).saturating_add(1)
}

/// How long this thread has computed, to a few milliseconds; `None` where the system does not tell.
fn computed() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn goes_on(budget: &mut Budget, computed: Option<Duration>) -> bool {
        budget.decide(computed).is_ok()
    }

    #[test]
    fn limits_round_up_and_leave_room_for_the_first_tick() {
        for (us, deadline) in [(1, 2), (1_000, 2), (1_001, 3), (10_000, 11)] {
            assert_eq!(ticks(Duration::from_micros(us)), deadline, "{us}");
        }
        assert!(ticks(Duration::MAX) > 1 << 40);
    }

    #[test]
    fn computing_is_what_counts() {
        let mut budget = Budget::new(10 * MS);
        for computed in [100, 100, 101, 104] {
            assert!(goes_on(&mut budget, Some(computed * MS)), "others had the processor");
        }
        assert!(!goes_on(&mut budget, Some(105 * MS)));
    }

    #[test]
    fn passing_time_counts_where_nothing_else_is_known_and_in_the_end() {
        let mut budget = Budget::new(10 * MS);
        assert!(goes_on(&mut budget, None));
        assert!(!goes_on(&mut budget, None), "two halves");
        let mut budget = Budget::new(10 * MS);
        assert_eq!(
            (0..100).take_while(|_| goes_on(&mut budget, Some(MS))).count(),
            39,
            "twenty times the limit"
        );
    }

    #[test]
    fn this_system_tells_or_does_not_exist() {
        if let Some(before) = computed() {
            let start = std::time::Instant::now();
            while computed().is_some_and(|now| now < before + 20 * MS) {
                assert!(start.elapsed() < Duration::from_secs(60), "a thread that computes is not seen to");
            }
        }
    }
}
