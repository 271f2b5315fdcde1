//! The life of a stream apart from its events: heartbeats, age, ends from either side, stop.

use std::thread;
use std::time::{Duration, Instant};

use fanfare_engine::Start;

use super::client::{End, Reader};
use super::{Ask, PATIENCE, Rig, SMALL, engine_config, eventually, lane_config};
use crate::config::Config;
use crate::handoff::Framing;

fn beating(event: bool) -> Rig {
    let heartbeat = Duration::from_millis(100);
    Rig::with(engine_config(), Config { heartbeat, heartbeat_event: event, ..lane_config() })
}

#[test]
fn heartbeats_are_exact_bytes() {
    let rig = beating(false);
    let mut new = rig.open(&Ask::default());
    let mut old = rig.open(&Ask { framing: Framing::Plain, ..Ask::default() });
    assert_eq!(new.raw(28), b"2\r\n:\n\r\n".repeat(4));
    assert_eq!(old.raw(8), b":\n".repeat(4));

    let rig = beating(true);
    let mut new = rig.open(&Ask::default()).opened();
    let event = new.event().expect("a heartbeat");
    assert_eq!((&*event.event, &*event.data), ("fanfare.heartbeat", "{}"));
    assert_eq!(event.last_event_id, "", "a heartbeat moves no cursor");
}

#[test]
fn heartbeats_come_in_silence_only_and_between_events() {
    let rig = beating(false);
    let mut reader = rig.open(&Ask { buffers: Some(SMALL), ..Ask::default() }).opened();
    // It does not read for several intervals, and is stuck in the middle of an event.
    rig.publish("chat", &"x".repeat(1 << 20));
    thread::sleep(Duration::from_millis(500));
    assert_eq!(reader.data().len(), 1 << 20, "nothing stands within the event");
    let beats = rig.stats().writes;
    for n in 0..50 {
        rig.publish("chat", &n.to_string());
        assert_eq!(reader.data(), n.to_string());
        thread::sleep(Duration::from_millis(10));
    }
    // The client checked every byte; fifty events in half a second leave hardly a silence.
    assert!(rig.stats().writes - beats < 60, "{} writes for 50 events", rig.stats().writes - beats);
}

#[test]
fn no_heartbeat_where_it_is_off() {
    let rig = Rig::new();
    let mut reader = rig.open(&Ask::default()).opened();
    assert!(reader.is_silent_for(Duration::from_millis(300)));
}

#[test]
fn a_stream_ends_whole_at_its_age() {
    let rig = Rig::new();
    let mut reader = rig.open(&Ask { max_age: Some(Duration::from_millis(200)), ..Ask::default() }).opened();
    let mut stays = rig.open(&Ask::default()).opened();
    rig.publish("chat", "first");
    assert_eq!(reader.rest(), (vec!["first".to_owned()], End::Whole));
    eventually("it is gone", || rig.stats().sockets == 1);
    rig.publish("chat", "second");
    assert_eq!((stays.data(), stays.data()), ("first".into(), "second".into()));
}

#[test]
fn an_aged_stream_in_the_middle_of_an_event_ends_behind_it() {
    let rig = Rig::new();
    let max_age = Some(Duration::from_millis(200));
    let mut reader = rig.open(&Ask { max_age, buffers: Some(SMALL), ..Ask::default() }).opened();
    rig.publish("chat", &"x".repeat(1 << 20));
    rig.publish("chat", "late");
    thread::sleep(Duration::from_millis(400));
    let (got, end) = reader.rest();
    assert_eq!((got.len(), got[0].len(), end), (1, 1 << 20, End::Whole));
}

#[test]
fn what_a_peer_sends_is_no_request_and_harms_nobody() {
    let rig = Rig::new();
    let mut noisy = rig.open(&Ask::default()).opened();
    let mut quiet = rig.open(&Ask::default()).opened();
    noisy.say(b"GET /events/other HTTP/1.1\r\nHost: x\r\n\r\n").expect("the stream is open");
    for _ in 0..64 {
        noisy.say(&[0xff; 64 << 10]).expect("it is read and forgotten");
    }
    rig.publish("chat", "on");
    assert_eq!((noisy.data(), quiet.data()), ("on".into(), "on".into()));
    assert!(noisy.is_silent_for(Duration::from_millis(50)));
}

