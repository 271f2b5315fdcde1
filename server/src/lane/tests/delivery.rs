//! Order, completeness, and who gets what.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fanfare_engine::{Draft, LagPolicy, Start};

use super::client::{End, Reader};
use super::{Ask, Rig, engine_config, eventually, lane_config};
use crate::config::Config;
use crate::handoff::Framing;

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn read(reader: &mut Reader, n: usize) -> Vec<String> {
    (0..n).map(|_| reader.data()).collect()
}

#[test]
fn two_hundred_readers_get_two_thousand_events_in_order() {
    let mut engine = engine_config();
    engine.history.events = 4_096;
    let rig = Rig::with(engine, Config { lanes: 2, ..lane_config() });
    let readers: Vec<Reader> = (0..200).map(|_| rig.open(&Ask::default()).opened()).collect();
    thread::scope(|scope| {
        for mut reader in readers {
            scope.spawn(move || assert_eq!(read(&mut reader, 2_000), numbers(0..2_000)));
        }
        for n in 0..2_000 {
            rig.publish("chat", &n.to_string());
        }
    });
    eventually("every frame is counted", || rig.shared.counters.frames.get() == 400_000);
    eventually("closed sockets are gone", || rig.stats().sockets == 0 && rig.open_streams() == 0);
    assert!(rig.stats().writes < 400_000 + 400, "frames that wait together are sent together");
}

#[test]
fn a_replay_joins_a_busy_topic_without_hole_or_repetition() {
    let mut engine = engine_config();
    engine.history.events = 1 << 16;
    engine.history.bytes = 64 << 20;
    let rig = Rig::with(engine, lane_config());
    let (busy, last) = (AtomicBool::new(true), AtomicU64::new(0));
    // One reader stays, so that the group has a cursor that moves while others come.
    let _resident = rig.open(&Ask::default()).opened();
    for n in 0..100 {
        rig.publish("chat", &n.to_string());
    }
    last.store(99, Ordering::Relaxed);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 100u64;
            while busy.load(Ordering::Relaxed) {
                rig.publish("chat", &n.to_string());
                last.store(n, Ordering::Relaxed);
                n += 1;
                if n.is_multiple_of(8) {
                    thread::sleep(Duration::from_micros(200));
                }
            }
        });
        for round in 0..1_000u64 {
            // From a place that is between live and 60 events back: the seam is hit from both sides.
            let at = last.load(Ordering::Relaxed) - round % 60;
            let id = rig.engine.id_of(at + 1).to_string();
            let mut reader = rig.open(&Ask { start: Start::After(id.into()), ..Ask::default() });
            for n in at + 1..at + 100 {
                assert_eq!(reader.data(), n.to_string(), "round {round}, resumed after {at}");
            }
        }
        busy.store(false, Ordering::Relaxed);
    });
    assert_eq!(rig.shared.counters.gaps.get(), 0);
}

