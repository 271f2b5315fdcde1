//! HTTP/2, in clear with prior knowledge and over TLS by ALPN: the same streams and answers, and what one stream can do to the others.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_engine::wire::parse::{Item, Parser};
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request};
use rustls::pki_types::{CertificateDer, ServerName};
use support::{Hub, WATCHDOG, wait_until};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// One HTTP/2 connection.
struct Client {
    send: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn plain(hub: &Hub) -> Client {
        Client::over(TcpStream::connect(hub.addr).await.expect("a connection")).await
    }

    async fn over<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: T) -> Client {
        // A large window for the connection, so that only the windows of streams hold anything up.
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(1 << 30);
        let (send, connection) = builder.handshake(io).await.expect("a handshake");
        let driver = tokio::spawn(connection);
        Client { send, driver }
    }

    async fn ask(
        &self,
        method: &str,
        target: &str,
        body: Option<&'static str>,
    ) -> (u16, HeaderMap, RecvStream) {
        let request = Request::builder().method(method).uri(format!("http://localhost{target}")).body(());
        let mut send = self.send.clone().ready().await.expect("room for a stream");
        let (response, mut sent) =
            send.send_request(request.expect("a request"), body.is_none()).expect("sent");
        if let Some(body) = body {
            sent.send_data(Bytes::from_static(body.as_bytes()), true).expect("sent");
        }
        let response = timeout(WATCHDOG, response).await.expect("in time").expect("an answer");
        let (parts, body) = response.into_parts();
        (parts.status.as_u16(), parts.headers, body)
    }

    async fn stream(&self, target: &str) -> Stream {
        let (status, headers, body) = self.ask("GET", target, None).await;
        assert_eq!(status, 200);
        assert_eq!(headers["content-type"], "text/event-stream");
        assert_eq!(headers["cache-control"], "no-cache, no-store, no-transform");
        assert_eq!(headers["x-accel-buffering"], "no");
        for absent in ["content-length", "transfer-encoding", "connection"] {
            assert!(!headers.contains_key(absent), "{absent}");
        }
        Stream { body, parser: Parser::new(), datas: Vec::new(), raw: Vec::new() }
    }
}

/// An open stream that gives its window back as it reads.
struct Stream {
    body: RecvStream,
    parser: Parser,
    datas: Vec<String>,
    raw: Vec<u8>,
}

impl Stream {
    /// False at the end.
    async fn more(&mut self) -> Result<bool, h2::Error> {
        let Some(bytes) = timeout(WATCHDOG, self.body.data()).await.expect("in time") else {
            return Ok(false);
        };
        let bytes = bytes?;
        self.body.flow_control().release_capacity(bytes.len())?;
        self.raw.extend_from_slice(&bytes);
        self.datas.extend(self.parser.feed(&bytes).filter_map(|item| match item {
            Item::Event(event) => Some(event.data),
            _ => None,
        }));
        Ok(true)
    }

    async fn take(&mut self, count: usize) -> Vec<String> {
        while self.datas.len() < count {
            assert!(self.more().await.expect("no reset"), "the stream ended");
        }
        self.datas.drain(..count).collect()
    }
}

async fn all(mut body: RecvStream) -> String {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        bytes.extend_from_slice(&piece.expect("no reset"));
    }
    String::from_utf8(bytes).expect("text")
}

