//! Streams whose bytes the host writes: polled by hand, on any thread, also after the server has gone.

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use fanfare_engine::wire::parse::{Item, Parser};
use fanfare_engine::{Code, Start, SubscribeOptions};
use fanfare_server::embed::HostStream;
use support::{Hub, WATCHDOG, wait_until};

/// A host's writer: one stream, woken through a channel, without any runtime.
struct Writer {
    stream: HostStream,
    waker: Waker,
    woken: Receiver<()>,
    /// All bytes so far.
    body: Vec<u8>,
    parser: Parser,
    datas: Vec<String>,
    chunks: Vec<usize>,
}

struct Bell(Mutex<Sender<()>>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let _ = self.0.lock().expect("not poisoned").send(());
    }
}

impl Writer {
    fn open(hub: &Hub, options: &SubscribeOptions<'_>) -> Writer {
        Writer::of(hub.server.open_stream(options).expect("opened"))
    }

    fn of(stream: HostStream) -> Writer {
        let (send, woken) = channel();
        let waker = Waker::from(Arc::new(Bell(Mutex::new(send))));
        let (body, datas, chunks) = (Vec::new(), Vec::new(), Vec::new());
        Writer { stream, waker, woken, body, parser: Parser::new(), datas, chunks }
    }

    fn poll(&mut self) -> Poll<Option<usize>> {
        self.stream.poll_bytes(&mut Context::from_waker(&self.waker)).map(|bytes| {
            let bytes = bytes?;
            self.body.extend_from_slice(&bytes);
            self.chunks.push(bytes.len());
            let events = self.parser.feed(&bytes).filter_map(|item| match item {
                Item::Event(event) => Some(event.data),
                _ => None,
            });
            self.datas.extend(events);
            Some(bytes.len())
        })
    }

    /// Polls when woken, as a host does. False at the end.
    fn next(&mut self) -> bool {
        loop {
            match self.poll() {
                Poll::Ready(bytes) => return bytes.is_some(),
                Poll::Pending => self.woken.recv_timeout(WATCHDOG).expect("woken in time"),
            }
        }
    }

    fn read_until(&mut self, count: usize) {
        while self.datas.len() < count {
            assert!(self.next(), "the stream ended");
        }
    }

    fn finish(&mut self) {
        while self.next() {}
        assert_eq!(self.poll(), Poll::Ready(None), "an end is for good");
        assert!(self.body.ends_with(b"\n"), "between two events");
    }
}

fn topic(name: &str) -> SubscribeOptions<'_> {
    SubscribeOptions { topics: vec![name.into()], ..SubscribeOptions::default() }
}

#[test]
fn bytes_are_those_of_every_stream() {
    let hub = Hub::start();
    let mut other = hub.stream("/events/chat");
    let mut host = Writer::open(&hub, &topic("chat"));
    assert!(host.next());
    assert!(host.body.starts_with(b":\nretry: "), "the opening comes at once");
    assert_eq!(host.poll(), Poll::Pending);
    let large = "x".repeat(100_000);
    for data in ["one", &large, "two\nlines"] {
        hub.publish("chat", data);
    }
    host.read_until(3);
    other.datas(3);
    // `retry` differs from stream to stream.
    let events = |body: &[u8]| {
        let text = String::from_utf8(body.to_vec()).expect("UTF-8");
        text.splitn(3, '\n').nth(2).expect("behind the opening").to_owned()
    };
    assert_eq!(events(&host.body), events(&other.body));
    assert!(host.chunks.iter().all(|&length| length <= 16 * 1024), "{:?}", host.chunks);
    assert_eq!((hub.stat("/streams/host"), hub.stat("/streams/open")), (1, 2));
    hub.close("chat");
    host.finish();
    assert_eq!(hub.stat("/streams/host"), 0, "an end frees the stream, also while the host holds it");
}

#[test]
fn it_resumes_is_told_of_a_gap_and_leaves_out_its_own() {
    let hub = Hub::with(|engine, _| engine.history.events = 3);
    let ids: Vec<String> = (0..5).map(|n| hub.publish("chat", &n.to_string())).collect();
    let from = |id: &str| SubscribeOptions {
        start: Start::After(id.to_owned().into()),
        client: Some("me".into()),
        ..topic("chat")
    };
    let mut host = Writer::open(&hub, &from(&ids[2]));
    host.read_until(2);
    assert_eq!(host.datas, ["3", "4"]);
    assert_eq!(hub.post("/events/chat?except=me", "", "mine").status, 200);
    hub.publish("chat", "theirs");
    host.read_until(3);
    assert_eq!(host.datas[2], "theirs");
    let mut late = Writer::open(&hub, &from(&ids[0]));
    late.read_until(1);
    assert!(late.datas[0].contains(&ids[0]), "a gap notice: {}", late.datas[0]);
}

