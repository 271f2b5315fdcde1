//! One connection's deadlines: what it is doing, and until when it may.
//!
//! ```text
//!              first byte                header complete             answer given, body done
//!   Waiting ───────────────▶ Reading ───────────────────▶ Busy ─────────────────────────────▶ Waiting
//!   timeouts.idle            timeouts.request             (body: its own deadline)
//! ```
//! The first request's deadline runs from the accept and is never extended: TLS handshake, version guess and HTTP/2 preface are in it. hyper's own timers
//! do not cover these. A write that the peer does not take runs against `timeouts.write` in every state.
//!
//! When a deadline that has passed counts is the business of [`patience`](crate::patience).
//!
//! The connection's task asks for [`Watch::deadline`] after each poll; the socket wrapper and the service report here. On HTTP/2
//! answers end in tasks of their own, so the end of the last one wakes the connection's task.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::named::Flag;
use crate::patience::Patience;

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) request: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
}

/// Shared by a connection's task, its socket wrapper and its service.
pub(crate) struct Watch {
    limits: Limits,
    state: Mutex<State>,
}

struct State {
    /// Requests in service or answers being sent.
    active: usize,
    /// Whether any request has been complete.
    served: bool,
    /// Only the task that polls an HTTP/1 connection reads requests, so bytes show where it is; HTTP/2 frames do not.
    multiplexed: bool,
    /// When the peer must have got further. None while busy.
    until: Option<Instant>,
    /// Whether the next byte begins a request.
    waiting: bool,
    /// Since when a write has made no progress.
    blocked: Option<Instant>,
    /// A request has been given to the service since the last flush: what is written is its answer.
    answering: bool,
    head: HeadScan,
    waker: Option<Waker>,
    /// Of the stream that is being sent, if its reader has a name.
    flag: Option<Arc<Flag>>,
}

impl Watch {
    /// Until `first` the first request must be complete.
    pub(crate) fn new(limits: Limits, first: Instant) -> Arc<Watch> {
        let state = State {
            active: 0,
            served: false,
            multiplexed: false,
            until: Some(first),
            waiting: false,
            blocked: None,
            answering: false,
            head: HeadScan::default(),
            waker: None,
            flag: None,
        };
        Arc::new(Watch { limits, state: Mutex::new(state) })
    }

    /// The connection speaks HTTP/2; `waker` is its task's.
    #[cfg(feature = "http2")]
    pub(crate) fn set_multiplexed(&self, waker: &Waker) {
        let mut state = self.state.lock();
        state.multiplexed = true;
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
    }

    /// Bytes came in.
    pub(crate) fn on_read(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        if state.multiplexed || bytes.is_empty() {
            return;
        }
        if state.waiting {
            state.waiting = false;
            state.until = Some(Instant::now() + self.limits.request);
        }
        state.head.feed(bytes);
    }

    /// A write went through, or could not.
    pub(crate) fn on_write(&self, blocked: bool) {
        let mut state = self.state.lock();
        if blocked {
            state.blocked.get_or_insert_with(Instant::now);
        } else {
            state.blocked = None;
        }
    }

    /// Everything written so far has left.
    pub(crate) fn on_flush(&self) {
        let mut state = self.state.lock();
        // hyper also flushes while the service still waits for the request's body.
        state.answering &= state.active > 0;
    }

    /// A request is complete and in service until the guard is dropped, which goes into the answer's body.
    pub(crate) fn enter(self: &Arc<Watch>) -> Active {
        let mut state = self.state.lock();
        state.active += 1;
        state.served = true;
        state.answering = true;
        state.waiting = false;
        state.until = None;
        drop(state);
        Active(Arc::clone(self))
    }

    /// Whether bytes given to the socket have not been taken yet.
    pub(crate) fn is_blocked(&self) -> bool {
        self.state.lock().blocked.is_some()
    }

    /// The answer is a stream that can be revoked.
    pub(crate) fn set_flag(&self, flag: &Arc<Flag>) {
        self.state.lock().flag = Some(Arc::clone(flag));
    }

    /// A revoked stream does not get to its end because its peer takes nothing.
    pub(crate) fn is_revoked_and_blocked(&self) -> bool {
        let state = self.state.lock();
        state.blocked.is_some() && state.flag.as_ref().is_some_and(|flag| flag.is_revoked())
    }

    /// Nothing is in service and nothing waits to be written.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = self.state.lock();
        state.active == 0 && !state.answering && state.blocked.is_none()
    }

    /// Whether any request has been complete.
    #[cfg(feature = "http2")]
    pub(crate) fn has_served(&self) -> bool {
        self.state.lock().served
    }

    /// Whether what is written now answers a request that the service has seen.
    pub(crate) fn is_answering(&self) -> bool {
        self.state.lock().answering
    }

    /// What the header now being read, or read last, has shown.
    pub(crate) fn head(&self) -> HeadScan {
        self.state.lock().head
    }

    /// Gives the peer `grace` to end by itself.
    #[cfg(feature = "http2")]
    pub(crate) fn extend(&self, grace: Duration) {
        self.state.lock().until = Some(Instant::now() + grace);
    }

    /// When to give the connection up, if nothing changes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let state = self.state.lock();
        let write = state.blocked.map(|since| since + self.limits.write);
        match (state.until, write) {
            (Some(until), Some(write)) => Some(until.min(write)),
            (until, write) => until.or(write),
        }
    }
}

