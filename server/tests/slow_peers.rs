//! Peers that are slow, silent or stuck: each is closed within its deadline, whatever it was doing, and nobody else notices (checklist H1, H2).
//!
//! Deadlines here are short and the watchdog is long: what is asserted is that every one of them ends, never how fast.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fanfare_server::Config;
use socket2::{Domain, Socket, Type};
use support::{Conn, Hub, WATCHDOG, wait_until};

const DEADLINE: Duration = Duration::from_millis(300);

/// Peers of each kind.
const EACH: usize = 30;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// HEADERS on stream 1 with END_STREAM, without END_HEADERS: `:method: GET` and nothing more.
const UNFINISHED_HEADERS: &[u8] = b"\x00\x00\x01\x01\x01\x00\x00\x00\x01\x82";
const PING: &[u8] = b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678";
/// A TLS record that announces a handshake message, and the first bytes of a ClientHello.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03\x00\x01\x02\x03";

fn hub(folder: &Path) -> Hub {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(&cert, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    Hub::with(|_, config| {
        short(config);
        config.tls_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.tls_cert = Some(cert);
        config.tls_key = Some(key);
    })
}

fn short(config: &mut Config) {
    config.request_timeout = DEADLINE;
    config.idle_timeout = DEADLINE;
    config.body_timeout = DEADLINE;
    config.write_timeout = DEADLINE;
}

/// Connections besides the one that asks.
fn others(hub: &Hub) -> u64 {
    hub.stat("/connections/open") - 1
}

#[test]
fn three_hundred_stuck_peers_are_gone_and_a_reader_did_not_notice() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = hub(folder.path());
    let tls = hub.server.tls_addrs()[0];
    let mut reader = hub.stream("/events/t");
    let starts: [(SocketAddr, &[&[u8]]); 10] = [
        (hub.addr, &[]),
        (hub.addr, &[b"G"]),
        (hub.addr, &[b"GET /events/t HT"]),
        (hub.addr, &[b"GET /events/t HTTP/1.1\r\nHost: localhost\r\nX-Slow: "]),
        (hub.addr, &[b"PRI * HT"]),
        (hub.addr, &[&PREFACE[..PREFACE.len() - 1]]),
        (hub.addr, &[PREFACE]),
        (hub.addr, &[PREFACE, SETTINGS, UNFINISHED_HEADERS]),
        (tls, &[]),
        (tls, &[HALF_A_HELLO]),
    ];
    let mut peers: Vec<(usize, Conn)> = Vec::new();
    for round in 0..EACH {
        for (kind, (address, start)) in starts.iter().enumerate() {
            let mut peer = Conn::to(*address);
            start.iter().for_each(|bytes| peer.send(bytes));
            peers.push((kind, peer));
        }
        hub.publish("t", &round.to_string());
    }
    // They go on pinging, so silence is not what ends them.
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (over, pinging) = (&over, &peers);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                for (_, peer) in pinging.iter().filter(|(kind, _)| *kind == 7) {
                    let _ = (&peer.io).write_all(PING);
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        wait_until("only the reader is left", || others(&hub) == 1);
        over.store(true, Ordering::Relaxed);
    });
    for (_, mut peer) in peers {
        peer.rest();
    }
    let numbers: Vec<String> = (0..EACH).map(|n| n.to_string()).collect();
    assert_eq!(reader.datas(EACH), numbers);
}

#[test]
fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    let hub = Hub::with(|_, config| short(config));
    let mut reader = hub.stream("/events/t");
    let mut idle = hub.connect();
    idle.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(idle.response(false).expect("an answer").status, 200);
    // Half of a second request does not keep it.
    idle.send("GET /healthz HTT");
    assert_eq!(idle.rest(), b"");
    // The stream is far older than every deadline by now, and quiet.
    thread::sleep(DEADLINE * 3);
    hub.publish("t", "still here");
    assert_eq!(reader.event().data, "still here");
}

#[test]
fn a_request_in_pieces_is_served_when_it_is_complete_in_time() {
    let hub = Hub::with(|_, config| config.request_timeout = WATCHDOG);
    let mut conn = hub.connect();
    for piece in ["GE", "T /hea", "lthz HTTP/1.1\r", "\nHost: local", "host\r\n\r", "\n"] {
        conn.send(piece);
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(conn.response(false).expect("an answer").status, 200);
}

/// Sends a byte now and then until the server has closed.
fn drip(mut socket: TcpStream, bytes: &[u8]) {
    for byte in bytes {
        if socket.write_all(&[*byte]).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("{} bytes were taken one by one", bytes.len());
}

#[test]
fn byte_by_byte_does_not_help() {
    let hub = Hub::with(|_, config| short(config));
    let mut reader = hub.stream("/events/t");
    let header = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(1_000));
    let announced = b"POST /events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
    thread::scope(|scope| {
        let first = hub.connect();
        scope.spawn(|| drip(first.io, header.as_bytes()));
        let mut second = hub.connect();
        second.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(second.response(false).expect("an answer").status, 200);
        scope.spawn(|| drip(second.io, header.as_bytes()));
        let mut third = hub.connect();
        third.send(announced);
        scope.spawn(|| drip(third.io, &[b'x'; 1_000]));
    });
    wait_until("only the reader is left", || others(&hub) == 1);
    hub.publish("t", "after");
    assert_eq!(reader.event().data, "after", "no half body was published");
}

#[test]
fn a_body_that_does_not_come_is_told_so() {
    let hub = Hub::with(|_, config| short(config));
    let mut probe = hub.probe("t");
    for start in [
        "POST /events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf",
        "POST /events/t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "POST /events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let mut conn = hub.connect();
        conn.send(start);
        let mut answer = conn.response(false).expect("an answer");
        if answer.status == 100 {
            answer = conn.response(false).expect("an answer after 100");
        }
        assert_eq!((answer.status, answer.code()), (408, "invalid_body".to_owned()), "{start:?}");
        assert!(answer.closes());
        assert_eq!(conn.rest(), b"");
        probe.assert_nothing(start);
    }
}

#[test]
fn a_peer_that_does_not_read_its_answers_is_closed() {
    let hub = Hub::with(|_, config| short(config));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    socket.connect(&hub.addr.into()).expect("a connection");
    socket.set_write_timeout(Some(DEADLINE)).expect("a limit");
    socket.set_read_timeout(Some(WATCHDOG)).expect("a watchdog");
    let mut peer = TcpStream::from(socket);
    // Requests until nothing is taken any more: the answers fill every buffer on the way.
    let requests = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    while peer.write_all(requests.as_bytes()).is_ok() {}
    wait_until("it is closed", || others(&hub) == 0);
    assert!(hub.request("GET", "/metrics", "").body.windows(26).any(|w| w == b"fanfare_readers_stalled_to"));
    // What it could not read it never gets: the end of the connection comes in the middle.
    let mut got = Vec::new();
    let _ = peer.read_to_end(&mut got);
    assert!(!got.is_empty());
}
