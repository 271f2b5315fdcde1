//! For applications with a web server of their own: their sockets in our lanes.
//!
//! The host's route has authenticated its request; `adopt` checks the socket and what the host wants to say in the
//! answer's head, opens the cursor, and hands both to a lane. Until the lane has taken it nothing is written and nothing
//! about the socket is changed, so after an error the host goes on as if it had not asked.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use fanfare_engine::{Code, InvalidField, SubscribeError, SubscribeOptions, check_client};
use http::HeaderName;
use socket2::{Domain, SockRef, Type};

pub use crate::greeting::Greeting;

use crate::alarm::Alarm;
use crate::app::App;
use crate::greeting::NOTHING;
use crate::handoff::{Ended, Framing, HostGuard, HostLink, LaneStream, Permit};
use crate::lane::LaneHandle;
use crate::pull::Pull;
use crate::shared::{Protocol, Shared};
use crate::stream;
use crate::subscribe::{Leaving, leave, stay, ticket};

/// Headers that every stream sets itself, and those that would change how its bytes are read (RFC 9112, 6 and 9;
/// RFC 9110, 8.4).
const RESERVED: [&str; 14] = [
    "content-type",
    "cache-control",
    "x-accel-buffering",
    "x-content-type-options",
    "content-length",
    "content-encoding",
    "content-range",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "trailer",
    "te",
    "date",
];

/// How the answer's head of an adopted socket is written.
#[derive(Clone, Copy, Debug)]
pub enum Head<'a> {
    /// The lane writes status line and headers.
    Write {
        /// The request was of HTTP/1.0, which does not know chunks.
        http10: bool,
        /// The host's own headers, such as CORS and cookies. Names are tokens, values field text (RFC 9110, 5.5); none
        /// that a stream sets itself or that would change its framing.
        headers: &'a [(&'a str, &'a str)],
    },
    /// The host has sent its head already, the empty line included; the lane goes on with the opening comment.
    Sent {
        /// The host announced `Transfer-Encoding: chunked`.
        chunked: bool,
    },
}

/// What the reader of a stream gets. Made of [`SubscribeOptions`] alone, there is no greeting.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Its topics, and where it begins.
    pub options: &'a SubscribeOptions<'a>,
    /// What comes before everything else, also before what it missed.
    pub greeting: &'a Greeting,
}

impl<'a> From<&'a SubscribeOptions<'a>> for Reader<'a> {
    fn from(options: &'a SubscribeOptions<'a>) -> Reader<'a> {
        Reader { options, greeting: &NOTHING }
    }
}

/// A socket that a lane has taken over. Dropping this leaves the stream alone. Any thread may use it.
pub struct Adopted {
    lane: LaneHandle,
    link: Arc<HostLink>,
}

impl Adopted {
    /// Ends the stream at the next boundary between events, at the latest when its reader has taken nothing for
    /// `timeouts.write`. Never blocks; does nothing when the stream is over or has been told.
    pub fn end(&self) {
        self.lane.end(&self.link);
    }
}

impl fmt::Debug for Adopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adopted").field("link", &self.link).finish_non_exhaustive()
    }
}

