//! What history lets go, when, and that every counter agrees with what is left.
#![cfg(not(loom))]

mod support;

use fanfare_engine::{Draft, Engine, LagPolicy, Start, Timestamp};
use support::*;

const YEAR: u64 = 365 * 86_400_000;

/// What is left of a topic, oldest first.
fn left(engine: &Engine, topic: &str) -> Vec<String> {
    read(engine, &[topic], Start::All)
}

/// The hub's counters are the sums of its topics', and those of what can be read.
fn counters_agree(engine: &Engine) {
    let (stats, topics) = (engine.stats(), engine.topic_stats(usize::MAX));
    assert_eq!(topics.len(), stats.topics);
    assert_eq!(topics.iter().map(|topic| topic.events).sum::<u64>(), stats.history_events);
    assert_eq!(topics.iter().map(|topic| topic.bytes).sum::<u64>(), stats.history_bytes);
    for topic in topics {
        let reader = Reader::new(engine, &[&topic.name], Start::All);
        let (frames, _) = reader.frames();
        assert_eq!(frames.len() as u64, topic.events, "{}", topic.name);
        let ids = |frame: Option<&fanfare_engine::Frame>| frame.map(|frame| frame.id().to_owned());
        assert_eq!((ids(frames.first()), ids(frames.last())), (topic.oldest, topic.newest));
    }
}

#[test]
fn by_count() {
    for events in [1, 2, 3, 7, 8, 9, 100] {
        let engine = keeping(events);
        for n in 0..3 * events {
            put(&engine, "t", &n.to_string());
            counters_agree(&engine);
        }
        let expected: Vec<String> = (2 * events..3 * events).map(|n| n.to_string()).collect();
        assert_eq!(left(&engine, "t"), expected);
    }
}

#[test]
fn by_bytes_of_a_topic() {
    let engine = engine(|config| config.history.bytes = 10_000);
    for n in 0..100_u64 {
        let size = 10 + (n * 37) % 900;
        put(&engine, "t", &"x".repeat(size as usize));
        put(&engine, "small", "s");
        let stats = engine.topic_stats(2);
        let topic = stats.iter().find(|topic| topic.name == "t").unwrap();
        assert!(topic.bytes <= 10_000 && topic.bytes > size, "{} bytes", topic.bytes);
        assert!(n < 20 || topic.bytes > 8_000, "no more is let go than needed: {} bytes", topic.bytes);
        counters_agree(&engine);
    }
    put(&engine, "t", &"x".repeat(50_000));
    assert_eq!(left(&engine, "t").len(), 1, "the newest stays whatever its size");
    put(&engine, "t", "y");
    assert_eq!(left(&engine, "t"), ["y"]);
    assert!(left(&engine, "small").len() > 20, "another topic has bytes of its own");
    counters_agree(&engine);
}

#[test]
fn by_age() {
    let engine = engine(|config| config.history.age_ms = 1000);
    for n in 0..10 {
        engine.publish(Draft::new("t", n.to_string()), Timestamp(n * 100)).unwrap();
    }
    engine.handle_timeout(Timestamp(999));
    assert_eq!(left(&engine, "t").len(), 10);
    engine.handle_timeout(Timestamp(1000));
    assert_eq!(left(&engine, "t").len(), 9, "an event is kept for less than its age");
    engine.handle_timeout(Timestamp(1499));
    assert_eq!(left(&engine, "t"), ["5", "6", "7", "8", "9"]);
    counters_agree(&engine);
    engine.handle_timeout(Timestamp(1900));
    assert_eq!(left(&engine, "t"), [""; 0]);
    counters_agree(&engine);
    let told = gap(10, &id(3), None, None);
    assert_eq!(read(&engine, &["t"], after(3)), [told], "what age has taken is told as well");
    assert_eq!(read(&engine, &["t"], after(10)), [""; 0]);
}

#[test]
fn without_an_age_nothing_is_too_old() {
    let engine = keeping(10);
    put(&engine, "t", "a");
    engine.handle_timeout(Timestamp(100 * YEAR));
    assert_eq!(left(&engine, "t"), ["a"]);
}

