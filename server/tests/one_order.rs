//! One publisher, everybody who can read: HTTP/1.1, HTTP/2 and in this process get the same events with the same ids, each once, in one order (checklist D1).

mod support;

use std::fmt::Write;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use fanfare_engine::wire::parse::{Item, Parser};
use fanfare_engine::{Pulled, Start, SubscribeOptions, Subscription};
use h2::client::SendRequest;
use http::Request;
use support::{Hub, WATCHDOG, post, wait_until};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const EVENTS: usize = 10_000;
/// Events of one request.
const BATCH: usize = 8;

const HTTP1: usize = 80;
const HTTP2: usize = 20;
/// Streams on one HTTP/2 connection.
const MULTIPLEXED: usize = 4;
const INSIDE: usize = 20;

/// Every second reader is there before the first event; the others come while it is busy, and ask for everything.
fn comes_later(number: usize) -> bool {
    number % 2 == 1
}

fn target(later: bool) -> &'static str {
    if later { "/events/t?replay=all" } else { "/events/t" }
}

/// What a reader got, a line per event: id, type, data.
#[derive(Default)]
struct Got {
    parser: Parser,
    lines: String,
}

impl Got {
    fn feed(&mut self, bytes: &[u8]) {
        for item in self.parser.feed(bytes) {
            if let Item::Event(event) = item {
                writeln!(self.lines, "{} {} {}", event.last_event_id, event.event, event.data)
                    .expect("a line");
            }
        }
    }
}

/// Reads a stream over HTTP/1.1 to its end.
fn read_http1(hub: &Hub, later: bool, open: &AtomicUsize) -> String {
    let mut stream = hub.stream(target(later));
    open.fetch_add(1, Ordering::Relaxed);
    let mut lines = String::new();
    while let Some(event) = stream.next_event() {
        writeln!(lines, "{} {} {}", event.last_event_id, event.event, event.data).expect("a line");
    }
    lines
}

async fn connect_http2(address: SocketAddr) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(address).await.expect("a connection");
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1 << 30);
    let (send, connection) = builder.handshake(socket).await.expect("a handshake");
    tokio::spawn(connection);
    send
}

/// Reads a stream over HTTP/2 to its end.
async fn read_http2(connection: SendRequest<Bytes>, later: bool, open: Arc<AtomicUsize>) -> String {
    let request = Request::get(format!("http://localhost{}", target(later))).body(()).expect("a request");
    let mut send = connection.ready().await.expect("room for a stream");
    let (response, _) = send.send_request(request, true).expect("sent");
    let mut body = response.await.expect("an answer").into_body();
    open.fetch_add(1, Ordering::Relaxed);
    let mut got = Got::default();
    while let Some(bytes) = body.data().await {
        let bytes = bytes.expect("no reset");
        body.flow_control().release_capacity(bytes.len()).expect("a window");
        got.feed(&bytes);
    }
    got.lines
}

/// Reads through the engine to the end of the topic.
async fn read_inside(subscription: Subscription) -> String {
    let (mut got, mut frames) = (Got::default(), Vec::new());
    loop {
        let pulled = poll_fn(|cx| subscription.poll(cx, &mut frames, 16 << 10)).await;
        for frame in frames.drain(..) {
            got.feed(frame.wire());
        }
        match pulled {
            Pulled::Ended => return got.lines,
            Pulled::Lapped => panic!("history is as large as the test"),
            Pulled::More | Pulled::Idle => {}
        }
    }
}