/// A request in service. Dropped when its answer has been given to the connection in full.
pub(crate) struct Active(Arc<Watch>);

impl Drop for Active {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.active -= 1;
        if state.active == 0 {
            state.until = Some(Instant::now() + self.0.limits.idle);
            state.waiting = true;
            state.head = HeadScan::default();
            if let Some(waker) = state.waker.take() {
                drop(state);
                waker.wake();
            }
        }
    }
}

/// Becomes ready when the watch's deadline has passed, wherever it moves in the meantime.
pub(crate) struct Deadline<'a> {
    watch: &'a Watch,
    patience: Option<Patience>,
}

impl<'a> Deadline<'a> {
    pub(crate) fn new(watch: &'a Watch) -> Deadline<'a> {
        Deadline { watch, patience: None }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.watch.deadline() else { return Poll::Pending };
        self.patience.get_or_insert_with(|| Patience::until(deadline)).poll_until(deadline, cx)
    }
}

/// What hyper does not tell about a header: whether its first line has ended, and whether it has a `Content-Length` that
/// hyper drops in favour of a `Transfer-Encoding`. Both together are a smuggling attempt (RFC 9112, 6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeadScan {
    pub(crate) line_ended: bool,
    pub(crate) content_length: bool,
    /// Length of the match with `CONTENT_LENGTH` that ends here.
    matched: usize,
    /// Bytes of the present line, CR not counted.
    column: usize,
    ended: bool,
}

const CONTENT_LENGTH: &[u8] = b"content-length";

impl HeadScan {
    fn feed(&mut self, mut bytes: &[u8]) {
        while !self.ended
            && let Some((&byte, rest)) = bytes.split_first()
        {
            bytes = rest;
            match byte {
                b'\n' => {
                    self.ended = self.line_ended && self.column == 0;
                    self.line_ended |= self.column > 0;
                    self.column = 0;
                    self.matched = 0;
                }
                b'\r' => {}
                _ => {
                    if self.matched == self.column
                        && CONTENT_LENGTH.get(self.column) == Some(&byte.to_ascii_lowercase())
                    {
                        self.matched += 1;
                        self.content_length |= self.matched == CONTENT_LENGTH.len();
                    }
                    self.column += 1;
                    if self.matched < self.column {
                        // Nothing more in this line is looked at.
                        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
                        bytes = &bytes[end..];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        request: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        write: Duration::from_secs(30),
    };

    #[test]
    fn a_head_is_read_in_any_pieces() {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-LENGTH: 5\r\n\r\nbody";
        for step in 1..head.len() {
            let mut scan = HeadScan::default();
            head.chunks(step).for_each(|piece| scan.feed(piece));
            assert!(scan.line_ended && scan.content_length && scan.ended, "{step}");
        }
        for head in [
            &b"GET / HTTP/1.1\r\nX: content-length: 1\r\n\r\n"[..],
            b"GET / HTTP/1.1\n\ncontent-length: 3",
            b"GET content-length HTTP/1.1\r\nX-content-length: 1",
        ] {
            let mut scan = HeadScan::default();
            scan.feed(head);
            assert!(!scan.content_length, "{}", String::from_utf8_lossy(head));
        }
        let mut scan = HeadScan::default();
        scan.feed(b"GET /xxxxxxxx");
        assert!(!scan.line_ended);
    }

    #[tokio::test(start_paused = true)]
    async fn each_state_has_its_deadline() {
        let start = Instant::now();
        let after = |seconds| Some(start + Duration::from_secs(seconds));
        let watch = Watch::new(LIMITS, start + LIMITS.request);
        tokio::time::advance(Duration::from_secs(5)).await;
        watch.on_read(b"GET");
        assert_eq!(watch.deadline(), after(10), "bytes do not extend the first deadline");
        let active = watch.enter();
        assert_eq!(watch.deadline(), None);
        watch.on_write(true);
        assert_eq!(watch.deadline(), after(35));
        watch.on_write(false);
        drop(active);
        assert_eq!(watch.deadline(), after(65));
        tokio::time::advance(Duration::from_secs(20)).await;
        watch.on_read(b"G");
        assert_eq!(watch.deadline(), after(35));
        tokio::time::advance(Duration::from_secs(1)).await;
        watch.on_read(b"E");
        assert_eq!(watch.deadline(), after(35), "byte by byte does not help");
    }
}
