//! Topics: several on one cursor, entered and left while reading, limited, freed when idle, closed.
#![cfg(not(loom))]

mod support;

use fanfare_engine::{
    Code, Draft, Engine, LagPolicy, PublishError, Pulled, Start, SubscribeError, Timestamp,
};
use support::*;

#[test]
fn several_topics_are_read_in_the_order_of_the_hub() {
    let engine = keeping(100);
    let reader = Reader::new(&engine, &["c", "a", "b"], Start::Live);
    let mut random = Random::new(3);
    let mut expected = Vec::new();
    for n in 0..200 {
        let topic = ["a", "b", "c", "unread"][random.below(4) as usize];
        put(&engine, topic, &n.to_string());
        if topic != "unread" {
            expected.push(n.to_string());
        }
        if random.below(10) == 0 {
            assert_eq!(reader.idle(), std::mem::take(&mut expected));
        }
    }
    assert_eq!(reader.idle(), expected);
}

#[test]
fn a_topic_is_added_from_now_on() {
    let engine = keeping(10);
    let reader = Reader::new(&engine, &["a"], Start::Live);
    put(&engine, "a", "a1");
    put(&engine, "b", "b2");
    assert_eq!(reader.subscription.add_topic("b", NOW), Ok(true), "before a1 is pulled");
    assert_eq!(reader.subscription.add_topic("b", NOW), Ok(false));
    put(&engine, "b", "b3");
    put(&engine, "a", "a4");
    assert_eq!(reader.idle(), ["a1", "b3", "a4"]);
    let mut names = Vec::new();
    reader.subscription.topic_names(&mut names);
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_topic_is_removed_at_once() {
    let engine = keeping(10);
    let reader = Reader::new(&engine, &["a", "b"], Start::Live);
    put_all(&engine, "b", &["b1", "b2"]);
    put(&engine, "a", "a3");
    assert!(reader.subscription.remove_topic("b"));
    assert!(!reader.subscription.remove_topic("b"));
    assert_eq!(reader.idle(), ["a3"]);
    put(&engine, "b", "b4");
    put(&engine, "a", "a5");
    assert_eq!(reader.idle(), ["a5"]);
    assert!(reader.subscription.remove_topic("a"));
    assert_eq!(reader.idle(), [""; 0], "without topics there is nothing, and no end");
    reader.subscription.add_topic("b", NOW).unwrap();
    put(&engine, "b", "b6");
    assert_eq!(reader.idle(), ["b6"]);
}

#[test]
fn an_added_topic_loses_like_others() {
    let engine = keeping(2);
    let reader = Reader::with_lag(&engine, &["a"], Start::Live, LagPolicy::Skip);
    put_all(&engine, "b", &["1", "2", "3"]);
    reader.subscription.add_topic("b", NOW).unwrap();
    put(&engine, "b", "4");
    assert_eq!(reader.idle(), ["4"], "losses before it was added are not its");
    put_all(&engine, "b", &["5", "6", "7"]);
    assert_eq!(reader.idle(), [&gap(5, &id(4), Some(&id(6)), Some(&id(7))), "6", "7"]);
}

#[test]
fn the_topics_of_a_reader_are_limited() {
    let engine = engine(|config| config.limits.topics_per_stream = 3);
    let reader = Reader::new(&engine, &["a", "b"], Start::Live);
    assert_eq!(reader.subscription.add_topic("c", NOW), Ok(true));
    let full = SubscribeError::TooManyTopics { limit: 3 };
    assert_eq!(reader.subscription.add_topic("d", NOW), Err(full));
    assert_eq!(engine.stats().topics, 3);
    assert!(reader.subscription.remove_topic("a"));
    assert_eq!(reader.subscription.add_topic("d", NOW), Ok(true));
    assert_eq!(reader.subscription.add_topic("bad\0", NOW).unwrap_err().code(), Code::InvalidTopic);
}

#[test]
fn the_topics_of_a_hub_are_limited() {
    let engine = engine(|config| config.limits.topics = 3);
    put(&engine, "a", "x");
    let reader = Reader::new(&engine, &["b"], Start::Live);
    assert!(engine.close_topic("c", NOW).unwrap());
    let error = engine.publish(Draft::new("d", "x"), NOW).unwrap_err();
    assert_eq!((error.code(), &error), (Code::LimitTopics, &PublishError::TopicLimit { limit: 3 }));
    assert!(error.to_string().contains("limits.topics"), "{error}");
    assert_eq!(engine.close_topic("d", NOW), Err(PublishError::TopicLimit { limit: 3 }));
    let limit = SubscribeError::TopicLimit { limit: 3 };
    assert_eq!(reader.subscription.add_topic("d", NOW), Err(limit.clone()));
    assert_eq!(Reader::open(&engine, &options(&["a", "d"], Start::Live)).err(), Some(limit));
    assert_eq!(engine.stats().topics, 3);
    put(&engine, "a", "y");
    assert_eq!(read(&engine, &["a", "b"], Start::All), ["x", "y"], "what is there goes on");
}

/// Reliability L4 at the engine: names without end, by publishing and by subscribing.
#[test]
fn a_flood_of_names_is_refused_at_the_limit_and_forgotten_when_idle() {
    let engine = engine(|config| {
        config.limits.topics = 1000;
        config.history.age_ms = 10_000;
        config.topic.idle_ms = 5_000;
    });
    let (mut taken, mut refused) = (0, 0);
    for n in 0..1_000_000_u32 {
        let name = n.to_string();
        let good = if n % 2 == 0 {
            engine.publish(Draft::new(name, "x"), NOW).is_ok()
        } else {
            Reader::open(&engine, &options(&[&name], Start::Live)).is_ok()
        };
        if good { taken += 1 } else { refused += 1 }
    }
    assert_eq!((taken, refused), (1000, 999_000));
    assert_eq!((engine.stats().topics, engine.stats().refused), (1000, 499_500));
    engine.handle_timeout(Timestamp(5_001));
    assert_eq!(engine.stats().topics, 500, "those that were never published to");
    engine.handle_timeout(Timestamp(10_001));
    let stats = engine.stats();
    assert_eq!((stats.topics, stats.subscriptions, stats.history_events, stats.history_bytes), (0, 0, 0, 0));
    assert_eq!(engine.poll_timeout(), None);
    put(&engine, "new", "x");
}

fn idle_after(age_ms: u64) -> Engine {
    engine(|config| {
        config.history.age_ms = age_ms;
        config.topic.idle_ms = 100;
    })
}

#[test]
fn a_topic_with_a_reader_or_an_event_stays() {
    let engine = idle_after(0);
    put(&engine, "full", "x");
    let reader = Reader::new(&engine, &["read"], Start::Live);
    drop(Reader::new(&engine, &["left"], Start::Live));
    engine.handle_timeout(Timestamp(100));
    assert_eq!(engine.stats().topics, 3, "not idle for long enough");
    engine.handle_timeout(Timestamp(101));
    assert_eq!(engine.stats().topics, 2);
    engine.handle_timeout(Timestamp(100_000));
    put(&engine, "read", "still here");
    assert_eq!(reader.idle(), ["still here"]);
    drop(reader);
    assert!(engine.topic_stats(10).iter().all(|topic| topic.subscribers == 0));
}

#[test]
fn a_reopened_topic_is_told_what_went_with_it() {
    let engine = idle_after(1000);
    put_all(&engine, "t", &["1", "2", "3"]);
    engine.handle_timeout(Timestamp(2000));
    engine.handle_timeout(Timestamp(3000));
    assert_eq!(engine.stats().topics, 0);
    for at in 0..3 {
        assert_eq!(read(&engine, &["t"], after(at)), [gap(3, &id(at), None, None)]);
    }
    assert_eq!(read(&engine, &["t"], after(3)), [""; 0]);
    assert_eq!(read(&engine, &["t"], Start::All), [""; 0]);
    engine.publish(Draft::new("t", "4"), Timestamp(3000)).unwrap();
    assert_eq!(read(&engine, &["t"], after(1)), [&gap(3, &id(1), Some(&id(4)), Some(&id(4))), "4"]);
    assert_eq!(read(&engine, &["t"], after(3)), ["4"]);
}

#[test]
fn closing_lets_readers_drain_and_end() {
    let engine = keeping(10);
    put(&engine, "t", "1");
    let live = Reader::new(&engine, &["t"], Start::Live);
    let behind = Reader::new(&engine, &["t"], Start::All);
    put(&engine, "t", "2");
    assert_eq!(engine.close_topic("t", NOW), Ok(true));
    assert_eq!(engine.close_topic("t", NOW), Ok(false));
    assert_eq!(live.until(Pulled::Ended), ["2"]);
    assert_eq!(behind.until(Pulled::Ended), ["1", "2"]);
    assert_eq!(behind.until(Pulled::Ended), [""; 0]);
    let error = engine.publish(Draft::new("t", "3"), NOW).unwrap_err();
    assert_eq!((error.code(), &error), (Code::TopicClosed, &PublishError::TopicClosed));
    assert_eq!(engine.stats().published, 2);
    assert_eq!(
        Reader::new(&engine, &["t"], Start::All).until(Pulled::Ended),
        ["1", "2"],
        "history is still there"
    );
    assert_eq!(Reader::open(&engine, &options(&["t"], Start::Live)).err(), Some(SubscribeError::Closed));
    assert_eq!(SubscribeError::Closed.code(), Code::TopicClosed);
}

#[test]
fn closing_one_of_several_ends_nothing() {
    let engine = keeping(10);
    let reader = Reader::new(&engine, &["a", "b"], Start::Live);
    put(&engine, "a", "1");
    engine.close_topic("a", NOW).unwrap();
    assert_eq!(reader.idle(), ["1"]);
    put(&engine, "b", "2");
    assert_eq!(reader.idle(), ["2"]);
    assert_eq!(reader.subscription.add_topic("a", NOW), Ok(false), "it is read already");
    assert!(reader.subscription.remove_topic("a"));
    assert_eq!(reader.subscription.add_topic("a", NOW), Err(SubscribeError::Closed));
    engine.close_topic("b", NOW).unwrap();
    assert_eq!(reader.until(Pulled::Ended), [""; 0]);
    assert!(Reader::open(&engine, &options(&["a", "open"], Start::Live)).is_ok());
}

#[test]
fn a_topic_can_be_closed_before_it_exists() {
    let engine = keeping(10);
    assert_eq!(engine.close_topic("t", NOW), Ok(true));
    assert_eq!(engine.publish(Draft::new("t", "x"), NOW), Err(PublishError::TopicClosed));
    assert_eq!(Reader::open(&engine, &options(&["t"], Start::All)).err(), Some(SubscribeError::Closed));
    assert_eq!(engine.close_topic("a\rb", NOW).unwrap_err().code(), Code::InvalidTopic);
    assert!(engine.topic_stats(1)[0].closed);
}

#[test]
fn a_closed_topic_is_remembered_as_long_as_events() {
    let engine = idle_after(10_000);
    engine.close_topic("t", NOW).unwrap();
    engine.handle_timeout(Timestamp(10_000));
    assert_eq!(engine.publish(Draft::new("t", "x"), NOW), Err(PublishError::TopicClosed));
    engine.handle_timeout(Timestamp(10_001));
    assert_eq!(
        engine.publish(Draft::new("t", "x"), NOW).map(|p| p.seq),
        Ok(1),
        "then the name is free again"
    );
}

#[test]
fn names_are_bytes() {
    let engine = keeping(10);
    let names = ["caf\u{e9}", "cafe\u{301}", "Chat", "chat", "chat ", "chat/", "a/b", "a%2Fb", "*"];
    for name in names {
        put(&engine, name, name);
    }
    for name in names {
        assert_eq!(read(&engine, &[name], Start::All), [name]);
    }
}