/// A stream whose bytes the host writes itself. Dropping it ends the subscription.
///
/// Any thread may poll it, inside or outside of any runtime, while the server runs, while it stops and after that.
pub struct HostStream {
    shared: Arc<Shared>,
    pull: Pull,
    alarm: Alarm,
    heartbeat: Option<(Duration, &'static str)>,
    /// When the next heartbeat is due.
    beat_at: Option<Instant>,
    /// When the stream is to be ended, by age or because the server stops.
    end_at: Option<Instant>,
    /// `end_at` knows of the stop.
    stops: bool,
}

impl HostStream {
    /// The next bytes of the stream, unframed: some events, a part of a large one, or a heartbeat, 16 KiB at most besides
    /// the opening; `Pending` when there is nothing, and the task is woken when there is. `None` at its end, and from then on: all topics are closed,
    /// the age limit is reached, its client is revoked, history has moved past a reader that wants to be disconnected, or the server
    /// stops. Unless history has moved on, an end comes between two events.
    ///
    /// Polled only when the peer takes bytes, it holds none back: what waits is history's.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let now = Instant::now();
        // The waker first: who stops or revokes after this wakes it.
        let mut over = !self.alarm.set_waker(cx.waker());
        if !self.stops
            && let Some(pace) = self.shared.stop_pace()
        {
            self.stops = true;
            let spread = self.shared.jitter.below(u64::try_from(pace.as_millis()).unwrap_or(u64::MAX));
            let end = now + Duration::from_millis(spread);
            self.end_at = Some(self.end_at.map_or(end, |at| at.min(end)));
        }
        over |= self.end_at.is_some_and(|at| at <= now);
        let mut next = self.pull.poll(cx, |_| over);
        if let Some((every, bytes)) = self.heartbeat {
            if next.is_pending() && self.beat_at.is_some_and(|at| at <= now) {
                next = Poll::Ready(Some(Bytes::from_static(bytes.as_bytes())));
            }
            if next.is_ready() {
                self.beat_at = Some(now + every);
            }
        }
        if next.is_pending()
            && let Some(at) = self.beat_at.into_iter().chain(self.end_at).min()
        {
            self.alarm.file(at);
        }
        next
    }

    /// Why it is over, after its end: `TopicClosed`, `Lapped` (also inside an event that history has let go), `Stopping`. None for a
    /// client that is revoked, and at the age limit.
    pub fn end_code(&self) -> Option<Code> {
        self.pull.ended().or_else(|| self.stops.then_some(Code::Stopping))
    }
}

impl fmt::Debug for HostStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostStream").finish_non_exhaustive()
    }
}

/// Why a stream of the host's was not opened. Nothing has changed then.
#[derive(Debug)]
#[non_exhaustive]
pub enum EmbedError {
    /// What was asked for cannot be read.
    Subscribe(SubscribeError),
    /// A header of the host's that may not be sent.
    Header {
        /// Its name, as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not a connected stream socket, or one that is broken.
    Socket(io::Error),
    /// The server is stopping.
    Stopping,
}

impl EmbedError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            EmbedError::Subscribe(error) => error.code(),
            EmbedError::Header { .. } => Code::InvalidParameter,
            EmbedError::Socket(_) => Code::Unsupported,
            EmbedError::Stopping => Code::Stopping,
        }
    }
}

impl fmt::Display for EmbedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmbedError::Subscribe(error) => error.fmt(f),
            EmbedError::Header { name, reason } => write!(f, "header {name:?}: {reason}"),
            EmbedError::Socket(error) => write!(f, "the socket cannot be adopted: {error}"),
            EmbedError::Stopping => f.write_str("the hub is stopping"),
        }
    }
}

impl std::error::Error for EmbedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            EmbedError::Subscribe(error) => Some(error),
            EmbedError::Socket(error) => Some(error),
            EmbedError::Header { .. } | EmbedError::Stopping => None,
        }
    }
}

impl From<SubscribeError> for EmbedError {
    fn from(error: SubscribeError) -> EmbedError {
        EmbedError::Subscribe(error)
    }
}

