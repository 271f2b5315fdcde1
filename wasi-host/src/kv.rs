//! The state of a handler: a bounded map of texts, shared by its instances, with times to live.
//!
//! A handler's store outlives its code: a reload finds what the old code has left. Bytes of keys and values and
//! [`ENTRY_BYTES`] for each entry are counted against the limit; when it is reached, entries whose time has passed make room,
//! and nothing else does.
//!
//! **Together with events.** Whoever calls the handler for a publish opens the store, and nobody else does until the publish is
//! committed or has failed ([`OpenKv`]). So each change is made of what is committed, and what the engine's journal gets is
//! what was changed since. A call that fails, and a publish that does, takes its changes back.
//!
//! **With a journal** the store is read from it when it is opened for the first time, and again whenever the journal has lost
//! changes that it had taken. What has passed its time is not taken over; the journal drops it by itself.
//!
//! **Memory.** What is needed to take changes back holds each key once: for keys that were there what they held, which the
//! limit bounds; for new ones nothing but their name, and only while they are there.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fanfare_engine::{Journal, OpenState, StateChanges, StateValue};
use parking_lot::{Condvar, Mutex};

/// What an entry counts beside its key and value: about what the map needs for it.
pub(crate) const ENTRY_BYTES: usize = 64;
/// The longest key, in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 255;
/// The longest name that a journal keeps state under, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 255;
/// Keys of a publish for which memory is kept.
const KEPT_UNDO: usize = 64;

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
    limit: AtomicUsize,
    entries: Mutex<Entries>,
    /// The one who had it open has ended.
    closed: Condvar,
    /// Some call has reached for it. Before the first does, calls need not open it.
    wanted: AtomicBool,
    stored: Option<Stored>,
}

/// Where it is kept.
struct Stored {
    journal: Arc<dyn Journal>,
    name: Arc<str>,
}

#[derive(Debug, Default)]
struct Entries {
    map: HashMap<Box<str>, Entry>,
    /// What all entries count together.
    bytes: usize,
    /// Whether somebody has it open.
    open: bool,
    /// The version of the journal's state that this is; none before it was read.
    version: Option<u64>,
    /// What the call under way, and what the calls before it, have changed: as it was before.
    call: Undo,
    calls: Undo,
}

type Undo = HashMap<Box<str>, Option<Entry>>;

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    value: Box<str>,
    /// From when on it is gone, in milliseconds since 1970; `u64::MAX` = never.
    until: u64,
}

impl Kv {
    /// A store in memory.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit: AtomicUsize::new(usize::try_from(limit).unwrap_or(usize::MAX)),
            entries: Mutex::default(),
            closed: Condvar::new(),
            wanted: AtomicBool::new(false),
            stored: None,
        }
    }

    /// A store that a journal keeps under a name.
    pub(crate) fn stored(limit: u64, journal: Arc<dyn Journal>, name: &str) -> Self {
        Self { stored: Some(Stored { journal, name: name.into() }), ..Self::new(limit) }
    }

    /// From now on another limit; what is there stays.
    pub(crate) fn set_limit(&self, limit: u64) {
        // Relaxed, as below: nothing else depends on it.
        self.limit.store(usize::try_from(limit).unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Opens it, when everybody before has ended.
    pub(crate) fn open(self: &Arc<Self>) -> OpenKv {
        let mut entries = self.entries.lock();
        while entries.open {
            self.closed.wait(&mut entries);
        }
        if let Some(stored) = &self.stored
            && entries.version != Some(stored.journal.state_version())
        {
            entries.read(stored);
        }
        entries.open = true;
        OpenKv(Arc::clone(self))
    }

    /// Some call wants it from now on.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Whether calls are to open it first. Relaxed: one that is told no, and wants it, begins anew.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    pub(crate) fn get(&self, key: &str, now: u64) -> Option<String> {
        self.entries.lock().live(key, now).map(str::to_owned)
    }

    pub(crate) fn set(&self, key: &str, value: &str, ttl: Option<u64>, now: u64) -> Result<(), Refusal> {
        self.entries.lock().put(key, value, until(ttl, now), now, self.limit())
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
        entries.put(key, &sum.to_string(), until, now, self.limit())?;
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
        entries.put(key, value, until(ttl, now), now, self.limit()).map(|()| true)
    }

    /// What all entries count together, those included whose time has passed and that nobody has met since.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.lock().bytes
    }

    fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }
}

/// A store that is open for the calls of one publish; nobody else opens it meanwhile.
pub(crate) struct OpenKv(Arc<Kv>);

impl OpenKv {
    /// A call has ended; if it has failed, it has changed nothing.
    pub(crate) fn end_call(&self, worked: bool) {
        self.0.entries.lock().end_call(worked);
    }
}

