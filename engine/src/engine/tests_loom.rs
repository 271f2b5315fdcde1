//! Models of a whole engine: publishing against subscribing, pulling, closing and leaving. At
//! LOOM_MAX_PREEMPTIONS=3 each takes up to 5 s.

use std::task::{Context, Poll, Waker};

use loom::thread;

use super::{Engine, PublishError};
use crate::config::Config;
use crate::draft::Draft;
use crate::id::Epoch;
use crate::subscription::{LagPolicy, Pulled, Start, SubscribeError, SubscribeOptions, Subscription};
use crate::sync::{Arc, Bell};
use crate::time::Timestamp;
use crate::wire::Frame;

const NOW: Timestamp = Timestamp(0);

fn engine(events: u32) -> Engine {
    let mut config = Config::new(Epoch::from_seed(0));
    config.history.events = events;
    Engine::new(config).expect("a valid configuration")
}

pub(super) fn put(engine: &Engine, key: &'static str) {
    engine.publish(Draft { key: Some(key.into()), ..Draft::new("t", key) }, NOW).expect("is taken");
}

pub(super) fn try_subscribe(
    engine: &Engine,
    start: Start<'_>,
    lag: LagPolicy,
) -> Result<Subscription, SubscribeError> {
    let options = SubscribeOptions { topics: vec!["t".into()], start, lag, ..Default::default() };
    engine.subscribe(&engine.watcher(), &options, NOW)
}

pub(super) fn subscribe(engine: &Engine, start: Start<'_>, lag: LagPolicy) -> Subscription {
    try_subscribe(engine, start, lag).expect("can be read")
}

/// Pulls until nothing more is there now.
pub(super) fn drain(reader: &Subscription, out: &mut Vec<Frame>) -> Pulled {
    loop {
        match reader.pull(out, usize::MAX) {
            // The publisher is at it: let it go on.
            Pulled::More => thread::yield_now(),
            end => return end,
        }
    }
}

/// Reads, sleeping in between, until `done`.
pub(super) fn read_until(
    reader: &Subscription,
    mut done: impl FnMut(&[Frame], Option<Pulled>) -> bool,
) -> Vec<Frame> {
    let bell = Bell::new();
    let waker = Waker::from(Arc::clone(&bell));
    let mut cx = Context::from_waker(&waker);
    let mut out = Vec::new();
    loop {
        let polled = reader.poll(&mut cx, &mut out, usize::MAX);
        let pulled = if let Poll::Ready(pulled) = polled { Some(pulled) } else { None };
        if done(&out, pulled) {
            return out;
        }
        match pulled {
            None => bell.wait(),
            Some(_) => thread::yield_now(),
        }
    }
}

pub(super) fn seqs(frames: &[Frame]) -> Vec<u64> {
    frames.iter().filter(|frame| !frame.is_gap()).map(Frame::seq).collect()
}

/// Whether what came after position `at` is in order and every hole told; the last position.
fn last_without_untold_holes(mut at: u64, frames: &[Frame]) -> u64 {
    let mut told = false;
    for frame in frames {
        if frame.is_gap() {
            told = true;
        } else {
            assert!(frame.seq() > at, "twice or out of order: {frames:?}");
            assert!(frame.seq() == at + 1 || told, "an untold hole before {frame:?}: {frames:?}");
            (at, told) = (frame.seq(), false);
        }
    }
    at
}

/// Between replay and live is no seam: who subscribes while events are published gets each once.
#[test]
fn loom_the_seam_of_subscribing() {
    loom::model(|| {
        let engine = engine(4);
        put(&engine, "a");
        let publisher = {
            let engine = engine.clone();
            thread::spawn(move || {
                put(&engine, "b");
                put(&engine, "c");
            })
        };
        let reader =
            subscribe(&engine, Start::After(engine.id_of(0).to_string().into()), LagPolicy::Disconnect);
        let frames = read_until(&reader, |frames, _| frames.len() >= 3);
        assert_eq!(seqs(&frames), [1, 2, 3]);
        publisher.join().expect("no panic");
        drop(reader);
    });
}

