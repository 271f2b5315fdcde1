//! What a hub's host names by number: subscriptions, streams, requests. A number that outlives its thing names nothing.

use parking_lot::Mutex;
use slab::Slab;

/// Things under generational numbers, never 0.
///
/// ```text
///   id (u64):  [ generation : 32 | slot : 32 ]
/// ```
pub(crate) struct Ids<T>(Mutex<Slots<T>>);

struct Slots<T> {
    slab: Slab<(u32, T)>,
    generation: u32,
}

impl<T> Default for Ids<T> {
    fn default() -> Ids<T> {
        Ids(Mutex::new(Slots { slab: Slab::new(), generation: 0 }))
    }
}

impl<T> Ids<T> {
    /// Adds what `make` makes for its own number.
    pub(crate) fn insert_with<R>(&self, make: impl FnOnce(u64) -> (T, R)) -> R {
        let mut slots = self.0.lock();
        // 0 is left out, so that no number is 0.
        slots.generation = slots.generation.checked_add(1).unwrap_or(1);
        let generation = slots.generation;
        let slot = slots.slab.vacant_entry();
        let (thing, result) = make(u64::from(generation) << 32 | slot.key() as u64);
        slot.insert((generation, thing));
        result
    }

    /// Looks at what the number names.
    pub(crate) fn with<R>(&self, id: u64, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut slots = self.0.lock();
        let (generation, thing) = slots.slab.get_mut(id as u32 as usize)?;
        (u64::from(*generation) == id >> 32).then(|| look(thing))
    }

    /// Takes it out.
    pub(crate) fn remove(&self, id: u64) -> Option<T> {
        let mut slots = self.0.lock();
        let (generation, _) = slots.slab.get(id as u32 as usize)?;
        (u64::from(*generation) == id >> 32).then(|| slots.slab.remove(id as u32 as usize).1)
    }

    /// Counts those for which `look` says something; if they are more than `many`, takes out those for which it says true, and
    /// counts the others.
    pub(crate) fn extract_if_more(&self, many: usize, look: impl Fn(&T) -> Option<bool>) -> usize {
        let mut slots = self.0.lock();
        if slots.slab.len() <= many {
            return slots.slab.len();
        }
        let found: Vec<(usize, bool)> =
            slots.slab.iter().filter_map(|(slot, (_, thing))| Some((slot, look(thing)?))).collect();
        let (over, left): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, over)| *over);
        if over.len() + left.len() <= many {
            return over.len() + left.len();
        }
        let gone: Vec<_> = over.into_iter().map(|(slot, _)| slots.slab.remove(slot)).collect();
        drop(slots);
        drop(gone);
        left.len()
    }

    /// Every number, now.
    pub(crate) fn all(&self) -> Vec<u64> {
        let slots = self.0.lock();
        let id = |(slot, (generation, _)): (usize, &(u32, T))| u64::from(*generation) << 32 | slot as u64;
        slots.slab.iter().map(id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_outlives_its_thing_names_nothing() {
        let ids = Ids::default();
        let first = ids.insert_with(|id| ("first", id));
        assert_eq!(ids.with(first, |thing| *thing), Some("first"));
        assert_eq!(ids.remove(first), Some("first"));
        let second = ids.insert_with(|id| ("second", id));
        assert_eq!((ids.remove(first), ids.with(first, |thing| *thing)), (None, None));
        for forged in [0, 1, u64::MAX, second + 1, second ^ 1 << 32] {
            assert_eq!(ids.with(forged, |thing| *thing), None, "{forged:x}");
        }
        assert_eq!(ids.all(), [second]);
    }

    #[test]
    fn what_is_over_makes_room() {
        let ids = Ids::default();
        for n in 0..10 {
            ids.insert_with(|_| (n, ()));
        }
        // Even numbers count, those below 6 are over.
        let look = |n: &i32| (n % 2 == 0).then_some(*n < 6);
        assert_eq!(ids.extract_if_more(5, look), 5);
        assert_eq!(ids.all().len(), 10);
        assert_eq!(ids.extract_if_more(4, look), 2);
        assert_eq!(ids.all().len(), 7);
    }
}
