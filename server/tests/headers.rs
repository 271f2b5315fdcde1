//! What a stream's answer looks like on the wire: headers, framing, first bytes, heartbeats, padding, `retry`, end.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fanfare_engine::wire::parse::Item;
use support::{Conn, Hub, Response, Stream};

/// Names and values, `date` taken out after a look at its form.
fn headers_of(head: &Response) -> Vec<(&str, &str)> {
    let date = head.header("date").expect("a date");
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
    let mut headers: Vec<(&str, &str)> =
        head.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    headers.retain(|&(name, _)| name != "date");
    headers.sort_unstable();
    headers
}

const EVERY_STREAM: [(&str, &str); 4] = [
    ("cache-control", "no-cache, no-store, no-transform"),
    ("content-type", "text/event-stream"),
    ("x-accel-buffering", "no"),
    ("x-content-type-options", "nosniff"),
];

fn expected(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut all = [&EVERY_STREAM[..], more].concat();
    all.sort_unstable();
    all
}

/// The comment and `retry` that open every stream, without any event.
fn opening<T: Read + Write>(stream: &mut Stream<T>) -> u64 {
    assert_eq!(stream.item(), Some(Item::Comment(String::new())));
    match stream.item() {
        Some(Item::Retry(ms)) => ms,
        other => panic!("{other:?}"),
    }
}

fn connect(hub: &Hub, request: &str) -> Conn {
    let mut conn = hub.connect();
    conn.send(request);
    conn
}

#[test]
fn a_stream_on_http_1_1_is_chunked() {
    let hub = Hub::start();
    let mut stream = connect(&hub, "GET /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n").into_stream();
    assert_eq!(
        headers_of(&stream.head),
        expected(&[("connection", "close"), ("transfer-encoding", "chunked")])
    );
    // Nothing was published: the first bytes come by themselves.
    let retry = opening(&mut stream);
    assert_eq!(stream.body, format!(":\nretry: {retry}\n").as_bytes(), "no blank line");
    hub.publish("t", "x");
    assert_eq!(stream.event().data, "x");
    hub.close("t");
    assert_eq!(stream.end(), (vec![], true));
}

#[test]
fn a_stream_on_http_1_0_ends_with_the_connection() {
    let hub = Hub::start();
    for request in [
        "GET /events/t HTTP/1.0\r\n\r\n",
        "GET /events/t HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
    ] {
        let mut stream = connect(&hub, request).into_stream();
        assert_eq!(headers_of(&stream.head), expected(&[("connection", "close")]), "{request}");
        opening(&mut stream);
        hub.publish("t", "x\ny");
        assert_eq!(stream.event().data, "x\ny");
        assert!(
            stream.body.ends_with(b"data: x\ndata: y\nid: test-1\n\n")
                || stream.body.ends_with(b"id: test-2\n\n")
        );
    }
    let stream = connect(&hub, "GET /events/t HTTP/1.0\r\n\r\n").into_stream();
    hub.close("t");
    assert_eq!(stream.end(), (vec![], true));
}

/// A certificate for localhost: the two files, and the client's trust in it.
struct Certificate {
    _dir: tempfile::TempDir,
    cert: PathBuf,
    key: PathBuf,
    client: Arc<rustls::ClientConfig>,
}

fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let dir = tempfile::tempdir().expect("a directory");
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Certificate { _dir: dir, cert, key, client: Arc::new(client) }
}

type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

fn connect_tls(hub: &Hub, certificate: &Certificate) -> Conn<Tls> {
    let plain = Conn::to(hub.server.tls_addrs()[0]).io;
    let name = "localhost".try_into().expect("a name");
    let session = rustls::ClientConnection::new(Arc::clone(&certificate.client), name).expect("a session");
    Conn::new(rustls::StreamOwned::new(session, plain))
}

