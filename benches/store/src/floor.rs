//! The floor: bytes appended to one file, and its sync. It indexes nothing and checks nothing.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Result;

use crate::contender::{Contender, data_of, topic_of};

/// Bytes of a record: position, topic, data.
const RECORD: u64 = 116;

struct Floor {
    file: File,
    buffer: Vec<u8>,
}

pub(crate) fn open(dir: &Path) -> Result<Box<dyn Contender>> {
    let file = OpenOptions::new().read(true).append(true).create(true).open(dir.join("floor"))?;
    Ok(Box::new(Floor { file, buffer: Vec::new() }))
}

impl Contender for Floor {
    fn append(&mut self, first: u64, count: u64, sync: bool) -> Result<()> {
        self.buffer.clear();
        for position in first..first + count {
            self.buffer.extend(position.to_le_bytes());
            self.buffer.extend(topic_of(position).to_le_bytes());
            self.buffer.extend(data_of(position));
        }
        self.file.write_all(&self.buffer)?;
        if sync {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn scan(&mut self, after: u64, topic: Option<u64>, limit: u64) -> Result<u64> {
        let end = self.file.metadata()?.len() / RECORD;
        let mut block = vec![0; 512 * RECORD as usize];
        let (mut at, mut found) = (after, 0);
        while at < end && found < limit {
            let records = 512.min(end - at);
            let block = &mut block[..(records * RECORD) as usize];
            self.file.read_exact_at(block, at * RECORD)?;
            let wanted = |record: &&[u8]| topic.is_none_or(|topic| record[8..16] == topic.to_le_bytes());
            found += block.chunks(RECORD as usize).filter(wanted).count() as u64;
            at += records;
        }
        Ok(found.min(limit))
    }

    fn drop_through(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
