//! Lanes with a real engine and real sockets, without the HTTP side: the test hands sockets over itself.

mod client;
mod delivery;
mod groups;
mod life;
mod limits;
mod slow;
mod storm;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare_engine::{Draft, Engine, Epoch, LagPolicy, Start, SubscribeOptions};

use parking_lot::Mutex;

use super::{LaneStats, Lanes};
use crate::clock::Clock;
use crate::config::Config;
use crate::handoff::{Framing, GroupKey, LaneStream, Permit};
use crate::shared::{Protocol, Shared};
use crate::stream;
use client::Reader;

/// Far above what any step takes; a test that reaches it has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Small enough that a few hundred events of 1 KiB fill them.
pub(super) const SMALL: (usize, usize) = (16 << 10, 16 << 10);

/// An engine, its lanes, and a place for clients to connect to.
pub(super) struct Rig {
    pub(super) engine: Engine,
    pub(super) lanes: Lanes,
    pub(super) shared: Arc<Shared>,
    /// Locked from connecting to accepting, so that both ends are of one connection.
    listener: Mutex<TcpListener>,
}

/// How a test's stream differs from a plain live stream of `chat`.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    pub(super) topics: &'a [&'a str],
    pub(super) events: &'a [&'a str],
    pub(super) start: Start<'a>,
    pub(super) client: Option<&'a str>,
    pub(super) lag: LagPolicy,
    pub(super) framing: Framing,
    pub(super) max_age: Option<Duration>,
    /// Send buffer of the server's side and receive buffer of the client's, for a reader that is to be slow.
    pub(super) buffers: Option<(usize, usize)>,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Ask {
            topics: &["chat"],
            events: &[],
            start: Start::Live,
            client: None,
            lag: LagPolicy::Disconnect,
            framing: Framing::Chunked,
            max_age: None,
            buffers: None,
        }
    }
}

pub(super) fn engine_config() -> fanfare_engine::Config {
    fanfare_engine::Config::new(Epoch::from_seed(7))
}

/// Whether this is the copy of these tests whose lanes send by io_uring.
fn by_ring() -> bool {
    module_path!().contains("::tests_by_ring")
}

/// Whether lanes send by io_uring here: where they are to, and the kernel lets them.
pub(super) fn has_ring() -> bool {
    #[cfg(all(feature = "io-uring", target_os = "linux"))]
    return by_ring() && fanfare_uring::Ring::new().is_ok();
    #[cfg(not(all(feature = "io-uring", target_os = "linux")))]
    return by_ring();
}

/// One lane, no heartbeat: what a test does not ask for does not happen.
pub(super) fn lane_config() -> Config {
    Config { lanes: 1, heartbeat: Duration::ZERO, lanes_io_uring: by_ring(), ..Config::default() }
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::with(engine_config(), lane_config())
    }

    pub(super) fn with(engine: fanfare_engine::Config, config: Config) -> Rig {
        let engine = Engine::new(engine).expect("the configuration is valid");
        let shared = Shared::new(Clock::new(), 100_000, 0);
        let lanes = Lanes::start(&engine, &config, Arc::clone(&shared)).expect("lanes start");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        Rig { engine, lanes, shared, listener: Mutex::new(listener) }
    }

    /// A client's socket and ours.
    pub(super) fn pair(&self, buffers: Option<(usize, usize)>) -> (TcpStream, TcpStream) {
        let listener = self.listener.lock();
        let address: SocketAddr = listener.local_addr().expect("bound");
        let client =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        if let Some((_, bytes)) = buffers {
            client.set_recv_buffer_size(bytes).expect("settable");
        }
        client.connect(&address.into()).expect("the listener listens");
        let (ours, _) = listener.accept().expect("a connection waits");
        if let Some((bytes, _)) = buffers {
            socket2::SockRef::from(&ours).set_send_buffer_size(bytes).expect("settable");
        }
        let client = TcpStream::from(client);
        client.set_read_timeout(Some(PATIENCE)).expect("settable");
        (client, ours)
    }

    /// Opens a stream and hands it to a lane; the client has read nothing yet.
    pub(super) fn open(&self, ask: &Ask<'_>) -> Reader {
        let (client, ours) = self.pair(ask.buffers);
        let address = client.local_addr().expect("connected").ip();
        let permit = self.shared.admit(address).expect("below the limit");
        // As if each were the first of its topic: they are spread over the lanes, however few they are.
        let lane = self.lanes.pick(ask.topics[0], 0);
        let options = SubscribeOptions {
            topics: ask.topics.iter().map(|&topic| topic.into()).collect(),
            start: ask.start.clone(),
            client: None,
            events: ask.events.iter().map(|&event| event.into()).collect(),
            lag: ask.lag,
        };
        let subscription = self.engine.subscribe(lane.watcher(), &options, self.now()).expect("readable");
        let sorted = |names: &[&str]| {
            let mut names: Vec<Box<str>> = names.iter().map(|&name| name.into()).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        let adopted = lane.adopt(LaneStream {
            socket: ours,
            head: stream::framed(b":\n", ask.framing),
            read_ahead: b"GET /second HTTP/1.1\r\n\r\n".to_vec(),
            framing: ask.framing,
            subscription,
            group: GroupKey {
                topics: sorted(ask.topics),
                events: sorted(ask.events),
                lag: ask.lag,
                framing: ask.framing,
            },
            client: ask.client.map(Into::into),
            ticket: None,
            permit: Some(Permit::Counted(permit)),
            open: self.shared.open_stream(Protocol::Http1),
            max_age: ask.max_age,
        });
        // A lane that stops gives it back, and the client sees the end.
        drop(adopted);
        Reader::new(client, ask.framing)
    }

    pub(super) fn now(&self) -> fanfare_engine::Timestamp {
        self.shared.clock.now()
    }

    /// Publishes `data` to `topic` and returns its position.
    pub(super) fn publish(&self, topic: &str, data: &str) -> u64 {
        self.send(Draft::new(topic, data))
    }

    pub(super) fn send(&self, draft: Draft<'_>) -> u64 {
        self.engine.publish(draft, self.now()).expect("a valid event").seq
    }

    pub(super) fn stats(&self) -> LaneStats {
        let mut sum = LaneStats::default();
        for lane in self.lanes.stats() {
            sum.sockets += lane.sockets;
            sum.batches += lane.batches;
            sum.writes += lane.writes;
            sum.partial += lane.partial;
            sum.io_uring |= lane.io_uring;
        }
        sum
    }

    /// Streams that count as open: what readers of `/stats` see.
    pub(super) fn open_streams(&self) -> u64 {
        self.shared.counters.open(Protocol::Http1).get()
    }

    pub(super) fn stop(&self, within: Duration) {
        self.lanes.stop(Instant::now() + within);
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not reached: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
