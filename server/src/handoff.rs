//! The hand-off of a stream from the HTTP parser to a lane: what travels, and who owns what.
//!
//! The request is parsed, every refusal has been answered and the subscription exists (on the lane's own watcher) before a
//! [`LaneStream`] is made. From then on the socket belongs to the lane alone: nothing else reads, writes or closes it.
//! The same type is the door for sockets that an embedding application hands over.

use std::net::TcpStream;
use std::time::Duration;

use fanfare_engine::{LagPolicy, Subscription};

use crate::shared::{ConnectionPermit, StreamPermit};

/// How event bytes are wrapped on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Framing {
    /// HTTP/1.1: each batch is one or more chunks (RFC 9112, 7.1).
    Chunked,
    /// HTTP/1.0: bare bytes, ended by closing.
    Plain,
}

/// Streams with equal keys that have caught up receive identical bytes, so one buffer serves them all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupKey {
    /// Sorted, without duplicates.
    pub(crate) topics: Vec<Box<str>>,
    /// Event types that pass; empty = all. Sorted, without duplicates.
    pub(crate) events: Vec<Box<str>>,
    /// What happens to a reader that falls out of history.
    pub(crate) lag: LagPolicy,
    /// How the bytes are wrapped.
    pub(crate) framing: Framing,
}

/// A stream on its way into a lane.
pub(crate) struct LaneStream {
    /// Non-blocking, TCP_NODELAY set.
    pub(crate) socket: TcpStream,
    /// Status line, headers, first comment, padding and `retry:`, framed already; nothing of it has been written.
    pub(crate) head: Vec<u8>,
    /// Bytes the parser had read behind the request. They are no request of ours: discarded.
    pub(crate) read_ahead: Vec<u8>,
    /// How to wrap what follows the head.
    pub(crate) framing: Framing,
    /// The reader's cursor, on the watcher of the lane it goes to. Dropping it unsubscribes.
    pub(crate) subscription: Subscription,
    /// Which shared batch the stream may join once it has caught up.
    pub(crate) group: GroupKey,
    /// Name of the reader: events published with `except` equal to it are not for it.
    pub(crate) client: Option<Box<str>>,
    /// Frees the connection count when dropped. None for adopted sockets, which the host counts.
    pub(crate) permit: Option<ConnectionPermit>,
    /// Frees the stream count when dropped.
    pub(crate) open: StreamPermit,
    /// End the stream after this long (jitter is in it already).
    pub(crate) max_age: Option<Duration>,
}
