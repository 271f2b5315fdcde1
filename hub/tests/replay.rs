//! Readers in this process that read history from disk and do not go on: others are served all the same.
#![cfg(feature = "store")]

use std::time::{Duration, Instant};

use fanfare_hub::engine::{Draft, Pulled, Start, SubscribeOptions, Subscription};
use fanfare_hub::{Hub, Loader};

/// A watchdog far above what anything here takes.
const WATCHDOG: Duration = Duration::from_secs(60);
const EVENTS: u64 = 400;

fn hub(data: &str) -> Hub {
    let mut loader = Loader::new();
    loader.begin_flags();
    let settings = [
        ("listen", "127.0.0.1:0"),
        ("data", data),
        ("history.events", "2"),
        ("history.replay_bytes", "64KiB"),
        ("timeouts.write", "50ms"),
    ];
    for (key, value) in settings {
        loader.flag("test", key, value).expect(key);
    }
    Hub::start(loader.finish().expect("sound")).expect("it starts")
}

fn reader(hub: &Hub) -> Subscription {
    let options = SubscribeOptions { topics: vec!["t".into()], start: Start::All, ..Default::default() };
    hub.subscribe(&hub.engine().watcher(), &options).expect("can be read")
}

/// The next events of a reader, at least one, and no more than `bytes` if it is not 1; none at the end of the watchdog.
fn next(reader: &Subscription, bytes: usize) -> Vec<u64> {
    let (start, mut frames) = (Instant::now(), Vec::new());
    while frames.is_empty() && start.elapsed() < WATCHDOG {
        assert_ne!(reader.pull(&mut frames, bytes), Pulled::Lapped);
        if frames.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    frames.iter().map(fanfare_hub::engine::Frame::seq).collect()
}

#[test]
fn who_stands_still_does_not_keep_others_from_old_events() {
    let dir = tempfile::tempdir().expect("a folder");
    let hub = hub(dir.path().to_str().expect("UTF-8"));
    for _ in 0..EVENTS {
        hub.publish(Draft::new("t", "x".repeat(500))).expect("is taken");
    }
    // Each takes one event of its page, and would hold the rest for ever: more than there is room for.
    let stuck: Vec<Subscription> = (0..40).map(|_| reader(&hub)).collect();
    for reader in &stuck {
        assert_eq!(next(reader, 1), [1]);
    }
    let good = reader(&hub);
    let mut seen = 0;
    while seen < EVENTS {
        let events = next(&good, 1 << 20);
        assert!(events.iter().copied().eq(seen + 1..=seen + events.len() as u64), "after {seen}: {events:?}");
        assert!(!events.is_empty(), "nothing comes after {seen}");
        seen += events.len() as u64;
    }
    // And who stood still goes on where it was.
    for reader in &stuck {
        let mut seen = 1;
        while seen < EVENTS {
            let events = next(reader, 1 << 20);
            assert!(!events.is_empty() && events[0] == seen + 1, "after {seen}: {events:?}");
            seen += events.len() as u64;
        }
    }
}

#[test]
fn what_is_deleted_is_not_read_though_nothing_is_written_yet() {
    let dir = tempfile::tempdir().expect("a folder");
    let hub = hub(dir.path().to_str().expect("UTF-8"));
    for round in 0..20 {
        for _ in 0..20 {
            hub.publish(Draft::new("t", "old")).expect("is taken");
        }
        // The rings hold two of them; it is the store that has to know.
        hub.engine().delete_history("t", hub.clock().now()).expect("deletes");
        let late = reader(&hub);
        let new = hub.publish(Draft::new("t", "new")).expect("is taken").seq;
        assert_eq!(next(&late, 1), [new], "round {round}");
        hub.engine().delete_history("t", hub.clock().now()).expect("deletes");
    }
}
