//! Long runs: a stop with thousands of open streams (H10 of the test checklist). `cargo xtask soak`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use fanfare_engine::wire::parse::{Item, Parser};
use fanfare_engine::{Config as EngineConfig, Draft, Engine, Epoch};
use fanfare_server::{Clock, Config, Server};

const STREAMS: usize = 5_000;
const BEFORE: usize = 20;
const AFTER: usize = 20;
/// Far beyond what anything here takes.
const WATCHDOG: Duration = Duration::from_secs(60);

fn start(engine: &Engine, clock: Clock) -> (Server, SocketAddr) {
    let config = Config {
        listen: vec![([127, 0, 0, 1], 0).into()],
        max_connections: STREAMS + 10,
        ..Config::default()
    };
    let server = Server::start_at(engine.clone(), config, clock).unwrap();
    let address = server.local_addrs()[0];
    (server, address)
}

fn subscribe(address: SocketAddr, last_id: Option<&str>) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(WATCHDOG)).unwrap();
    let resume = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    write!(
        socket,
        "GET /events/drain HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n{resume}\r\n"
    )
    .unwrap();
    // Answered, so subscribed.
    let mut first = [0; 16];
    socket.read_exact(&mut first).unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&first));
    socket
}

/// Reads to the end of the stream: the numbers received, the last id, and whether it ended with the last chunk.
fn drain(socket: &mut TcpStream, until: Option<usize>) -> (Vec<usize>, String, bool) {
    let (mut parser, mut numbers, mut tail) = (Parser::new(), Vec::new(), Vec::new());
    let mut buffer = [0; 4096];
    loop {
        let n = socket.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        tail.extend_from_slice(&buffer[..n]);
        // Chunk headers are lines without a colon: fields that the parser does not know.
        for item in parser.feed(&buffer[..n]) {
            if let Item::Event(event) = item {
                assert_ne!(event.event, "fanfare.gap");
                numbers.push(event.data.parse().unwrap());
            }
        }
        if until.is_some_and(|until| numbers.len() >= until) {
            break;
        }
    }
    (numbers, parser.last_event_id().to_owned(), tail.ends_with(b"0\r\n\r\n"))
}

#[test]
#[ignore = "long"]
fn five_thousand_streams_end_in_time_and_resume_elsewhere_without_loss() {
    let engine = Engine::new(EngineConfig::new(Epoch::parse("soak").unwrap())).unwrap();
    let clock = Clock::new();
    let publish = |n: usize| engine.publish(Draft::new("drain", n.to_string()), clock.now()).unwrap();

    let (first, address) = start(&engine, clock);
    let mut readers: Vec<TcpStream> = (0..STREAMS).map(|_| subscribe(address, None)).collect();
    (0..BEFORE).for_each(|n| {
        publish(n);
    });
    let deadline = Duration::from_secs(20);
    let stopping = std::thread::spawn(move || {
        let begun = Instant::now();
        (first.stop(deadline), begun.elapsed())
    });
    let mut ids = Vec::with_capacity(STREAMS);
    for reader in &mut readers {
        let (numbers, id, complete) = drain(reader, None);
        assert_eq!(numbers, (0..BEFORE).collect::<Vec<_>>());
        assert!(complete, "a stream was cut instead of ended");
        ids.push(id);
    }
    let (report, took) = stopping.join().unwrap();
    assert_eq!(report.cut, 0);
    assert!(took < deadline + WATCHDOG, "the stop took {took:?}");
    drop(readers);

    (BEFORE..BEFORE + AFTER).for_each(|n| {
        publish(n);
    });
    let (second, address) = start(&engine, clock);
    for id in &ids {
        let mut reader = subscribe(address, Some(id));
        let (numbers, _, _) = drain(&mut reader, Some(AFTER));
        assert_eq!(numbers, (BEFORE..BEFORE + AFTER).collect::<Vec<_>>());
    }
    let _ = second.stop(Duration::from_secs(5));
}
