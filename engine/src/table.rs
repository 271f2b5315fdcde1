//! A slab under generational keys: a key that outlives its entry misses instead of naming the next tenant.

use slab::Slab;

/// Names an entry: the slot, and which tenant of the slot. Never reused within 2^32 insertions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The key as one number, for a C ABI or a log: generation in the high half, slot in the low half. Never 0.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key of a number from [`to_bits`](Self::to_bits); any other number makes a key that misses.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        // Truncation splits the halves.
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// Entries under [`Key`]s.
pub(crate) struct Table<T> {
    slots: Slab<(u32, T)>,
    generation: u32,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        Self { slots: Slab::new(), generation: 0 }
    }

    /// Adds the entry that `make` returns for its own key.
    pub(crate) fn insert_with<R>(&mut self, make: impl FnOnce(Key) -> (T, R)) -> R {
        // 0 is left out so that a key is never all zero.
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        let slot = self.slots.vacant_entry();
        let index = u32::try_from(slot.key()).expect("fewer than 2^32 entries");
        let (value, result) = make(Key { index, generation: self.generation });
        slot.insert((self.generation, value));
        result
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let (generation, value) = self.slots.get(key.index as usize)?;
        (*generation == key.generation).then_some(value)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(key.index as usize)?;
        (*generation == key.generation).then_some(value)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        Some(self.slots.remove(key.index as usize).1)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The first entry at or behind slot `index`, with its key.
    pub(crate) fn at_or_after(&self, index: usize) -> Option<(Key, &T)> {
        (index..self.slots.capacity()).find_map(|at| {
            let (generation, value) = self.slots.get(at)?;
            Some((Key { index: at as u32, generation: *generation }, value))
        })
    }
}

impl Key {
    /// The slot, for going through a table from slot to slot.
    pub(crate) fn slot(self) -> usize {
        self.index as usize
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_misses() {
        let mut table = Table::new();
        let first = table.insert_with(|key| ("first", key));
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert_with(|key| ("second", key));
        assert_eq!(first.slot(), second.slot());
        assert_eq!((table.get(first), table.get(second)), (None, Some(&"second")));
        assert_eq!(table.remove(first), None);
        assert_eq!(Key::from_bits(second.to_bits()), second);
        assert_eq!(table.get(Key::from_bits(0)), None);
    }

    #[test]
    fn walking_skips_free_slots() {
        let mut table = Table::new();
        let keys: Vec<_> = (0..4).map(|n| table.insert_with(|key| (n, key))).collect();
        table.remove(keys[1]);
        assert_eq!(table.at_or_after(1).map(|(key, n)| (key, *n)), Some((keys[2], 2)));
        assert!(table.at_or_after(4).is_none());
    }
}
