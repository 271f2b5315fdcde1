//! HTTP/2 used as a weapon: floods that cost the sender little. Whatever comes, the server's memory stays bounded, the connection ends or is
//! held up, and a reader next to it gets every event (checklist H3).
//!
//! The frames are written byte by byte, because no client library would send them.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use support::{Hub, Stream, WATCHDOG, wait_until};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Most bytes that a flood sends; the server usually ends it long before.
const FLOOD_BYTES: usize = 16 << 20;

/// What the process may have grown by when all of them are over.
const GROWTH: u64 = 20 << 20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A header block without Huffman coding and without the dynamic table (RFC 7541, 6.2.2).
fn request(method: u8, path: &str) -> Vec<u8> {
    // Indexed `:method` and `:scheme: http`; literal `:path` and `:authority`.
    let mut block = vec![method, 0x86, 0x04, u8::try_from(path.len()).expect("short")];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(b"\x01\x09localhost");
    block
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// Stream numbers of a client.
fn odd(n: usize) -> u32 {
    u32::try_from(n * 2 + 1).expect("few streams")
}

/// What a flood sends after preface and SETTINGS: a start, and then pieces numbered from 0, for ever.
type Flood = (&'static str, Vec<u8>, Box<dyn Fn(usize) -> Vec<u8> + Sync>);

fn floods() -> Vec<Flood> {
    let stream = request(GET, "/events/t");
    let open = frame(HEADERS, END_STREAM | END_HEADERS, 1, &stream);
    let reset = stream.clone();
    let made = stream.clone();
    let zero = stream.clone();
    // A large header that goes into the dynamic table, then thousands of references to it, one byte each.
    let mut bomb = request(GET, "/healthz");
    bomb.extend_from_slice(b"\x40\x01x\x7f\x80\x1f");
    bomb.extend_from_slice(&[b'y'; 127 + 0xf80]);
    bomb.extend(std::iter::repeat_n(0xbe, 8_000));
    vec![
        (
            "rapid reset",
            Vec::new(),
            Box::new(move |n| {
                [
                    frame(HEADERS, END_STREAM | END_HEADERS, odd(n), &reset),
                    frame(RST_STREAM, 0, odd(n), &8u32.to_be_bytes()),
                ]
                .concat()
            }),
        ),
        (
            "server-made reset",
            Vec::new(),
            Box::new(move |n| {
                // A window update of zero is an error of the stream, which the server has to reset.
                [
                    frame(HEADERS, END_STREAM | END_HEADERS, odd(n), &made),
                    frame(WINDOW_UPDATE, 0, odd(n), &0u32.to_be_bytes()),
                ]
                .concat()
            }),
        ),
        (
            "CONTINUATION",
            frame(HEADERS, 0, 1, &request(GET, "/healthz")),
            Box::new(|_| frame(CONTINUATION, 0, 1, &[&b"\x00\x01x\x7f\x81\x01"[..], &[b'y'; 256]].concat())),
        ),
        (
            "empty CONTINUATION",
            frame(HEADERS, 0, 1, &request(GET, "/healthz")),
            Box::new(|_| frame(CONTINUATION, 0, 1, &[])),
        ),
        (
            "empty DATA",
            frame(HEADERS, END_HEADERS, 1, &request(POST, "/events/other")),
            Box::new(|_| frame(DATA, 0, 1, &[])),
        ),
        (
            "HPACK bomb",
            Vec::new(),
            Box::new(move |n| frame(HEADERS, END_STREAM | END_HEADERS, odd(n), &bomb)),
        ),
        ("SETTINGS", Vec::new(), Box::new(|_| frame(SETTINGS, 0, 0, &[]))),
        ("PING", Vec::new(), Box::new(|n| frame(PING, 0, 0, &(n as u64).to_be_bytes()))),
        ("PRIORITY", Vec::new(), Box::new(|n| frame(PRIORITY, 0, odd(n % 1_000_000), &[0, 0, 0, 0, 7]))),
        ("WINDOW_UPDATE", open.clone(), Box::new(|_| frame(WINDOW_UPDATE, 0, 1, &1u32.to_be_bytes()))),
        (
            "zero window",
            frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
            Box::new(move |n| {
                if n < 100 {
                    frame(HEADERS, END_STREAM | END_HEADERS, odd(n), &zero)
                } else {
                    frame(PING, 0, 0, &[0; 8])
                }
            }),
        ),
        ("garbage", open, Box::new(|n| vec![(n % 251) as u8; 64])),
    ]
}

/// Sends until the server takes no more, or enough has been sent. Nothing is ever read.
fn send(mut socket: TcpStream, start: &[u8], piece: &dyn Fn(usize) -> Vec<u8>) -> (TcpStream, usize) {
    let mut batch = [PREFACE, &frame(SETTINGS, 0, 0, &[]), start].concat();
    let (mut sent, mut n) = (0, 0);
    loop {
        while batch.len() < 64 * 1024 {
            batch.extend_from_slice(&piece(n));
            n += 1;
        }
        // A write error is the server's doing: it has closed, or it has stopped reading from a peer that does not read.
        if socket.write_all(&batch).is_err() || sent > FLOOD_BYTES {
            return (socket, sent);
        }
        sent += batch.len();
        batch.clear();
    }
}

/// Memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

fn publish_and_read(hub: &Hub, reader: &mut Stream, label: &str) {
    for n in 0..100 {
        hub.publish("t", &format!("{label} {n}"));
    }
    let expected: Vec<String> = (0..100).map(|n| format!("{label} {n}")).collect();
    assert_eq!(reader.datas(100), expected);
}

#[test]
fn floods_end_or_are_held_up_and_a_reader_gets_everything() {
    let hub = Hub::with(|engine, config| {
        engine.history.events = 1_000;
        config.write_timeout = Duration::from_secs(1);
        config.idle_timeout = Duration::from_secs(1);
        config.request_timeout = Duration::from_secs(1);
    });
    let mut reader = hub.stream("/events/t");
    publish_and_read(&hub, &mut reader, "before");
    let before = resident();
    for (name, start, piece) in floods() {
        let socket = TcpStream::connect(hub.addr).expect("a connection");
        socket.set_write_timeout(Some(WATCHDOG)).expect("a limit");
        let (socket, sent) = std::thread::scope(|scope| {
            let flood = scope.spawn(|| send(socket, &start, &piece));
            publish_and_read(&hub, &mut reader, name);
            flood.join().expect("a flood")
        });
        drop(socket);
        wait_until(name, || hub.stat("/connections/open") == 2);
        publish_and_read(&hub, &mut reader, name);
        println!("{name}: {sent} bytes taken");
        assert_eq!(hub.stat("/streams/h2"), 0, "{name}");
    }
    let growth = resident().saturating_sub(before);
    assert!(growth < GROWTH, "{growth} bytes more after all floods");
    assert_eq!(hub.stat("/topics/count"), 1, "no flood opened a topic of its own or published");
}
