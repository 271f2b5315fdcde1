//! Handlers' state and what is said of topics: small, kept in memory, rebuilt from a snapshot and the log after it.
//!
//! Changes are records of the log, in one transaction with their events, so state and history agree after a crash.
//! When a file of the log is full, the whole state is written beside it as `state-NUMBER`: the state before the first
//! record of log file NUMBER. Then older log files may go.

use std::collections::BTreeMap;
use std::path::Path;

use crate::disk::{Disk, Mode};
use crate::error::{Error, Result};
use crate::meta::replace;
use crate::record::{Body, Change, HEAD, Head, LAST, read_body, write_change};

const PREFIX: &str = "state-";
/// A state's value and when it is gone (ms since 1970; 0 = never).
pub(crate) type Value = (String, u64);

/// What a store knows of a topic beside its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicState {
    pub(crate) closed: bool,
    pub(crate) deleted_through: u64,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) tables: BTreeMap<String, BTreeMap<String, Value>>,
    pub(crate) topics: BTreeMap<String, TopicState>,
}

impl State {
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Put { table, key, value, until_ms } => {
                self.tables.entry(table).or_default().insert(key, (value, until_ms));
            }
            Change::Delete { table, key } => {
                if let Some(entries) = self.tables.get_mut(&table) {
                    entries.remove(&key);
                    if entries.is_empty() {
                        self.tables.remove(&table);
                    }
                }
            }
            Change::Topic { topic, closed, deleted_through } => {
                let before = self.topics.remove(&topic).unwrap_or_default();
                let now = TopicState {
                    closed: closed.unwrap_or(before.closed),
                    deleted_through: deleted_through.max(before.deleted_through),
                };
                if now != TopicState::default() {
                    self.topics.insert(topic, now);
                }
            }
        }
    }

    /// The changes that make this state of nothing.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Change> {
        let puts = self.tables.iter().flat_map(|(table, entries)| {
            entries.iter().map(|(key, (value, until_ms))| Change::Put {
                table: table.clone(),
                key: key.clone(),
                value: value.clone(),
                until_ms: *until_ms,
            })
        });
        let topics = self.topics.iter().map(|(topic, state)| Change::Topic {
            topic: topic.clone(),
            closed: Some(state.closed),
            deleted_through: state.deleted_through,
        });
        puts.chain(topics)
    }

    /// Keys whose time has passed, with their tables.
    pub(crate) fn expired(&self, now_ms: u64) -> Vec<(String, String)> {
        let of_table = |(table, entries): (&String, &BTreeMap<String, Value>)| {
            let gone = entries.iter().filter(|(_, (_, until_ms))| (1..=now_ms).contains(until_ms));
            gone.map(|(key, _)| (table.clone(), key.clone())).collect::<Vec<_>>()
        };
        self.tables.iter().flat_map(of_table).collect()
    }

    /// Drops a key, unless it has been given more time. The log is not told: it says itself when the time has passed.
    pub(crate) fn expire(&mut self, table: String, key: String, now_ms: u64) {
        let until_ms = self.tables.get(&table).and_then(|entries| entries.get(&key)).map(|(_, until)| *until);
        if until_ms.is_some_and(|until_ms| (1..=now_ms).contains(&until_ms)) {
            self.apply(Change::Delete { table, key });
        }
    }

    /// Forgets deletions of events that retention has let go since.
    pub(crate) fn forget(&mut self, lost_through: u64) {
        self.topics.retain(|_, state| state.closed || state.deleted_through > lost_through);
    }

    /// Forgets a deletion up to a position, because no file has an event of it any more.
    pub(crate) fn cleared(&mut self, topic: &str, through: u64) {
        if let Some(state) = self.topics.get_mut(topic)
            && state.deleted_through <= through
        {
            state.deleted_through = 0;
            if *state == TopicState::default() {
                self.topics.remove(topic);
            }
        }
    }

    /// Writes the state before log file `number`, then removes older snapshots.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path, number: u64, salt: u64) -> Result<()> {
        let mut bytes = Vec::new();
        for change in self.changes() {
            write_change(&mut bytes, &change, false, number, 0, salt as u32);
        }
        // The end is a record too, so that a file that was cut does not pass for a whole one.
        let end = Change::Topic { topic: "end".into(), closed: None, deleted_through: 0 };
        write_change(&mut bytes, &end, true, number, 0, salt as u32);
        replace(disk, dir, &format!("{PREFIX}{number:010}"), &bytes)?;
        for old in snapshots(disk, dir)?.into_iter().filter(|&old| old < number) {
            // One that stays is passed over when opening, so this may fail.
            let _ = disk.remove(&dir.join(format!("{PREFIX}{old:010}")));
        }
        Ok(())
    }

    /// The log file before whose first record the newest snapshot was made.
    pub(crate) fn newest(disk: &dyn Disk, dir: &Path) -> Result<Option<u64>> {
        Ok(snapshots(disk, dir)?.into_iter().max())
    }

    /// Reads the newest snapshot: the state, and the log file before whose first record it was.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path, salt: u64) -> Result<Option<(Self, u64)>> {
        let Some(number) = Self::newest(disk, dir)? else { return Ok(None) };
        let path = dir.join(format!("{PREFIX}{number:010}"));
        let fail = |error| Error::io("read it", &path, None, &error);
        let file = disk.open(&path, Mode::Read).map_err(fail)?;
        let len = file.len().map_err(fail)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let filled = file.read_at(&mut bytes, 0).map_err(fail)?;
        bytes.truncate(filled);
        let (mut state, mut at) = (Self::default(), 0);
        loop {
            let bad = || Error::corrupt(&path, at as u64, "handlers' state is damaged from here on");
            let head = Head::read(&bytes[at..]).ok_or_else(bad)?;
            let record = bytes.get(at..at + HEAD + head.len).ok_or_else(bad)?;
            if !head.holds(record, salt as u32) || head.position != number {
                return Err(bad());
            }
            let Some(Body::Change(change)) = read_body(head.kind, &record[HEAD..]) else { return Err(bad()) };
            if head.flags & LAST != 0 {
                return Ok(Some((state, number)));
            }
            state.apply(change);
            at += record.len();
        }
    }
}

fn snapshots(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>> {
    let names = disk.list(dir).map_err(|error| Error::io("list its files", dir, None, &error))?;
    Ok(names.iter().filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok()).collect())
}
