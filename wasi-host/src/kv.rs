//! The state of a handler: a bounded map of texts, shared by its instances, with times to live.
//!
//! A handler's store outlives its code: a reload finds what the old code has left. Bytes of keys and values and
//! [`ENTRY_BYTES`] for each entry are counted against the limit; when it is reached, entries whose time has passed make room,
//! and nothing else does.

use std::collections::HashMap;

use parking_lot::Mutex;

/// What an entry counts beside its key and value: about what the map needs for it.
pub(crate) const ENTRY_BYTES: usize = 64;
/// The longest key, in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 255;

/// Why the store was not changed. In the order of the contract's `kv.error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    InvalidKey,
    NotANumber,
}

/// A handler's store.
#[derive(Debug)]
pub(crate) struct Kv {
    limit: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    map: HashMap<Box<str>, Entry>,
    /// What all entries count together.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    value: Box<str>,
    /// From when on it is gone, in milliseconds since 1970; `u64::MAX` = never.
    until: u64,
}

impl Kv {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), entries: Mutex::default() }
    }

    pub(crate) fn get(&self, key: &str, now: u64) -> Option<String> {
        self.entries.lock().live(key, now).map(str::to_owned)
    }

    pub(crate) fn set(&self, key: &str, value: &str, ttl: Option<u64>, now: u64) -> Result<(), Refusal> {
        self.entries.lock().put(key, value, until(ttl, now), now, self.limit)
    }

    pub(crate) fn delete(&self, key: &str, now: u64) -> bool {
        let mut entries = self.entries.lock();
        let there = entries.live(key, now).is_some();
        entries.remove(key);
        there
    }

    pub(crate) fn increment(&self, key: &str, by: i64, ttl: Option<u64>, now: u64) -> Result<i64, Refusal> {
        let mut entries = self.entries.lock();
        let (old, until) = match entries.map.get(key).filter(|entry| entry.until > now) {
            Some(entry) => (entry.value.parse().map_err(|_| Refusal::NotANumber)?, entry.until),
            None => (0_i64, until(ttl, now)),
        };
        let sum = old.checked_add(by).ok_or(Refusal::NotANumber)?;
        entries.put(key, &sum.to_string(), until, now, self.limit)?;
        Ok(sum)
    }

    pub(crate) fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&str>,
        value: &str,
        ttl: Option<u64>,
        now: u64,
    ) -> Result<bool, Refusal> {
        let mut entries = self.entries.lock();
        if entries.live(key, now) != expected {
            return Ok(false);
        }
        entries.put(key, value, until(ttl, now), now, self.limit).map(|()| true)
    }

    /// What all entries count together, those included whose time has passed and that nobody has met since.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.lock().bytes
    }
}

fn until(ttl: Option<u64>, now: u64) -> u64 {
    ttl.map_or(u64::MAX, |ttl| now.saturating_add(ttl))
}

fn cost(key: &str, value: &str) -> usize {
    key.len() + value.len() + ENTRY_BYTES
}

impl Entries {
    /// The value of a key whose time has not passed.
    fn live(&self, key: &str, now: u64) -> Option<&str> {
        self.map.get(key).filter(|entry| entry.until > now).map(|entry| &*entry.value)
    }

    fn remove(&mut self, key: &str) {
        if let Some((key, entry)) = self.map.remove_entry(key) {
            self.bytes -= cost(&key, &entry.value);
        }
    }