#[test]
fn every_topic_is_swept() {
    let engine = engine(|config| config.history.age_ms = 1000);
    for n in 0..500 {
        engine.publish(Draft::new(format!("t{n}"), "x"), Timestamp(n)).unwrap();
    }
    engine.handle_timeout(Timestamp(1249));
    assert_eq!(engine.stats().history_events, 250);
    engine.handle_timeout(Timestamp(2000));
    assert_eq!((engine.stats().history_events, engine.stats().history_bytes), (0, 0));
}

#[test]
fn a_long_topic_is_swept_to_its_end() {
    let engine = engine(|config| {
        config.history.events = 10_000;
        config.history.age_ms = 1000;
    });
    for n in 0..10_000 {
        engine.publish(Draft::new(["t", "u"][n % 2], "x"), NOW).unwrap();
    }
    engine.handle_timeout(Timestamp(1001));
    assert_eq!((engine.stats().history_events, engine.stats().history_bytes), (0, 0));
}

#[test]
fn what_is_kept_beside_the_bytes_counts() {
    let bytes = |draft: Draft<'_>| {
        let engine = keeping(10);
        put_draft(&engine, draft).unwrap();
        engine.stats().history_bytes
    };
    let (plain, long) = (Draft::new("t", "d"), "x".repeat(128));
    let base = bytes(plain.clone());
    assert!(bytes(plain.clone().with_id(&*long)) >= base + 2 * 128, "once in its line, once in the index");
    assert!(bytes(Draft { key: Some((&*long).into()), ..plain.clone() }) >= base + 128);
    assert!(bytes(Draft { except: Some((&*long).into()), ..plain }) >= base + 128);
}

#[test]
fn the_hub_lets_go_its_oldest_events() {
    let engine = engine(|config| {
        config.limits.event_bytes = 100_000;
        config.limits.history_bytes = 1 << 20;
    });
    let data = "x".repeat(50_000);
    for n in 0..100 {
        put(&engine, &format!("t{}", n % 5), &data);
        let stats = engine.stats();
        assert!(stats.history_bytes <= 1 << 20);
        let mut kept: Vec<u64> = Vec::new();
        for topic in 0..5 {
            let (frames, _) = Reader::new(&engine, &[&format!("t{topic}")], Start::All).frames();
            kept.extend(frames.iter().map(|frame| frame.seq()));
        }
        kept.sort_unstable();
        let newest: Vec<u64> = (stats.published - kept.len() as u64 + 1..=stats.published).collect();
        assert_eq!(kept, newest, "the newest events of the hub are kept, across topics");
    }
    assert!(engine.stats().history_events >= 20);
    counters_agree(&engine);
}

#[test]
fn the_newest_event_stays_even_if_it_is_larger_than_the_hub() {
    let engine = engine(|config| {
        config.limits.event_bytes = 500_000;
        config.limits.history_bytes = 1 << 20;
    });
    let reader = Reader::new(&engine, &["t"], Start::Live);
    put(&engine, "other", "gone");
    put(&engine, "t", &"\n".repeat(400_000));
    assert!(engine.stats().history_bytes > 1 << 20, "every line end has become a line");
    assert_eq!(reader.frames().0.len(), 1, "live readers have not seen it yet");
    assert_eq!(left(&engine, "other"), [""; 0]);
    put(&engine, "t", "next");
    assert_eq!(left(&engine, "t"), ["next"]);
}

#[test]
fn many_topics_stay_within_the_bytes_of_the_hub() {
    let engine = engine(|config| {
        config.limits.event_bytes = 1000;
        config.limits.history_bytes = 1 << 20;
    });
    let mut random = Random::new(7);
    for n in 0..20_000 {
        put(&engine, &format!("t{}", random.below(2000)), &"x".repeat(random.below(1000) as usize));
        if n % 100 == 0 {
            assert!(engine.stats().history_bytes <= 1 << 20);
        }
    }
    counters_agree(&engine);
    assert!(engine.stats().history_bytes > (1 << 20) - 2000, "and use them");
}

