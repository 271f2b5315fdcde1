//! The snapshot: what it counts, that it does not change afterwards, and that nothing is left behind.
#![cfg(not(loom))]

mod support;

use fanfare_engine::{Draft, Start};
use support::*;

#[test]
fn everything_is_counted() {
    let engine = keeping(2);
    let before = engine.stats();
    assert_eq!(before, Default::default());
    put_all(&engine, "a", &["1", "2", "3"]);
    put(&engine, "b", "4");
    assert!(engine.publish(Draft::new("a", "x").with_id("\0"), NOW).is_err());
    let reader = Reader::new(&engine, &["a", "b"], after(0));
    let (frames, _) = reader.frames();
    assert_eq!(frames.len(), 4);
    let stats = engine.stats();
    assert_eq!((stats.published, stats.refused, stats.dropped, stats.gaps, stats.lapped), (4, 1, 0, 1, 0));
    assert_eq!((stats.history_events, stats.topics, stats.subscriptions), (3, 2, 1));
    assert!(stats.published_bytes > 0 && stats.history_bytes > stats.published_bytes / 2);
    assert_eq!(before, Default::default(), "a snapshot stays as it was");
}

#[test]
fn topics_come_by_activity() {
    let engine = keeping(2);
    for topic in ["a", "b", "c", "a"] {
        put(&engine, topic, "x");
    }
    let reader = Reader::new(&engine, &["b", "never"], Start::Live);
    reader.subscription.set_readers(5);
    engine.close_topic("c", NOW).unwrap();
    let topics = engine.topic_stats(10);
    let names: Vec<&str> = topics.iter().map(|topic| &*topic.name).collect();
    assert_eq!(names, ["a", "c", "b", "never"]);
    assert_eq!(engine.topic_stats(2).len(), 2);
    let a = &topics[0];
    assert_eq!((a.published, a.events, a.subscribers, a.last_seq, a.closed), (2, 2, 0, 4, false));
    assert_eq!((a.oldest.as_deref(), a.newest.as_deref()), (Some(&*id(1)), Some(&*id(4))));
    assert_eq!((topics[1].closed, topics[2].subscribers, topics[3].subscribers), (true, 5, 5));
    assert_eq!((topics[3].oldest.as_ref(), topics[3].events, topics[3].last_seq), (None, 0, 0));
    drop(reader);
    assert!(engine.topic_stats(10).iter().all(|topic| topic.subscribers == 0));
}

#[test]
fn readers_are_counted_per_topic() {
    let engine = keeping(2);
    let subscribers = || {
        let mut counts: Vec<_> = engine.topic_stats(9).into_iter().map(|t| (t.name, t.subscribers)).collect();
        counts.sort();
        counts.into_iter().map(|(_, count)| count).collect::<Vec<_>>()
    };
    let first = Reader::new(&engine, &["a", "b"], Start::Live);
    let second = Reader::new(&engine, &["b"], Start::Live);
    assert_eq!(subscribers(), [1, 2]);
    first.subscription.set_readers(3);
    first.subscription.add_topic("c", NOW).unwrap();
    assert_eq!(subscribers(), [3, 4, 3]);
    first.subscription.remove_topic("b");
    assert_eq!(subscribers(), [3, 1, 3]);
    first.subscription.set_readers(0);
    assert_eq!(subscribers(), [0, 1, 0]);
    drop((first, second));
    assert_eq!(subscribers(), [0, 0, 0]);
}

#[test]
fn subscriptions_are_found_by_key_while_they_live() {
    let engine = keeping(2);
    let reader = Reader::new(&engine, &["a"], Start::Live);
    let key = reader.subscription.key();
    assert_eq!(engine.subscription(key).map(|found| found.key()), Some(key));
    let clone = reader.subscription.clone();
    drop(reader);
    assert!(engine.subscription(key).is_some(), "a clone is the same subscription");
    drop(clone);
    assert!(engine.subscription(key).is_none());
    let next = Reader::new(&engine, &["a"], Start::Live);
    assert!(engine.subscription(key).is_none(), "a stale key names nobody");
    assert_ne!(next.subscription.key(), key);
    assert_eq!(engine.stats().subscriptions, 1);
}

/// When the last handle is gone, so is everything: frames are what history, marks and cursors are made of.
#[test]
fn nothing_outlives_its_owners() {
    let engine = keeping(3);
    let reader = Reader::new(&engine, &["a", "b"], Start::Live);
    put_all(&engine, "a", &["1", "2", "3", "4"]);
    let (frames, _) = Reader::new(&engine, &["a"], Start::All).frames();
    let weak: Vec<_> = frames.iter().map(|frame| frame.downgrade()).collect();
    drop(frames);
    assert!(weak.iter().all(|frame| frame.upgrade().is_some()), "held by history");
    put(&engine, "a", "5");
    assert!(weak[0].upgrade().is_none(), "an evicted event nobody writes is gone");
    let clone = engine.clone();
    drop(engine);
    assert!(weak[1].upgrade().is_some(), "a clone is the same engine");
    drop(clone);
    assert!(weak[1].upgrade().is_some(), "a subscription keeps its engine");
    drop(reader);
    assert!(weak.iter().all(|frame| frame.upgrade().is_none()));
}

#[test]
fn a_waker_is_given_back_with_its_watcher() {
    let (wakes, waker) = Wakes::new();
    let engine = keeping(3);
    let reader = Reader::new(&engine, &["a", "b"], Start::Live);
    reader.watcher.set_waker(&waker);
    drop(waker);
    put(&engine, "a", "1");
    reader.subscription.add_topic("c", NOW).unwrap();
    drop(reader);
    assert_eq!(std::sync::Arc::strong_count(&wakes), 1, "no mark of a topic holds the watcher");
}
