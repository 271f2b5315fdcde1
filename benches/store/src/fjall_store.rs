//! fjall: a keyspace of events by position, and one of positions by topic.

use std::path::Path;

use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::contender::{Contender, TOPICS, data_of, topic_of};

struct Fjall {
    database: Database,
    events: Keyspace,
    by_topic: Keyspace,
}

pub(crate) fn open(dir: &Path) -> Result<Box<dyn Contender>> {
    let database = Database::builder(dir).cache_size(64 << 20).open()?;
    let events = database.keyspace("events", KeyspaceCreateOptions::default)?;
    let by_topic = database.keyspace("by_topic", KeyspaceCreateOptions::default)?;
    Ok(Box::new(Fjall { database, events, by_topic }))
}

fn topic_key(topic: u64, position: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&topic.to_be_bytes());
    key[8..].copy_from_slice(&position.to_be_bytes());
    key
}

impl Contender for Fjall {
    fn append(&mut self, first: u64, count: u64, sync: bool) -> Result<()> {
        let mut batch = self.database.batch();
        for position in first..first + count {
            batch.insert(&self.events, position.to_be_bytes(), data_of(position));
            batch.insert(&self.by_topic, topic_key(topic_of(position), position), []);
        }
        batch.commit()?;
        if sync {
            self.database.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn scan(&mut self, after: u64, topic: Option<u64>, limit: u64) -> Result<u64> {
        let mut found = 0;
        match topic {
            None => {
                for event in self.events.range((after + 1).to_be_bytes()..).take(limit as usize) {
                    found += u64::from(event.value()?.len() == 100);
                }
            }
            Some(topic) => {
                let range = topic_key(topic, after + 1)..topic_key(topic + 1, 0);
                for entry in self.by_topic.range(range).take(limit as usize) {
                    let key = entry.key()?;
                    found += u64::from(self.events.get(&key[8..])?.is_some_and(|event| event.len() == 100));
                }
            }
        }
        Ok(found)
    }

    fn drop_through(&mut self, through: u64) -> Result<()> {
        for position in 0..=through {
            self.events.remove(position.to_be_bytes())?;
        }
        for topic in 0..TOPICS {
            let range = topic_key(topic, 0)..=topic_key(topic, through);
            let keys = self.by_topic.range(range).map(fjall::Guard::key).collect::<Result<Vec<_>, _>>()?;
            for key in keys {
                self.by_topic.remove(key)?;
            }
        }
        for keyspace in [&self.events, &self.by_topic] {
            keyspace.rotate_memtable_and_wait()?;
            keyspace.major_compact()?;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.database.persist(PersistMode::SyncAll)?;
        Ok(())
    }
}
