//! Long runs: every length of the last 64 KiB, and every failing call for the weaker durabilities.

mod support;

use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use fanfare_store::{Config, Durability, PageLimits, Store, Topics};
use support::{MemDisk, all, draft};

fn config(durability: Durability) -> Config {
    Config { durability, segment_bytes: 256 * 1024, max_bytes: 0, max_age_ms: 0, ..Config::default() }
}

fn open(disk: &MemDisk, durability: Durability) -> fanfare_store::Result<Store> {
    Store::open_on(std::sync::Arc::new(disk.clone()), "d".into(), config(durability))
}

#[test]
#[ignore = "long: started by cargo xtask soak"]
fn cut_at_every_length_of_the_last_64_kib() {
    const EVENTS: u64 = 700;
    let disk = MemDisk::default();
    let store = open(&disk, Durability::Always).expect("opens");
    for i in 0..EVENTS {
        store.append(&[draft("t", &"x".repeat(100 + i as usize % 7))], &[], 0).expect("stored");
    }
    store.close().expect("closes");
    let log = Path::new("d/0000000001.log");
    let whole = disk.bytes(log);
    let from = whole.len().saturating_sub(64 * 1024);
    for len in from..whole.len() {
        let disk = disk.after_kill();
        disk.set(log, &whole[..len]);
        let store = open(&disk, Durability::Always).expect("opens");
        store.append(&[draft("t", "new")], &[], 0).expect("stored");
        let page = all(&store, Topics::Only(&["t"]));
        let have = page.events.len() as u64 - 1;
        assert!(page.events.iter().take(have as usize).map(|event| event.position).eq(1..=have), "{len}");
        let told = page.gaps.iter().any(|gap| gap.first == have + 1 && gap.last >= EVENTS);
        assert!(told, "cut at {len}: {:?}", page.gaps);
    }
}

#[test]
#[ignore = "long: started by cargo xtask soak"]
fn weak_events_that_were_answered_survive_any_failing_call() {
    for durability in [Durability::Os, Durability::Interval, Durability::None] {
        // Until a run is over before the call that is to fail: then each of them has failed.
        for call in 0.. {
            let disk = MemDisk::default();
            let store = open(&disk, durability).expect("opens");
            let begin = disk.calls();
            disk.fail(begin + call, begin + call + 3, io::ErrorKind::StorageFull);
            let mut answered = Vec::new();
            for i in 0..300 {
                answered.extend(store.append(&[draft("t", "x"), draft("u", "y")], &[], i).ok());
                if i % 50 == 49 {
                    // It may fail, and what was answered then has to stay.
                    let _ = store.flush();
                }
            }
            let reached = disk.calls() - begin > call;
            disk.heal();
            store.flush().expect("the disk works again");
            assert!(answered.len() > 250, "{durability}, call {call}: {} answered", answered.len());
            let check = |store: &Store| {
                let page = all(store, Topics::Only(&["t"]));
                let there: Vec<_> = page.events.iter().map(|event| event.position).collect();
                assert_eq!(there, answered, "{durability}, call {call}");
            };
            check(&store);
            store.close().expect("closes");
            check(&open(&disk, durability).expect("opens again"));
            if !reached {
                eprintln!("{durability}: each of {call} calls has failed");
                assert!(call > 10, "the work does nothing");
                break;
            }
        }
    }
}

/// Held by one at a time of those that look at the memory of the process.
static ALONE: Mutex<()> = Mutex::new(());

/// Memory that the process holds, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("has it");
    line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).expect("a number") / 1024
}

/// Fills a folder with events of 100 bytes, the n-th in topic n modulo `topics`, and closes it.
fn filled(dir: &Path, config: &Config, events: u64, topics: u64) {
    let store = Store::open(dir, config.clone()).expect("opens");
    for first in (0..events).step_by(1_000) {
        let batch: Vec<_> = (first..first + 1_000)
            .map(|n| draft(&format!("topic/{}", n % topics), &format!("{n:0100}")))
            .collect();
        store.append(&batch, &[], 1_000 + first).expect("stored");
    }
    store.close().expect("closes");
}

