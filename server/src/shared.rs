//! What all parts of a server share: counters, connection and stream counts, the stop signal, jitter.
//!
//! Nothing here is on the path of a publish. Every number is a plain counter that is read for `/stats` and `/metrics` only, so all
//! orderings are relaxed: no reader draws a conclusion about other memory from them. The one exception, the connection limit,
//! is decided under a lock.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::named::Named;

/// Shared by the accept loops, the connections and the lanes of one server.
pub(crate) struct Shared {
    /// Engine time.
    pub(crate) clock: Clock,
    /// What happened so far.
    pub(crate) counters: Counters,
    /// Who is connected.
    pub(crate) connections: Connections,
    /// Streams of readers with a name.
    pub(crate) named: Arc<Named>,
    /// Random spreads: `retry:`, stream age, drain.
    pub(crate) jitter: Jitter,
    /// Becomes `Some(pace)` once, when the server stops: streams end spread over `pace`.
    stopping: watch::Sender<Option<Duration>>,
}

impl Shared {
    /// `limit` connections in all, `per_address` of one peer address (0 = no such limit).
    pub(crate) fn new(clock: Clock, limit: u64, per_address: u64) -> Arc<Shared> {
        Arc::new(Shared {
            clock,
            counters: Counters::default(),
            connections: Connections { limit, per_address, book: Mutex::default(), empty: Condvar::new() },
            named: Arc::default(),
            jitter: Jitter::new(),
            stopping: watch::Sender::new(None),
        })
    }

    /// Counts one more connection from `address`, or says which limit it would break.
    pub(crate) fn admit(self: &Arc<Shared>, address: IpAddr) -> Result<ConnectionPermit, Full> {
        self.connections.enter(address)?;
        Ok(ConnectionPermit { shared: Arc::clone(self), address })
    }

    /// Counts one more open event stream.
    pub(crate) fn open_stream(self: &Arc<Shared>, protocol: Protocol) -> StreamPermit {
        self.counters.open(protocol).add(1);
        StreamPermit { shared: Arc::clone(self), protocol }
    }

    /// Tells everybody to end: at once when idle, open streams spread over `pace` so that their readers do not come back all together.
    pub(crate) fn begin_stop(&self, pace: Duration) {
        self.stopping.send_if_modified(|state| {
            let first = state.is_none();
            state.get_or_insert(pace);
            first
        });
    }

    /// How far the ends of streams are spread, if the server is stopping.
    pub(crate) fn stop_pace(&self) -> Option<Duration> {
        *self.stopping.borrow()
    }

    /// Whether the server is stopping.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.borrow().is_some()
    }

    /// Resolves with the pace when the server stops; never, if the server is dropped without a stop.
    pub(crate) fn stopping(&self) -> impl Future<Output = Duration> + Send + 'static {
        let mut signal = self.stopping.subscribe();
        async move {
            loop {
                if let Some(pace) = *signal.borrow_and_update() {
                    return pace;
                }
                if signal.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

/// A relaxed counter.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes `n` away: for counters of what is open now.
    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// The present value.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Events written to readers over the network, and what happened to readers that were too slow.
#[derive(Default)]
pub(crate) struct Counters {
    /// Connections turned away at a limit.
    pub(crate) refused: Counter,
    /// Event frames written (one frame to 1,000 readers counts 1,000).
    pub(crate) frames: Counter,
    /// Bytes of those frames, without chunk framing.
    pub(crate) bytes: Counter,
    /// Gap notices written.
    pub(crate) gaps: Counter,
    /// Streams ended because their reader fell out of history.
    pub(crate) lapped: Counter,
    /// Streams ended because a write made no progress within `timeouts.write`.
    pub(crate) stalled: Counter,
    /// Streams that a stop cut at its deadline.
    pub(crate) cut: Counter,
    /// HTTP requests answered, streams included.
    pub(crate) requests: Counter,
    /// Requests refused with a 4xx or 5xx.
    pub(crate) errors: Counter,
    /// Open streams over HTTP/1, in a lane or over TLS.
    streams_h1: Counter,
    /// Open streams over HTTP/2.
    streams_h2: Counter,
    /// Open streams that the host writes.
    streams_host: Counter,
}

impl Counters {
    /// Open streams of one protocol.
    pub(crate) fn open(&self, protocol: Protocol) -> &Counter {
        match protocol {
            Protocol::Http1 => &self.streams_h1,
            Protocol::Http2 => &self.streams_h2,
            Protocol::Host => &self.streams_host,
        }
    }
}

/// Who speaks a stream, and in which HTTP version family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.0 or 1.1, in clear or over TLS.
    Http1,
    /// HTTP/2, in clear or over TLS.
    Http2,
    /// The host's own, whichever it is.
    Host,
}

/// The connections that are open, in all and per peer address.
pub(crate) struct Connections {
    limit: u64,
    per_address: u64,
    book: Mutex<Book>,
    /// Signalled when the last connection has gone.
    empty: Condvar,
}

#[derive(Default)]
struct Book {
    open: u64,
    /// Only filled when there is a limit per address.
    by_address: HashMap<IpAddr, u64, ahash::RandomState>,
}

/// Which connection limit is reached, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// `limits.connections`
    InAll(u64),
    /// `limits.connections_per_address`
    PerAddress(u64),
}

