//! Many threads at once: one order for all, nothing lost, nothing twice, no seam between replay and live.
#![cfg(not(loom))]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use fanfare_engine::{Draft, Engine, Frame, LagPolicy, Pulled, Start, Subscription, Timestamp};
use support::*;

/// Far longer than any of these runs take: who sleeps for so long has lost a wake-up.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Wakes a thread that waits for a word.
struct Word(Sender<()>);

impl Wake for Word {
    fn wake(self: Arc<Self>) {
        // The reader may be gone.
        let _ = self.0.send(());
    }
}

/// Reads on this thread, asleep in between, until `done` or the end.
fn read_until(reader: &Subscription, mut done: impl FnMut(&[Frame]) -> bool) -> (Vec<Frame>, Option<Pulled>) {
    let (sender, words) = mpsc::channel();
    let waker = Waker::from(Arc::new(Word(sender)));
    let mut cx = Context::from_waker(&waker);
    let mut out = Vec::new();
    loop {
        if done(&out) {
            return (out, None);
        }
        match reader.poll(&mut cx, &mut out, 16 * 1024) {
            Poll::Ready(Pulled::More) => {}
            Poll::Ready(end) => return (out, Some(end)),
            Poll::Pending => {
                if let Err(error) = words.recv_timeout(WATCHDOG) {
                    panic!("a wake-up was lost after {:?}: {error}", out.last());
                }
            }
        }
    }
}

/// Calls a function at the end of its scope.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// An engine that keeps about a million events.
fn endless() -> Engine {
    engine(|config| {
        config.history.events = 1 << 20;
        config.history.bytes = 1 << 28;
        config.limits.history_bytes = 1 << 28;
    })
}

fn seqs(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(Frame::seq).collect()
}

/// Reliability D2.
#[test]
fn publishers_at_once_make_one_order_for_all_readers() {
    const PUBLISHERS: usize = 8;
    const EACH: usize = 5000;
    const ALL: usize = PUBLISHERS * EACH;
    let engine = endless();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let reader = Reader::new(&engine, &["t"], Start::Live);
                scope.spawn(move || read_until(&reader.subscription, |frames| frames.len() == ALL).0)
            })
            .collect();
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let engine = &engine;
                scope.spawn(move || {
                    (0..EACH).map(|n| put(engine, "t", &format!("{publisher} {n}"))).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut given: Vec<u64> = Vec::new();
        for publisher in publishers {
            let seqs = publisher.join().unwrap();
            assert!(seqs.is_sorted_by(|a, b| a < b), "a publisher's own order");
            given.extend(seqs);
        }
        given.sort_unstable();
        assert_eq!(given, (1..=ALL as u64).collect::<Vec<_>>(), "positions are unique and without holes");
        let got: Vec<Vec<Frame>> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        let mut next = [0; PUBLISHERS];
        for (at, frame) in got[0].iter().enumerate() {
            assert_eq!(frame.seq(), at as u64 + 1);
            let data = frame.data();
            let (publisher, n) = data.split_once(' ').unwrap();
            let publisher: usize = publisher.parse().unwrap();
            assert_eq!(n.parse(), Ok(next[publisher]));
            next[publisher] += 1;
        }
        for other in &got[1..] {
            assert!(
                other.iter().map(Frame::wire).eq(got[0].iter().map(Frame::wire)),
                "the same bytes everywhere"
            );
        }
    });
}

/// Reliability D3.
#[test]
fn joining_a_busy_topic_by_id_has_no_seam() {
    const JOINS: u64 = 1000;
    let engine = endless();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                put(&engine, "t", "x");
            }
        });
        // Also when an assertion fails, or the publisher would go on for ever.
        let _stop = OnDrop(|| stop.store(true, Ordering::Relaxed));
        for join in 0..JOINS {
            let from = engine.newest().saturating_sub(join % 7);
            let reader = Reader::new(&engine, &["t"], after(from));
            let (frames, _) = read_until(&reader.subscription, |frames| frames.len() >= 20);
            let expected: Vec<u64> = (from + 1..).take(frames.len()).collect();
            assert_eq!(seqs(&frames), expected, "join {join} after {from}");
        }
    });
}

