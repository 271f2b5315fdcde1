//! Lanes: the threads that write to plain HTTP/1 streams.
//!
//! A **lane** is one thread with one poll (epoll and its kin) and thousands of sockets. It is one watcher to the engine:
//! a publish wakes it at most once, and while it is awake not at all. What is new it pulls once per **group** of identical
//! readers, joins once, and sends to each of them with one `send`, or to some dozens of them, and of different groups, with one call (`lanes.io_uring`). No task, no queue, no encoder and no buffer per connection.
//!
//! ```text
//!   adopt            caught up with the group            socket full
//!  ──────▶ Replaying ────────────────────────▶ Live ───────────────────▶ Behind
//!              │ ▲                              │                          │ │
//!              │ └──────────────────────────────┼──── writable again ──────┘ │
//!              │    topics closed, age limit, lapped, stop                   │ no progress within the write
//!              ▼                                ▼                            ▼ deadline; its event was evicted
//!           Closing: last chunk sent, write side shut ───────────────────▶ Closed: socket and permits are free
//! ```
//! The peer closing or half-closing, or an error, leads from every state to Closed at once.
//!
//! The readers of a topic share lanes, so that a publish to few of them wakes one thread and not all (`home`).
//!
//! # What a reader can rely on
//!
//! * **Order, once, no hole that is not told.** Live readers get the group's batches. A replaying or behind reader has its own cursor,
//!   which never passes the group's, and joins at the moment both stand at the same place (`reader`).
//! * **A whole event or nothing after a cut.** A reader whose socket is full keeps a position, not bytes: a weak reference to the frame that
//!   was cut, and a copy only of a rest up to 56 KiB. If history lets that frame go first, the connection is cut in the middle of the event, which every client
//!   discards (WHATWG HTML 9.2.6: only a blank line dispatches).
//! * **Policies.** A reader that history has overtaken is ended (`disconnect`), told of the gap (`skip`) or given the latest of each key
//!   (`conflate`), when its socket takes bytes again.
//! * **Signs of life** come on silent streams within every heartbeat interval, between events.
//!
//! # What a reader can do to others
//!
//! Nothing but take its share. A stuck reader costs a position; a slow one is stepped batch by batch in turn with the others; one that floods the
//! lane is read in turn and forgotten; what it sends never counts as a request. A client that closes its sending half is taken to have
//! closed: a browser never does it to a stream it reads, and the alternative is to notice dead peers late.
//!
//! # Memory
//!
//! A live connection is one entry in a slab (about 130 bytes), four bytes in its group, eight in the wheel. A blocked one has a box more, with at
//! most 56 KiB of a cut event. Batches, of 128 KiB for a group and 64 KiB for one connection, hold frames during a turn only; what a large group holds ahead of a long send is bounded by 64 KiB a member and 8 MiB in all (`feed`). So history
//! alone decides how long an event lives, whatever readers do.
//!
//! # Sockets of a host
//!
//! An adopted socket is a connection like any other, with two differences: the host is told once when it is over, after the socket is closed,
//! and however the lane lets go of it, it is shut down first, because a duplicate in the host would hold the connection open.
//!
//! # For maintainers
//!
//! 1. Everything in a lane belongs to its thread. Shared with others are only the [`handle`] link: watcher, inbox, counters.
//! 2. The inbox is filled first and the watcher woken second; the thread parks first and looks into the inbox second.
//! 3. A connection in phase `Own` is blocked, or stands in `runnable`, or is being stepped right now. Nobody else goes on with it.
//! 4. `blocked` is never set in phase `Live`; heartbeats go to live connections only, so they fall between frames.
//! 5. Each connection has one valid entry in the wheel at all times: deadlines need no other bookkeeping.
//! 6. Keys carry a generation: an event, a wheel entry or a list that names a connection which is gone names nothing.
//! 7. A group's cursor is pulled only when the batch goes to all its members at once; whoever could not take all of it leaves the members in the same
//!    loop, or, where small groups are sent to together, before anything else happens to the group (`gather`). The invariants of groups are in [`group`].

mod timer;

mod batch;
mod write;

mod conn;

#[cfg(all(feature = "io-uring", target_os = "linux"))]
mod ring;
#[cfg(not(all(feature = "io-uring", target_os = "linux")))]
#[path = "no_ring.rs"]
mod ring;

mod home;

mod handle;
pub(crate) use handle::{LaneHandle, LaneStats, Lanes};

mod thread;

mod feed;

mod adopt;
mod due;
mod gather;
mod group;
mod reader;

#[cfg(test)]
mod tests;

/// The same tests with lanes that send by io_uring.
#[cfg(all(test, feature = "io-uring", target_os = "linux"))]
#[path = "tests/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "every promise of a lane is one of both ways to send")]
mod tests_by_ring;
