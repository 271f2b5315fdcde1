//! Delivery through the whole server: the seam between replay and live, cuts at every place, and what comes behind a request.

mod support;

use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use support::{EPOCH, Hub};

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn resume(hub: &Hub, topic: &str, seq: u64) -> support::Stream {
    hub.stream_with(&format!("/events/{topic}"), &format!("Last-Event-ID: {EPOCH}-{seq}\r\n"))
}

#[test]
fn joining_a_busy_topic_by_id_leaves_no_hole_and_repeats_nothing() {
    let hub = Hub::with(|engine, _| {
        engine.history.events = 1 << 16;
        engine.history.bytes = 64 << 20;
    });
    let (busy, newest) = (AtomicBool::new(true), AtomicU64::new(0));
    let publish = |seq: u64| {
        hub.publish("chat", &seq.to_string());
        newest.store(seq, Ordering::Release);
    };
    (1..=100).for_each(publish);
    thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 101.. {
                if !busy.load(Ordering::Relaxed) {
                    break;
                }
                publish(seq);
                if seq % 8 == 0 {
                    thread::sleep(Duration::from_micros(300));
                }
            }
        });
        for round in 0..1_000 {
            // Between live and 60 events back, so that the seam is hit from both sides.
            let seq = newest.load(Ordering::Acquire) - round % 60;
            let mut stream = resume(&hub, "chat", seq);
            assert_eq!(stream.datas(90), numbers(seq + 1..seq + 91), "round {round}");
        }
        busy.store(false, Ordering::Relaxed);
    });
}

#[test]
fn a_stream_cut_at_every_byte_resumes_exactly() {
    let hub = Hub::start();
    for n in 1..=3 {
        hub.publish("t", &format!("{n} and a little\nmore"));
    }
    let all = hub.stream("/events/t?replay=all").datas(3);
    let length = {
        let mut stream = hub.stream("/events/t?replay=all");
        stream.datas(3);
        stream.body.len()
    };
    let items: Vec<usize> = (0..length)
        .map(|cut| {
            // What a client knows that has read so many bytes of the body, and then lost the connection.
            let mut whole = hub.stream("/events/t?replay=all");
            whole.datas(3);
            let mut parser = fanfare_engine::wire::parse::Parser::new();
            let before = parser.feed(&whole.body[..cut]).count();
            let seen: Vec<String> = all.iter().take(whole_events(&whole.body[..cut])).cloned().collect();
            let id = parser.last_event_id().to_owned();
            let mut stream = match id.is_empty() {
                true => hub.stream("/events/t?replay=all"),
                false => hub.stream_with("/events/t", &format!("Last-Event-ID: {id}\r\n")),
            };
            let rest = stream.datas(3 - seen.len());
            assert_eq!([seen, rest].concat(), all, "cut at {cut}");
            before
        })
        .collect();
    assert!(items.is_sorted(), "more bytes never mean fewer items");
}

/// Blocks in `body` that a blank line has ended.
fn whole_events(body: &[u8]) -> usize {
    body.windows(2).filter(|two| two == b"\n\n").count()
}

#[test]
fn fifty_readers_cut_at_random_get_each_event_once() {
    const EVENTS: u64 = 1_000;
    for seed in 1..=20u64 {
        let hub = Hub::with(|engine, _| engine.history.events = 1 << 12);
        thread::scope(|scope| {
            for reader in 0..50u64 {
                let hub = &hub;
                scope.spawn(move || {
                    let (mut got, mut round) = (Vec::new(), seed * 977 + reader * 131);
                    while got.len() < EVENTS as usize {
                        let mut stream = resume(hub, "t", got.len() as u64);
                        round = round.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let stay = (EVENTS as usize - got.len()).min(1 + (round >> 33) as usize % 500);
                        got.extend(stream.datas(stay));
                        // Dropped with unread bytes: the server sees a reset. Otherwise a plain end.
                        if round >> 63 == 0 {
                            let _ = stream.conn.io.shutdown(Shutdown::Both);
                        }
                    }
                    assert_eq!(got, numbers(1..EVENTS + 1), "seed {seed}, reader {reader}");
                });
            }
            for n in 1..=EVENTS {
                hub.publish("t", &n.to_string());
                if n % 50 == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
    }
}

#[test]
fn bytes_behind_the_request_are_no_request() {
    let hub = Hub::start();
    let mut conn = hub.connect();
    conn.send(
        "GET /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n\
         POST /events/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
    );
    let mut stream = conn.into_stream();
    stream.conn.send("DELETE /events/t HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.conn.send([0xff; 10_000]);
    hub.publish("t", "on");
    assert_eq!(stream.event().data, "on");
    hub.publish("t", "and on");
    assert_eq!(stream.event().data, "and on");
    assert_eq!(hub.published(), 2, "nothing of it was a publish");
}

#[test]
fn http_1_0_gets_the_same_events_without_chunks() {
    let hub = Hub::start();
    let mut conn = hub.connect();
    conn.send("GET /events/t?replay=all HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut old = conn.into_stream();
    let mut new = hub.stream("/events/t");
    for n in 0..200 {
        hub.publish("t", &n.to_string());
    }
    assert_eq!(old.datas(200), numbers(0..200));
    assert_eq!(new.datas(200), numbers(0..200));
    assert_eq!(old.head.header("transfer-encoding"), None);
    hub.close("t");
    assert_eq!(old.end(), (vec![], true));
    assert_eq!(new.end(), (vec![], true));
}

/// A publish wakes every lane that has a reader of its topic: few readers are on one, and topics on different ones.
#[test]
fn few_readers_of_a_topic_share_a_lane() {
    let hub = Hub::with(|_, config| config.lanes = 4);
    let mut streams: Vec<_> = ["a", "b"]
        .iter()
        .flat_map(|topic| (0..10).map(|_| hub.stream(&format!("/events/{topic}"))).collect::<Vec<_>>())
        .collect();
    let mut sockets: Vec<u64> = (0..4).map(|lane| hub.stat(&format!("/lanes/{lane}/sockets"))).collect();
    sockets.sort_unstable();
    assert_eq!(sockets, [0, 0, 10, 10]);
    for (n, stream) in streams.iter_mut().enumerate() {
        let topic = if n < 10 { "a" } else { "b" };
        if n % 10 == 0 {
            hub.publish(topic, topic);
        }
        assert_eq!(stream.event().data, topic);
    }
}
