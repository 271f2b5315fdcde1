//! Sockets of a host's own server in the lanes: both kinds of head, both framings, and every way to end.

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use fanfare_engine::{Code, Start, SubscribeError, SubscribeOptions};
use fanfare_server::embed::{Adopted, EmbedError, Head};
use support::{Conn, Hub, Stream, WATCHDOG, wait_until};

const WRITE: Head<'static> = Head::Write { http10: false, headers: &[] };

/// Both ends of a connection: the client's, and what a host's server accepted.
fn pair() -> (Conn, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = Conn::to(listener.local_addr().expect("an address"));
    let (host, _) = listener.accept().expect("a connection");
    (client, host)
}

fn topic(name: &str) -> SubscribeOptions<'_> {
    SubscribeOptions { topics: vec![name.into()], ..SubscribeOptions::default() }
}

/// What a host wants to be run at the end.
type Ended = Box<dyn FnOnce(Option<Code>) + Send>;

/// What a host learns of the end: one message a call, then the end of the channel when the function is gone.
fn told() -> (Ended, Receiver<Option<Code>>) {
    let (send, receive) = channel();
    (Box::new(move |why| send.send(why).expect("the test waits")), receive)
}

#[track_caller]
fn was_told_once(ended: &Receiver<Option<Code>>, why: Option<Code>) {
    assert_eq!(ended.recv_timeout(WATCHDOG).expect("told of the end"), why);
    assert!(ended.recv_timeout(WATCHDOG).is_err(), "told again, or the function was kept");
}

/// A client's stream and the host's handle.
fn adopted(hub: &Hub, options: &SubscribeOptions<'_>, head: &Head<'_>) -> (Stream, Adopted) {
    let (client, host) = pair();
    let handle = hub.server.adopt(host, options, head, None).expect("adopted");
    (client.into_stream(), handle)
}

