//! Ending every stream of one client: each kind of stream, at once where it is blocked, and nobody else's.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fanfare_engine::SubscribeOptions;
use fanfare_server::embed::Head;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use support::{Conn, Hub, WATCHDOG, wait_until};

const TARGET: &str = "/events/chat?client=eve";

fn eve() -> SubscribeOptions<'static> {
    SubscribeOptions {
        topics: vec!["chat".into()],
        client: Some("eve".into()),
        ..SubscribeOptions::default()
    }
}

/// A hub with TLS as well, and what its clients trust.
fn with_tls() -> (Hub, Arc<rustls::ClientConfig>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let hub = Hub::with(|engine, config| {
        engine.history.bytes = 64 << 20;
        config.tls_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.tls_cert = Some(cert.clone());
        config.tls_key = Some(key);
        // Far longer than the watchdog: only the revocation ends a stream here.
        config.write_timeout = Duration::from_secs(300);
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&cert).expect("readable")).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (hub, Arc::new(client), folder)
}

fn tls_conn(hub: &Hub, config: &Arc<rustls::ClientConfig>) -> Conn<impl Read + Write + use<>> {
    let name = ServerName::try_from("localhost").expect("a name");
    let session = rustls::ClientConnection::new(Arc::clone(config), name).expect("a session");
    let socket = Conn::to(hub.server.tls_addrs()[0]).io;
    let mut conn = Conn::new(rustls::StreamOwned::new(session, socket));
    conn.send(format!("GET {TARGET} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    conn
}

#[test]
fn every_kind_ends_between_two_events_and_others_go_on() {
    let (hub, tls, _folder) = with_tls();
    let mut lane = hub.stream(TARGET);
    let mut sealed = tls_conn(&hub, &tls).into_stream();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = Conn::to(listener.local_addr().expect("an address"));
    let (host, _) = listener.accept().expect("a connection");
    let head = Head::Write { http10: false, headers: &[] };
    hub.server.adopt(host, &eve(), &head, None).expect("adopted");
    let mut adopted = client.into_stream();
    let mut written = hub.server.open_stream(&eve()).expect("opened");
    let mut others = [
        hub.stream("/events/chat"),
        hub.stream("/events/chat?client=Eve"),
        hub.stream("/events/chat?client=eve2"),
    ];

    hub.publish("chat", "hello");
    assert_eq!(lane.event().data, "hello");
    assert_eq!(sealed.event().data, "hello");
    assert_eq!(adopted.event().data, "hello");
    let mut cx = Context::from_waker(Waker::noop());
    assert!(written.poll_bytes(&mut cx).is_ready() && written.poll_bytes(&mut cx).is_ready());
    assert!(written.poll_bytes(&mut cx).is_pending());

    hub.server.revoke("nobody").expect("a name");
    assert!(hub.server.revoke("").is_err() && hub.server.revoke("a\n").is_err());
    assert!(written.poll_bytes(&mut cx).is_pending());
    hub.server.revoke("eve").expect("a name");
    assert_eq!(lane.end(), (vec![], true));
    assert_eq!(adopted.end(), (vec![], true));
    assert_eq!(sealed.next_event(), None);
    assert_eq!(written.poll_bytes(&mut cx), Poll::Ready(None));
    hub.publish("chat", "after");
    for other in &mut others {
        assert_eq!(other.datas(2), ["hello", "after"]);
    }
    // Whether it may come back is not decided here.
    let mut again = hub.stream(TARGET);
    hub.publish("chat", "again");
    assert_eq!(again.event().data, "again");
}

#[test]
fn one_that_takes_nothing_is_cut() {
    let (hub, tls, _folder) = with_tls();
    let lane = hub.stream(TARGET);
    let sealed = tls_conn(&hub, &tls).into_stream();
    let data = "x".repeat(500_000);
    for _ in 0..60 {
        hub.publish("chat", &data);
    }
    // Both sockets are full once no more bytes leave.
    let mut before = 0;
    wait_until("both are blocked", || {
        let now = hub.stat("/deliveries/bytes");
        let still = now == std::mem::replace(&mut before, now) && now > 0;
        std::thread::sleep(Duration::from_millis(50));
        still
    });
    assert_eq!(hub.stat("/streams/open"), 2);
    hub.server.revoke("eve").expect("a name");
    wait_until("both are gone although nobody reads", || hub.stat("/streams/open") == 0);
    assert_eq!(hub.stat("/deliveries/lapped"), 0);
    drop((lane, sealed));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_it_ends_or_is_reset() {
    let hub = Hub::with(|engine, config| {
        engine.history.bytes = 64 << 20;
        config.write_timeout = Duration::from_secs(300);
    });
    let socket = tokio::net::TcpStream::connect(hub.addr).await.expect("a connection");
    // A large window for the connection, so that the one that does not read holds up itself alone.
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1 << 30);
    let (send, connection) = builder.handshake::<_, bytes::Bytes>(socket).await.expect("a handshake");
    let driver = tokio::spawn(connection);
    let mut send = send.ready().await.expect("ready");
    let mut open = async || {
        let uri = format!("http://{}{TARGET}", hub.addr);
        let request = http::Request::get(uri).body(()).expect("a request");
        let (answer, _) = send.send_request(request, true).expect("sent");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.into_body()
    };
    let (mut reads, stuck) = (open().await, open().await);
    let (tell, has_read) = std::sync::mpsc::channel();
    let end = async {
        let mut read = 0;
        while let Some(bytes) = reads.data().await {
            let bytes = bytes.expect("no reset");
            reads.flow_control().release_capacity(bytes.len()).expect("released");
            read += bytes.len();
            if read > 1_000_000 {
                let _ = tell.send(());
            }
        }
    };
    // More than the window and hyper's buffer of the one that does not read.
    let data = "x".repeat(10_000);
    for _ in 0..100 {
        hub.publish("chat", &data);
    }
    let wait = async {
        tokio::task::spawn_blocking(move || {
            has_read.recv_timeout(WATCHDOG).expect("one has read everything");
            assert_eq!(hub.stat("/streams/h2"), 2);
            hub.server.revoke("eve").expect("a name");
            wait_until("both are gone although one is not read", || hub.stat("/streams/h2") == 0);
            hub
        })
        .await
        .expect("no panic")
    };
    let ((), hub) =
        tokio::time::timeout(WATCHDOG * 3, async { tokio::join!(end, wait) }).await.expect("in time");
    assert_eq!(hub.engine.stats().subscriptions, 0);
    drop((stuck, driver, send));
}
