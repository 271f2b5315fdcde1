//! Handlers' state as those see it who change it: read once, changed in memory, and submitted as changes.
//!
//! Who has read a table goes on from his copy before the disk has answered. So when changes fail, everything is refused
//! that may have been made of them: what waits (`commit`), and what is submitted later by somebody who has not looked
//! again, by the version that he has read.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use fanfare_engine::Draft;

use crate::commit::Shared;
use crate::durability::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::record::Change;
use crate::state::Value;
use crate::store::Store;
use crate::ticket::Ticket;

/// How often state is looked through for what has passed its time.
const EXPIRY_MS: u64 = 60_000;

impl Store {
    /// As [`try_submit`](Self::try_submit), with changes that were made of state of a [`version`](Self::state_version). Its durability
    /// is the strongest that the configuration has for any topic: state is of all topics, and nothing that was answered
    /// before it is stored may be made of what is not stored in the end.
    ///
    /// # Errors
    /// As [`try_submit`](Self::try_submit), and [`ErrorKind::Stale`] if some of that state has not been stored.
    pub fn try_submit_onto<'d>(
        &self,
        version: u64,
        events: &[impl Borrow<Draft<'d>>],
        changes: &[Change],
        at_ms: u64,
    ) -> Result<Option<Ticket>> {
        let Shared { rules, config, .. } = self.shared();
        let durability = rules.strongest().map_or(config.durability, |rule| rule.max(config.durability));
        self.take(Some(version), events, changes, at_ms, durability)
    }

    /// A table of handlers' state with all that was submitted, and its [`version`](Self::state_version): each key's value and
    /// when it is gone (ms since 1970; 0 = never). Entries whose time has passed may be in it. Waits for a write that is
    /// under way.
    #[must_use]
    pub fn table(&self, name: &str) -> (u64, BTreeMap<String, Value>) {
        let shared = self.shared();
        let mut inner = shared.inner.lock();
        let writer = shared.take_writer(&mut inner);
        let mut table = shared.files.state.read().tables.get(name).cloned().unwrap_or_default();
        inner.queue.apply_to(name, &mut table);
        let version = self.state_version();
        shared.give_writer(&mut inner, writer);
        (version, table)
    }

    /// The tables of handlers' state that were written, each with its keys and the bytes of keys and values.
    #[must_use]
    pub fn tables(&self) -> Vec<(String, u64, u64)> {
        let state = self.shared().files.state.read();
        let size = |(name, entries): (&String, &BTreeMap<String, Value>)| {
            let bytes = entries.iter().map(|(key, (value, _))| (key.len() + value.len()) as u64).sum();
            (name.clone(), entries.len() as u64, bytes)
        };
        state.tables.iter().map(size).collect()
    }

    /// Deletes a table of handlers' state; how many keys it had.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn delete_table(&self, name: &str, at_ms: u64) -> Result<u64> {
        let (_, table) = self.table(name);
        let delete = |key: String| Change::Delete { table: name.to_owned(), key };
        let changes: Vec<Change> = table.into_keys().map(delete).collect();
        let ticket = self.submit(&[], &changes, at_ms, Durability::Always)?;
        self.wait(&ticket).map(|()| changes.len() as u64)
    }

    /// Changes whenever changes of state that were submitted have not been stored: what was made of them since is refused,
    /// and [`table`](Self::table) has what is true. Waits for nothing.
    #[must_use]
    pub fn state_version(&self) -> u64 {
        // Acquire pairs with the store by who writes: who sees a version finds the state without what was lost. The one
        // under the queue's lock is exact, because it is stored under that lock.
        self.shared().state_version.load(Ordering::Acquire)
    }
}

impl Shared {
    /// Refuses what was made of state that was lost. Under the queue's lock.
    pub(crate) fn check_version(&self, version: Option<u64>) -> Result<()> {
        // Relaxed: it changes under the lock.
        if version.is_none_or(|version| version == self.state_version.load(Ordering::Relaxed)) {
            return Ok(());
        }
        let text = "a change of the state that it builds on could not be stored; try it again";
        Err(Error::new(ErrorKind::Stale, &self.files.dir, None, text))
    }

    /// Drops state whose time has passed, once in a while.
    pub(crate) fn expire(&self, now_ms: u64) {
        // Relaxed: one thread calls this.
        let last = self.expired_ms.load(Ordering::Relaxed);
        if now_ms >= last && now_ms - last < EXPIRY_MS {
            return;
        }
        self.expired_ms.store(now_ms, Ordering::Relaxed);
        let expired = self.files.state.read().expired(now_ms);
        if !expired.is_empty() {
            let mut state = self.files.state.write();
            expired.into_iter().for_each(|(table, key)| state.expire(table, key, now_ms));
        }
    }
}