#[test]
fn the_lane_writes_the_head_with_the_hosts_headers() {
    let hub = Hub::start();
    for (http10, name) in [(false, "new"), (true, "old")] {
        let headers =
            [("access-control-allow-origin", "https://app.example"), ("Set-Cookie", "a=b; Path=/; X=\u{e4}")];
        let (mut stream, _handle) = adopted(&hub, &topic(name), &Head::Write { http10, headers: &headers });
        let head = stream.head.clone();
        assert_eq!(head.header("access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(head.header("set-cookie"), Some("a=b; Path=/; X=\u{e4}"));
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(head.header("transfer-encoding"), (!http10).then_some("chunked"));
        assert!(head.closes());
        hub.publish(name, "hello");
        assert_eq!(stream.event().data, "hello");
        assert!(stream.body.starts_with(b":\nretry: "), "the opening comes first");
        hub.close(name);
        assert_eq!(stream.end(), (vec![], true), "http10: {http10}");
    }
}

#[test]
fn the_host_may_have_sent_the_head() {
    let hub = Hub::start();
    for chunked in [true, false] {
        let (client, mut host) = pair();
        let framing = if chunked { "Transfer-Encoding: chunked\r\n" } else { "Connection: close\r\n" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}X-Own: 1\r\n\r\n");
        host.write_all(head.as_bytes()).expect("sent");
        let handle = hub.server.adopt(host, &topic("chat"), &Head::Sent { chunked }, None).expect("adopted");
        let mut stream = client.into_stream();
        hub.publish("chat", "hello");
        assert_eq!(stream.event().data, "hello");
        assert_eq!(stream.head.headers.len(), 3, "nothing is added to the host's head");
        assert!(stream.body.starts_with(b":\nretry: "));
        handle.end();
        handle.end();
        assert_eq!(stream.end(), (vec![], true), "chunked: {chunked}");
        handle.end();
    }
}

#[test]
fn it_resumes_and_is_told_of_a_gap() {
    let hub = Hub::with(|engine, _| engine.history.events = 3);
    let ids: Vec<String> = (0..5).map(|n| hub.publish("chat", &n.to_string())).collect();
    let after = |id: &str| SubscribeOptions { start: Start::After(id.to_owned().into()), ..topic("chat") };
    let (mut stream, _handle) = adopted(&hub, &after(&ids[2]), &WRITE);
    assert_eq!(stream.datas(2), ["3", "4"]);
    let (mut stream, _handle) = adopted(&hub, &after(&ids[0]), &WRITE);
    let gap = stream.event();
    assert_eq!(gap.event, "fanfare.gap");
    assert!(gap.data.contains(&ids[0]), "{}", gap.data);
    assert_eq!(stream.datas(3), ["2", "3", "4"]);
}

#[test]
fn own_events_are_left_out_and_types_chosen() {
    let hub = Hub::start();
    let options =
        SubscribeOptions { client: Some("me".into()), events: vec!["message".into()], ..topic("chat") };
    let (mut stream, _handle) = adopted(&hub, &options, &WRITE);
    assert_eq!(hub.post("/events/chat?except=me", "", "mine").status, 200);
    assert_eq!(hub.post("/events/chat?event=other", "", "typed").status, 200);
    hub.publish("chat", "theirs");
    assert_eq!(stream.event().data, "theirs");
}

#[test]
fn a_duplicate_in_the_host_does_not_keep_the_connection() {
    let hub = Hub::start();
    for chunked in [true, false] {
        let (client, host) = pair();
        let kept = host.try_clone().expect("a duplicate");
        let (ended, told) = told();
        let head = Head::Write { http10: !chunked, headers: &[] };
        let handle = hub.server.adopt(host, &topic("chat"), &head, Some(ended)).expect("adopted");
        let mut stream = client.into_stream();
        hub.publish("chat", "hello");
        assert_eq!(stream.event().data, "hello");
        handle.end();
        assert_eq!(stream.end(), (vec![], true), "chunked: {chunked}");
        was_told_once(&told, None);
        drop(kept);
    }
    assert_eq!(hub.stat("/streams/open"), 0);
}

#[test]
fn a_peer_that_goes_away_is_told_once() {
    let hub = Hub::start();
    for reset in [true, false] {
        let (client, host) = pair();
        let (ended, told) = told();
        let handle = hub.server.adopt(host, &topic("chat"), &WRITE, Some(ended)).expect("adopted");
        let mut stream = client.into_stream();
        hub.publish("chat", "hello");
        assert_eq!(stream.event().data, "hello");
        if reset {
            socket2::SockRef::from(&stream.conn.io).set_linger(Some(std::time::Duration::ZERO)).expect("set");
        }
        drop(stream);
        was_told_once(&told, None);
        handle.end();
        wait_until("nothing is left", || {
            hub.engine.stats().subscriptions == 0 && hub.stat("/streams/open") == 0
        });
    }
}

#[test]
fn a_function_that_panics_costs_nobody_else() {
    let hub = Hub::start();
    let (mut other, _handle) = adopted(&hub, &topic("chat"), &WRITE);
    for _ in 0..4 {
        let (client, host) = pair();
        let ended = Box::new(|_| panic!("the host's fault"));
        let handle = hub.server.adopt(host, &topic("chat"), &WRITE, Some(ended)).expect("adopted");
        handle.end();
        assert_eq!(client.into_stream().end(), (vec![], true));
    }
    wait_until("they are over", || hub.stat("/streams/open") == 1);
    hub.publish("chat", "still here");
    assert_eq!(other.event().data, "still here");
}

#[test]
fn unix_domain_sockets_are_taken() {
    let hub = Hub::start();
    let (client, host) = UnixStream::pair().expect("a pair");
    client.set_read_timeout(Some(WATCHDOG)).expect("a watchdog");
    let host = TcpStream::from(OwnedFd::from(host));
    let (ended, told) = told();
    let handle = hub.server.adopt(host, &topic("chat"), &WRITE, Some(ended)).expect("adopted");
    let mut stream = Conn::new(client).into_stream();
    hub.publish("chat", "hello");
    assert_eq!(stream.event().data, "hello");
    handle.end();
    assert_eq!(stream.end(), (vec![], true));
    was_told_once(&told, None);
}

/// Adopts what cannot be; the error's text. The function for the end must be dropped without a call.
#[track_caller]
fn refused(
    hub: &Hub,
    socket: impl Into<OwnedFd>,
    options: &SubscribeOptions<'_>,
    head: &Head<'_>,
) -> EmbedError {
    let (ended, told) = told();
    let socket = TcpStream::from(socket.into());
    let error = hub.server.adopt(socket, options, head, Some(ended)).expect_err("refused");
    assert!(told.recv_timeout(WATCHDOG).is_err(), "called, or kept");
    assert_eq!(hub.engine.stats().subscriptions, 0);
    assert_eq!(hub.stat("/streams/open"), 0);
    error
}

#[test]
fn what_is_no_connection_is_refused() {
    let hub = Hub::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    udp.connect(address).expect("connected");
    let fresh = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let file = tempfile::tempfile().expect("a file");
    let sockets: [(OwnedFd, &str); 4] = [
        (listener.into(), "listens"),
        (udp.into(), "not a stream socket"),
        (fresh.into(), "not connected"),
        (file.into(), "not a socket"),
    ];
    for (socket, why) in sockets {
        let error = refused(&hub, socket, &topic("chat"), &WRITE);
        assert!(matches!(error, EmbedError::Socket(_)), "{error:?}");
        assert_eq!(error.code(), Code::Unsupported);
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn nothing_is_written_and_nothing_changed_on_an_error() {
    let hub = Hub::start();
    hub.publish("closed", "x");
    hub.close("closed");
    let live = |name: &'static str| topic(name);
    let cases = [
        (SubscribeOptions::default(), SubscribeError::NoTopics.code()),
        (live(""), Code::InvalidTopic),
        (live("a\nb"), Code::InvalidTopic),
        (live("closed"), Code::TopicClosed),
        (SubscribeOptions { client: Some("a\0".into()), ..live("chat") }, Code::InvalidClient),
        (SubscribeOptions { events: vec!["a\r".into()], ..live("chat") }, Code::InvalidEvent),
        (SubscribeOptions { start: Start::After("".into()), ..live("chat") }, Code::InvalidId),
    ];
    for (options, code) in cases {
        let (mut client, host) = pair();
        let kept = host.try_clone().expect("a duplicate");
        let error = refused(&hub, host, &options, &WRITE);
        assert_eq!(error.code(), code, "{error}");
        // The host answers by itself then, blocking as before.
        (&kept).write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").expect("sent");
        assert_eq!(client.response(false).expect("the host's answer").status, 400);
    }
}

#[test]
fn headers_cannot_be_smuggled_in() {
    let hub = Hub::start();
    for (name, value) in [
        ("", "x"),
        ("a b", "x"),
        ("a:", "x"),
        ("a\r\nb", "x"),
        ("ä", "x"),
        ("x", "a\r\nSet-Cookie: b"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\0b"),
        ("x", "\u{7f}"),
        ("Content-Type", "text/html"),
        ("CACHE-CONTROL", "public"),
        ("x-accel-buffering", "yes"),
        ("Content-Length", "5"),
        ("content-encoding", "gzip"),
        ("Transfer-Encoding", "identity"),
        ("Connection", "keep-alive"),
        ("Keep-Alive", "5"),
        ("Upgrade", "websocket"),
        ("Trailer", "x"),
        ("TE", "trailers"),
        ("Date", "now"),
        ("X-Content-Type-Options", "none"),
    ] {
        let (mut client, host) = pair();
        let headers = [("x-fine", "yes"), (name, value)];
        let error = refused(&hub, host, &topic("chat"), &Head::Write { http10: false, headers: &headers });
        assert_eq!(error.code(), Code::InvalidParameter);
        assert!(matches!(&error, EmbedError::Header { name: named, .. } if named == name), "{error}");
        assert_eq!(client.rest(), b"", "{name:?}: {value:?}");
    }
}

#[test]
fn two_hundred_at_once() {
    let hub = Hub::start();
    let over = Arc::new(AtomicUsize::new(0));
    let mut streams: Vec<Stream> = std::thread::scope(|scope| {
        let adopt = |_| {
            let (hub, over) = (&hub, Arc::clone(&over));
            scope.spawn(move || {
                let (client, host) = pair();
                let ended = Box::new(move |_| {
                    over.fetch_add(1, Ordering::Relaxed);
                });
                hub.server.adopt(host, &topic("chat"), &WRITE, Some(ended)).expect("adopted");
                client.into_stream()
            })
        };
        let threads: Vec<_> = (0..200).map(adopt).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(hub.stat("/streams/open"), 200);
    let datas: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    datas.iter().for_each(|data| drop(hub.publish("chat", data)));
    for stream in &mut streams {
        assert_eq!(stream.datas(20), datas);
    }
    assert_eq!(over.load(Ordering::Relaxed), 0);
    assert_eq!(hub.server.stop(WATCHDOG).streams, 200);
    assert_eq!(over.load(Ordering::Relaxed), 200, "all told when the stop returns");
    for stream in streams {
        assert_eq!(stream.end(), (vec![], true));
    }
    let (_client, host) = pair();
    let error = hub.server.adopt(host, &topic("chat"), &WRITE, None).expect_err("it has stopped");
    assert_eq!(error.code(), Code::Stopping);
}

#[test]
fn the_host_is_told_why() {
    // Live with its group when the topic ends.
    let hub = Hub::with(|engine, _| engine.history.events = 4);
    let (client, host) = pair();
    let (ended, told) = told();
    let _handle = hub.server.adopt(host, &topic("chat"), &WRITE, Some(ended)).expect("adopted");
    let mut stream = client.into_stream();
    hub.publish("chat", "hello");
    assert_eq!(stream.event().data, "hello");
    hub.close("chat");
    assert_eq!(stream.end(), (vec![], true));
    was_told_once(&told, Some(Code::TopicClosed));

    // Behind, on a cursor of its own, in the middle of an event that history has let go.
    let (client, host) = pair();
    let (ended, told) = self::told();
    let _handle = hub.server.adopt(host, &topic("news"), &WRITE, Some(ended)).expect("adopted");
    let mut stream = client.into_stream();
    hub.publish("news", "hello");
    assert_eq!(stream.event().data, "hello");
    let data = "x".repeat(500_000);
    for _ in 0..40 {
        hub.publish("news", &data);
    }
    while stream.more() {}
    was_told_once(&told, Some(Code::Lapped));
}

#[test]
fn a_stop_cuts_one_that_takes_nothing() {
    let hub = Hub::with(|engine, _| engine.history.bytes = 64 << 20);
    let (client, host) = pair();
    let kept = host.try_clone().expect("a duplicate");
    let (ended, told) = told();
    let _handle = hub.server.adopt(host, &topic("chat"), &WRITE, Some(ended)).expect("adopted");
    let data = "x".repeat(500_000);
    for _ in 0..40 {
        hub.publish("chat", &data);
    }
    let report = hub.server.stop(std::time::Duration::from_millis(200));
    assert_eq!((report.streams, report.cut), (1, 1));
    was_told_once(&told, None);
    // The connection has ended although the host holds a duplicate: reading comes to an end, in the middle of the stream.
    let (datas, clean) = client.into_stream().end();
    assert!(datas.len() < 40 && !clean);
    drop(kept);
}

#[test]
fn an_end_asked_for_at_once_comes_after_the_head() {
    let hub = Hub::start();
    for _ in 0..100 {
        let (client, host) = pair();
        let (ended, told) = told();
        let handle = hub.server.adopt(host, &topic("chat"), &WRITE, Some(ended)).expect("adopted");
        handle.end();
        drop(handle);
        assert_eq!(client.into_stream().end(), (vec![], true));
        told.recv_timeout(WATCHDOG).expect("told of the end");
    }
}
