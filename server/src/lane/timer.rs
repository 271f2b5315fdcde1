//! The lane's timer wheel: coarse, lazy, one entry per connection.
//!
//! Time is counted in ticks of [`TICK`] since the lane started. A connection has **one** valid entry at any moment: the
//! tick at which it wants to be looked at next. Writing to a socket never touches the wheel; the connection only notes when
//! it was written to, and when its entry fires, the lane decides what is due and files it again. An entry that
//! was superseded by an earlier one, or whose connection is gone, is recognised by its key and its tick and dropped.
//!
//! So the cost is eight bytes per connection and one look per heartbeat interval, however many events flow.

use std::time::{Duration, Instant};

use super::conn::Key;

/// How exactly the lane keeps time. Deadlines are met at the first tick that is not before them.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// Slots of the wheel. A later deadline is filed at the horizon and then again.
const SLOTS: u64 = 1_024;
/// The furthest tick an entry can be filed at, counted from now.
pub(super) const HORIZON: u64 = SLOTS - 1;
/// A slot that grew beyond this many entries gives its memory back when it fires.
const KEEP_CAPACITY: usize = 64;

/// Ticks that cover `duration`, at least one.
pub(super) fn ticks(duration: Duration) -> u64 {
    let ticks = duration.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX / 4).clamp(1, u64::MAX / 4)
}

/// Entries by the tick at which they fire.
pub(super) struct Wheel {
    start: Instant,
    /// Everything before this tick has fired.
    next: u64,
    slots: Vec<Vec<Key>>,
    /// One bit per slot: it has entries.
    occupied: [u64; (SLOTS / 64) as usize],
}

impl Wheel {
    pub(super) fn new(start: Instant) -> Wheel {
        Wheel {
            start,
            next: 0,
            slots: vec![Vec::new(); SLOTS as usize],
            occupied: [0; (SLOTS / 64) as usize],
        }
    }

    /// The tick that `now` lies in.
    pub(super) fn tick_of(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.start).as_nanos() / TICK.as_nanos();
        u64::try_from(elapsed).unwrap_or(u64::MAX / 4)
    }

    /// Files `key` to fire at `at`, or as near to it as the wheel reaches; returns the tick it will fire at.
    pub(super) fn file(&mut self, key: Key, at: u64) -> u64 {
        let at = at.clamp(self.next, self.next + HORIZON);
        let slot = at % SLOTS;
        self.slots[slot as usize].push(key);
        self.occupied[(slot / 64) as usize] |= 1 << (slot % 64);
        at
    }

    /// Moves the keys of the first occupied tick up to `now` to `out`, and returns that tick; `None` when nothing is left
    /// to fire. Call it again until then.
    pub(super) fn fire(&mut self, now: u64, out: &mut Vec<Key>) -> Option<u64> {
        let due = self.first_occupied().filter(|&tick| tick <= now);
        let Some(tick) = due else {
            self.next = self.next.max(now.saturating_add(1));
            return None;
        };
        let slot = tick % SLOTS;
        self.occupied[(slot / 64) as usize] &= !(1 << (slot % 64));
        let entries = &mut self.slots[slot as usize];
        out.append(entries);
        if entries.capacity() > KEEP_CAPACITY {
            *entries = Vec::new();
        }
        self.next = tick + 1;
        Some(tick)
    }

    /// When the next entry fires; `None` when there is none.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let tick = self.first_occupied()?;
        let offset = TICK.checked_mul(u32::try_from(tick).ok()?)?;
        self.start.checked_add(offset)
    }

    /// The first tick at or after `next` that has entries.
    fn first_occupied(&self) -> Option<u64> {
        let words = self.occupied.len() as u64;
        let first = self.next % SLOTS;
        let (word, bit) = (first / 64, first % 64);
        // The first word is looked at twice: its high bits now, its low bits after a full turn.
        for step in 0..=words {
            let at = (word + step) % words;
            let mut bits = self.occupied[at as usize];
            if step == 0 {
                bits &= u64::MAX << bit;
            } else if step == words {
                bits &= !(u64::MAX << bit);
            }
            if bits != 0 {
                let slot = at * 64 + u64::from(bits.trailing_zeros());
                return Some(self.next + (slot + SLOTS - first) % SLOTS);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(wheel: &mut Wheel, now: u64) -> Vec<(u64, usize)> {
        let (mut all, mut out) = (Vec::new(), Vec::new());
        while let Some(tick) = wheel.fire(now, &mut out) {
            all.extend(out.drain(..).map(|key| (tick, key.index())));
        }
        all
    }

    #[test]
    fn entries_fire_once_in_order_and_not_before_their_tick() {
        let mut wheel = Wheel::new(Instant::now());
        for (index, at) in [(1, 5), (2, 3), (3, 5), (4, 1_000), (5, 0)] {
            assert_eq!(wheel.file(Key::new(index, 0), at), at);
        }
        assert_eq!(fired(&mut wheel, 2), [(0, 5)]);
        assert_eq!(fired(&mut wheel, 5), [(3, 2), (5, 1), (5, 3)]);
        assert_eq!(fired(&mut wheel, 999), []);
        assert_eq!(fired(&mut wheel, 2_000), [(1_000, 4)]);
        assert_eq!(fired(&mut wheel, 9_000), []);
    }

    #[test]
    fn far_deadlines_stop_at_the_horizon_and_past_ones_fire_next() {
        let mut wheel = Wheel::new(Instant::now());
        assert_eq!(fired(&mut wheel, 699), []);
        assert_eq!(wheel.file(Key::new(1, 0), u64::MAX), 700 + HORIZON);
        assert_eq!(wheel.file(Key::new(2, 0), 3), 700);
        assert_eq!(fired(&mut wheel, 700), [(700, 2)]);
        assert_eq!(fired(&mut wheel, 700 + HORIZON), [(700 + HORIZON, 1)]);
    }

    #[test]
    fn every_slot_is_found_from_every_start() {
        for start in [0, 1, 63, 64, 65, 700, 1_023, 1_024, 5_000] {
            let mut wheel = Wheel::new(Instant::now());
            assert_eq!(wheel.next_deadline(), None);
            if start > 0 {
                fired(&mut wheel, start - 1);
            }
            for ahead in [0, 1, 62, 63, 64, 500, HORIZON] {
                wheel.file(Key::new(9, 0), start + ahead);
                assert_eq!(wheel.first_occupied(), Some(start + ahead), "from {start} by {ahead}");
                let slot = (start + ahead) % SLOTS;
                wheel.slots[slot as usize].clear();
                wheel.occupied = [0; 16];
            }
        }
    }

    #[test]
    fn ticks_round_up() {
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(TICK), 1);
        assert_eq!(ticks(TICK + Duration::from_nanos(1)), 2);
        assert!(ticks(Duration::MAX) > 1 << 60);
    }
}
