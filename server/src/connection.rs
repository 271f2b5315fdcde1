//! One connection from accept to close: handshake, version, requests, and the socket's way out of hyper.
//!
//! hyper has time limits for parts of this, and none for others: its version sniffing waits for ever, and without a timer nothing is limited at
//! all. So every connection runs under its own [`Watch`], whose first deadline starts at the accept and covers everything up to the first complete
//! header.
//!
//! A stream on plain HTTP/1 is handed over while its service future is still pending: the service puts what it has prepared into a
//! [`Slot`] and never resolves; this task sees the slot, takes hyper apart and gives the socket to a lane. hyper has nothing of its own in flight then:
//! the request has been read, nothing of an answer has been written, and an answer to an earlier pipelined request has been flushed,
//! which is waited for.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::app::App;
use crate::body::Body;
use crate::handoff::{LaneStream, Permit};
use crate::http2;
use crate::io::{LINGER, Peer};
use crate::patience::{PatientTimer, within};
use crate::route::{Origin, answer};
use crate::shared::{ConnectionPermit, Full};
use crate::subscribe::{Answer, Leaving};
use crate::tls::Acceptor;
use crate::watch::{Deadline, Watch};

/// What an HTTP/2 client sends first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The smallest buffer hyper accepts, and one that takes large bodies in fair pieces.
const READ_BUFFER: usize = 64 * 1024;

/// How a connection came in.
pub(crate) enum Admission {
    /// Counted; it is served.
    Counted(ConnectionPermit),
    /// Over a limit, in the small reserve for saying so: one request is read, answered with a refusal, and that is all.
    Refused { full: Full, _place: OwnedSemaphorePermit },
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    app: Arc<App>,
    socket: TcpStream,
    from: SocketAddr,
    admission: Admission,
    tls: Option<Acceptor>,
) {
    let limits = app.limits();
    let first = Instant::now() + limits.request;
    let watch = Watch::new(limits, first);
    let connection = Connection { app, from, watch };
    match tls {
        None => connection.serve_plain(socket, admission, first).await,
        Some(acceptor) => {
            let stopping = connection.app.shared.stopping();
            let accepted = tokio::select! {
                _ = stopping => return,
                accepted = within(first, Box::pin(acceptor.accept(socket))) => accepted,
            };
            let Some(Ok((stream, h2))) = accepted else { return };
            let full = admission.full();
            if h2 {
                let peer = Peer::new(stream, Bytes::new(), Arc::clone(&connection.watch));
                Box::pin(http2::serve(
                    &connection.app,
                    &connection.watch,
                    || connection.origin(full, false),
                    peer,
                ))
                .await;
            } else {
                Box::pin(connection.serve_h1(stream, Bytes::new(), full, false)).await;
            }
            drop(admission);
        }
    }
}

impl Admission {
    fn full(&self) -> Option<Full> {
        match self {
            Admission::Counted(_) => None,
            Admission::Refused { full, .. } => Some(*full),
        }
    }
}

struct Connection {
    app: Arc<App>,
    from: SocketAddr,
    watch: Arc<Watch>,
}

/// Where a service leaves what its connection is to hand over.
type Slot = Arc<Mutex<Option<Box<Leaving>>>>;

/// How serving HTTP/1 ended.
enum Outcome {
    /// hyper is done.
    Done,
    /// A deadline has passed, or the server stops.
    Late,
    /// The socket goes to a lane.
    Leave(Box<Leaving>),
}

impl Connection {
    async fn serve_plain(self, mut socket: TcpStream, admission: Admission, first: Instant) {
        // Nobody has asked for anything yet: a stop does not wait for it.
        let sniffed = tokio::select! {
            _ = self.app.shared.stopping() => return,
            sniffed = within(first, sniff(&mut socket)) => sniffed,
        };
        let Some(Ok((h2, ahead))) = sniffed else { return };
        let full = admission.full();
        if h2 {
            let peer = Peer::new(socket, ahead, Arc::clone(&self.watch));
            Box::pin(http2::serve(&self.app, &self.watch, || self.origin(full, false), peer)).await;
            return drop(admission);
        }
        if let Some((peer, read_ahead, leaving)) = Box::pin(self.serve_h1(socket, ahead, full, true)).await {
            let permit = match admission {
                Admission::Counted(permit) => Some(Permit::Counted(permit)),
                Admission::Refused { .. } => None,
            };
            // A socket that cannot be taken out of the runtime is closed; its client comes back.
            let _ = hand_over(peer, read_ahead, *leaving, permit);
        }
    }

