//! For applications with a web server of their own: their sockets in our lanes.
//!
//! The host's route has authenticated its request; `adopt` checks the socket and what the host wants to say in the
//! answer's head, opens the cursor, and hands both to a lane. Until the lane has taken it nothing is written and nothing
//! about the socket is changed, so after an error the host goes on as if it had not asked.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::SystemTime;

use fanfare_engine::{Code, SubscribeError, SubscribeOptions};
use http::HeaderName;
use socket2::{Domain, SockRef, Type};

use crate::app::App;
use crate::handoff::{Ended, Framing, HostGuard, HostLink, LaneStream, Permit};
use crate::lane::LaneHandle;
use crate::stream;
use crate::subscribe::{Leaving, leave};

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
    options: &SubscribeOptions<'_>,
    head: &Head<'_>,
    ended: Option<Ended>,
) -> Result<Adopted, EmbedError> {
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
    let leaving = leave(app, options, framing)?;
    let Leaving { lane, head: opening, framing, subscription, group, client, open, max_age } = leaving;
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
