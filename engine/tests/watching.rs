//! Waking: once for however much, never too few, and only who is interested.
#![cfg(not(loom))]

mod support;

use std::task::{Context, Poll};

use fanfare_engine::{Draft, Pulled, Start};
use support::*;

#[test]
fn many_events_wake_once_until_parked() {
    let engine = keeping(10);
    let reader = Reader::new(&engine, &["t"], Start::Live);
    let (wakes, waker) = Wakes::new();
    reader.watcher.set_waker(&waker);
    assert!(reader.watcher.park());
    for round in 0..5 {
        for _ in 0..100 {
            put(&engine, "t", "x");
        }
        assert_eq!(wakes.take(), 1, "round {round}");
        let mut dirty = Vec::new();
        reader.watcher.take_dirty(&mut dirty);
        let mut keys = Vec::new();
        reader.subscription.topic_keys(&mut keys);
        assert_eq!(dirty, keys);
        put(&engine, "t", "while awake");
        assert_eq!(wakes.take(), 0, "who is awake is not woken");
        assert!(!reader.watcher.park(), "but may not sleep");
        reader.watcher.take_dirty(&mut dirty);
        assert!(reader.watcher.park());
    }
}

#[test]
fn each_dirty_topic_is_named_once() {
    let engine = keeping(10);
    let watcher = engine.watcher();
    let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let subscriptions: Vec<_> = names
        .iter()
        .flat_map(|name| {
            [0, 1, 2].map(|_| engine.subscribe(&watcher, &options(&[name], Start::Live), NOW).unwrap())
        })
        .collect();
    for _ in 0..10 {
        for name in &names[5..15] {
            put(&engine, name, "x");
        }
    }
    let mut dirty = Vec::new();
    watcher.take_dirty(&mut dirty);
    let mut expected = Vec::new();
    subscriptions[15].topic_keys(&mut expected);
    assert_eq!((dirty.len(), dirty[0]), (10, expected[0]));
    drop(subscriptions);
    watcher.take_dirty(&mut dirty);
    put(&engine, "7", "x");
    dirty.clear();
    watcher.take_dirty(&mut dirty);
    assert_eq!(dirty, [], "who left is not marked");
}

#[test]
fn only_the_interested_are_woken() {
    let engine = keeping(10);
    let (a, b) = (Reader::new(&engine, &["a"], Start::Live), Reader::new(&engine, &["b"], Start::Live));
    let ((wakes_a, waker_a), (wakes_b, waker_b)) = (Wakes::new(), Wakes::new());
    a.watcher.set_waker(&waker_a);
    b.watcher.set_waker(&waker_b);
    assert!(a.watcher.park() && b.watcher.park());
    put(&engine, "a", "x");
    put(&engine, "c", "x");
    assert_eq!((wakes_a.take(), wakes_b.take()), (1, 0));
    assert!(engine.publish(Draft::new("b", "x").with_id("\0"), NOW).is_err());
    assert_eq!(wakes_b.take(), 0, "what is refused wakes nobody");
    b.subscription.remove_topic("b");
    put(&engine, "b", "x");
    assert_eq!(wakes_b.take(), 0);
    b.subscription.add_topic("a", NOW).unwrap();
    put(&engine, "a", "x");
    assert_eq!(wakes_b.take(), 1);
}

#[test]
fn one_that_leaves_does_not_silence_the_others_of_its_watcher() {
    let engine = keeping(10);
    let watcher = engine.watcher();
    let (wakes, waker) = Wakes::new();
    watcher.set_waker(&waker);
    let subscribe = || engine.subscribe(&watcher, &options(&["t"], Start::Live), NOW).unwrap();
    let (first, second, third) = (subscribe(), subscribe(), subscribe());
    let mut dirty = Vec::new();
    for leaving in [first, third] {
        drop(leaving);
        assert!(watcher.park());
        put(&engine, "t", "x");
        assert_eq!(wakes.take(), 1);
        watcher.take_dirty(&mut dirty);
    }
    drop(second);
    assert!(watcher.park());
    put(&engine, "t", "x");
    assert_eq!(wakes.take(), 0);
}