impl Connections {
    fn enter(&self, address: IpAddr) -> Result<(), Full> {
        let address = address_key(address);
        let mut book = self.book.lock();
        if book.open >= self.limit {
            return Err(Full::InAll(self.limit));
        }
        if self.per_address > 0 {
            let count = book.by_address.entry(address).or_insert(0);
            if *count >= self.per_address {
                return Err(Full::PerAddress(self.per_address));
            }
            *count += 1;
        }
        book.open += 1;
        Ok(())
    }

    fn leave(&self, address: IpAddr) {
        let address = address_key(address);
        let mut book = self.book.lock();
        book.open -= 1;
        if book.open == 0 {
            self.empty.notify_all();
        }
        if self.per_address > 0
            && let Some(count) = book.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                book.by_address.remove(&address);
            }
        }
    }

    /// Blocks until no connection is open or the deadline has passed; says how many are left.
    pub(crate) fn wait_empty(&self, deadline: Instant) -> u64 {
        let mut book = self.book.lock();
        while book.open > 0 {
            if self.empty.wait_until(&mut book, deadline).timed_out() {
                break;
            }
        }
        book.open
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> u64 {
        self.book.lock().open
    }

    /// `limits.connections`
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }
}

/// Whom a limit per address counts: an IPv4 address, or the /64 network that one IPv6 subscriber usually has to himself.
pub(crate) fn address_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        other => other,
    }
}

/// One counted connection; dropping it makes room for another.
pub(crate) struct ConnectionPermit {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.shared.connections.leave(self.address);
    }
}

/// One counted open stream.
pub(crate) struct StreamPermit {
    shared: Arc<Shared>,
    protocol: Protocol,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.shared.counters.open(self.protocol).sub(1);
    }
}

/// A source of spread, not of secrets: SplitMix64 from an operating-system seed.
pub(crate) struct Jitter(AtomicU64);

impl Jitter {
    fn new() -> Jitter {
        // Without a seed the spread is the same in every process, which is harmless within one.
        Jitter(AtomicU64::new(getrandom::u64().unwrap_or(0x9e37_79b9_7f4a_7c15)))
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let mut z =
            self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The high half of a 128-bit product: no division, bias below 2^-64 * bound.
        ((u128::from(z) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    #[test]
    fn permits_count_in_all_and_per_address() {
        let shared = Shared::new(Clock::new(), 3, 2);
        let first = shared.admit(HERE).ok();
        let _second = shared.admit(HERE).ok();
        assert_eq!(shared.admit(HERE).err(), Some(Full::PerAddress(2)));
        let _third = shared.admit(THERE).ok();
        assert_eq!(shared.admit(THERE).err(), Some(Full::InAll(3)));
        drop(first);
        assert_eq!(shared.connections.open(), 2);
        assert!(shared.admit(HERE).is_ok());
        assert_eq!(shared.connections.open(), 2);
    }

    #[test]
    fn one_network_is_one_address() {
        let parse = |text: &str| address_key(text.parse().expect("an address"));
        assert_eq!(parse("2001:db8:1:2::1"), parse("2001:db8:1:2:ffff::9"));
        assert_ne!(parse("2001:db8:1:2::1"), parse("2001:db8:1:3::1"));
        assert_eq!(parse("::ffff:192.0.2.7"), parse("192.0.2.7"));
        assert_ne!(parse("192.0.2.7"), parse("192.0.2.8"));
    }

    #[test]
    fn jitter_stays_below_its_bound_and_spreads() {
        let jitter = Jitter::new();
        let mut seen = [0u32; 10];
        for _ in 0..10_000 {
            seen[jitter.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| n > 500), "{seen:?}");
        assert_eq!(jitter.below(0), 0);
    }
}