#[test]
fn what_conflation_keeps_does_not_shrink_the_ring() {
    let engine = engine(|config| {
        config.history.events = 8;
        config.history.bytes = 20_000;
    });
    let reader = Reader::with_lag(&engine, &["t"], Start::Live, LagPolicy::Conflate);
    for n in 0..200 {
        put_draft(&engine, keyed("t", &format!("k{n}"), &"x".repeat(1000))).unwrap();
    }
    assert_eq!(left(&engine, "t").len(), 8, "a reader that does not conflate has its full history");
    let bytes = engine.stats().history_bytes;
    assert!(bytes <= 2 * 20_000, "twice history.bytes at most: {bytes}");
    drop(reader);
    assert!(engine.stats().history_bytes < 12_000, "what was kept for the reader goes with it");
    counters_agree(&engine);
}

#[test]
fn what_conflation_keeps_counts_for_the_hub() {
    let engine = engine(|config| {
        config.history.events = 4;
        config.limits.event_bytes = 10_000;
        config.limits.history_bytes = 1 << 20;
    });
    let names: Vec<String> = (0..8).map(|n| format!("t{n}")).collect();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let reader = Reader::with_lag(&engine, &topics, Start::Live, LagPolicy::Conflate);
    for n in 0..2000 {
        put_draft(&engine, keyed(topics[n % 8], &format!("k{n}"), &"x".repeat(5000))).unwrap();
        assert!(engine.stats().history_bytes <= 1 << 20);
    }
    assert_eq!(engine.stats().history_events, 32, "what is kept goes before what the rings hold");
    let (frames, _) = reader.frames();
    assert!(frames[0].is_gap());
    let seqs: Vec<u64> = frames[1..].iter().map(|frame| frame.seq()).collect();
    assert!(seqs.len() > 150 && seqs.is_sorted_by(|a, b| a < b), "{} events", seqs.len());
    drop(reader);
    counters_agree(&engine);
}

#[test]
fn time_that_jumps_does_no_harm() {
    let engine = engine(|config| config.history.age_ms = 3_600_000);
    let at = |ms| Timestamp(ms);
    engine.publish(Draft::new("t", "a"), at(2 * YEAR)).unwrap();
    engine.publish(Draft::new("t", "b"), at(YEAR)).unwrap();
    engine.handle_timeout(at(0));
    assert_eq!(left(&engine, "t"), ["a", "b"], "back a year: no time has passed");
    assert_eq!(engine.poll_timeout(), Some(at(2 * YEAR + 1000)));
    engine.publish(Draft::new("t", "c"), at(3 * YEAR)).unwrap();
    engine.handle_timeout(at(3 * YEAR));
    assert_eq!(left(&engine, "t"), ["c"], "forward a year: only what is new is young");
    engine.handle_timeout(at(u64::MAX));
    assert_eq!(left(&engine, "t"), [""; 0]);
    engine.publish(Draft::new("t", "d"), at(0)).unwrap();
    assert_eq!(left(&engine, "t"), ["d"]);
    assert_eq!(engine.poll_timeout(), Some(at(u64::MAX)), "the end of time is no overflow");
    assert_eq!(engine.newest(), 4, "order and ids are untouched");
}

#[test]
fn own_ids_go_with_their_events() {
    let engine = keeping(2);
    for n in 0..10 {
        put_draft(&engine, Draft::new("t", n.to_string()).with_id(format!("own{n}"))).unwrap();
    }
    for (n, expected) in [(8, vec!["9"]), (9, vec![])] {
        assert_eq!(read(&engine, &["t"], Start::After(format!("own{n}").into())), expected);
    }
    let told = gap(8, "own7", Some("own8"), Some("own9"));
    assert_eq!(read(&engine, &["t"], Start::After("own7".into())), [&told, "8", "9"]);
}