#[test]
fn closing_wakes_readers() {
    let engine = keeping(10);
    let reader = Reader::new(&engine, &["t"], Start::Live);
    let (wakes, waker) = Wakes::new();
    reader.watcher.set_waker(&waker);
    assert!(reader.watcher.park());
    engine.close_topic("t", NOW).unwrap();
    assert_eq!(wakes.take(), 1);
    assert_eq!(reader.until(Pulled::Ended), [""; 0]);
}

#[test]
fn a_wake_without_an_event() {
    let engine = keeping(10);
    let watcher = engine.watcher();
    let (wakes, waker) = Wakes::new();
    watcher.wake();
    watcher.set_waker(&waker);
    assert!(watcher.park());
    watcher.wake();
    watcher.wake();
    assert_eq!(wakes.take(), 1);
    assert!(watcher.park(), "nothing is dirty");
}

#[test]
fn a_later_waker_replaces_the_earlier_one() {
    let engine = keeping(10);
    let reader = Reader::new(&engine, &["t"], Start::Live);
    let ((first, first_waker), (second, second_waker)) = (Wakes::new(), Wakes::new());
    reader.watcher.set_waker(&first_waker);
    reader.watcher.set_waker(&second_waker);
    assert!(reader.watcher.park());
    put(&engine, "t", "x");
    assert_eq!((first.take(), second.take()), (0, 1));
}

#[test]
fn poll_is_pending_until_something_is_there() {
    let engine = keeping(10);
    let reader = Reader::new(&engine, &["t"], Start::Live);
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    let mut out = Vec::new();
    for n in 0..3 {
        assert_eq!(reader.subscription.poll(&mut cx, &mut out, 1), Poll::Pending);
        put(&engine, "t", "a");
        put(&engine, "t", "b");
        assert_eq!(wakes.take(), 1);
        let mut polls = Vec::new();
        while let Poll::Ready(pulled) = reader.subscription.poll(&mut cx, &mut out, 1) {
            polls.push(pulled);
        }
        assert_eq!(polls, [Pulled::More; 2], "one for each event, never Ready(Idle)");
        assert_eq!(out.len(), 2 * (n + 1));
    }
    put(&engine, "t", "c");
    let polled = reader.subscription.poll(&mut cx, &mut out, usize::MAX);
    assert_eq!((polled, out.len()), (Poll::Ready(Pulled::More), 7), "not pending with a frame in hand");
    engine.close_topic("t", NOW).unwrap();
    assert_eq!(reader.subscription.poll(&mut cx, &mut out, 1), Poll::Ready(Pulled::Ended));
}

#[test]
fn a_crowd_is_woken_each_once() {
    let engine = keeping(10);
    let crowd: Vec<_> = (0..100).map(|_| (Reader::new(&engine, &["t"], Start::Live), Wakes::new())).collect();
    let leave_holes = |at: &usize| at % 7 == 3;
    let crowd: Vec<_> =
        crowd.into_iter().enumerate().filter(|(at, _)| !leave_holes(at)).map(|(_, reader)| reader).collect();
    for round in 0..3 {
        for (reader, (_, waker)) in &crowd {
            reader.watcher.take_dirty(&mut Vec::new());
            reader.watcher.set_waker(waker);
            assert!(reader.watcher.park());
        }
        put(&engine, "t", "x");
        put(&engine, "t", "y");
        assert!(crowd.iter().all(|(_, (wakes, _))| wakes.take() == 1), "round {round}");
    }
}

#[test]
fn who_leaves_its_last_open_topic_has_ended() {
    let engine = keeping(10);
    let reader = Reader::new(&engine, &["open", "closed"], Start::Live);
    let (_, waker) = Wakes::new();
    let mut frames = Vec::new();
    let mut poll = || reader.subscription.poll(&mut Context::from_waker(&waker), &mut frames, 1000);
    assert_eq!(poll(), Poll::Pending);
    assert_eq!(engine.close_topic("closed", NOW), Ok(true));
    assert_eq!(poll(), Poll::Pending);
    assert!(reader.subscription.remove_topic("open"));
    assert_eq!(poll(), Poll::Ready(Pulled::Ended));
}