    fn put(&mut self, key: &str, value: &str, until: u64, now: u64, limit: usize) -> Result<(), Refusal> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(Refusal::InvalidKey);
        }
        let old = self.map.get(key).map_or(0, |entry| cost(key, &entry.value));
        if self.bytes - old + cost(key, value) > limit {
            self.sweep(key, now);
        }
        if self.bytes - old + cost(key, value) > limit {
            return Err(Refusal::Full);
        }
        self.bytes = self.bytes - old + cost(key, value);
        let entry = Entry { value: value.into(), until };
        match self.map.get_mut(key) {
            Some(place) => *place = entry,
            None => {
                self.map.insert(key.into(), entry);
            }
        }
        Ok(())
    }

    /// Removes what has passed its time, except `key`.
    fn sweep(&mut self, key: &str, now: u64) {
        let mut freed = 0;
        self.map.retain(|name, entry| {
            let keep = entry.until > now || **name == *key;
            freed += if keep { 0 } else { cost(name, &entry.value) };
            keep
        });
        self.bytes -= freed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_and_go() {
        let kv = Kv::new(1_000);
        assert_eq!(kv.get("a", 0), None);
        assert_eq!(kv.set("a", "1", None, 0), Ok(()));
        assert_eq!(kv.set("a", "22", Some(10), 0), Ok(()));
        assert_eq!(kv.get("a", 9).as_deref(), Some("22"));
        assert_eq!(kv.get("a", 10), None, "its time has passed");
        assert!(!kv.delete("a", 10), "so it was not there");
        assert_eq!(kv.bytes(), 0);
        assert_eq!(kv.set("a", "1", Some(u64::MAX), 5), Ok(()));
        assert!(kv.delete("a", u64::MAX - 1) && !kv.delete("a", 0));
    }

    #[test]
    fn numbers_are_added_within_a_window() {
        let kv = Kv::new(1_000);
        assert_eq!(kv.increment("n", 5, Some(100), 0), Ok(5));
        assert_eq!(kv.increment("n", -7, Some(100), 99), Ok(-2), "the window is that of the first");
        assert_eq!(kv.increment("n", 1, Some(100), 100), Ok(1), "a new one");
        kv.set("n", "text", None, 100).expect("room");
        assert_eq!(kv.increment("n", 1, None, 100), Err(Refusal::NotANumber));
        kv.set("n", &i64::MAX.to_string(), None, 100).expect("room");
        assert_eq!(kv.increment("n", 1, None, 100), Err(Refusal::NotANumber));
        assert_eq!(kv.get("n", 100), Some(i64::MAX.to_string()), "unchanged");
    }

    #[test]
    fn compare_and_set_changes_what_was_expected() {
        let kv = Kv::new(1_000);
        assert_eq!(kv.compare_and_set("k", Some("x"), "a", None, 0), Ok(false));
        assert_eq!(kv.compare_and_set("k", None, "a", None, 0), Ok(true));
        assert_eq!(kv.compare_and_set("k", None, "b", None, 0), Ok(false));
        assert_eq!(kv.compare_and_set("k", Some("a"), "b", Some(5), 0), Ok(true));
        assert_eq!(kv.get("k", 0).as_deref(), Some("b"));
        assert_eq!(kv.compare_and_set("k", None, "c", None, 5), Ok(true), "its time had passed");
    }

    #[test]
    fn the_limit_holds_and_passed_entries_make_room() {
        let kv = Kv::new(3 * (ENTRY_BYTES as u64 + 10));
        for key in ["a", "b", "c"] {
            assert_eq!(kv.set(key, "123456789", Some(if key == "b" { 10 } else { 100 }), 0), Ok(()));
        }
        assert_eq!(kv.set("d", "", None, 9), Err(Refusal::Full));
        assert_eq!(kv.set("a", "1234567890", None, 9), Err(Refusal::Full), "a longer value, too");
        assert_eq!(kv.set("a", "987654321", None, 9), Ok(()), "one of the same length is fine");
        assert_eq!(kv.set("d", "123456789", None, 10), Ok(()), "b has made room");
        assert_eq!(kv.get("c", 10).as_deref(), Some("123456789"));
        assert_eq!(kv.bytes(), 3 * (ENTRY_BYTES + 10));
        assert_eq!(Kv::new(0).set("a", "", None, 0), Err(Refusal::Full));
    }

    #[test]
    fn keys_have_a_length() {
        let kv = Kv::new(1_000);
        for key in ["", &"k".repeat(256)] {
            assert_eq!(kv.set(key, "", None, 0), Err(Refusal::InvalidKey));
            assert_eq!(kv.increment(key, 1, None, 0), Err(Refusal::InvalidKey));
        }
        assert_eq!(kv.set(&"k".repeat(255), "", None, 0), Ok(()));
    }
}
