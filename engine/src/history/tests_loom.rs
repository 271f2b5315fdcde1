//! Models of the ring and of the committed position. At LOOM_MAX_PREEMPTIONS=3 each takes less than a second.

use loom::thread;

use super::{Append, Found, Log, Ring, TopicKey};
use crate::config::Config;
use crate::draft::Draft;
use crate::id::Epoch;
use crate::sync::Arc;
use crate::time::Timestamp;
use crate::wire::NewFrame;

const NOW: Timestamp = Timestamp(0);

fn log(events: u32) -> Arc<Log> {
    let mut config = Config::new(Epoch::from_seed(0));
    config.history.events = events;
    Arc::new(Log::new(&config, ahash::RandomState::with_seeds(1, 2, 3, 4), None))
}

fn open(log: &Log) -> (TopicKey, Arc<Ring>) {
    log.lock().open(&Arc::from("t"), 0, NOW)
}

fn append(topic: TopicKey) -> Append {
    Append { topic, frame: Some(NewFrame::render(Arc::from("t"), &Draft::new("t", "d"), NOW)) }
}

fn commit(log: &Log, topics: &[TopicKey]) {
    let mut appends: Vec<Append> = topics.iter().copied().map(append).collect();
    log.commit(&mut appends, &[], &[], NOW).unwrap_or_else(|stale| panic!("{stale:?}"));
}

/// A reader that finds a slot empty or overtaken knows of the loss; a frame that it finds is the one that it wants.
///
#[test]
fn loom_ring_tells_every_eviction() {
    loom::model(|| {
        let log = log(2);
        let (topic, ring) = open(&log);
        commit(&log, &[topic]);
        let writer = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                commit(&log, &[topic]);
                commit(&log, &[topic]);
                commit(&log, &[topic]);
            })
        };
        // Position and index differ by one in a hub of one topic.
        let mut next = 0;
        while next < 3 {
            match ring.get(next) {
                Found::Frame(frame) => {
                    assert_eq!(frame.seq(), next + 1);
                    next += 1;
                }
                Found::NotYet => break,
                Found::Gone => {
                    let lost_through = ring.lost_through();
                    assert!(lost_through > next, "index {next} is gone and nobody says so");
                    next = lost_through;
                }
            }
        }
        writer.join().expect("no panic");
        assert_eq!((ring.len(), ring.lost_through()), (2, 2));
    });
}

/// Who looks for the first event after a position, and sees no new loss afterwards, has stepped over nothing.
///
#[test]
fn loom_first_after_with_an_unchanged_loss_skips_nothing() {
    loom::model(|| {
        let log = log(1);
        let (topic, ring) = open(&log);
        commit(&log, &[topic]);
        commit(&log, &[topic]);
        let writer = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                commit(&log, &[topic]);
                commit(&log, &[topic]);
            })
        };
        let lost_through = ring.lost_through();
        let next = ring.first_after(lost_through);
        if ring.lost_through() == lost_through {
            assert_eq!(next, lost_through, "the event behind the loss");
        }
        writer.join().expect("no panic");
    });
}

/// What a reader sees committed it finds in the rings, or learns that it is lost; a batch is visible as a whole.
///
#[test]
fn loom_committed_over_two_rings() {
    loom::model(|| {
        let log = log(1);
        let ((a, ring_a), (b, ring_b)) = (open(&log), open(&log));
        let writer = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                commit(&log, &[a, b]);
                commit(&log, &[b]);
            })
        };
        let committed = log.committed();
        assert!([0, 2, 3].contains(&committed), "half a batch is not visible: {committed}");
        // Positions 1 in a, 2 and 3 in b.
        let seen = |ring: &Ring, index: u64, seq: u64| match ring.get(index) {
            Found::Frame(frame) => assert_eq!(frame.seq(), seq),
            Found::Gone => assert!(ring.lost_through() >= seq),
            Found::NotYet => panic!("{seq} is committed and not there"),
        };
        if committed >= 2 {
            seen(&ring_a, 0, 1);
            seen(&ring_b, 0, 2);
        }
        if committed >= 3 {
            seen(&ring_b, 1, 3);
        }
        writer.join().expect("no panic");
    });
}

/// Two writers: positions are unique, and each ring is in order.
#[test]
fn loom_two_writers() {
    loom::model(|| {
        let log = log(4);
        let (topic, ring) = open(&log);
        let writers = [0, 1].map(|_| {
            let log = Arc::clone(&log);
            thread::spawn(move || commit(&log, &[topic]))
        });
        let before = log.committed();
        assert!(ring.tail() >= before);
        for writer in writers {
            writer.join().expect("no panic");
        }
        for index in 0..2 {
            let Found::Frame(frame) = ring.get(index) else { panic!("{index} is not there") };
            assert_eq!(frame.seq(), index + 1);
        }
        assert_eq!(log.committed(), 2);
    });
}

/// Who sees a ring closed sees its last event.
#[test]
fn loom_closed_means_complete() {
    loom::model(|| {
        let log = log(4);
        let (topic, ring) = open(&log);
        let publisher = {
            let log = Arc::clone(&log);
            thread::spawn(move || log.commit(&mut [append(topic)], &[], &[], NOW).is_ok())
        };
        let closer = {
            let log = Arc::clone(&log);
            thread::spawn(move || log.lock().close(topic, NOW))
        };
        let seen = ring.is_closed().then(|| ring.tail());
        assert!(closer.join().expect("no panic"));
        let published = publisher.join().expect("no panic");
        assert_eq!(ring.tail(), u64::from(published));
        if let Some(tail) = seen {
            assert_eq!(tail, ring.tail(), "nothing follows");
        }
    });
}
