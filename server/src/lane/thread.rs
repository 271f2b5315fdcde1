//! The lane's thread: one turn after another, asleep in the poll when there is nothing to do.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fanfare_engine::{Engine, TopicKey};
use mio::{Events, Poll, Registry};

use super::batch::Batch;
use super::conn::{Conns, Key, Phase};
use super::due::{Drain, PACE_TICK};
use super::gather::Gathered;
use super::group::Groups;
use super::handle::{Link, WAKE};
use super::ring::Ring;
use super::timer::{Wheel, ticks};
use super::write::{Heard, Tally, discard};
use crate::config::Config;
use crate::handoff::{Framing, Permit};
use crate::shared::Shared;
use crate::stream;

/// Readiness events taken from one poll.
const EVENTS: usize = 1_024;
/// What peers send is read into a buffer of this size and forgotten.
const SCRATCH: usize = 4 << 10;
/// The kernel's clock for this is coarse, and counts the silence between two window probes.
const MIN_USER_TIMEOUT: Duration = Duration::from_secs(1);
/// After a failed poll, which only a fault of the system can cause, the lane waits this long.
const POLL_RETRY: Duration = Duration::from_millis(100);

/// What the configuration says about connections, in ticks and bytes.
#[derive(Clone)]
pub(super) struct Rules {
    /// The longest silence on a stream; `None` = no heartbeat.
    pub(super) heartbeat: Option<u64>,
    pub(super) beat_chunked: Box<[u8]>,
    pub(super) beat_plain: Box<[u8]>,
    pub(super) write_timeout: u64,
    /// The same for the kernel, which finds a peer that vanished under bytes it had accepted.
    pub(super) user_timeout: Duration,
    /// Send by io_uring where possible.
    pub(super) io_uring: bool,
}

impl Rules {
    pub(super) fn new(config: &Config) -> Rules {
        let beat = stream::heartbeat(config.heartbeat_event).as_bytes();
        Rules {
            heartbeat: (!config.heartbeat.is_zero()).then(|| ticks(config.heartbeat)),
            beat_chunked: stream::framed(beat, Framing::Chunked).into(),
            beat_plain: beat.into(),
            write_timeout: ticks(config.write_timeout),
            user_timeout: config.write_timeout.max(MIN_USER_TIMEOUT),
            io_uring: config.lanes_io_uring,
        }
    }
}

/// Everything the thread works with. Views on it are in the sibling modules: groups, single readers, time, adoption.
pub(super) struct Lane<'a> {
    pub(super) link: &'a Link,
    pub(super) engine: &'a Engine,
    pub(super) shared: &'a Shared,
    pub(super) rules: &'a Rules,
    pub(super) registry: &'a Registry,
    pub(super) conns: Conns,
    pub(super) groups: Groups,
    pub(super) wheel: Wheel,
    /// The present tick.
    pub(super) now: u64,
    /// What was pulled last, for many sockets or one.
    pub(super) batch: Batch,
    /// The same without the events withheld from one client.
    pub(super) selected: Batch,
    /// What was pulled for small groups and waits to be sent.
    pub(super) gathered: Gathered,
    /// Connections that read by themselves and can go on.
    pub(super) runnable: VecDeque<Key>,
    /// Connections whose peer sent more than one turn reads.
    reading: VecDeque<Key>,
    pub(super) tally: Tally,
    /// By which groups are sent to, where that is wanted and possible.
    pub(super) ring: Option<Ring>,
    pub(super) drain: Option<Drain>,
    /// Buffers that are empty between uses.
    pub(super) dead: Vec<Key>,
    pub(super) cut: Vec<u32>,
    pub(super) fired: Vec<Key>,
    dirty: Vec<TopicKey>,
    pub(super) arrived: Vec<u64>,
    scratch: Box<[u8]>,
}

/// The body of the thread. A panic in here is a bug of ours; it costs the connections of this lane, not the process and not
/// the lane.
pub(super) fn run(mut poll: Poll, link: &Arc<Link>, engine: &Engine, shared: &Arc<Shared>, rules: Rules) {
    let registry = match poll.registry().try_clone() {
        Ok(registry) => registry,
        Err(error) => {
            tracing::error!(%error, "a lane cannot start");
            return close_inbox(link);
        }
    };
    while let Err(panic) =
        catch_unwind(AssertUnwindSafe(|| Lane::new(link, engine, shared, &rules, &registry).live(&mut poll)))
    {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        tracing::error!(
            panic = text.unwrap_or("unknown"),
            "a lane failed: its connections are cut and it starts afresh"
        );
    }
    close_inbox(link);
}

/// Refuses later streams and drops those that wait.
fn close_inbox(link: &Link) {
    let waiting = {
        let mut inbox = link.inbox.lock();
        inbox.closed = true;
        inbox.orders = Vec::new();
        std::mem::take(&mut inbox.streams)
    };
    link.load.fetch_sub(waiting.len(), Ordering::Relaxed);
    for stream in &waiting {
        if stream.permit.as_ref().is_some_and(Permit::is_host) {
            let _ = stream.socket.shutdown(Shutdown::Both);
        }
    }
}