impl OpenState for OpenKv {
    fn changes(&self) -> Option<StateChanges> {
        let stored = self.0.stored.as_ref()?;
        let mut entries = self.0.entries.lock();
        entries.end_call(true);
        let changes: Vec<_> = entries.changes().collect();
        let version = entries.version?;
        (!changes.is_empty()).then(|| StateChanges { name: Arc::clone(&stored.name), version, changes })
    }

    fn commit(self: Box<Self>) {
        let mut entries = self.0.entries.lock();
        entries.call.clear();
        entries.calls.clear();
    }
}

impl Drop for OpenKv {
    fn drop(&mut self) {
        let mut entries = self.0.entries.lock();
        entries.end_call(false);
        let calls = std::mem::take(&mut entries.calls);
        entries.calls = entries.restore(calls);
        entries.open = false;
        drop(entries);
        self.0.closed.notify_one();
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("name", &self.name).finish_non_exhaustive()
    }
}

fn until(ttl: Option<u64>, now: u64) -> u64 {
    ttl.map_or(u64::MAX, |ttl| now.saturating_add(ttl))
}

fn cost(key: &str, value: &str) -> usize {
    key.len() + value.len() + ENTRY_BYTES
}

impl Entries {
    /// Takes over what the journal has.
    fn read(&mut self, stored: &Stored) {
        let state = stored.journal.state(&stored.name);
        self.version = Some(state.version);
        self.map = state
            .entries
            .into_iter()
            .map(|(key, StateValue { text, until_ms })| {
                (key, Entry { value: text, until: until_ms.unwrap_or(u64::MAX) })
            })
            .collect();
        self.bytes = self.map.iter().map(|(key, entry)| cost(key, &entry.value)).sum();
    }

    /// The value of a key whose time has not passed.
    fn live(&self, key: &str, now: u64) -> Option<&str> {
        self.map.get(key).filter(|entry| entry.until > now).map(|entry| &*entry.value)
    }

    fn remove(&mut self, key: &str) {
        let Some((key, entry)) = self.map.remove_entry(key) else { return };
        self.bytes -= cost(&key, &entry.value);
        match self.call.entry(key) {
            // Made by this call: nothing has happened.
            Place::Occupied(place) if place.get().is_none() => drop(place.remove()),
            Place::Occupied(_) => {}
            Place::Vacant(place) => drop(place.insert(Some(entry))),
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
        let old = match self.map.get_mut(key) {
            Some(place) => Some(std::mem::replace(place, entry)),
            None => {
                self.map.insert(key.into(), entry);
                None
            }
        };
        if !self.call.contains_key(key) {
            self.call.insert(key.into(), old);
        }
        Ok(())
    }

    /// Removes what has passed its time, except `key`. It is not put back, for it was not there any more.
    fn sweep(&mut self, key: &str, now: u64) {
        let Self { map, bytes, call, calls, .. } = self;
        map.retain(|name, entry| {
            if entry.until > now || **name == *key {
                return true;
            }
            *bytes -= cost(name, &entry.value);
            for undo in [&mut *call, &mut *calls] {
                if undo.get(name).is_some_and(Option::is_none) {
                    undo.remove(name);
                }
            }
            false
        });
    }

    /// What the call has changed counts with that of the calls before it, or is taken back.
    fn end_call(&mut self, worked: bool) {
        if self.call.is_empty() {
            return;
        }
        let mut call = std::mem::take(&mut self.call);
        if !worked {
            self.call = self.restore(call);
            return;
        }
        for (key, old) in call.drain() {
            match self.calls.entry(key) {
                Place::Occupied(place) if place.get().is_none() && !self.map.contains_key(place.key()) => {
                    place.remove();
                }
                Place::Occupied(_) => {}
                Place::Vacant(place) => drop(place.insert(old)),
            }
        }
        self.call = emptied(call);
    }

    /// Makes everything as it was; what is returned is empty.
    fn restore(&mut self, mut undo: Undo) -> Undo {
        for (key, old) in undo.drain() {
            if let Some(entry) = self.map.get(&key) {
                self.bytes -= cost(&key, &entry.value);
            }
            match old {
                None => drop(self.map.remove(&key)),
                Some(entry) => {
                    self.bytes += cost(&key, &entry.value);
                    self.map.insert(key, entry);
                }
            }
        }
        emptied(undo)
    }

    /// What differs from what it was.
    fn changes(&self) -> impl Iterator<Item = (Box<str>, Option<StateValue>)> {
        self.calls.iter().filter(|(key, old)| self.map.get(*key) != old.as_ref()).map(|(key, _)| {
            let value = self.map.get(key).map(|entry| StateValue {
                text: entry.value.clone(),
                until_ms: (entry.until != u64::MAX).then_some(entry.until),
            });
            (key.clone(), value)
        })
    }
}

/// A map to use again, unless it has become large.
fn emptied(undo: Undo) -> Undo {
    if undo.capacity() > KEPT_UNDO { Undo::new() } else { undo }
}

#[cfg(test)]
mod tests;
