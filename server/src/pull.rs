//! A stream as its writer pulls it: batches of its own cursor, for hyper or for a host.
//!
//! It holds no queue: it is asked for bytes when some can be sent, and pulls what is new then, joined up to 16 KiB. A larger event
//! goes out in slices, and between two slices only a weak reference to it is kept: a stalled stream costs its cursor and nothing that history
//! has let go. Dropping it ends the subscription.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use fanfare_engine::{Code, Frame as Event, Pulled, Subscription, WeakFrame};

use crate::named::{Flag, Ticket};
use crate::shared::{Shared, StreamPermit};

/// Most bytes handed on at once.
const BATCH_BYTES: usize = 16 * 1024;

/// What a stream is made of.
pub(crate) struct StreamParts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) open: StreamPermit,
    /// On a watcher of its own.
    pub(crate) subscription: Subscription,
    /// Of a reader with a name.
    pub(crate) ticket: Option<Ticket>,
    /// What comes before the first event.
    pub(crate) opening: Vec<u8>,
}

/// A cursor on its way to the wire.
pub(crate) struct Pull {
    shared: Arc<Shared>,
    /// None once the stream has ended.
    live: Option<Live>,
    /// Bytes that go out before anything else.
    first: Option<Bytes>,
    pulled: Vec<Event>,
    /// Pulled, not handed on yet.
    queue: VecDeque<Event>,
    /// A large event, and how much of it is handed on.
    rest: Option<(WeakFrame, usize)>,
    /// Why the subscription is over, if it is.
    ended: Option<Code>,
}

/// What an open stream holds.
struct Live {
    subscription: Subscription,
    ticket: Option<Ticket>,
    _open: StreamPermit,
}

impl Pull {
    pub(crate) fn new(parts: StreamParts) -> Pull {
        let StreamParts { shared, open, subscription, ticket, opening } = parts;
        Pull {
            shared,
            live: Some(Live { subscription, ticket, _open: open }),
            first: Some(opening.into()),
            pulled: Vec::new(),
            queue: VecDeque::new(),
            rest: None,
            ended: None,
        }
    }

    /// Why the subscription is over: all topics are closed, or history has moved on. None for another end.
    pub(crate) fn ended(&self) -> Option<Code> {
        self.ended
    }

    /// What says that the stream is revoked, if its reader has a name.
    pub(crate) fn flag(&self) -> Option<&Arc<Flag>> {
        self.live.as_ref()?.ticket.as_ref().map(Ticket::flag)
    }

    /// The next bytes; None at the end. `over` is asked between two events: true ends the stream there.
    /// `Pending` is given between two events only.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        over: impl FnOnce(&mut Context<'_>) -> bool,
    ) -> Poll<Option<Bytes>> {
        let flag = self.flag();
        // On every call: the one who is told of a revocation may be blocked behind the bytes of this one.
        if let Some(flag) = flag {
            flag.set_waker(cx.waker());
        }
        let revoked = flag.is_some_and(|flag| flag.is_revoked());
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
                    self.live = None;
                    self.ended = Some(Code::Lapped);
                    self.queue.clear();
                    None
                }
            });
        }
        if self.queue.is_empty() {
            if revoked || over(cx) {
                self.live = None;
            }
            let Some(live) = &self.live else { return Poll::Ready(None) };
            let pulled = live.subscription.poll(cx, &mut self.pulled, BATCH_BYTES);
            match pulled {
                Poll::Ready(Pulled::Lapped) => {
                    self.shared.counters.lapped.add(1);
                    self.live = None;
                    self.ended = Some(Code::Lapped);
                }
                Poll::Ready(Pulled::Ended) => {
                    self.live = None;
                    self.ended = Some(Code::TopicClosed);
                }
                Poll::Ready(Pulled::More | Pulled::Idle) | Poll::Pending => {}
            }
            self.count_pulled();
            self.queue.extend(self.pulled.drain(..));
            if self.queue.is_empty() {
                return match pulled {
                    Poll::Ready(_) if self.live.is_none() => Poll::Ready(None),
                    Poll::Ready(_) => {
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                    Poll::Pending => Poll::Pending,
                };
            }
        }
        Poll::Ready(self.next_batch())
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
