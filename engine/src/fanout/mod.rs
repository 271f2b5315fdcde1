//! Fan-out: who is interested in a topic, and who is woken.
//!
//! A **watcher** is whoever sleeps until something new is there: a lane with thousands of sockets, or one in-process
//! subscriber. Publish does not know subscribers; it marks the topic dirty in each interested watcher and wakes those
//! that sleep. A watcher that has not looked yet is marked already, and one that is awake is not woken again, so
//! the cost of publish is one atomic step per watcher, however many events come.
//!
//! **No lost wake-up.** A reader takes its list *before* it looks into history; a publisher commits to history *before* it
//! marks. Taking and marking are steps of one order (a lock, or read-modify-writes of the watcher's round), so one of the two
//! comes second and sees what the other did: either the reader sees the event, or the publisher lists the topic anew and
//! wakes.
//!
//! **Locks, in this order:** a watcher's interests → a topic's marks (shared by publishers) → a watcher's news. Wakers run
//! after all locks are released.

mod interests;
#[cfg(all(test, loom))]
mod tests_loom;
mod watcher;

pub(crate) use interests::Interests;
pub use watcher::Watcher;
