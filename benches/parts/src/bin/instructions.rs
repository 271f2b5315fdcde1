//! One part of the way of an event, done a given number of times, to count the instructions that it takes:
//! `instructions PART ROUNDS`. Without arguments it lists the parts.
//!
//! Two counts with different rounds give the cost of one, whatever starting the process takes. `cargo xtask instructions` does
//! so under callgrind and compares with `benches/parts/instructions.txt`.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;

use fanfare_engine::wire::encode;
use fanfare_engine::wire::parse::{Item, Parser};
use fanfare_engine::{Draft, Start};
use fanfare_hub::{Hub, Loader};
use fanfare_parts::{SIZE, drain, engine, publish, subscribe};

/// A part's name, and what does it so many times.
type Part = (&'static str, fn(usize));

const PARTS: &[Part] = &[
    ("encode-line", |rounds| encode_data(rounds, &"x".repeat(SIZE))),
    ("encode-lines", |rounds| encode_data(rounds, &"0123456789\n".repeat(SIZE))),
    ("parse-event", parse),
    ("append", |rounds| publish_to(rounds, 0)),
    ("publish-1", |rounds| publish_to(rounds, 1)),
    ("publish-100", |rounds| publish_to(rounds, 100)),
    ("resume-100", resume),
    ("lane-write-100", |rounds| lane_write(rounds, 100)),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [] => {
            for (name, _) in PARTS {
                println!("{name}");
            }
            ExitCode::SUCCESS
        }
        [name, rounds] => {
            let part = PARTS.iter().find(|(known, _)| known == name);
            let (Some((_, run)), Ok(rounds)) = (part, rounds.parse()) else {
                eprintln!("instructions: no part {name:?}, or no number {rounds:?}");
                return ExitCode::from(2);
            };
            run(rounds);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: instructions [PART ROUNDS]");
            ExitCode::from(2)
        }
    }
}

fn encode_data(rounds: usize, data: &str) {
    let mut out = Vec::new();
    for _ in 0..rounds {
        out.clear();
        black_box(encode::data(&mut out, black_box(data)));
    }
}

fn parse(rounds: usize) {
    let event = format!("event: tick\ndata: {}\nid: k3f9x2ab-1000000\n\n", "x".repeat(SIZE));
    let mut parser = Parser::new();
    for _ in 0..rounds {
        let events = parser.feed(black_box(event.as_bytes()));
        assert_eq!(events.filter(|item| matches!(item, Item::Event(_))).count(), 1);
    }
}

/// The history is full from the start: each publish renders, appends and evicts; then every subscriber takes its event.
fn publish_to(rounds: usize, subscribers: usize) {
    let (engine, data, mut frames) = (engine(), "x".repeat(SIZE), Vec::new());
    for _ in 0..2000 {
        publish(&engine, "bench", &data);
    }
    let readers: Vec<_> = (0..subscribers).map(|_| subscribe(&engine, "bench", Start::Live)).collect();
    for _ in 0..rounds {
        publish(&engine, "bench", black_box(&data));
        for reader in &readers {
            drain(reader, &mut frames);
            assert_eq!(frames.len(), 1);
        }
    }
}

fn resume(rounds: usize) {
    const MISSED: usize = 100;
    let (engine, data, mut frames) = (engine(), "x".repeat(SIZE), Vec::new());
    for _ in 0..1000 {
        publish(&engine, "bench", &data);
    }
    let after = engine.id_of(engine.newest() - MISSED as u64).to_string();
    for _ in 0..rounds {
        let reader = subscribe(&engine, "bench", Start::After(after.as_str().into()));
        drain(&reader, &mut frames);
        assert_eq!(frames.len(), MISSED);
    }
}

/// A round is one event on its way through the hub, until every socket has it. So a lane wakes once for each, and the count is
/// the same each time.
fn lane_write(rounds: usize, sockets: usize) {
    let mut loader = Loader::new();
    // A heartbeat would be taken for an event.
    for (key, value) in [("listen", "127.0.0.1:0"), ("heartbeat", "1h")] {
        loader.flag("--set", key, value).expect("a valid option");
    }
    let hub = Hub::start(loader.finish().expect("a valid configuration")).expect("a hub");
    let address = hub.url().strip_prefix("http://").expect("a plain address").to_owned();
    let mut readers: Vec<TcpStream> = (0..sockets).map(|_| reader(&address)).collect();
    let mut buffer = vec![0; 64 * 1024];
    // The first event comes behind whatever a stream begins with.
    hub.publish(Draft::new("bench", "first")).expect("a valid event");
    for reader in &mut readers {
        read_until(reader, &mut buffer, |bytes| {
            bytes.windows(12).any(|bytes| bytes == b"data: first\n") && bytes.ends_with(END)
        });
    }
    let data = "x".repeat(SIZE);
    for _ in 0..rounds {
        hub.publish(Draft::new("bench", &data)).expect("a valid event");
        for reader in &mut readers {
            read_until(reader, &mut buffer, |bytes| bytes.ends_with(END));
        }
    }
    hub.stop(std::time::Duration::ZERO);
}

/// How an event ends that is a chunk of its own.
const END: &[u8] = b"\n\n\r\n";

/// A stream that has begun.
fn reader(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(b"GET /events/bench HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("a request");
    let in_head = |bytes: &[u8]| bytes.windows(4).any(|bytes| bytes == b"\r\n\r\n");
    read_until(&mut stream, &mut vec![0; 4096], in_head);
    stream
}

/// Reads until what has come is enough.
fn read_until(stream: &mut TcpStream, buffer: &mut [u8], enough: impl Fn(&[u8]) -> bool) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).expect("a stream");
        assert_ne!(read, 0, "the stream has ended");
        filled += read;
        if enough(&buffer[..filled]) {
            return;
        }
    }
}