#[test]
fn a_half_close_closes() {
    let rig = Rig::new();
    let mut half = rig.open(&Ask::default()).opened();
    let whole = rig.open(&Ask::default()).opened();
    half.half_close();
    assert_eq!(half.rest().0, Vec::<String>::new());
    eventually("its permits are free", || rig.stats().sockets == 1 && rig.open_streams() == 1);
    drop(whole);
    eventually("nobody is left", || rig.stats().sockets == 0 && rig.shared.connections.open() == 0);
}

#[test]
fn a_closed_topic_ends_its_streams_and_not_the_others() {
    let rig = Rig::new();
    let mut one = rig.open(&Ask::default()).opened();
    let mut two = rig.open(&Ask { topics: &["chat", "news"], ..Ask::default() }).opened();
    rig.publish("chat", "bye");
    rig.engine.close_topic("chat", rig.now()).expect("a valid name");
    assert_eq!(one.rest(), (vec!["bye".to_owned()], End::Whole));
    // What was there is still replayed, and then it ends too.
    let mut late = rig.open(&Ask { start: Start::All, ..Ask::default() });
    assert_eq!(late.rest(), (vec!["bye".to_owned()], End::Whole));
    assert_eq!(two.data(), "bye");
    rig.publish("news", "more");
    assert_eq!(two.data(), "more");
    rig.engine.close_topic("news", rig.now()).expect("a valid name");
    assert_eq!(two.rest(), (vec![], End::Whole));
}

#[test]
fn stop_ends_every_stream_whole_with_all_that_was_published() {
    let rig = Rig::with(engine_config(), Config { lanes: 2, ..lane_config() });
    let mut readers: Vec<Reader> = (0..300).map(|_| rig.open(&Ask::default()).opened()).collect();
    let stuck = rig.open(&Ask { buffers: Some(SMALL), ..Ask::default() }).opened();
    for n in 0..1_000 {
        rig.publish("chat", &format!("{n} {}", "x".repeat(200)));
    }
    thread::scope(|scope| {
        for reader in &mut readers {
            scope.spawn(move || {
                let (got, end) = reader.rest();
                assert_eq!((got.len(), end), (1_000, End::Whole));
            });
        }
        let begun = Instant::now();
        rig.stop(Duration::from_secs(3));
        // The stuck one is cut at the deadline.
        assert!(begun.elapsed() < PATIENCE);
    });
    assert_eq!((rig.stats().sockets, rig.open_streams(), rig.shared.connections.open()), (0, 0, 0));
    assert_eq!(rig.engine.stats().subscriptions, 0);
    drop(stuck);
}

#[test]
fn a_stopped_lane_refuses_streams_and_frees_what_came_with_them() {
    let rig = Rig::new();
    rig.stop(Duration::ZERO);
    rig.stop(Duration::ZERO);
    let mut late = rig.open(&Ask::default());
    assert_eq!(late.rest(), (vec![], End::Cut));
    assert_eq!((rig.stats().sockets, rig.open_streams(), rig.shared.connections.open()), (0, 0, 0));
    assert_eq!(rig.engine.stats().subscriptions, 0);
}

#[test]
fn streams_that_race_a_stop_are_ended_or_refused() {
    for _ in 0..20 {
        let rig = Rig::with(engine_config(), Config { lanes: 2, ..lane_config() });
        let mut readers = Vec::new();
        thread::scope(|scope| {
            let opener = scope.spawn(|| (0..50).map(|_| rig.open(&Ask::default())).collect::<Vec<_>>());
            thread::sleep(Duration::from_millis(2));
            rig.stop(Duration::from_millis(500));
            readers = opener.join().expect("no panic");
        });
        for reader in &mut readers {
            assert_eq!(reader.rest().0, Vec::<String>::new());
        }
        assert_eq!((rig.stats().sockets, rig.open_streams(), rig.shared.connections.open()), (0, 0, 0));
    }
}
