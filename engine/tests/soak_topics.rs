//! Long runs: a flood of topic names (L4 of the test checklist). `cargo xtask soak`.

use std::fs;

use fanfare_engine::{
    Config, Draft, Engine, Epoch, PublishError, SubscribeError, SubscribeOptions, Timestamp,
};

const NAMES: u64 = 1_000_000;
const LIMIT: u32 = 50_000;

/// Resident memory of this process in KiB; the test is about its growth, so the allocator's slack counts as well.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

fn engine() -> Engine {
    let mut config = Config::new(Epoch::parse("soak").unwrap());
    config.limits.topics = LIMIT;
    config.history.age_ms = 1_000;
    config.topic.idle_ms = 1_000;
    Engine::new(config).unwrap()
}

/// Publishes and subscribes under `NAMES` different names; time passes every `LIMIT` names if `frees`.
fn flood(engine: &Engine, from: u64, frees: bool) -> (u64, Timestamp) {
    let (mut refused, mut now) = (0, Timestamp(from));
    let watcher = engine.watcher();
    for n in 0..NAMES {
        let name = format!("topic-{from}-{n}");
        if n % 2 == 0 {
            match engine.publish(Draft::new(name.as_str(), "x"), now) {
                Ok(_) => {}
                Err(PublishError::TopicLimit { limit: LIMIT }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        } else {
            let options = SubscribeOptions { topics: vec![name.into()], ..Default::default() };
            match engine.subscribe(&watcher, &options, now) {
                Ok(_) => {}
                Err(SubscribeError::TopicLimit { limit: LIMIT }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        if frees && n % u64::from(LIMIT / 2) == 0 {
            now = now.plus(10_000);
            engine.handle_timeout(now);
        }
    }
    (refused, now)
}

#[test]
#[ignore = "long"]
fn a_flood_of_topics_is_refused_and_leaves_nothing() {
    let engine = engine();
    // Warm: the allocator has seen the worst once.
    let (refused, now) = flood(&engine, 0, false);
    assert_eq!(refused, NAMES - u64::from(LIMIT));
    assert_eq!(engine.stats().topics, LIMIT as usize);
    engine.handle_timeout(now.plus(10_000));
    engine.handle_timeout(now.plus(20_000));
    assert_eq!((engine.stats().topics, engine.stats().history_bytes), (0, 0));
    let before = resident();

    let (refused, now) = flood(&engine, 1_000_000, true);
    assert_eq!(refused, 0, "idle topics are freed before the limit is reached");
    engine.handle_timeout(now.plus(10_000));
    engine.handle_timeout(now.plus(20_000));
    let stats = engine.stats();
    assert_eq!((stats.topics, stats.history_events, stats.subscriptions), (0, 0, 0));
    let after = resident();
    assert!(after <= before + before / 20 + 1024, "resident memory went from {before} to {after} KiB");
}
