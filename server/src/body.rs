//! Answer bodies: a few bytes from memory, or an event stream that pulls batches from its own cursor.
//!
//! Streams over HTTP/2 and TLS stay with hyper. Their body is asked for bytes when the connection can send some: a stalled stream costs
//! its cursor and what hyper may hold for it (`limits.h2_send_buffer`). Dropping the body, which is what a reset or a closed connection does,
//! ends the subscription.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::named::Flag;
use crate::patience::Patience;
use crate::pull::{Pull, StreamParts};
use crate::shared::Shared;
use crate::watch::Active;

/// How long a revoked HTTP/2 stream may hold bytes that its peer does not take.
const REVOKED_GRACE: Duration = Duration::from_millis(50);

tokio::task_local! {
    /// Of the HTTP/2 stream whose task this is.
    pub(crate) static PROGRESS: Arc<Progress>;
}

/// Whether the peer takes what an HTTP/2 stream has to send. Its task ends the stream when it does not.
#[derive(Default)]
pub(crate) struct Progress {
    /// When bytes were handed to hyper that has not come back for more since.
    handed: Mutex<Option<Instant>>,
    /// Of a stream whose reader has a name.
    flag: OnceLock<Arc<Flag>>,
}

#[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "streams of HTTP/2 alone run in tasks"))]
impl Progress {
    /// Resolves when bytes have been waiting for `limit`.
    pub(crate) async fn stalled(&self, limit: Duration) {
        loop {
            let handed = *self.handed.lock();
            let Some(since) = handed else {
                sleep_until(Instant::now() + limit).await;
                continue;
            };
            Patience::until(since + limit).await;
            if *self.handed.lock() == handed {
                return;
            }
        }
    }

    /// Resolves when the stream has been revoked and still holds bytes that its peer does not take; one that is not blocked
    /// ends by itself. A revocation wakes the stream's task, in which this is polled.
    pub(crate) async fn revoked(&self) {
        poll_fn(|_| match self.flag.get() {
            Some(flag) if flag.is_revoked() => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
        loop {
            sleep_until(Instant::now() + REVOKED_GRACE).await;
            if self.handed.lock().is_some_and(|since| since.elapsed() >= REVOKED_GRACE) {
                return;
            }
        }
    }
}

/// The body of every answer.
pub(crate) struct Body {
    kind: Kind,
    /// Tells the connection when the answer has been sent.
    active: Option<Active>,
}

enum Kind {
    Full(Option<Bytes>),
    /// A stream that ends at once, behind these bytes; like every stream it says no length.
    Ended(Option<Bytes>),
    Stream(Box<StreamBody>),
}

impl Body {
    pub(crate) fn empty() -> Body {
        Body { kind: Kind::Full(None), active: None }
    }

    pub(crate) fn full(bytes: Bytes) -> Body {
        Body { kind: Kind::Full((!bytes.is_empty()).then_some(bytes)), active: None }
    }

    /// A stream that is over after these bytes: without a length, as every stream.
    pub(crate) fn ended(bytes: Bytes) -> Body {
        Body { kind: Kind::Ended((!bytes.is_empty()).then_some(bytes)), active: None }
    }

    pub(crate) fn stream(stream: StreamBody) -> Body {
        Body { kind: Kind::Stream(Box::new(stream)), active: None }
    }

    /// What says that the stream is revoked, if this is one whose reader has a name.
    pub(crate) fn flag(&self) -> Option<&Arc<Flag>> {
        match &self.kind {
            Kind::Stream(stream) => stream.pull.flag(),
            Kind::Full(_) | Kind::Ended(_) => None,
        }
    }

    /// The request is in service until this body has been sent.
    pub(crate) fn hold(&mut self, active: Active) {
        self.active = Some(active);
    }

    /// Forgets the bytes, for HEAD; gives their number, if that is known.
    pub(crate) fn strip(&mut self) -> Option<u64> {
        match &self.kind {
            Kind::Full(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len) as u64;
                self.kind = Kind::Full(None);
                Some(length)
            }
            Kind::Ended(_) | Kind::Stream(_) => None,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let progress = PROGRESS.try_with(Arc::clone).ok();
        if let Some(progress) = &progress {
            *progress.handed.lock() = None;
            if let Some(flag) = self.flag() {
                progress.flag.get_or_init(|| Arc::clone(flag));
            }
        }
        let data = match &mut self.get_mut().kind {
            Kind::Full(bytes) => Poll::Ready(bytes.take()),
            Kind::Ended(bytes) => Poll::Ready(bytes.take()),
            Kind::Stream(stream) => stream.poll_bytes(cx),
        };
        if let (Some(progress), Poll::Ready(Some(_))) = (&progress, &data) {
            *progress.handed.lock() = Some(Instant::now());
        }
        data.map(|data| data.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Ended(_) | Kind::Stream(_) => SizeHint::default(),
        }
    }
}

/// An event stream as hyper pulls it.
pub(crate) struct StreamBody {
    pull: Pull,
    heartbeat: Option<Heartbeat>,
    /// Resolves when the stream has to end: by age, or because the server stops.
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

struct Heartbeat {
    every: Duration,
    bytes: &'static str,
    timer: Pin<Box<Sleep>>,
}

impl StreamBody {
    /// `heartbeat`: how often and with which bytes a silent stream shows that it is alive.
    pub(crate) fn new(
        parts: StreamParts,
        heartbeat: Option<(Duration, &'static str)>,
        max_age: Option<Duration>,
    ) -> StreamBody {
        StreamBody {
            end: Box::pin(end_of(Arc::clone(&parts.shared), max_age)),
            pull: Pull::new(parts),
            heartbeat: heartbeat.map(|(every, bytes)| Heartbeat {
                every,
                bytes,
                timer: Box::pin(sleep_until(Instant::now() + every)),
            }),
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let end = &mut self.end;
        let mut next = self.pull.poll(cx, |cx| end.as_mut().poll(cx).is_ready());
        if let Some(heartbeat) = &mut self.heartbeat {
            if next.is_pending() && heartbeat.timer.as_mut().poll(cx).is_ready() {
                next = Poll::Ready(Some(Bytes::from_static(heartbeat.bytes.as_bytes())));
            }
            if next.is_ready() {
                heartbeat.timer.as_mut().reset(Instant::now() + heartbeat.every);
            }
        }
        next
    }
}

/// Resolves when a stream of that age limit has to end. A stop spreads the ends over its pace.
async fn end_of(shared: Arc<Shared>, max_age: Option<Duration>) {
    let stopping = async {
        let pace = shared.stopping().await;
        let wait = shared.jitter.below(u64::try_from(pace.as_millis()).unwrap_or(u64::MAX));
        tokio::time::sleep(Duration::from_millis(wait)).await;
    };
    match max_age {
        None => stopping.await,
        Some(age) => tokio::select! {
            () = stopping => {}
            () = tokio::time::sleep(age) => {}
        },
    }
}
