//! Readers that do not keep up: what each policy gives them, and that the others notice nothing.

use std::time::Duration;

use fanfare_engine::{Draft, LagPolicy};

use super::client::{End, Reader};
use super::{Ask, Rig, SMALL, engine_config, eventually, lane_config};
use crate::config::Config;

/// Events of `PADDING` bytes and a number in front; more than the buffers and the history hold together.
const EVENTS: u64 = 2_000;
const PADDING: usize = 1_000;
/// What history keeps.
const KEPT: u32 = 100;

fn padded(n: u64) -> String {
    format!("{n:06}{}", "x".repeat(PADDING))
}

fn number(data: &str) -> u64 {
    data[..6].parse().expect("six digits in front")
}

fn small_history() -> Rig {
    let mut engine = engine_config();
    engine.history.events = KEPT;
    Rig::with(engine, lane_config())
}

/// One reader that stands still while others get everything; returns the one.
fn stall(rig: &Rig, lag: LagPolicy, key: impl Fn(u64) -> Option<String>) -> Reader {
    let stuck = rig.open(&Ask { lag, buffers: Some(SMALL), ..Ask::default() }).opened();
    let mut others: Vec<Reader> = (0..3).map(|_| rig.open(&Ask { lag, ..Ask::default() }).opened()).collect();
    for n in 0..EVENTS {
        let mut draft = Draft::new("chat", padded(n));
        draft.key = key(n).map(Into::into);
        rig.send(draft);
        for other in &mut others {
            assert_eq!(number(&other.data()), n, "the others lose nothing");
        }
    }
    eventually("the stuck one is behind", || rig.stats().partial > 0);
    stuck
}

#[test]
fn disconnect_ends_a_reader_that_history_has_passed() {
    let rig = small_history();
    let mut stuck = stall(&rig, LagPolicy::Disconnect, |_| None);
    let (got, end) = stuck.rest();
    // What it got is the beginning without a hole; it ended between events, and may resume.
    assert_eq!(end, End::Whole);
    assert!(!got.is_empty() && got.len() < (EVENTS - u64::from(KEPT)) as usize, "{} events", got.len());
    assert!(got.iter().enumerate().all(|(at, data)| number(data) == at as u64));
    eventually("it is counted", || rig.shared.counters.lapped.get() == 1);
}

#[test]
fn skip_tells_exactly_what_is_missing() {
    let rig = small_history();
    let mut stuck = stall(&rig, LagPolicy::Skip, |_| None);
    let id = |n: u64| rig.engine.id_of(n + 1).to_string();
    let (mut next, mut gaps) = (0, 0);
    // A socket may take some bytes in between, so there may be several gaps; each of them is exact.
    while next < EVENTS {
        let event = stuck.event().expect("it goes on");
        if event.event != "fanfare.gap" {
            assert_eq!(number(&event.data), next);
            next += 1;
            continue;
        }
        gaps += 1;
        let first = stuck.data();
        let told = format!("{{\"requested\":\"{}\",\"oldest\":\"{}\",", id(next - 1), id(number(&first)));
        assert!(event.data.starts_with(&told), "{} does not start with {told}", event.data);
        assert_eq!(event.last_event_id, id(number(&first) - 1), "resuming after the notice is exact");
        assert!(number(&first) > next, "something is missing");
        next = number(&first) + 1;
    }
    assert!(gaps > 0);
    rig.publish("chat", &padded(EVENTS));
    assert_eq!(number(&stuck.data()), EVENTS, "it is live again");
    eventually("gaps are counted", || rig.shared.counters.gaps.get() == gaps);
}

#[test]
fn conflate_gives_the_latest_of_every_key() {
    let rig = small_history();
    // Keys 0..50 change all the time, keys 1000.. were set once, long ago.
    let key =
        |n: u64| Some(if n.is_multiple_of(40) { format!("once-{n}") } else { format!("often-{}", n % 50) });
    let mut stuck = stall(&rig, LagPolicy::Conflate, key);
    let mut seen = std::collections::HashMap::new();
    let mut before = None;
    loop {
        let event = stuck.event().expect("it goes on");
        assert_eq!(event.event, "message", "a conflating reader needs no notice");
        let n = number(&event.data);
        assert!(before < Some(n), "in order, nothing twice");
        before = Some(n);
        seen.insert(key(n), n);
        if n == EVENTS - 1 {
            break;
        }
    }
    let latest: std::collections::HashMap<_, _> = (0..EVENTS).map(|n| (key(n), n)).collect();
    assert_eq!(seen, latest);
    rig.publish("chat", &padded(EVENTS));
    assert_eq!(number(&stuck.data()), EVENTS, "it is live again");
}