/// A live reader gets the end of what is published, from some event on, without a hole.
#[test]
fn loom_live_begins_somewhere_and_misses_nothing_after() {
    loom::model(|| {
        let engine = engine(4);
        put(&engine, "a");
        let publisher = {
            let engine = engine.clone();
            thread::spawn(move || {
                put(&engine, "b");
                put(&engine, "c");
            })
        };
        let reader = subscribe(&engine, Start::Live, LagPolicy::Disconnect);
        let first = reader.cursor() + 1;
        let frames = match first {
            4 => Vec::new(),
            _ => read_until(&reader, |frames, _| frames.last().is_some_and(|frame| frame.seq() == 3)),
        };
        assert_eq!(seqs(&frames), (first..=3).collect::<Vec<_>>());
        publisher.join().expect("no panic");
    });
}

/// Every hole is told before the event behind it, whatever the ring does meanwhile.
#[test]
fn loom_skip_tells_every_hole() {
    loom::model(|| {
        let engine = engine(1);
        let reader = subscribe(&engine, Start::Live, LagPolicy::Skip);
        let publisher = {
            let engine = engine.clone();
            thread::spawn(move || {
                for key in ["a", "b", "c"] {
                    put(&engine, key);
                }
            })
        };
        let mut out = Vec::new();
        for _ in 0..2 {
            let _ = reader.pull(&mut out, usize::MAX);
        }
        publisher.join().expect("no panic");
        assert_eq!(drain(&reader, &mut out), Pulled::Idle);
        assert_eq!(last_without_untold_holes(0, &out), 3);
    });
}

/// A first visit does not miss what was there before it, but is told what came and went since.
#[test]
fn loom_a_first_visit_is_told_what_came_after_it() {
    loom::model(|| {
        let engine = engine(2);
        put(&engine, "a");
        put(&engine, "b");
        let reader = subscribe(&engine, Start::All, LagPolicy::Skip);
        put(&engine, "c");
        put(&engine, "d");
        let publisher = {
            let engine = engine.clone();
            thread::spawn(move || put(&engine, "e"))
        };
        let mut out = Vec::new();
        let _ = reader.pull(&mut out, usize::MAX);
        publisher.join().expect("no panic");
        assert_eq!(drain(&reader, &mut out), Pulled::Idle);
        // Position 2 was there when it came.
        assert_eq!(last_without_untold_holes(2, &out), 5);
    });
}

/// With room for every key a conflating reader misses nothing, wherever its events are just then.
#[test]
fn loom_conflate_misses_no_key() {
    loom::model(|| {
        let engine = engine(1);
        let reader = subscribe(&engine, Start::Live, LagPolicy::Conflate);
        put(&engine, "a");
        put(&engine, "b");
        let publisher = {
            let engine = engine.clone();
            thread::spawn(move || {
                put(&engine, "c");
                put(&engine, "d");
            })
        };
        let mut out = Vec::new();
        let _ = reader.pull(&mut out, usize::MAX);
        publisher.join().expect("no panic");
        assert_eq!(drain(&reader, &mut out), Pulled::Idle);
        assert!(out.iter().all(|frame| !frame.is_gap()), "{out:?}");
        assert_eq!(seqs(&out), [1, 2, 3, 4]);
    });
}

/// A batch longer than history is told once it can be read, with what there is then.
#[test]
fn loom_a_long_batch_is_told_with_its_end() {
    loom::model(|| {
        let engine = engine(1);
        let reader = subscribe(&engine, Start::Live, LagPolicy::Skip);
        let publisher = {
            let engine = engine.clone();
            thread::spawn(move || {
                let batch = (0..3).map(|_| Draft::new("t", "x")).collect();
                engine.publish_batch(batch, NOW).expect("is taken");
            })
        };
        let mut out = Vec::new();
        let _ = reader.pull(&mut out, usize::MAX);
        publisher.join().expect("no panic");
        assert_eq!(drain(&reader, &mut out), Pulled::Idle);
        assert_eq!(out.len(), 2, "{out:?}");
        assert!(out[0].is_gap() && out[0].seq() == 2 && out[1].seq() == 3, "{out:?}");
    });
}

