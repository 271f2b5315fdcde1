//! A build without HTTP/2: who speaks it is told so, over TLS it is not offered, and HTTP/1.1 is as ever. With the feature there is nothing here.
#![cfg(not(feature = "http2"))]

mod support;

use std::sync::Arc;

use support::{Conn, Hub};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[test]
fn prior_knowledge_is_answered_with_a_505_in_http_1() {
    let hub = Hub::start();
    // A client's first flight: preface, SETTINGS, and HEADERS that nobody reads.
    let frames = b"\0\0\0\x04\0\0\0\0\0\0\0\x02\x01\x05\0\0\0\x01\x82\x84".as_slice();
    for first_flight in [PREFACE.to_vec(), [PREFACE, frames].concat()] {
        // In one piece, and byte by byte.
        for step in [first_flight.len(), 1] {
            let mut conn = hub.connect();
            first_flight.chunks(step).for_each(|piece| conn.send(piece));
            let answer = conn.response(false).expect("an answer");
            assert_eq!((answer.status, answer.code().as_str()), (505, "unsupported"));
            assert!(answer.error("message").as_str().is_some_and(|text| text.contains("HTTP/1.1")));
            assert!(answer.closes());
            assert_eq!(conn.rest(), b"", "and nothing behind it");
        }
    }
    // What only begins like it is HTTP/1, and is answered as such.
    assert_eq!(hub.ask("PRI /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 405);
    let mut stream = hub.stream("/events/t");
    hub.publish("t", "as ever");
    assert_eq!(stream.event().data, "as ever");
}

#[test]
fn a_refused_peer_that_never_closes_is_let_go() {
    let hub = Hub::start();
    let mut conn = hub.connect();
    conn.send(PREFACE);
    assert_eq!(conn.response(false).expect("an answer").status, 505);
    support::wait_until("its place is free", || hub.stat("/connections/open") == 1);
    drop(conn);
}

#[test]
fn over_tls_it_is_not_offered() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let dir = tempfile::tempdir().expect("a directory");
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let hub = Hub::with(|_, config| {
        config.tls_listen = vec![([127, 0, 0, 1], 0).into()];
        config.tls_cert = Some(cert);
        config.tls_key = Some(key);
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let connect = |alpn: &[&str]| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        client.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = "localhost".try_into().expect("a name");
        let session = rustls::ClientConnection::new(Arc::new(client), name).expect("a session");
        rustls::StreamOwned::new(session, Conn::to(hub.server.tls_addrs()[0]).io)
    };
    // A client of both is led to HTTP/1.1; one of HTTP/2 alone learns it in the handshake (RFC 7301, 3.2).
    let mut conn = Conn::new(connect(&["h2", "http/1.1"]));
    conn.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(conn.response(false).expect("an answer").status, 200);
    assert_eq!(conn.io.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut only = connect(&["h2"]);
    let refused = std::io::Write::write_all(&mut only, b"GET").expect_err("no common protocol");
    assert!(format!("{refused:?}").contains("NoApplicationProtocol"), "{refused:?}");
}