fn streams(hub: &Hub) -> u64 {
    hub.stat("/streams/h2")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_in_order_and_a_reset_unsubscribes() {
    let hub = Hub::start();
    let client = Client::plain(&hub).await;
    let mut first = client.stream("/events/t").await;
    let mut second = client.stream("/events?topic=t&topic=u&replay=all").await;
    let big = "x".repeat(1 << 20);
    let mut sent: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    sent.insert(500, big);
    sent.iter().for_each(|data| drop(hub.publish("t", data)));
    assert!(first.take(sent.len()).await == sent);
    assert!(second.take(sent.len()).await == sent);
    assert!(first.raw.starts_with(b":\nretry: "), "a comment at once, and no blank line behind it");

    assert_eq!(streams(&hub), 2);
    drop(first);
    wait_until("the reset stream is gone", || streams(&hub) == 1);
    hub.publish("u", "last");
    hub.close("t");
    hub.close("u");
    assert_eq!(second.take(1).await, ["last"]);
    // Closed topics end the stream, cleanly and with nothing more to say.
    while second.more().await.expect("a clean end") {}
    assert!(second.datas.is_empty());
    let (status, _, _) = client.ask("GET", "/events/t", None).await;
    assert_eq!(status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_errors_and_head() {
    let hub = Hub::start();
    let client = Client::plain(&hub).await;
    let (status, _, body) = client.ask("POST", "/events/t?id=mine", Some("hello")).await;
    assert_eq!((status, all(body).await.trim_end()), (200, "{\"id\":\"mine\"}"));
    for (method, target, status, code) in [
        ("GET", "/events/t?nope=1", 400, "unknown_parameter"),
        ("PUT", "/events/t", 405, "method_not_allowed"),
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/events/t?id=%0A", 400, "invalid_id"),
    ] {
        let (got, headers, body) = client.ask(method, target, None).await;
        assert_eq!(got, status, "{method} {target}");
        assert!(!headers.contains_key("connection"));
        assert!(all(body).await.contains(code), "{method} {target}");
    }
    for target in ["/stats", "/events/t"] {
        let (status, _, body) = client.ask("HEAD", target, None).await;
        assert_eq!((status, all(body).await.as_str()), (200, ""), "{target}");
    }
    assert_eq!(hub.published(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_keeps_its_connection_and_an_idle_one_is_told_goodbye() {
    let hub = Hub::with(|_, config| config.idle_timeout = Duration::from_millis(200));
    let client = Client::plain(&hub).await;
    let mut stream = client.stream("/events/t").await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    hub.publish("t", "still here");
    assert_eq!(stream.take(1).await, ["still here"]);
    drop(stream);
    // GOAWAY without an error, not a cut.
    let end = timeout(WATCHDOG, client.driver).await.expect("in time").expect("no panic");
    assert!(end.is_ok(), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_a_comment_line_alone() {
    let hub = Hub::with(|_, config| config.heartbeat = Duration::from_millis(50));
    let client = Client::plain(&hub).await;
    let mut stream = client.stream("/events/t").await;
    while stream.raw.iter().filter(|&&b| b == b':').count() < 5 {
        assert!(stream.more().await.expect("no reset"));
    }
    assert!(!stream.raw.windows(2).any(|two| two == b"\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_stalled_streams_hold_up_nobody_and_end_by_their_deadline() {
    const STALLED: usize = 200;
    const EVENTS: usize = 64;
    let hub = Hub::with(|engine, config| {
        config.max_h2_streams = STALLED as u32 + 1;
        config.write_timeout = Duration::from_secs(2);
        engine.history.bytes = 1 << 20;
    });
    let client = Client::plain(&hub).await;
    let mut live = client.stream("/events/t").await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(client.stream("/events/t").await);
    }
    assert_eq!(streams(&hub), STALLED as u64 + 1);
    let data = "x".repeat(16 * 1024);
    for n in 0..EVENTS {
        hub.publish("t", &format!("{n} {data}"));
        let got = live.take(1).await;
        assert!(got[0].starts_with(&format!("{n} ")), "event {n}");
    }
    wait_until("the stalled ones are gone", || streams(&hub) == 1);
    hub.publish("t", "after");
    assert_eq!(live.take(1).await, ["after"]);
    for mut stream in stalled {
        // What its window took, then a reset.
        let end = loop {
            match stream.body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error.reason(),
                None => panic!("a stalled stream ended as if it were whole"),
            }
        };
        assert!(matches!(end, Some(Reason::CANCEL | Reason::INTERNAL_ERROR)), "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_more_than_the_limit_waits_for_its_turn() {
    let hub = Hub::with(|_, config| config.max_h2_streams = 2);
    let client = Client::plain(&hub).await;
    let first = client.stream("/events/t").await;
    let _second = client.stream("/events/t").await;
    // The client library keeps to the announced limit: the third request starts when a stream has ended.
    let third = client.ask("GET", "/healthz", None);
    tokio::pin!(third);
    assert!(timeout(Duration::from_millis(200), &mut third).await.is_err());
    drop(first);
    assert_eq!(third.await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_streams_cleanly() {
    let hub = Hub::start();
    let client = Client::plain(&hub).await;
    let mut stream = client.stream("/events/t").await;
    hub.publish("t", "before");
    assert_eq!(stream.take(1).await, ["before"]);
    let stop = tokio::task::spawn_blocking(move || hub.server.stop(WATCHDOG));
    while stream.more().await.expect("a clean end, not a reset") {}
    let report = timeout(WATCHDOG * 2, stop).await.expect("in time").expect("no panic");
    assert_eq!((report.streams, report.cut), (1, 0));
}

struct Tls {
    hub: Hub,
    addr: SocketAddr,
    cert: CertificateDer<'static>,
}

fn start_tls(folder: &Path) -> Tls {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(&cert, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let hub = Hub::with(|_, config| {
        config.tls_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.tls_cert = Some(cert);
        config.tls_key = Some(key);
        config.heartbeat = Duration::from_millis(100);
    });
    let addr = hub.server.tls_addrs()[0];
    Tls { hub, addr, cert: made.cert.der().clone() }
}

impl Tls {
    async fn connect(&self, alpn: &[&str]) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.cert.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let mut config = builder
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = TcpStream::connect(self.addr).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("a handshake")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_speaks_http2_where_the_client_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let tls = start_tls(folder.path());
    let io = tls.connect(&["h2", "http/1.1"]).await;
    assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let client = Client::over(io).await;
    let mut stream = client.stream("/events/t").await;
    tls.hub.publish("t", "over TLS");
    assert_eq!(stream.take(1).await, ["over TLS"]);
    assert_eq!(streams(&tls.hub), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_speaks_http1_to_the_others_with_chunks() {
    let folder = tempfile::tempdir().expect("a folder");
    let tls = start_tls(folder.path());
    for alpn in [&["http/1.1"][..], &[]] {
        let mut io = tls.connect(alpn).await;
        io.write_all(b"GET /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
        wait_until("the stream is open", || tls.hub.stat("/streams/h1") == 1);
        tls.hub.publish("t", "over TLS");
        let mut got = Vec::new();
        let seen = |got: &[u8]| {
            let text = String::from_utf8_lossy(got).into_owned();
            text.contains("data: over TLS\n")
                && text.contains("\r\n2\r\n:\n\r\n")
                && text.contains("transfer-encoding: chunked\r\n")
        };
        while !seen(&got) {
            let mut piece = [0u8; 4096];
            let n = timeout(WATCHDOG, io.read(&mut piece)).await.expect("in time").expect("no cut");
            assert!(n > 0, "{}", support::shown(&got));
            got.extend_from_slice(&piece[..n]);
        }
        drop(io);
        wait_until("the stream is gone", || tls.hub.stat("/streams/h1") == 0);
    }
}
