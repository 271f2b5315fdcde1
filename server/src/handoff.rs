//! The hand-off of a stream from the HTTP parser to a lane: what travels, and who owns what.
//!
//! The request is parsed, every refusal has been answered and the subscription exists (on the lane's own watcher) before a
//! [`LaneStream`] is made. From then on the socket belongs to the lane alone: nothing else reads, writes or closes it.
//! The same type is the door for sockets that an embedding application hands over.

use std::fmt;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fanfare_engine::{Code, LagPolicy, Subscription};
use parking_lot::Mutex;

use crate::named::Ticket;
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
    /// Of a reader with a name: says whether it was revoked on its way. Once the lane has it, its name does.
    pub(crate) ticket: Option<Ticket>,
    /// Dropped after the socket, when the stream is over.
    pub(crate) permit: Option<Permit>,
    /// Frees the stream count when dropped.
    pub(crate) open: StreamPermit,
    /// End the stream after this long (jitter is in it already).
    pub(crate) max_age: Option<Duration>,
}

/// Who is told when a lane's connection has gone.
pub(crate) enum Permit {
    /// It came through a listener of ours and counts there until this is dropped.
    Counted(#[expect(dead_code, reason = "held for its drop")] ConnectionPermit),
    /// An embedding application handed it over.
    Host(HostGuard),
}

impl Permit {
    /// Whether somebody else may hold a duplicate of the socket, so that closing ours would not end the connection.
    pub(crate) fn is_host(&self) -> bool {
        matches!(self, Permit::Host(_))
    }
}

/// What an adopted stream and the host's handle for it share.
///
/// `token` and `end` are read by the lane's thread while it handles what the inbox gave it, and the inbox's lock orders
/// that after every write here; so relaxed will do.
pub(crate) struct HostLink {
    /// The key of its connection as a token, for the lane alone; [`NO_TOKEN`] before it has one.
    token: AtomicUsize,
    /// The host wants it to end.
    end: AtomicBool,
    /// It is over, or never began.
    over: AtomicBool,
    /// Called when it is over.
    ended: Mutex<Option<Ended>>,
}

/// What a host wants to be run when a stream is over, with the reason, if it is one of the hub's.
pub(crate) type Ended = Box<dyn FnOnce(Option<Code>) + Send>;

/// No connection has this token: it is the lane's own.
const NO_TOKEN: usize = usize::MAX;

impl HostLink {
    pub(crate) fn new(ended: Option<Ended>) -> Arc<HostLink> {
        Arc::new(HostLink {
            token: AtomicUsize::new(NO_TOKEN),
            end: AtomicBool::new(false),
            over: AtomicBool::new(false),
            ended: Mutex::new(ended),
        })
    }

    /// The lane has made a connection of it. True: the host has asked for its end already.
    pub(crate) fn set_token(&self, token: usize) -> bool {
        self.token.store(token, Ordering::Relaxed);
        self.end.load(Ordering::Relaxed)
    }

    /// The token of its connection, while it has one.
    pub(crate) fn token(&self) -> Option<usize> {
        let token = self.token.load(Ordering::Relaxed);
        (token != NO_TOKEN && !self.over.load(Ordering::Relaxed)).then_some(token)
    }

    /// True for the first wish to end a stream that is not over.
    pub(crate) fn ask_end(&self) -> bool {
        !self.over.load(Ordering::Relaxed) && !self.end.swap(true, Ordering::Relaxed)
    }
}

impl fmt::Debug for HostLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostLink").field("over", &self.over.load(Ordering::Relaxed)).finish_non_exhaustive()
    }
}

/// The stream's side of a [`HostLink`]: dropping it says that the stream is over.
pub(crate) struct HostGuard {
    link: Arc<HostLink>,
    why: Option<Code>,
}

impl HostGuard {
    pub(crate) fn new(link: Arc<HostLink>) -> HostGuard {
        HostGuard { link, why: None }
    }

    /// Keeps why the stream is about to be over. The first reason is the reason.
    pub(crate) fn because(&mut self, why: Code) {
        self.why.get_or_insert(why);
    }

    pub(crate) fn link(&self) -> &Arc<HostLink> {
        &self.link
    }

    /// The stream never began: nobody is told.
    pub(crate) fn disarm(&self) {
        let ended = self.link.ended.lock().take();
        drop(ended);
    }
}

impl Drop for HostGuard {
    fn drop(&mut self) {
        self.link.over.store(true, Ordering::Relaxed);
        let ended = self.link.ended.lock().take();
        let why = self.why;
        if let Some(ended) = ended
            && catch_unwind(AssertUnwindSafe(move || ended(why))).is_err()
        {
            tracing::error!("the host's function for the end of a stream failed");
        }
    }
}
