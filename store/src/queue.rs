//! Transactions that wait for the writer.

use std::borrow::Borrow;
use std::sync::{Arc, OnceLock};

use fanfare_engine::Draft;

use crate::config::Durability;
use crate::error::{Error, Result};
use crate::record::{Change, write_change, write_event};
use crate::writer::Group;

/// Where a waiting publisher finds its answer.
#[derive(Clone, Debug)]
pub(crate) struct Outcome(Arc<OnceLock<Result<(), Error>>>);

impl Outcome {
    pub(crate) fn get(&self) -> Option<&Result<(), Error>> {
        self.0.get()
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
            group.enter(position, at_ms, &draft.topic, salt);
            write_event(&mut group.bytes, draft, at + 1 == records, position, at_ms, salt as u32);
            position += 1;
        }
        for (at, change) in changes.iter().enumerate() {
            let last = events.len() + at + 1 == records;
            write_change(&mut group.bytes, change, last, position - 1, at_ms, salt as u32);
        }
        group.changes.extend(changes.iter().cloned());
        group.sync |= durability.syncs();
        let outcome = durability.waits().then(|| Outcome(Arc::default()));
        self.parts.push(Part {
            bytes: group.bytes.len(),
            entries: group.entries.len(),
            changes: group.changes.len(),
            syncs: durability.syncs(),
            outcome: outcome.clone(),
        });
        outcome
    }

    /// Tells all who wait how it went. What is left after a failure are the transactions that were answered before.
    pub(crate) fn settle(mut self, result: &Result<()>) -> Self {
        for outcome in self.parts.iter().filter_map(|part| part.outcome.as_ref()) {
            let _ = outcome.0.set(result.clone());
        }
        if result.is_ok() {
            return Self::default();
        }
        let mut kept = Self::default();
        let (mut bytes, mut entries, mut changes) = (0, 0, 0);
        let all_changes = std::mem::take(&mut self.group.changes);
        for part in self.parts {
            if part.outcome.is_none() {
                let group = &mut kept.group;
                let moved = group.bytes.len();
                for &(position, at_ms, topic, offset) in &self.group.entries[entries..part.entries] {
                    group.entries.push((position, at_ms, topic, offset - bytes + moved));
                }
                group.bytes.extend(&self.group.bytes[bytes..part.bytes]);
                group.changes.extend(all_changes[changes..part.changes].iter().cloned());
                group.sync |= part.syncs;
                kept.parts.push(Part {
                    bytes: group.bytes.len(),
                    entries: group.entries.len(),
                    changes: group.changes.len(),
                    syncs: part.syncs,
                    outcome: None,
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
        for (position, at_ms, topic, offset) in later.group.entries {
            first.group.entries.push((position, at_ms, topic, offset + bytes));
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