/// The numbers of a topic's events.
fn numbers(store: &Store, topic: &str) -> Vec<u64> {
    all(store, Topics::Only(&[topic]))
        .events
        .iter()
        .map(|e| e.draft.data.parse().expect("a number"))
        .collect()
}

#[test]
#[ignore = "long: started by cargo xtask soak"]
fn ten_million_events_open_and_replay() {
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().expect("a folder");
    let config = Config { max_bytes: 0, max_age_ms: 0, ..Config::default() };
    let start = Instant::now();
    filled(dir.path(), &config, 10_000_000, 100);
    let filling = start.elapsed();
    let before = resident();
    let start = Instant::now();
    let store = Store::open(dir.path(), config).expect("opens again");
    let opening = start.elapsed();
    let start = Instant::now();
    let names: Vec<String> = (0..100).map(|n| format!("topic/{n}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    let from = store.before_last(&names[..1], 10_000).expect("is found");
    let first = store
        .page(Topics::Only(&names[..1]), from, PageLimits { events: 512, bytes: 64 << 10 })
        .expect("a page");
    let replaying = start.elapsed();
    assert_eq!(first.events[0].draft.data.parse(), Ok(9_000_000_u64), "the last 10,000 of a hundredth");
    let start = Instant::now();
    let latest =
        store.page(Topics::All, 9_990_000, PageLimits { events: 512, bytes: 64 << 10 }).expect("a page");
    let tail = start.elapsed();
    assert_eq!(latest.events[0].position, 9_990_001);
    assert_eq!((store.stats().events, store.damages().len()), (10_000_000, 0));
    let held = resident().saturating_sub(before);
    eprintln!(
        "10,000,000 events of 100 bytes: filled in {filling:?}, opened in {opening:?}; first page of the last 10,000 of one \
         topic after {replaying:?}, of all topics after {tail:?}; {held} MiB held"
    );
}

#[test]
#[ignore = "long: started by cargo xtask soak"]
fn a_million_topics_open_serve_and_retain() {
    let _alone = ALONE.lock();
    const TOPICS: u64 = 1_000_000;
    let dir = tempfile::tempdir().expect("a folder");
    let config = Config { max_bytes: 0, max_age_ms: 0, ..Config::default() };
    let start = Instant::now();
    filled(dir.path(), &config, 10 * TOPICS, TOPICS);
    let filling = start.elapsed();
    let before = resident();
    let start = Instant::now();
    let store = Store::open(dir.path(), config.clone()).expect("opens again");
    let opening = start.elapsed();
    let held = resident().saturating_sub(before);
    let start = Instant::now();
    for at in 0..1_000 {
        let n = at * 997 % TOPICS;
        let expected: Vec<u64> = (0..10).map(|round| n + round * TOPICS).collect();
        assert_eq!(numbers(&store, &format!("topic/{n}")), expected);
    }
    let serving = start.elapsed() / 1_000;
    store.close().expect("closes");
    let bytes = store.stats().bytes;
    let config = Config { topics: vec!["topic/* events=3".to_owned()], ..config };
    let store = Store::open(dir.path(), config).expect("opens with a rule");
    let start = Instant::now();
    let given_back = store.compact(0).expect("compacts");
    let retaining = start.elapsed();
    assert!(given_back > bytes / 3, "{given_back} of {bytes}");
    for n in [0, 1, 499_999, TOPICS - 1] {
        let left = numbers(&store, &format!("topic/{n}"));
        assert!((3..=10).contains(&left.len()), "{left:?}");
        let newest: Vec<u64> = (10 - left.len() as u64..10).map(|round| n + round * TOPICS).collect();
        assert_eq!(left, newest);
    }
    let kept = resident().saturating_sub(before);
    eprintln!(
        "1,000,000 topics of 10 events: filled in {filling:?}, opened in {opening:?} with {held} MiB; ten events of a topic in \
         {serving:?}; three of each kept, {given_back} of {bytes} bytes given back in {retaining:?}, {kept} MiB held"
    );
}