#[test]
fn readers_that_fall_behind_are_told_of_every_hole() {
    const EVENTS: u64 = 20_000;
    for lag in [LagPolicy::Skip, LagPolicy::Conflate] {
        let engine = keeping(4);
        thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let reader = Reader::with_lag(&engine, &["t"], Start::Live, lag);
                    scope.spawn(move || {
                        let last =
                            |frames: &[Frame]| frames.last().is_some_and(|frame| frame.seq() == EVENTS);
                        read_until(&reader.subscription, last).0
                    })
                })
                .collect();
            for n in 0..EVENTS {
                put_draft(&engine, keyed("t", &format!("k{}", n % 10), &n.to_string())).unwrap();
            }
            for reader in readers {
                let (mut at, mut told) = (0, false);
                for frame in reader.join().unwrap() {
                    if frame.is_gap() {
                        assert_eq!(lag, LagPolicy::Skip, "every key has room");
                        told = true;
                        continue;
                    }
                    assert!(frame.seq() > at, "in order and once");
                    let whole = frame.seq() == at + 1 || told || lag == LagPolicy::Conflate;
                    assert!(whole, "an untold hole before {frame:?}");
                    (at, told) = (frame.seq(), false);
                }
                assert_eq!(at, EVENTS);
            }
        });
    }
}

#[test]
fn conflating_readers_end_with_the_last_value_of_every_key() {
    const KEYS: u64 = 50;
    let engine = keeping(4);
    thread::scope(|scope| {
        let reader = Reader::with_lag(&engine, &["t"], Start::Live, LagPolicy::Conflate);
        let reading = scope.spawn(move || {
            let (frames, end) = read_until(&reader.subscription, |_| false);
            assert_eq!(end, Some(Pulled::Ended));
            frames
        });
        let publishers: Vec<_> = (0..2)
            .map(|publisher| {
                let engine = &engine;
                scope.spawn(move || {
                    for n in 0..10_000 {
                        let key = format!("{publisher}.{}", n % KEYS);
                        put_draft(engine, keyed("t", &key, &format!("{key}={n}"))).unwrap();
                    }
                })
            })
            .collect();
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        engine.close_topic("t", NOW).unwrap();
        let frames = reading.join().unwrap();
        let mut last = std::collections::BTreeMap::new();
        for frame in &frames {
            assert!(!frame.is_gap());
            last.insert(frame.key().to_owned(), frame.data().into_owned());
        }
        assert_eq!(last.len() as u64, 2 * KEYS);
        for (at, (key, data)) in last.iter().enumerate() {
            let n: u64 = data.strip_prefix(&format!("{key}=")).unwrap().parse().unwrap();
            assert!(n >= 10_000 - KEYS, "{at}: {data} is not the last value of {key}");
        }
    });
}

/// Everything at once: what is taken is read before the end, and nothing is left behind.
#[test]
fn publishing_reading_closing_freeing_and_leaving_at_once() {
    let engine = engine(|config| {
        config.history.events = 8;
        config.history.age_ms = 5;
        config.topic.idle_ms = 3;
    });
    thread::scope(|scope| {
        for worker in 0..3_u64 {
            let engine = &engine;
            scope.spawn(move || {
                let mut random = Random::new(worker);
                let mut readers: Vec<Reader> = Vec::new();
                for step in 0..5000_u64 {
                    let topic = random.below(4).to_string();
                    let now = Timestamp(step);
                    match random.below(12) {
                        0..5 => drop(engine.publish(Draft::new(&*topic, "x"), now)),
                        5 => drop(
                            engine
                                .publish_batch((0..4).map(|n| Draft::new(n.to_string(), "y")).collect(), now),
                        ),
                        6 => readers.extend(Reader::open(engine, &options(&[&topic, "0"], Start::All))),
                        7 => drop(readers.pop()),
                        8 => engine.handle_timeout(now),
                        9 if step % 50 == 0 => drop(engine.close_topic(&topic, now)),
                        10 => {
                            for reader in &readers {
                                let _ = reader.subscription.add_topic(&topic, now);
                                reader.subscription.remove_topic("0");
                            }
                        }
                        _ => {
                            for reader in &readers {
                                let mut frames = Vec::new();
                                let _ = reader.subscription.pull(&mut frames, 500);
                                assert!(seqs(&frames).is_sorted());
                            }
                        }
                    }
                }
            });
        }
    });
    for ms in [10_000, 20_000] {
        engine.handle_timeout(Timestamp(ms));
    }
    let stats = engine.stats();
    assert_eq!((stats.subscriptions, stats.topics, stats.history_events, stats.history_bytes), (0, 0, 0, 0));
}