#[test]
fn silent_streams_get_heartbeats_and_old_ones_end() {
    let hub = Hub::with(|_, config| {
        config.heartbeat = Duration::from_millis(20);
        config.stream_max_age = Duration::from_millis(300);
    });
    let mut host = Writer::open(&hub, &topic("chat"));
    assert!(host.next());
    let opening = host.body.len();
    assert!(host.next() && host.next());
    assert_eq!(&host.body[opening..], b":\n:\n");
    host.finish();
    let hub = Hub::with(|_, config| {
        config.heartbeat = Duration::from_millis(20);
        config.heartbeat_event = true;
    });
    let mut host = Writer::open(&hub, &topic("chat"));
    host.read_until(1);
    assert!(host.body.ends_with(b"event: fanfare.heartbeat\ndata: {}\n\n"));
}

#[test]
fn what_cannot_be_read_is_refused() {
    let hub = Hub::start();
    hub.publish("closed", "x");
    hub.close("closed");
    for (options, code) in [
        (SubscribeOptions::default(), Code::InvalidTopic),
        (topic("\n"), Code::InvalidTopic),
        (topic("closed"), Code::TopicClosed),
        (SubscribeOptions { client: Some("".into()), ..topic("chat") }, Code::InvalidClient),
    ] {
        let error = hub.server.open_stream(&options).expect_err("refused");
        assert_eq!(error.code(), code, "{error}");
    }
    assert_eq!(hub.stat("/streams/host"), 0);
}

#[test]
fn a_host_that_does_not_poll_holds_up_nobody() {
    let hub = Hub::with(|engine, _| engine.history.events = 100);
    let mut stuck = Writer::open(&hub, &topic("chat"));
    let mut good = Writer::open(&hub, &topic("chat"));
    assert!(stuck.next());
    for n in 0..1_000 {
        hub.publish("chat", &n.to_string());
        good.read_until(n + 1);
    }
    // It was overtaken by history: the default is to end it, and its reader resumes.
    stuck.finish();
    assert_eq!(stuck.datas.len(), 0);
}

#[test]
fn a_stop_ends_them_and_none_ever_panics() {
    let hub = Hub::with(|_, config| config.heartbeat = Duration::from_millis(10));
    let mut waiting: Vec<Writer> = (0..20).map(|_| Writer::open(&hub, &topic("chat"))).collect();
    let mut unread = Writer::open(&hub, &topic("chat"));
    hub.publish("chat", "before");
    std::thread::scope(|scope| {
        for host in &mut waiting {
            host.read_until(1);
            scope.spawn(|| host.finish());
        }
        let report = hub.server.stop(Duration::from_secs(2));
        assert_eq!((report.streams, report.cut), (21, 0));
    });
    unread.finish();
    let error = hub.server.open_stream(&topic("chat")).expect_err("it has stopped");
    assert_eq!(error.code(), Code::Stopping);
    // History lives on in the engine; the streams do not.
    hub.publish("chat", "after");
    for host in &mut waiting {
        assert_eq!(host.poll(), Poll::Ready(None));
        assert_eq!(host.datas, ["before"]);
    }
    drop((waiting, unread));
    assert_eq!(hub.engine.stats().subscriptions, 0);
}

#[test]
fn threads_and_runtimes_do_not_matter() {
    let hub = Hub::start();
    let writers: Vec<Writer> = (0..50).map(|_| Writer::open(&hub, &topic("chat"))).collect();
    std::thread::scope(|scope| {
        let read = |mut host: Writer| {
            // Each half on a thread of its own: with the first thread gone, the second has another waker and goes on.
            scope.spawn(move || {
                host.read_until(100);
                host
            })
        };
        let first: Vec<_> = writers.into_iter().map(read).collect();
        for n in 0..100 {
            hub.publish("chat", &n.to_string());
        }
        let half: Vec<Writer> = first.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let moved = half.into_iter().map(|host| {
            let datas = host.datas.len();
            (datas, Writer::of(host.stream))
        });
        let second: Vec<_> = moved
            .map(|(before, mut host)| {
                scope.spawn(move || {
                    host.read_until(100);
                    let all: Vec<String> = (100..200).map(|n| n.to_string()).collect();
                    assert_eq!((before, host.datas), (100, all));
                })
            })
            .collect();
        for n in 100..200 {
            hub.publish("chat", &n.to_string());
        }
        second.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
    wait_until("all are freed", || hub.engine.stats().subscriptions == 0);
}
