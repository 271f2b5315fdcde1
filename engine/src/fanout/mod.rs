//! Fan-out: who is interested in a topic, and who is woken.
//!
//! A **watcher** is whoever sleeps until something new is there: a lane with thousands of sockets, or one in-process
//! subscriber. Publish does not know subscribers; it marks the topic dirty in each interested watcher and wakes those
//! that sleep. A watcher that has not looked yet is marked already, and one that is awake is not woken again, so
//! the cost of publish is one atomic step per watcher, however many events come.
//!
//! **No lost wake-up.** A reader clears its marks *before* it looks into history; a publisher commits to history
//! *before* it marks. Both use read-modify-write steps on the mark, so one of the two comes second and sees what the
//! other did: either the reader sees the event, or the publisher sees the cleared mark and wakes.
//!
//! **Locks, in this order:** a watcher's interests → a topic's marks (shared by publishers) → a watcher's dirty list or
//! waker. Wakers run after all locks are released.

mod interests;
#[cfg(all(test, loom))]
mod tests_loom;
mod watcher;

pub(crate) use interests::Interests;
pub use watcher::Watcher;