/// The lane's ring, where one is wanted and the kernel permits it.
fn open_ring(link: &Link, rules: &Rules) -> Option<Ring> {
    let ring = rules.io_uring.then(Ring::open)?;
    link.has_ring.store(ring.is_ok(), Ordering::Relaxed);
    ring.inspect_err(|error| tracing::warn!(%error, "a lane sends without io_uring")).ok()
}

impl<'a> Lane<'a> {
    fn new(
        link: &'a Link,
        engine: &'a Engine,
        shared: &'a Shared,
        rules: &'a Rules,
        registry: &'a Registry,
    ) -> Lane<'a> {
        Lane {
            link,
            engine,
            shared,
            rules,
            registry,
            conns: Conns::new(),
            groups: Groups::new(),
            wheel: Wheel::new(Instant::now()),
            now: 0,
            batch: Batch::new(),
            selected: Batch::new(),
            gathered: Gathered::default(),
            runnable: VecDeque::new(),
            arrived: Vec::new(),
            reading: VecDeque::new(),
            tally: Tally::default(),
            ring: open_ring(link, rules),
            drain: None,
            dead: Vec::new(),
            cut: Vec::new(),
            fired: Vec::new(),
            dirty: Vec::new(),
            scratch: vec![0; SCRATCH].into(),
        }
    }

    /// Goes on without a ring that the kernel has failed. What it had not sent has been sent otherwise.
    pub(super) fn drop_broken_ring(&mut self) {
        if self.ring.as_ref().is_some_and(Ring::is_broken) {
            tracing::error!("io_uring failed: a lane goes on without it");
            self.ring = None;
            self.link.has_ring.store(false, Ordering::Relaxed);
        }
    }

    /// Turns until the stop is done.
    fn live(&mut self, poll: &mut Poll) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.take_inbox();
            // First the list, then history: see the watcher's contract.
            self.link.watcher.take_news(&mut self.dirty, &mut self.arrived);
            self.run_arrived();
            for topic in self.dirty.drain(..) {
                self.groups.mark_topic_dirty(topic);
            }
            self.serve_ready();
            fanfare_engine::failpoint::reach("server.lane");
            self.step_runnable();
            self.read_more();
            self.batch.clear();
            self.selected.clear();
            self.tally.publish(&self.link.counters, self.shared);

            let timeout = self.sleep();
            if let Err(error) = poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "a lane cannot poll");
                std::thread::sleep(POLL_RETRY);
            }
            let now = Instant::now();
            self.now = self.wheel.tick_of(now);
            for event in &events {
                if event.token() != WAKE {
                    let key = Key::from_token(event.token());
                    self.handle_ready(key, event.is_writable(), event.is_readable() || event.is_error());
                }
            }
            self.fire_timers();
            if self.drain.is_some() {
                self.drain_turn(now);
                if self.conns.is_empty() || self.drain.as_ref().is_some_and(|drain| drain.deadline <= now) {
                    self.tally.publish(&self.link.counters, self.shared);
                    // One that only waits for its peer to close has had its end.
                    let open = |&&key: &&Key| {
                        self.conns.get(key).is_some_and(|conn| !matches!(conn.phase, Phase::Closing))
                    };
                    let cut =
                        self.drain.as_ref().map_or(0, |drain| drain.streams.iter().filter(open).count());
                    self.shared.counters.cut.add(cut as u64);
                    return;
                }
            }
        }
    }

    /// How long the lane may sleep: not at all while there is work it knows of.
    fn sleep(&self) -> Option<Duration> {
        let busy = self.groups.ready_len() > 0 || !self.runnable.is_empty() || !self.reading.is_empty();
        if busy || !self.link.watcher.park() {
            return Some(Duration::ZERO);
        }
        // After parking, so that whoever fills the inbox from here on finds the lane asleep and wakes it.
        if self.inbox_waits() {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let timer = self.wheel.next_deadline().map(|at| at.saturating_duration_since(now));
        match &self.drain {
            Some(_) => Some(timer.map_or(PACE_TICK, |timer| timer.min(PACE_TICK))),
            None => timer,
        }
    }

    /// A socket reports.
    fn handle_ready(&mut self, key: Key, writable: bool, readable: bool) {
        if readable {
            self.listen(key);
        }
        if writable && let Some(conn) = self.conns.get_mut(key) {
            let blocked = std::mem::take(&mut conn.blocked);
            if blocked && matches!(conn.phase, Phase::Own(_)) {
                self.step(key);
            }
        }
    }

    fn listen(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        match discard(&conn.socket, &mut self.scratch) {
            Heard::Quiet => {}
            Heard::More => {
                if !conn.reading {
                    conn.reading = true;
                    self.reading.push_back(key);
                }
            }
            Heard::Closed => self.close(key),
        }
    }

    fn read_more(&mut self) {
        for _ in 0..self.reading.len() {
            let Some(key) = self.reading.pop_front() else { return };
            if let Some(conn) = self.conns.get_mut(key) {
                conn.reading = false;
                self.listen(key);
            }
        }
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        self.link.load.fetch_sub(self.conns.len(), Ordering::Relaxed);
    }
}
