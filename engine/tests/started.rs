//! Publishing that awaits the disk without a thread.
#![cfg(not(loom))]

#[path = "support/journal.rs"]
mod journal;
mod support;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use fanfare_engine::{Draft, Engine, PublishError, Published, Start, Started, Timestamp};
use journal::Memory;
use support::*;

const NOW: Timestamp = Timestamp(0);

fn poll<T>(started: &mut Started<T>, waker: &Waker) -> Poll<Result<T, PublishError>> {
    pin!(started).poll(&mut Context::from_waker(waker))
}

fn start(engine: &Engine, data: &str) -> Started<Published> {
    engine.start_publish(Draft::new("t", data), NOW).expect("is taken")
}

#[test]
fn one_that_nobody_waits_for_is_done_at_once() {
    for engine in [Memory::new().engine(10), keeping(10)] {
        let reader = Reader::new(&engine, &["t"], Start::Live);
        assert!(engine.has_room(1));
        let mut started = start(&engine, "a");
        assert!(started.is_done());
        assert_eq!(reader.idle(), ["a"]);
        started.write_if_quick();
        assert!(matches!(poll(&mut started, Waker::noop()), Poll::Ready(Ok(Published { seq: 1, .. }))));
        assert_eq!(start(&engine, "b").wait().map(|done| done.seq), Ok(2));
    }
}

#[test]
fn who_awaits_the_disk_is_woken_when_it_has_written() {
    let memory = Memory::new();
    let engine = memory.engine(10);
    memory.wait_for_disk();
    let reader = Reader::new(&engine, &["t"], Start::Live);
    let bells = [Wakes::new(), Wakes::new(), Wakes::new()];
    let mut started = ["a", "b", "c"].map(|data| start(&engine, data));
    for (started, (_, waker)) in started.iter_mut().zip(&bells) {
        assert!(!started.is_done());
        assert!(poll(started, waker).is_pending());
    }
    memory.settle(1, Ok(()));
    assert_eq!(bells.each_ref().map(|(bell, _)| bell.take()), [1, 0, 0]);
    let [a, b, c] = &mut started;
    assert!(poll(b, &bells[1].1).is_pending());
    // Who asks makes visible all that is settled, also of others.
    assert!(reader.idle().is_empty());
    assert!(matches!(poll(a, &bells[0].1), Poll::Ready(Ok(Published { seq: 1, .. }))));
    assert_eq!(reader.idle(), ["a"]);
    memory.settle(1, Err("the disk is full"));
    let refused = PublishError::NotStored { reason: "the disk is full".into() };
    assert_eq!(poll(b, &bells[1].1), Poll::Ready(Err(refused)));
    memory.settle(1, Ok(()));
    assert!(matches!(poll(c, &bells[2].1), Poll::Ready(Ok(Published { seq: 3, .. }))));
    assert_eq!(reader.idle(), ["c"]);
    assert_eq!((engine.stats().published, engine.stats().refused), (2, 1));
}

#[test]
fn one_that_fails_before_those_ahead_of_it_waits_for_them() {
    let memory = Memory::new();
    let engine = memory.engine(10);
    memory.wait_for_disk();
    let mut first = start(&engine, "a");
    let (bell, waker) = Wakes::new();
    let mut batch =
        engine.start_publish_batch(vec![Draft::new("t", "b"), Draft::new("u", "c")], NOW).expect("is taken");
    memory.settle_last(Err("what it builds on was not stored"));
    assert!(poll(&mut batch, &waker).is_pending(), "the one before it is not known");
    memory.settle(1, Ok(()));
    assert_eq!(bell.take(), 1);
    assert!(matches!(poll(&mut batch, &waker), Poll::Ready(Err(PublishError::NotStored { .. }))));
    assert!(matches!(poll(&mut first, &waker), Poll::Ready(Ok(_))));
    assert_eq!(engine.stats().refused, 2);
}

#[test]
fn one_whose_publisher_has_gone_goes_on_by_itself() {
    let memory = Memory::new();
    let engine = memory.engine(10);
    memory.wait_for_disk();
    let reader = Reader::new(&engine, &["t"], Start::Live);
    let (bell, waker) = Wakes::new();
    reader.watcher.set_waker(&waker);
    assert!(reader.idle().is_empty());
    assert!(reader.watcher.park());
    drop(start(&engine, "never asked"));
    let mut asked = start(&engine, "asked once");
    assert!(poll(&mut asked, Waker::noop()).is_pending());
    drop(asked);
    drop(start(&engine, "fails"));
    memory.settle(2, Ok(()));
    assert_eq!(bell.take(), 1, "the reader is woken");
    assert_eq!(reader.idle(), ["never asked", "asked once"]);
    memory.settle(1, Err("torn"));
    assert_eq!((engine.stats().published, engine.stats().refused), (2, 1));
    assert!(!start(&engine, "next").is_done());
    memory.settle(1, Ok(()));
    assert_eq!(reader.idle(), ["next"]);
}

#[test]
fn where_there_is_no_room_it_says_so() {
    let memory = Memory::new();
    let engine = memory.engine(10);
    memory.say_full(1);
    assert!(!engine.has_room(1));
    assert!(start(&engine, "a").is_done(), "it waited for room");
    assert!(engine.has_room(1));
    memory.refuse(Some("META: no space left on device"));
    assert!(!engine.has_room(1));
    let refused = engine.start_publish(Draft::new("t", "b"), NOW).expect_err("is refused");
    assert_eq!(refused.to_string(), "it could not be stored: META: no space left on device");
    assert_eq!(engine.stats().refused, 1);
}
