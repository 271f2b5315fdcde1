//! History: what was published, in order, until retention lets it go.
//!
//! **Order.** One critical section of the hub gives each event its position and appends it to the ring of its topic;
//! then the position becomes visible to all readers at once. A reader that knows position `p` and then
//! looks into any set of rings finds every event up to `p` there, or learns that it was evicted. So one number is a
//! complete cursor over any set of topics.
//!
//! **Loss.** Retention (count, bytes, age, and the bytes of the whole hub) evicts from the old end. Each ring
//! remembers the position of the last event it let go; a reader whose cursor is below it has missed something and is
//! told. Nothing is skipped in silence.
//!
//! **Memory.** An event is stored once. A ring allocates its slots as it fills, so a topic of few events is small.
//!
//! **Locks, in this order:** the log (writers, and readers when they subscribe) → a slot. A reader that follows takes
//! slot locks only, one at a time, each for the copying of one pointer; that is the longest a publisher can wait.

mod visible;

mod conflation;
mod log;
mod pending;
mod ring;
mod stored;
#[cfg(all(test, loom))]
mod tests_loom;

pub use log::TopicKey;
pub(crate) use log::{Append, Log, Refused};
pub(crate) use pending::Waits;
pub(crate) use ring::{Found, Ring};