#[test]
fn a_stream_over_tls_says_the_same() {
    let certificate = certificate();
    let hub = Hub::with(|_, config| {
        config.tls_listen = vec![([127, 0, 0, 1], 0).into()];
        config.tls_cert = Some(certificate.cert.clone());
        config.tls_key = Some(certificate.key.clone());
        config.heartbeat = Duration::from_millis(50);
    });
    let mut conn = connect_tls(&hub, &certificate);
    conn.send("GET /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut stream = conn.into_stream();
    let headers = headers_of(&stream.head);
    let framing = [("connection", "close"), ("transfer-encoding", "chunked")];
    assert_eq!(headers, expected(&framing));
    opening(&mut stream);
    hub.publish("t", "x");
    assert_eq!(stream.event().data, "x");
    assert_eq!(stream.item(), Some(Item::Comment(String::new())), "a heartbeat");
    // A large event comes whole, in whatever pieces.
    let large = "é".repeat(300_000);
    hub.publish("t", &large);
    assert_eq!(stream.event().data, large);
    hub.close("t");
    assert_eq!(stream.end(), (vec![], true));

    let mut conn = connect_tls(&hub, &certificate);
    conn.send("GET /events/old HTTP/1.0\r\n\r\n");
    let mut stream = conn.into_stream();
    assert_eq!(stream.head.header("transfer-encoding"), None);
    opening(&mut stream);
    hub.publish("old", "x");
    assert_eq!(stream.event().data, "x");
    let mut conn = connect_tls(&hub, &certificate);
    conn.send("POST /events/old HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\ny");
    assert_eq!(conn.response(false).expect("an answer").status, 200);
    assert_eq!(stream.event().data, "y");
}

#[test]
fn a_heartbeat_is_one_comment_line() {
    let hub = Hub::with(|_, config| config.heartbeat = Duration::from_millis(50));
    let mut conn = connect(&hub, "GET /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n");
    conn.head().expect("a head");
    while conn.buf.windows(7).filter(|bytes| bytes == b"2\r\n:\n\r\n").count() < 3 {
        assert!(conn.fill(), "the stream ended");
    }
    // Behind the opening's chunk there is nothing but heartbeats.
    let text = String::from_utf8(conn.buf.clone()).expect("text");
    let rest = text.split_once("\n\r\n").expect("the opening's chunk").1;
    assert_eq!(rest, "2\r\n:\n\r\n".repeat(rest.len() / 7), "{text:?}");

    let mut old = connect(&hub, "GET /events/t HTTP/1.0\r\n\r\n").into_stream();
    opening(&mut old);
    for _ in 0..3 {
        assert_eq!(old.item(), Some(Item::Comment(String::new())));
    }
    assert!(!old.body.windows(2).any(|two| two == b"\n\n"), "no blank line");
    hub.publish("t", "x");
    assert_eq!(old.event().data, "x");
}

#[test]
fn a_heartbeat_can_be_an_event_and_moves_no_id() {
    let hub = Hub::with(|_, config| {
        config.heartbeat = Duration::from_millis(50);
        config.heartbeat_event = true;
    });
    let mut stream = hub.stream("/events/t");
    let id = hub.publish("t", "x");
    assert_eq!(stream.event().data, "x");
    for _ in 0..3 {
        let beat = stream.event();
        assert_eq!((beat.event.as_str(), beat.data.as_str()), ("fanfare.heartbeat", "{}"));
        assert_eq!(beat.last_event_id, id);
    }
}

#[test]
fn padding_comes_first_and_only_once() {
    let hub = Hub::with(|_, config| config.padding = 2_048);
    let mut stream = hub.stream("/events/t");
    assert_eq!(stream.item(), Some(Item::Comment(String::new())));
    assert_eq!(stream.item(), Some(Item::Comment(" ".repeat(2_048))));
    assert!(matches!(stream.item(), Some(Item::Retry(_))));
    hub.publish("t", "x");
    assert_eq!(stream.item().map(|item| matches!(item, Item::Event(event) if event.data == "x")), Some(true));
}

#[test]
fn retry_differs_within_its_range() {
    let hub = Hub::with(|_, config| {
        config.retry = Duration::from_millis(500);
        config.retry_jitter = Duration::from_millis(1_000);
    });
    let times: Vec<u64> = (0..40).map(|_| opening(&mut hub.stream("/events/t"))).collect();
    assert!(times.iter().all(|ms| (500..=1_500).contains(ms)), "{times:?}");
    let mut distinct = times.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() > 20, "spread: {times:?}");
    let exact = Hub::with(|_, config| {
        config.retry = Duration::from_millis(700);
        config.retry_jitter = Duration::ZERO;
    });
    assert_eq!(opening(&mut exact.stream("/events/t")), 700);
}

#[test]
fn an_old_stream_ends_cleanly() {
    let hub = Hub::with(|_, config| config.stream_max_age = Duration::from_millis(300));
    let mut conn = connect(&hub, "GET /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n");
    conn.head().expect("a head");
    hub.publish("t", "x");
    let all = String::from_utf8(conn.rest()).expect("text");
    assert!(all.contains("data: x\n") && all.ends_with("\n\r\n0\r\n\r\n"), "{all:?}");
    let old = connect(&hub, "GET /events/t HTTP/1.0\r\n\r\n").into_stream();
    assert_eq!(old.end(), (vec![], true));
    assert_eq!(hub.engine.stats().lapped, 0);
    support::wait_until("both are gone", || hub.engine.stats().subscriptions == 0);
}

#[test]
fn a_reader_that_closes_is_forgotten() {
    let hub = Hub::start();
    let mut streams: Vec<Stream> = (0..20).map(|_| hub.stream("/events/t")).collect();
    for stream in &mut streams {
        opening(stream);
    }
    assert_eq!(hub.stat("/streams/open"), 20);
    streams.truncate(5);
    support::wait_until("15 are gone", || hub.stat("/streams/open") == 5);
    hub.publish("t", "x");
    for stream in &mut streams {
        assert_eq!(stream.event().data, "x");
    }
    streams.clear();
    support::wait_until("all are gone", || {
        hub.stat("/streams/open") == 0 && hub.stat("/connections/open") == 1
    });
}