    /// Serves HTTP/1. Gives the socket back if it leaves for a lane.
    async fn serve_h1<T>(
        &self,
        stream: T,
        ahead: Bytes,
        full: Option<Full>,
        may_leave: bool,
    ) -> Option<(Peer<T>, Bytes, Box<Leaving>)>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let slot: Slot = Slot::default();
        let service = service_fn(|request: Request<Incoming>| {
            let active = self.watch.enter();
            let origin = self.origin(full, may_leave);
            let (app, slot, watch) = (Arc::clone(&self.app), Arc::clone(&slot), Arc::clone(&self.watch));
            // hyper takes a connection apart only where it may move the service's future.
            Box::pin(async move {
                match answer(&app, &origin, request).await {
                    Answer::Reply(mut reply) => {
                        if let Some(flag) = reply.body().flag() {
                            watch.set_flag(flag);
                        }
                        reply.body_mut().hold(active);
                        Ok::<Response<Body>, std::convert::Infallible>(reply)
                    }
                    Answer::Leave(leaving) => {
                        *slot.lock() = Some(leaving);
                        std::future::pending().await
                    }
                }
            })
        });
        let header_bytes = self.app.config.max_header_bytes;
        let mut connection = http1::Builder::new()
            .timer(PatientTimer)
            // The watch is stricter; this is the net below it.
            .header_read_timeout(self.app.config.idle_timeout.max(self.app.config.request_timeout) + LINGER)
            .half_close(true)
            .writev(false)
            .max_header_size(header_bytes)
            .max_buf_size(READ_BUFFER.max(header_bytes))
            .serve_connection(TokioIo::new(Peer::new(stream, ahead, Arc::clone(&self.watch))), service);
        let mut late = Deadline::new(&self.watch);
        let mut stopping = pin!(self.app.shared.stopping());
        let mut stops = false;
        let outcome = poll_fn(|cx| {
            if !stops && stopping.as_mut().poll(cx).is_ready() {
                stops = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            if connection.poll_without_shutdown(cx).is_ready() {
                return Poll::Ready(Outcome::Done);
            }
            if !self.watch.is_blocked()
                && let Some(leaving) = slot.lock().take()
            {
                return Poll::Ready(Outcome::Leave(leaving));
            }
            if self.watch.is_revoked_and_blocked() || (stops && self.watch.is_quiet()) {
                return Poll::Ready(Outcome::Late);
            }
            late.poll(cx).map(|()| Outcome::Late)
        })
        .await;
        let done = match outcome {
            Outcome::Late => {
                if self.watch.is_blocked() && !self.watch.is_revoked_and_blocked() {
                    self.app.shared.counters.stalled.add(1);
                }
                return None;
            }
            outcome => outcome,
        };
        let parts = connection.into_parts();
        let (peer, unread) = (parts.io.into_inner(), parts.read_buf);
        match done {
            Outcome::Leave(leaving) => Some((peer, unread, leaving)),
            _ => {
                peer.linger(self.app.config.max_body_bytes).await;
                None
            }
        }
    }

    fn origin(&self, full: Option<Full>, may_leave: bool) -> Origin {
        Origin {
            address: self.from.ip(),
            may_leave: may_leave && full.is_none(),
            full,
            content_length: self.watch.head().content_length,
        }
    }
}

/// Reads until the version is known: the first byte tells it for nearly every client. True for HTTP/2; the bytes read go on to hyper.
async fn sniff(socket: &mut TcpStream) -> io::Result<(bool, Bytes)> {
    let mut ahead = BytesMut::with_capacity(PREFACE.len());
    while ahead.len() < PREFACE.len() && PREFACE.starts_with(&ahead) {
        let mut rest = [0u8; PREFACE.len()];
        let want = PREFACE.len() - ahead.len();
        let n = socket.read(&mut rest[..want]).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        ahead.extend_from_slice(&rest[..n]);
    }
    Ok((ahead.starts_with(PREFACE), ahead.freeze()))
}

/// Gives the socket to its lane.
fn hand_over(
    peer: Peer<TcpStream>,
    unread: Bytes,
    leaving: Leaving,
    permit: Option<Permit>,
) -> io::Result<()> {
    let Leaving { lane, head, framing, subscription, group, client, ticket, open, max_age } = leaving;
    let (socket, ahead) = peer.into_inner();
    let socket = socket.into_std()?;
    let read_ahead = [&ahead[..], &unread[..]].concat();
    let adopted = lane.adopt(LaneStream {
        socket,
        head,
        read_ahead,
        framing,
        subscription,
        group,
        client,
        ticket,
        permit,
        open,
        max_age,
    });
    // A lane that stops does not take it: the socket closes here, and its client comes back.
    drop(adopted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_serve<F>(
        _: impl Fn(Arc<App>, TcpStream, SocketAddr, Admission, Option<Acceptor>) -> F,
    ) -> usize {
        size_of::<F>()
    }

    fn size_of_h1<'a, T, F>(_: impl Fn(&'a Connection, T) -> F) -> usize {
        size_of::<F>()
    }

    /// A task has room for everything that its future holds at any time, and most of it is never used by most connections: whoever keeps a
    /// buffer across an await, or moves something large through several futures, pays for it in each of thousands.
    #[test]
    fn the_task_of_a_connection_is_small() {
        let task = size_of_serve(serve);
        assert!(task <= 1_500, "{task} bytes");
        let h1 = size_of_h1(|connection: &Connection, socket: TcpStream| {
            connection.serve_h1(socket, Bytes::new(), None, true)
        });
        assert!(h1 <= 2_500, "{h1} bytes");
    }
}