/// See [`Server::adopt`](crate::Server::adopt).
pub(crate) fn adopt(
    app: &App,
    socket: TcpStream,
    reader: Reader<'_>,
    head: &Head<'_>,
    ended: Option<Ended>,
) -> Result<Adopted, EmbedError> {
    let Reader { options, greeting } = reader;
    let framing = match head {
        Head::Write { http10: true, .. } | Head::Sent { chunked: false } => Framing::Plain,
        Head::Write { http10: false, .. } | Head::Sent { chunked: true } => Framing::Chunked,
    };
    if let Head::Write { headers, .. } = head {
        headers.iter().try_for_each(|(name, value)| check_header(name, value))?;
    }
    check_socket(&socket).map_err(EmbedError::Socket)?;
    if app.shared.is_stopping() {
        return Err(EmbedError::Stopping);
    }
    let leaving = leave(app, options, framing, ticket(app, options))?;
    let Leaving { lane, head: mut opening, framing, subscription, group, client, ticket, open, max_age } =
        leaving;
    greet(app, &mut opening, greeting);
    let link = HostLink::new(ended);
    let refused = lane.adopt(LaneStream {
        socket,
        head: match head {
            Head::Write { headers, .. } => stream::http1_head(framing, SystemTime::now(), headers, &opening),
            Head::Sent { .. } => stream::framed(&opening, framing),
        },
        read_ahead: Vec::new(),
        framing,
        subscription,
        group,
        client,
        ticket,
        permit: Some(Permit::Host(HostGuard::new(Arc::clone(&link)))),
        open,
        max_age,
    });
    match refused {
        Ok(()) => Ok(Adopted { lane, link }),
        Err(stream) => {
            if let Some(Permit::Host(guard)) = &stream.permit {
                guard.disarm();
            }
            Err(EmbedError::Stopping)
        }
    }
}

/// See [`Server::open_stream`](crate::Server::open_stream).
pub(crate) fn open_stream(app: &App, reader: Reader<'_>) -> Result<HostStream, EmbedError> {
    let Reader { options, greeting } = reader;
    if app.shared.is_stopping() {
        return Err(EmbedError::Stopping);
    }
    let mut parts = stay(app, options, Protocol::Host, ticket(app, options))?;
    greet(app, &mut parts.opening, greeting);
    let now = Instant::now();
    let heartbeat = app.heartbeat();
    Ok(HostStream {
        shared: Arc::clone(&app.shared),
        pull: Pull::new(parts),
        alarm: app.alarms.enter(),
        beat_at: heartbeat.map(|(every, _)| now + every),
        heartbeat,
        end_at: app.max_age().map(|age| now + age),
        stops: false,
    })
}

/// Puts the host's greeting behind the opening, and behind what handlers greet with.
fn greet(app: &App, opening: &mut Vec<u8>, greeting: &Greeting) {
    let counters = &app.shared.counters;
    counters.frames.add(greeting.events());
    counters.bytes.add(greeting.wire().len() as u64);
    opening.extend_from_slice(greeting.wire());
}

/// See [`Server::revoke`](crate::Server::revoke).
pub(crate) fn revoke(app: &App, client: &str) -> Result<(), InvalidField> {
    check_client(client)?;
    // First those on their way: one that reaches its lane before it is told is found there.
    app.shared.named.revoke(client);
    app.lanes.revoke(client);
    Ok(())
}

fn check_header(name: &str, value: &str) -> Result<(), EmbedError> {
    let refused = |reason| Err(EmbedError::Header { name: name.to_owned(), reason });
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return refused("the name is not a token");
    }
    if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        return refused("it is the stream's own to set, or would change how the stream is read");
    }
    if value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
        return refused("the value holds a control character");
    }
    Ok(())
}

/// Whether a lane can write to it. Looks only; a lane sets what it needs.
fn check_socket(socket: &TcpStream) -> io::Result<()> {
    let unsupported = |why: &str| Err(io::Error::new(io::ErrorKind::Unsupported, why.to_owned()));
    let options = SockRef::from(socket);
    let explain = |error: io::Error, why: &str| io::Error::new(error.kind(), format!("{why}: {error}"));
    if options.r#type().map_err(|error| explain(error, "this is not a socket"))? != Type::STREAM {
        return unsupported("it is not a stream socket");
    }
    let local = options.local_addr().map_err(|error| explain(error, "it has no address"))?;
    if !local.is_unix() && !matches!(local.domain(), Domain::IPV4 | Domain::IPV6) {
        return unsupported("it is not of TCP and not of a Unix domain");
    }
    if options.is_listener().unwrap_or(false) {
        return unsupported("it listens; a connection that it accepted is needed");
    }
    options.peer_addr().map_err(|error| explain(error, "it is not connected"))?;
    match options.take_error()? {
        Some(error) => Err(explain(error, "the connection is broken")),
        None => Ok(()),
    }
}