/// Publish against close against a sleeping reader: what was taken is read, then the end; the reader never sleeps on.
///
#[test]
fn loom_closing_ends_readers_after_the_last_event() {
    loom::model(|| {
        let engine = engine(4);
        let reader = subscribe(&engine, Start::Live, LagPolicy::Disconnect);
        let publisher = {
            let engine = engine.clone();
            thread::spawn(move || match engine.publish(Draft::new("t", "x"), NOW) {
                Ok(_) => 1,
                Err(PublishError::TopicClosed) => 0,
                Err(error) => panic!("{error}"),
            })
        };
        let closer = {
            let engine = engine.clone();
            thread::spawn(move || assert_eq!(engine.close_topic("t", NOW), Ok(true)))
        };
        let frames = read_until(&reader, |_, pulled| pulled == Some(Pulled::Ended));
        closer.join().expect("no panic");
        let published = publisher.join().expect("no panic");
        assert_eq!(frames.len(), published);
    });
}

/// Who comes while a topic is closed is refused, or reads to its end.
#[test]
fn loom_subscribing_against_closing() {
    loom::model(|| {
        let engine = engine(4);
        put(&engine, "a");
        let closer = {
            let engine = engine.clone();
            thread::spawn(move || assert_eq!(engine.close_topic("t", NOW), Ok(true)))
        };
        match try_subscribe(&engine, Start::Live, LagPolicy::Disconnect) {
            Err(error) => assert_eq!(error, SubscribeError::Closed),
            Ok(reader) => {
                let frames = read_until(&reader, |_, pulled| pulled == Some(Pulled::Ended));
                assert!(frames.is_empty());
            }
        }
        closer.join().expect("no panic");
        assert_eq!(engine.stats().subscriptions, 0);
    });
}

/// A subscription that goes while an event comes leaves neither mark nor frame.
#[test]
fn loom_leaving_while_an_event_comes() {
    loom::model(|| {
        let engine = engine(1);
        let bell = Bell::new();
        let watcher = engine.watcher();
        watcher.set_waker(&Waker::from(Arc::clone(&bell)));
        let options = SubscribeOptions { topics: vec!["t".into()], start: Start::All, ..Default::default() };
        let reader = engine.subscribe(&watcher, &options, NOW).expect("can be read");
        put(&engine, "a");
        let mut out = Vec::new();
        assert_eq!(reader.pull(&mut out, usize::MAX), Pulled::Idle);
        let weak = out.remove(0).downgrade();
        let publisher = {
            let engine = engine.clone();
            thread::spawn(move || put(&engine, "b"))
        };
        drop((reader, watcher));
        publisher.join().expect("no panic");
        assert!(weak.upgrade().is_none(), "evicted, and nobody holds it");
        assert_eq!((Arc::strong_count(&bell), engine.stats().subscriptions), (1, 0));
    });
}

/// A topic that is freed while it is published to: the event is taken, once, and told or delivered.
#[test]
fn loom_freeing_against_publishing() {
    loom::model(|| {
        let mut config = Config::new(Epoch::from_seed(0));
        config.topic.idle_ms = 0;
        let engine = Engine::new(config).expect("a valid configuration");
        drop(subscribe(&engine, Start::Live, LagPolicy::Disconnect));
        let publisher = {
            let engine = engine.clone();
            thread::spawn(move || put(&engine, "a"))
        };
        engine.handle_timeout(Timestamp(1));
        publisher.join().expect("no panic");
        let reader = subscribe(&engine, Start::All, LagPolicy::Disconnect);
        let mut out = Vec::new();
        assert_eq!(drain(&reader, &mut out), Pulled::Idle);
        assert_eq!(seqs(&out), [1]);
    });
}