#[test]
fn streams_of_several_topics_keep_the_order_of_the_hub() {
    let rig = Rig::new();
    let ask = |topics| Ask { topics, ..Ask::default() };
    let mut both = rig.open(&ask(&["b", "a"])).opened();
    let mut also_both = rig.open(&ask(&["a", "b"])).opened();
    let mut only_a = rig.open(&ask(&["a"])).opened();
    for n in 0..300u64 {
        rig.publish(["a", "b", "c"][(n % 3) as usize], &n.to_string());
    }
    let without_c: Vec<String> = (0..300).filter(|n| n % 3 != 2).map(|n| n.to_string()).collect();
    assert_eq!(read(&mut both, 200), without_c);
    assert_eq!(read(&mut also_both, 200), without_c);
    assert_eq!(read(&mut only_a, 100), (0..300).step_by(3).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn filters_share_a_group_and_pass_their_types_only() {
    let rig = Rig::new();
    let ask = Ask { events: &["vote", "message"], ..Ask::default() };
    let mut voters = [rig.open(&ask).opened(), rig.open(&ask).opened()];
    let mut all = rig.open(&Ask::default()).opened();
    for n in 0..90 {
        let draft = Draft::new("chat", n.to_string());
        rig.send(match n % 3 {
            0 => draft.with_event("vote"),
            1 => draft.with_event("noise"),
            _ => draft,
        });
    }
    let wanted: Vec<String> = (0..90).filter(|n| n % 3 != 1).map(|n| n.to_string()).collect();
    for voter in &mut voters {
        assert_eq!(read(voter, 60), wanted);
    }
    assert_eq!(read(&mut all, 90), numbers(0..90));
}

#[test]
fn an_event_is_kept_from_the_client_it_excepts_alone() {
    let rig = Rig::new();
    let names = [None, Some("ann"), Some("bob"), Some("ann")];
    let mut readers: Vec<Reader> =
        names.iter().map(|&client| rig.open(&Ask { client, ..Ask::default() }).opened()).collect();
    // Late comers replay the same events by their own cursor.
    for n in 0..200 {
        let mut draft = Draft::new("chat", n.to_string());
        draft.except = match n % 4 {
            0 => Some("ann".into()),
            1 => Some("bob".into()),
            _ => None,
        };
        rig.send(draft);
    }
    for &client in &names {
        readers.push(rig.open(&Ask { client, start: Start::All, ..Ask::default() }));
    }
    for (reader, client) in readers.iter_mut().zip(names.iter().chain(&names)) {
        let kept = |n: &u64| match client {
            Some("ann") => !n.is_multiple_of(4),
            Some("bob") => n % 4 != 1,
            _ => true,
        };
        let wanted: Vec<String> = (0..200).filter(kept).map(|n| n.to_string()).collect();
        assert_eq!(read(reader, wanted.len()), wanted, "{client:?}");
    }
    rig.publish("chat", "to all");
    for reader in &mut readers {
        assert_eq!(reader.data(), "to all");
    }
}

#[test]
fn http_1_0_gets_bare_bytes_to_the_end() {
    let rig = Rig::new();
    let plain = Ask { framing: Framing::Plain, ..Ask::default() };
    let mut old = rig.open(&plain).opened();
    let mut new = rig.open(&Ask::default()).opened();
    for n in 0..50 {
        rig.publish("chat", &n.to_string());
    }
    rig.engine.close_topic("chat", rig.now()).expect("a valid name");
    assert_eq!(old.rest(), (numbers(0..50), End::Whole));
    assert_eq!(new.rest(), (numbers(0..50), End::Whole));
    eventually("ended streams are closed", || rig.stats().sockets == 0);
}

#[test]
fn a_resume_that_history_cannot_honour_is_told_first() {
    let rig = Rig::new();
    let mut resident = rig.open(&Ask::default()).opened();
    for n in 0..5 {
        rig.publish("chat", &n.to_string());
    }
    for _ in 0..20 {
        let mut lost = rig.open(&Ask { start: Start::After("other-3".into()), ..Ask::default() });
        let gap = lost.event().expect("a notice");
        assert_eq!(gap.event, "fanfare.gap");
        let (oldest, newest) = (rig.engine.id_of(1), rig.engine.id_of(5));
        assert_eq!(
            gap.data,
            format!("{{\"requested\":\"other-3\",\"oldest\":\"{oldest}\",\"newest\":\"{newest}\"}}")
        );
        assert_eq!(read(&mut lost, 5), numbers(0..5));
    }
    assert_eq!(read(&mut resident, 5), numbers(0..5));
    // A lane counts at the end of its turn.
    eventually("each notice is counted", || rig.shared.counters.gaps.get() == 20);
}

#[test]
fn readers_that_come_and_go_leave_nothing_behind() {
    let rig = Rig::with(engine_config(), Config { lanes: 2, ..lane_config() });
    let mut resident = rig.open(&Ask::default()).opened();
    for round in 0..50u64 {
        let readers: Vec<Reader> = (0..10)
            .map(|n| {
                let start = if n % 2 == 0 { Start::Live } else { Start::Last(3) };
                let topics: &[&str] = if n % 3 == 0 { &["chat"] } else { &["chat", "other"] };
                rig.open(&Ask { topics, start, ..Ask::default() })
            })
            .collect();
        rig.publish("chat", &round.to_string());
        drop(readers);
        assert_eq!(resident.data(), round.to_string());
    }
    eventually("only the resident is left", || rig.stats().sockets == 1 && rig.open_streams() == 1);
    let topics = rig.engine.topic_stats(10);
    let chat = topics.iter().find(|topic| topic.name == "chat").expect("it is in use");
    assert_eq!(chat.subscribers, 1);
    assert_eq!(rig.engine.stats().subscriptions, 1);
    assert_eq!(rig.shared.connections.open(), 1);
    drop(resident);
    eventually("nobody is left", || rig.engine.stats().subscriptions == 0);
}

#[test]
fn subscribers_are_counted_by_connection() {
    let rig = Rig::new();
    let _readers: Vec<Reader> = (0..7).map(|_| rig.open(&Ask::default()).opened()).collect();
    let subscribers = || rig.engine.topic_stats(1).first().map(|topic| topic.subscribers);
    eventually("seven readers are counted", || subscribers() == Some(7));
    eventually("and share one cursor", || rig.engine.stats().subscriptions == 1);
}

#[test]
fn a_burst_larger_than_a_batch_arrives_whole() {
    let rig = Rig::new();
    let mut readers: Vec<Reader> =
        (0..3).map(|_| rig.open(&Ask { lag: LagPolicy::Skip, ..Ask::default() }).opened()).collect();
    let sizes = [0, 1, 100, 40_000, 70_000, 300_000, 5, 1_000_000, 65_000, 65_000, 3];
    let drafts = sizes.iter().map(|&size| Draft::new("chat", "x".repeat(size))).collect();
    rig.engine.publish_batch(drafts, rig.now()).expect("all are valid");
    for reader in &mut readers {
        assert_eq!(sizes.map(|_| reader.data().len()), sizes);
    }
}