#[test]
fn a_reader_stuck_in_a_large_event_finishes_it() {
    let rig = Rig::new();
    let mut stuck = rig.open(&Ask { buffers: Some(SMALL), ..Ask::default() }).opened();
    let mut other = rig.open(&Ask::default()).opened();
    let large = "y".repeat(1 << 20);
    for n in 0..3 {
        rig.publish("chat", &large);
        rig.publish("chat", &n.to_string());
    }
    for n in 0..3 {
        assert_eq!(other.data(), large);
        assert_eq!(other.data(), n.to_string());
    }
    eventually("the stuck one is behind", || rig.stats().partial > 0);
    for n in 0..3 {
        assert_eq!(stuck.data(), large);
        assert_eq!(stuck.data(), n.to_string());
    }
    rig.publish("chat", "after");
    assert_eq!((stuck.data(), other.data()), ("after".into(), "after".into()));
    eventually("every frame is counted once", || rig.shared.counters.frames.get() == 14);
}

#[test]
fn a_reader_whose_event_is_evicted_in_the_middle_is_cut() {
    for lag in [LagPolicy::Disconnect, LagPolicy::Skip, LagPolicy::Conflate] {
        let mut engine = engine_config();
        engine.history.bytes = 1 << 20;
        let rig = Rig::with(engine, lane_config());
        let mut stuck = rig.open(&Ask { buffers: Some(SMALL), lag, ..Ask::default() }).opened();
        let large = "y".repeat(1 << 20);
        rig.publish("chat", &large);
        eventually("it is behind", || rig.stats().partial > 0);
        // Keyed events of other topics' size push it out; conflation keeps the latest of a key, so use the same.
        rig.publish("chat", &large);
        rig.publish("chat", "last");
        let (got, end) = stuck.rest();
        assert_eq!((got, end), (vec![], End::Cut), "{lag}");
        eventually("it is counted", || rig.shared.counters.lapped.get() == 1);
        eventually("it is gone", || rig.stats().sockets == 0);
    }
}

#[test]
fn a_small_event_cut_in_the_middle_is_finished_though_evicted() {
    let mut engine = engine_config();
    engine.history.events = 1;
    let rig = Rig::with(engine, lane_config());
    let lag = LagPolicy::Skip;
    let mut stuck = rig.open(&Ask { buffers: Some(SMALL), lag, ..Ask::default() }).opened();
    for n in 0..EVENTS {
        rig.publish("chat", &padded(n));
        // One by one, so that the socket is cut in one of these and not in a batch.
        if rig.stats().partial == 0 {
            eventually("it is pulled", || rig.stats().batches > n || rig.stats().partial > 0);
        }
    }
    // The last one comes, or reading runs into its watchdog.
    loop {
        let event = stuck.event().expect("no event is torn");
        if event.event != "fanfare.gap" && number(&event.data) == EVENTS - 1 {
            break;
        }
    }
}

#[test]
fn a_reader_that_takes_nothing_is_closed_at_the_write_deadline() {
    let config = Config { write_timeout: Duration::from_millis(300), ..lane_config() };
    let rig = Rig::with(engine_config(), config);
    let stuck = rig.open(&Ask { buffers: Some(SMALL), ..Ask::default() }).opened();
    let mut other = rig.open(&Ask::default()).opened();
    rig.publish("chat", &"z".repeat(1 << 20));
    assert_eq!(other.data().len(), 1 << 20);
    eventually("the stuck one is closed", || rig.shared.counters.stalled.get() == 1);
    eventually("and gone", || rig.stats().sockets == 1 && rig.open_streams() == 1);
    rig.publish("chat", "on");
    assert_eq!(other.data(), "on");
    drop(stuck);
}

#[test]
fn a_slow_reader_is_not_taken_for_a_stuck_one() {
    let config = Config { write_timeout: Duration::from_millis(200), ..lane_config() };
    let rig = Rig::with(engine_config(), config);
    let mut slow = rig.open(&Ask { buffers: Some((200 << 10, 16 << 10)), ..Ask::default() });
    rig.publish("chat", &"z".repeat(1 << 20));
    // 8 KiB every 20 ms: too slow to free, within the deadline, as much of the send buffer as makes a kernel report it writable.
    let mut got = 0;
    while got < 3 << 18 {
        got += slow.raw(8 << 10).len();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(rig.shared.counters.stalled.get(), 0);
    assert_eq!(rig.stats().sockets, 1);
}
