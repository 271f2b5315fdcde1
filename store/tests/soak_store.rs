//! Long runs: every length of the last 64 KiB, and every failing call for the weaker durabilities.

mod support;

use std::io;
use std::path::Path;

use fanfare_store::{Config, Durability, Store, Topics};
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
        // The thread of the store makes the number of calls differ from run to run; it is well above this.
        for call in 0..400 {
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
        }
    }
}
