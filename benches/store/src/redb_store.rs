//! redb: a table of events by position, and one of positions by topic.

use std::path::Path;

use anyhow::Result;
use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use crate::contender::{Contender, data_of, topic_of};

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const BY_TOPIC: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("by_topic");

struct Redb(Database);

pub(crate) fn open(dir: &Path) -> Result<Box<dyn Contender>> {
    Ok(Box::new(Redb(Database::builder().set_cache_size(64 << 20).create(dir.join("redb"))?)))
}

impl Contender for Redb {
    fn append(&mut self, first: u64, count: u64, sync: bool) -> Result<()> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(if sync { Durability::Immediate } else { Durability::None })?;
        {
            let mut events = transaction.open_table(EVENTS)?;
            let mut by_topic = transaction.open_table(BY_TOPIC)?;
            for position in first..first + count {
                events.insert(position, &data_of(position)[..])?;
                by_topic.insert((topic_of(position), position), ())?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn scan(&mut self, after: u64, topic: Option<u64>, limit: u64) -> Result<u64> {
        let transaction = self.0.begin_read()?;
        let events = transaction.open_table(EVENTS)?;
        let mut found = 0;
        match topic {
            None => {
                for event in events.range(after + 1..)?.take(limit as usize) {
                    found += u64::from(event?.1.value().len() == 100);
                }
            }
            Some(topic) => {
                let by_topic = transaction.open_table(BY_TOPIC)?;
                for key in by_topic.range((topic, after + 1)..(topic + 1, 0))?.take(limit as usize) {
                    let (_, position) = key?.0.value();
                    found += u64::from(events.get(position)?.is_some_and(|event| event.value().len() == 100));
                }
            }
        }
        Ok(found)
    }

    fn drop_through(&mut self, through: u64) -> Result<()> {
        let transaction = self.0.begin_write()?;
        {
            let mut events = transaction.open_table(EVENTS)?;
            let mut by_topic = transaction.open_table(BY_TOPIC)?;
            events.retain_in(..=through, |_, _| false)?;
            for topic in 0..crate::contender::TOPICS {
                by_topic.retain_in((topic, 0)..=(topic, through), |_, ()| false)?;
            }
        }
        transaction.commit()?;
        self.0.compact()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