/// Publishes everything over one connection; gives the lines that every reader has to get.
fn publish(hub: &Hub, half_way: impl FnOnce()) -> String {
    let mut half_way = Some(half_way);
    let mut expected = String::new();
    let mut conn = hub.connect();
    for first in (0..EVENTS).step_by(BATCH) {
        if first >= EVENTS / 2
            && let Some(half_way) = half_way.take()
        {
            half_way();
        }
        let mut body = String::new();
        for number in first..first + BATCH {
            // With and without an id and a type of the publisher's.
            let own = if number % 5 == 0 { format!(r#","id":"own-{number}""#) } else { String::new() };
            let kind = if number % 3 == 0 { r#","event":"third""# } else { "" };
            writeln!(body, r#"{{"data":"{number}"{own}{kind}}}"#).expect("a line");
        }
        conn.send(post("/events/t", "Content-Type: application/x-ndjson\r\n", body));
        let answer = conn.response(false).expect("an answer");
        assert_eq!(answer.status, 200);
        let ids = answer.json()["ids"].as_array().expect("ids").clone();
        assert_eq!(ids.len(), BATCH);
        for (number, id) in (first..).zip(&ids) {
            let id = id.as_str().expect("an id");
            assert_eq!(number % 5 == 0, id == format!("own-{number}"), "{id}");
            let kind = if number % 3 == 0 { "third" } else { "message" };
            writeln!(expected, "{id} {kind} {number}").expect("a line");
        }
    }
    expected
}

/// Starts one half of the HTTP/2 and inside readers.
fn start_tasks(
    hub: &Hub,
    runtime: &Runtime,
    later: bool,
    open: &Arc<AtomicUsize>,
) -> Vec<JoinHandle<String>> {
    let mut tasks = Vec::new();
    let start = if later { Start::All } else { Start::Live };
    for _ in (0..INSIDE).filter(|&number| comes_later(number) == later) {
        let options = SubscribeOptions {
            topics: vec!["t".into()],
            start: start.clone(),
            ..SubscribeOptions::default()
        };
        let subscription =
            hub.engine.subscribe(&hub.engine.watcher(), &options, hub.clock.now()).expect("subscribed");
        open.fetch_add(1, Ordering::Relaxed);
        tasks.push(runtime.spawn(read_inside(subscription)));
    }
    let streams: Vec<usize> = (0..HTTP2).filter(|&number| comes_later(number) == later).collect();
    for share in streams.chunks(MULTIPLEXED) {
        let connection = runtime.block_on(connect_http2(hub.addr));
        for _ in share {
            tasks.push(runtime.spawn(read_http2(connection.clone(), later, Arc::clone(open))));
        }
    }
    tasks
}

#[test]
fn every_reader_gets_every_event_once_in_one_order() {
    let hub = Hub::with(|engine, config| {
        engine.history.events = EVENTS as u32;
        engine.history.bytes = 64 << 20;
        config.max_connections_per_address = 0;
    });
    let runtime = Runtime::new().expect("a runtime");
    let open = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        let (hub, open) = (&hub, &open);
        let read = |later| {
            (0..HTTP1)
                .filter(|&number| comes_later(number) == later)
                .map(|_| scope.spawn(move || read_http1(hub, later, open)))
                .collect::<Vec<_>>()
        };
        let mut threads = read(false);
        let mut tasks = start_tasks(hub, &runtime, false, open);
        let early = threads.len() + tasks.len();
        wait_until("the first half reads", || open.load(Ordering::Relaxed) == early);
        let expected = publish(hub, || {
            threads.extend(read(true));
            tasks.extend(start_tasks(hub, &runtime, true, open));
        });
        assert_eq!(threads.len() + tasks.len(), HTTP1 + HTTP2 + INSIDE);
        wait_until("all of them read", || open.load(Ordering::Relaxed) == HTTP1 + HTTP2 + INSIDE);
        // Readers of a closed topic end behind its last event, so one too many would be seen as well.
        hub.close("t");
        let got = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        let ended = |task: JoinHandle<String>| {
            // One timer for each: those behind the first have had its time too.
            let end = runtime.block_on(async { timeout(WATCHDOG, task).await });
            end.expect("an end within the watchdog").expect("no panic")
        };
        let got: Vec<String> = got.chain(tasks.into_iter().map(ended)).collect();
        for (number, lines) in got.iter().enumerate() {
            for (at, (got, wanted)) in lines.lines().zip(expected.lines()).enumerate() {
                assert_eq!(got, wanted, "event {at} of reader {number}");
            }
            assert_eq!(lines.lines().count(), EVENTS, "reader {number}");
        }
    });
}
