//! Transactions that wait for the writer.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use fanfare_engine::Draft;
use parking_lot::Mutex;

use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::index::Entry;
use crate::record::{Change, write_change, write_event};
use crate::state::Value;
use crate::writer::Group;

/// Where a waiting publisher finds its answer.
#[derive(Clone, Debug)]
pub(crate) struct Outcome(Arc<Mutex<Answer>>);

#[derive(Debug)]
enum Answer {
    /// Who is to be woken when there is one.
    Open(Vec<Waker>),
    Known(Result<()>),
}

impl Outcome {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Answer::Open(Vec::new()))))
    }

    pub(crate) fn get(&self) -> Option<Result<()>> {
        match &*self.0.lock() {
            Answer::Open(_) => None,
            Answer::Known(result) => Some(result.clone()),
        }
    }

    /// The answer; or the waker is woken when there is one.
    pub(crate) fn get_or_wake(&self, waker: &Waker) -> Option<Result<()>> {
        match &mut *self.0.lock() {
            Answer::Open(wakers) => {
                if !wakers.iter().any(|known| known.will_wake(waker)) {
                    wakers.push(waker.clone());
                }
                None
            }
            Answer::Known(result) => Some(result.clone()),
        }
    }

    /// Adds who is to be woken to `woken`.
    fn set(&self, result: Result<()>, woken: &mut Vec<Waker>) {
        if let Answer::Open(wakers) = std::mem::replace(&mut *self.0.lock(), Answer::Known(result)) {
            woken.extend(wakers);
        }
    }
}

/// A group that is being gathered, and who waits for which part of it.
#[derive(Default)]
pub(crate) struct Queue {
    group: Group,
    parts: Vec<Part>,
}

struct Part {
    /// Ends of the part in the group.
    bytes: usize,
    entries: usize,
    changes: usize,
    syncs: bool,
    /// Whether it changes handlers' state.
    of_state: bool,
    outcome: Option<Outcome>,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.group.bytes.len()
    }

    /// Position of the first event that waits.
    pub(crate) fn first(&self) -> Option<u64> {
        self.group.first()
    }

    pub(crate) fn transactions(&self) -> u64 {
        self.parts.len() as u64
    }

    pub(crate) fn group(&mut self) -> &mut Group {
        &mut self.group
    }

    /// Puts a transaction behind the others.
    pub(crate) fn put<'d>(
        &mut self,
        events: &[impl Borrow<Draft<'d>>],
        changes: &[Change],
        first: u64,
        at_ms: u64,
        durability: Durability,
        salt: u64,
    ) -> Option<Outcome> {
        let records = events.len() + changes.len();
        if records == 0 {
            return None;
        }
        let group = &mut self.group;
        let mut position = first;
        for (at, draft) in events.iter().map(Borrow::borrow).enumerate() {
            group.enter(position, at_ms, draft, salt);
            write_event(&mut group.bytes, draft, at + 1 == records, position, at_ms, salt as u32);
            position += 1;
        }
        for (at, change) in changes.iter().enumerate() {
            let last = events.len() + at + 1 == records;
            write_change(&mut group.bytes, change, last, position - 1, at_ms, salt as u32);
        }
        group.changes.extend(changes.iter().cloned());
        group.sync |= durability.syncs();
        let outcome = durability.waits().then(Outcome::new);
        self.parts.push(Part {
            bytes: group.bytes.len(),
            entries: group.entries.len(),
            changes: group.changes.len(),
            syncs: durability.syncs(),
            of_state: changes.iter().any(Change::is_of_state),
            outcome: outcome.clone(),
        });
        outcome
    }

    /// Tells all who wait how it went; those in `woken` are to be woken once no lock is held. What is left after a failure
    /// are the transactions that were answered before.
    pub(crate) fn settle(self, result: &Result<()>, woken: &mut Vec<Waker>) -> Self {
        match result {
            Err(error) => self.fail(error, |part| part.outcome.is_some(), woken),
            Ok(()) => {
                for outcome in self.parts.iter().filter_map(|part| part.outcome.as_ref()) {
                    outcome.set(Ok(()), woken);
                }
                Self::default()
            }
        }
    }

    /// Whether changes of state are lost if this cannot be written.
    pub(crate) fn fails_state(&self) -> bool {
        self.parts.iter().any(Part::fails_state)
    }

    /// Fails the transactions that wait and change state.
    pub(crate) fn fail_state(&mut self, error: &Error, woken: &mut Vec<Waker>) {
        if self.fails_state() {
            *self = std::mem::take(self).fail(error, Part::fails_state, woken);
        }
    }

    /// Makes what waits part of a table.
    pub(crate) fn apply_to(&self, name: &str, entries: &mut BTreeMap<String, Value>) {
        for change in &self.group.changes {
            match change {
                Change::Put { table, key, value, until_ms } if table == name => {
                    entries.insert(key.clone(), (value.clone(), *until_ms));
                }
                Change::Delete { table, key } if table == name => drop(entries.remove(key)),
                _ => {}
            }
        }
    }

    /// Takes some out and tells those who wait for them.
    fn fail(mut self, error: &Error, which: impl Fn(&Part) -> bool, woken: &mut Vec<Waker>) -> Self {
        let mut kept = Self::default();
        let (mut bytes, mut entries, mut changes) = (0, 0, 0);
        let all_changes = std::mem::take(&mut self.group.changes);
        for part in self.parts {
            if which(&part) {
                if let Some(outcome) = &part.outcome {
                    outcome.set(Err(error.clone()), woken);
                }
            } else {
                let group = &mut kept.group;
                let moved = group.bytes.len();
                for entry in &self.group.entries[entries..part.entries] {
                    group.entries.push(Entry { offset: entry.offset - bytes + moved, ..*entry });
                }
                group.bytes.extend(&self.group.bytes[bytes..part.bytes]);
                group.changes.extend(all_changes[changes..part.changes].iter().cloned());
                group.sync |= part.syncs;
                kept.parts.push(Part {
                    bytes: group.bytes.len(),
                    entries: group.entries.len(),
                    changes: group.changes.len(),
                    syncs: part.syncs,
                    of_state: part.of_state,
                    outcome: part.outcome.clone(),
                });
            }
            (bytes, entries, changes) = (part.bytes, part.entries, part.changes);
        }
        kept
    }

    /// Puts transactions before those that came meanwhile.
    pub(crate) fn put_back(&mut self, mut first: Self) {
        let (bytes, entries, changes) =
            (first.group.bytes.len(), first.group.entries.len(), first.group.changes.len());
        let later = std::mem::take(self);
        first.group.bytes.extend(later.group.bytes);
        first.group.changes.extend(later.group.changes);
        first.group.sync |= later.group.sync;
        for entry in later.group.entries {
            first.group.entries.push(Entry { offset: entry.offset + bytes, ..entry });
        }
        for part in later.parts {
            first.parts.push(Part {
                bytes: part.bytes + bytes,
                entries: part.entries + entries,
                changes: part.changes + changes,
                ..part
            });
        }
        *self = first;
    }
}

impl Part {
    /// Somebody waits for it, and it changes state.
    fn fails_state(&self) -> bool {
        self.of_state && self.outcome.is_some()
    }
}
