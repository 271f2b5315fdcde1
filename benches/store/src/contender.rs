//! What every contender does.

use std::path::Path;

use anyhow::Result;

/// Topics that events go to in turn.
pub(crate) const TOPICS: u64 = 100;

/// Opens or creates a store in a folder.
pub(crate) type Open = fn(&Path) -> Result<Box<dyn Contender>>;

/// A store under test.
pub(crate) trait Contender {
    /// Commits `count` events from position `first` on in one transaction; `sync`: returns when they are on disk.
    fn append(&mut self, first: u64, count: u64, sync: bool) -> Result<()>;
    /// Reads up to `limit` events after a position, of all topics or of one, and says how many there were.
    fn scan(&mut self, after: u64, topic: Option<u64>, limit: u64) -> Result<u64>;
    /// Lets the oldest events go, up to a position, and gives their space back.
    fn drop_through(&mut self, through: u64) -> Result<()>;
    /// Ends cleanly.
    fn close(self: Box<Self>) -> Result<()>;
}

/// The topic of a position.
pub(crate) fn topic_of(position: u64) -> u64 {
    position % TOPICS
}

/// 100 bytes that differ from event to event and do not compress to nothing.
pub(crate) fn data_of(position: u64) -> [u8; 100] {
    let mut state = position.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::array::from_fn(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b' ' + (state >> 33) as u8 % 95
    })
}
