//! Long runs: readers that stop reading, at full size (L1 of the test checklist). `cargo xtask soak`.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fanfare_engine::{Config as EngineConfig, Draft, Engine, Epoch};
use fanfare_server::{Clock, Config, Server};
use socket2::{Domain, Socket, Type};

const STALLED: usize = 1_000;
const LIVE: usize = 4;
const EVENT: usize = 256 << 10;
/// 1 GiB in all.
const EVENTS: usize = (1 << 30) / EVENT;
/// Events that may be ahead of the slowest live reader, well within history.
const AHEAD: usize = 8;
const HISTORY: u64 = 8 << 20;
/// Far beyond what anything here takes.
const WATCHDOG: Duration = Duration::from_secs(300);

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// A stream whose kernel buffer is small, so that not reading is soon felt.
fn subscribe(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut socket: TcpStream = socket.into();
    socket.set_read_timeout(Some(WATCHDOG)).unwrap();
    write!(socket, "GET /events/big?lag=skip HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut first = [0; 16];
    socket.read_exact(&mut first).unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200"));
    socket
}

/// Counts event ends until all have come.
fn read_all(mut socket: TcpStream, seen: &AtomicUsize) {
    let mut buffer = vec![0; 64 << 10];
    let mut after_line_end = false;
    while seen.load(Ordering::Relaxed) < EVENTS {
        let n = socket.read(&mut buffer).unwrap();
        assert!(n > 0, "a live reader was cut");
        for &byte in &buffer[..n] {
            let line_end = byte == b'\n';
            if line_end && after_line_end {
                seen.fetch_add(1, Ordering::Relaxed);
            }
            after_line_end = line_end;
        }
    }
}

#[test]
#[ignore = "long"]
fn a_thousand_stalled_readers_cost_a_bounded_sum_and_nobody_else_anything() {
    let mut config = EngineConfig::new(Epoch::parse("soak").unwrap());
    config.history.bytes = HISTORY;
    let engine = Engine::new(config).unwrap();
    let clock = Clock::new();
    let config = Config {
        listen: vec![([127, 0, 0, 1], 0).into()],
        write_timeout: Duration::from_secs(3_600),
        ..Config::default()
    };
    let server = Server::start_at(engine.clone(), config, clock).unwrap();
    let address = server.local_addrs()[0];
    let stalled: Vec<TcpStream> = (0..STALLED).map(|_| subscribe(address)).collect();
    let data = "x".repeat(EVENT);
    let seen: Vec<AtomicUsize> = (0..LIVE).map(|_| AtomicUsize::new(0)).collect();
    let before = resident();
    let mut most = 0;
    std::thread::scope(|scope| {
        for seen in &seen {
            let socket = subscribe(address);
            scope.spawn(move || read_all(socket, seen));
        }
        for n in 0..EVENTS {
            engine.publish(Draft::new("big", data.as_str()), clock.now()).unwrap();
            let begun = Instant::now();
            while seen.iter().any(|seen| seen.load(Ordering::Relaxed) + AHEAD < n) {
                assert!(begun.elapsed() < WATCHDOG, "a live reader does not get on");
                std::thread::yield_now();
            }
            if n % 64 == 0 {
                most = most.max(resident().saturating_sub(before));
            }
        }
    });
    let bound = HISTORY + (STALLED as u64) * (64 << 10) + (LIVE as u64) * (64 << 10) + (16 << 20);
    assert!(most <= bound, "memory grew by {most} bytes, the bound is {bound}");
    assert!(seen.iter().all(|seen| seen.load(Ordering::Relaxed) == EVENTS));
    drop(stalled);
    let _ = server.stop(Duration::from_secs(5));
}
