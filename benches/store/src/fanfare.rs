//! Fanfare's own log.

use std::path::Path;

use anyhow::{Result, ensure};
use fanfare_engine::Draft;
use fanfare_store::{Config, Durability, PageLimits, Store, Topics};

use crate::contender::{Contender, TOPICS, data_of, topic_of};

struct Fanfare {
    store: Store,
    names: Vec<String>,
}

pub(crate) fn open(dir: &Path) -> Result<Box<dyn Contender>> {
    let config = Config { max_bytes: 0, durability: Durability::Always, ..Config::default() };
    let names = (0..TOPICS).map(|topic| format!("topic-{topic}")).collect();
    Ok(Box::new(Fanfare { store: Store::open(dir, config)?, names }))
}

impl Contender for Fanfare {
    fn append(&mut self, first: u64, count: u64, sync: bool) -> Result<()> {
        let data: Vec<_> = (first..first + count).map(data_of).collect();
        let mut drafts = Vec::with_capacity(data.len());
        for (position, data) in (first..).zip(&data) {
            drafts.push(Draft::new(&*self.names[topic_of(position) as usize], str::from_utf8(data)?));
        }
        let durability = if sync { Durability::Always } else { Durability::Os };
        let ticket = self.store.submit(&drafts, &[], first, durability)?;
        ensure!(ticket.first == first, "position {} instead of {first}", ticket.first);
        Ok(self.store.wait(&ticket)?)
    }

    fn scan(&mut self, after: u64, topic: Option<u64>, limit: u64) -> Result<u64> {
        let mut names = Vec::new();
        names.extend(topic.map(|topic| &*self.names[topic as usize]));
        let topics = if names.is_empty() { Topics::All } else { Topics::Only(&names) };
        let (mut after, mut found) = (after, 0);
        loop {
            let events = 1_000.min(limit - found) as usize;
            let page = self.store.page(topics, after, PageLimits { events, bytes: 1 << 20 })?;
            found += page.events.iter().filter(|event| event.draft.data.len() == 100).count() as u64;
            after = page.through;
            if !page.more || found == limit {
                return Ok(found);
            }
        }
    }

    fn drop_through(&mut self, through: u64) -> Result<()> {
        // Retention by age: the time of an event is its position here.
        self.store.retain_since(through)?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.store.close()?)
    }
}
