//! Answer bodies: a few bytes from memory, or an event stream that pulls batches from its own cursor.
//!
//! Streams over HTTP/2 and TLS stay with hyper. Their body holds no queue: it is asked for bytes when the connection can send some, and
//! pulls what is new then, joined up to 16 KiB. A larger event goes out in slices, and between two slices only a weak reference to it is kept:
//! a stalled stream costs its cursor, what hyper may hold for it (`limits.h2_send_buffer`), and nothing that history has let go. Dropping the body, which is what a reset or a closed connection does,
//! ends the subscription.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fanfare_engine::{Frame as Event, Pulled, Subscription, WeakFrame};
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::patience::Patience;
use crate::shared::{Shared, StreamPermit};
use crate::watch::Active;

/// Most bytes handed to hyper at once.
const BATCH_BYTES: usize = 16 * 1024;

tokio::task_local! {
    /// Of the HTTP/2 stream whose task this is.
    pub(crate) static PROGRESS: Arc<Progress>;
}

/// Whether the peer takes what an HTTP/2 stream has to send. Its task ends the stream when it does not.
#[derive(Default)]
pub(crate) struct Progress {
    /// When bytes were handed to hyper that has not come back for more since.
    handed: Mutex<Option<Instant>>,
}

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

/// What a stream's body is made of.
pub(crate) struct StreamParts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) open: StreamPermit,
    /// On a watcher of its own.
    pub(crate) subscription: Subscription,
    /// What comes before the first event.
    pub(crate) opening: Vec<u8>,
    /// How often and with which bytes a silent stream shows that it is alive.
    pub(crate) heartbeat: Option<(Duration, &'static str)>,
    pub(crate) max_age: Option<Duration>,
}

/// An event stream as hyper pulls it.
pub(crate) struct StreamBody {
    shared: Arc<Shared>,
    _open: StreamPermit,
    /// None once the stream has ended.
    subscription: Option<Subscription>,
    /// Bytes that go out before anything else.
    first: Option<Bytes>,
    pulled: Vec<Event>,
    /// Pulled, not handed on yet.
    queue: VecDeque<Event>,
    /// A large event, and how much of it is handed on.
    rest: Option<(WeakFrame, usize)>,
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
    pub(crate) fn new(parts: StreamParts) -> StreamBody {
        let StreamParts { shared, open, subscription, opening, heartbeat, max_age } = parts;
        let end = end_of(Arc::clone(&shared), max_age);
        StreamBody {
            shared,
            _open: open,
            subscription: Some(subscription),
            first: Some(opening.into()),
            pulled: Vec::new(),
            queue: VecDeque::new(),
            rest: None,
            heartbeat: heartbeat.map(|(every, bytes)| Heartbeat {
                every,
                bytes,
                timer: Box::pin(sleep_until(Instant::now() + every)),
            }),
            end: Box::pin(end),
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let bytes = std::task::ready!(self.poll_next(cx));
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.timer.as_mut().reset(Instant::now() + heartbeat.every);
        }
        Poll::Ready(bytes)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        // A whole event before an end, whatever the reason for it.
        if let Some((event, sent)) = self.rest.take() {
            return Poll::Ready(match event.upgrade() {
                Some(event) => Some(self.slice(&event, sent)),
                // History let it go in the middle: it can never be finished, so the stream ends inside it.
                None => {
                    self.shared.counters.lapped.add(1);
                    self.subscription = None;
                    self.queue.clear();
                    None
                }
            });
        }
        if self.queue.is_empty() {
            if self.end.as_mut().poll(cx).is_ready() {
                self.subscription = None;
            }
            let Some(subscription) = &self.subscription else { return Poll::Ready(None) };
            let pulled = subscription.poll(cx, &mut self.pulled, BATCH_BYTES);
            match pulled {
                Poll::Ready(Pulled::Lapped) => {
                    self.shared.counters.lapped.add(1);
                    self.subscription = None;
                }
                Poll::Ready(Pulled::Ended) => self.subscription = None,
                Poll::Ready(Pulled::More | Pulled::Idle) | Poll::Pending => {}
            }
            self.count_pulled();
            self.queue.extend(self.pulled.drain(..));
            if self.queue.is_empty() {
                return match pulled {
                    Poll::Pending => self.poll_heartbeat(cx),
                    Poll::Ready(_) if self.subscription.is_none() => Poll::Ready(None),
                    Poll::Ready(_) => {
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                };
            }
        }
        Poll::Ready(self.next_batch())
    }

    fn poll_heartbeat(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.heartbeat {
            Some(heartbeat) => heartbeat
                .timer
                .as_mut()
                .poll(cx)
                .map(|()| Some(Bytes::from_static(heartbeat.bytes.as_bytes()))),
            None => Poll::Pending,
        }
    }

    fn count_pulled(&self) {
        if self.pulled.is_empty() {
            return;
        }
        let counters = &self.shared.counters;
        counters.frames.add(self.pulled.len() as u64);
        counters.bytes.add(self.pulled.iter().map(|event| event.wire().len() as u64).sum());
        counters.gaps.add(self.pulled.iter().filter(|event| event.is_gap()).count() as u64);
    }

    /// From a queue that is not empty: small events joined, or the first slice of a large one.
    fn next_batch(&mut self) -> Option<Bytes> {
        let mut batch = BytesMut::with_capacity(BATCH_BYTES);
        while let Some(next) = self.queue.pop_front_if(|next| batch.len() + next.wire().len() <= BATCH_BYTES)
        {
            batch.extend_from_slice(next.wire());
        }
        // Only the last event of a pull can be a large one.
        if let Some(large) = self.queue.pop_front_if(|next| next.wire().len() > BATCH_BYTES) {
            if batch.is_empty() {
                return Some(self.slice(&large, 0));
            }
            self.rest = Some((large.downgrade(), 0));
        }
        Some(batch.freeze())
    }

    /// Copies the next part of a large event.
    fn slice(&mut self, event: &Event, from: usize) -> Bytes {
        let wire = event.wire();
        let to = wire.len().min(from + BATCH_BYTES);
        if to < wire.len() {
            self.rest = Some((event.downgrade(), to));
        }
        Bytes::copy_from_slice(&wire[from..to])
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
