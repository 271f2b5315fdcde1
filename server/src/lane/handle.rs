//! The lanes as the rest of the server sees them: start, pick one for a stream, hand it over, stop.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use fanfare_engine::{Engine, Watcher};
use mio::{Poll, Token};
use parking_lot::Mutex;

use super::home::Homes;
use super::thread::{self as lane_thread, Rules};
use crate::config::Config;
use crate::handoff::{HostLink, LaneStream};
use crate::shared::{Counter, Shared};

/// The token of the lane's own wake-up; no connection has it.
pub(super) const WAKE: Token = Token(usize::MAX);

/// All lanes of one server. Dropping it cuts every stream and joins the threads.
pub(crate) struct Lanes {
    links: Vec<Arc<Link>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    homes: Homes,
}

/// One lane, as the place to subscribe for and to hand a stream to.
pub(crate) struct LaneHandle {
    link: Arc<Link>,
}

/// A lane's counters since it started, and its sockets now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneStats {
    /// Connections that the lane holds or is about to take.
    pub(crate) sockets: u64,
    /// Batches pulled from the engine for one or many sockets.
    pub(crate) batches: u64,
    /// Sends that the kernel was asked for.
    pub(crate) writes: u64,
    /// Of those, the ones that a full socket cut short.
    pub(crate) partial: u64,
    /// It sends to groups by io_uring.
    pub(crate) io_uring: bool,
}

/// What a lane's thread and its handles share.
pub(super) struct Link {
    pub(super) watcher: Watcher,
    pub(super) inbox: Mutex<Inbox>,
    /// Streams in the inbox and connections in the lane. Relaxed: it only guides the choice of a lane.
    pub(super) load: AtomicUsize,
    pub(super) counters: LaneCounters,
    /// The lane sends by io_uring. Relaxed: it is only told.
    pub(super) has_ring: AtomicBool,
}

/// What waits for the lane's thread. Whoever adds to it wakes the watcher afterwards; the thread looks after it parked.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) streams: VecDeque<LaneStream>,
    pub(super) orders: Vec<Order>,
    /// End all streams by then.
    pub(super) stop: Option<Instant>,
    /// The thread is gone, or about to go: nothing may be added.
    pub(super) closed: bool,
}

/// What is wanted of streams that the lane has.
pub(super) enum Order {
    /// End this one at the next boundary between frames.
    End(Arc<HostLink>),
    /// End all of the client with this name, blocked ones at once.
    Revoke(Arc<str>),
}

#[derive(Default)]
pub(super) struct LaneCounters {
    pub(super) batches: Counter,
    pub(super) writes: Counter,
    pub(super) partial: Counter,
}

/// Wakes a lane out of its poll.
struct PollWaker(mio::Waker);

impl Wake for PollWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // It fails only where the poll is gone or descriptors are exhausted in mid-use; the lane's next timer looks again.
        if let Err(error) = self.0.wake() {
            tracing::error!(%error, "cannot wake a lane");
        }
    }
}

impl Link {
    /// Adds to the inbox; a lane that is gone has no streams to order about.
    fn order(&self, order: Order) {
        {
            let mut inbox = self.inbox.lock();
            if inbox.closed {
                return;
            }
            inbox.orders.push(order);
        }
        self.watcher.wake();
    }
}

impl Lanes {
    /// Starts `config.lanes` threads, or one per core.
    ///
    /// # Errors
    /// When a poll or a thread cannot be created; those already started end again.
    pub(crate) fn start(engine: &Engine, config: &Config, shared: Arc<Shared>) -> io::Result<Lanes> {
        let count = match config.lanes {
            0 => thread::available_parallelism().map_or(1, NonZeroUsize::get),
            n => n,
        };
        let mut lanes = Lanes { links: Vec::new(), threads: Mutex::default(), homes: Homes::new() };
        for index in 0..count {
            let poll = Poll::new()?;
            let waker = Waker::from(Arc::new(PollWaker(mio::Waker::new(poll.registry(), WAKE)?)));
            let watcher = engine.watcher();
            watcher.set_waker(&waker);
            let link = Arc::new(Link {
                watcher,
                inbox: Mutex::default(),
                load: AtomicUsize::new(0),
                counters: LaneCounters::default(),
                has_ring: AtomicBool::new(false),
            });
            let body = {
                let (link, engine, shared) = (Arc::clone(&link), engine.clone(), Arc::clone(&shared));
                let rules = Rules::new(config);
                move || lane_thread::run(poll, &link, &engine, &shared, rules)
            };
            lanes
                .threads
                .lock()
                .push(thread::Builder::new().name(format!("fanfare-lane-{index}")).spawn(body)?);
            lanes.links.push(link);
        }
        Ok(lanes)
    }

    /// The lane for one more reader of `topic`, which has `readers` already.
    pub(crate) fn pick(&self, topic: &str, readers: usize) -> LaneHandle {
        let loads = self.links.iter().map(|link| link.load.load(Ordering::Relaxed));
        LaneHandle { link: Arc::clone(&self.links[self.homes.pick(topic, readers, loads)]) }
    }

    /// Counters per lane.
    pub(crate) fn stats(&self) -> Vec<LaneStats> {
        let stats = |link: &Arc<Link>| LaneStats {
            sockets: link.load.load(Ordering::Relaxed) as u64,
            batches: link.counters.batches.get(),
            writes: link.counters.writes.get(),
            partial: link.counters.partial.get(),
            io_uring: link.has_ring.load(Ordering::Relaxed),
        };
        self.links.iter().map(stats).collect()
    }

    /// Ends the streams of `client`: at the next boundary between frames, or at once where the socket is full.
    pub(crate) fn revoke(&self, client: &str) {
        let client: Arc<str> = client.into();
        for link in &self.links {
            link.order(Order::Revoke(Arc::clone(&client)));
        }
    }

    /// Ends every stream, paced over the first half of the time to `deadline` at most, and waits for the threads. At the
    /// deadline whatever is left is cut. Later streams are refused. Idempotent; blocks the calling thread.
    pub(crate) fn stop(&self, deadline: Instant) {
        for link in &self.links {
            link.inbox.lock().stop.get_or_insert(deadline);
            link.watcher.wake();
        }
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a lane thread ended by a panic");
            }
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.stop(Instant::now());
    }
}

impl LaneHandle {
    /// On which the stream's subscription is to be opened, so that a publish wakes this lane.
    pub(crate) fn watcher(&self) -> &Watcher {
        &self.link.watcher
    }

    /// Gives the stream to the lane, which writes its head and then its events. Never blocks.
    ///
    /// # Errors
    /// The stream, untouched, from a lane that has stopped.
    #[expect(clippy::result_large_err, reason = "the error is the argument, given back")]
    pub(crate) fn adopt(&self, stream: LaneStream) -> Result<(), LaneStream> {
        {
            let mut inbox = self.link.inbox.lock();
            if inbox.closed || inbox.stop.is_some() {
                // Not dropped here: that closes a socket and takes engine locks, not to be done under the inbox's.
                return Err(stream);
            }
            self.link.load.fetch_add(1, Ordering::Relaxed);
            inbox.streams.push_back(stream);
        }
        self.link.watcher.wake();
        Ok(())
    }

    /// Asks for the end of an adopted stream at the next boundary between frames.
    pub(crate) fn end(&self, host: &Arc<HostLink>) {
        if host.ask_end() {
            self.link.order(Order::End(Arc::clone(host)));
        }
    }
}
